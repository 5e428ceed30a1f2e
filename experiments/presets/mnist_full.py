"""MNIST-full: 70,000 handwritten digits, 28 x 28.

make experiment-mnist-full    # python -m experiments.run mnist-full

Reached, as `make tables` found it: means over the seeds, minutes of one, how many they were.
    paper: ACC 0.842, NMI 0.782, 34.3 min (3)
    best: ACC 0.976, NMI 0.942, 53.0 min (3)
"""

from experiments.presets import Preset

PRESET = Preset("MNIST-full", 10, "kmeans", "mnist", "mnist_full.npz", seeds=3)
