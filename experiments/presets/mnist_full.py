"""MNIST-full: 70,000 handwritten digits, 28 x 28.

make experiment-mnist-full    # python -m experiments.run mnist-full
"""

from experiments.presets import Preset

PRESET = Preset("MNIST-full", 10, "kmeans", "mnist", "mnist_full.npz", seeds=3)
