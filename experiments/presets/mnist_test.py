"""MNIST-test: the 10,000 handwritten digits of MNIST's test part, 28 x 28.

make experiment-mnist-test    # python -m experiments.run mnist-test

Reached, as `make tables` found it: means over the seeds, minutes of one, how many they were.
    paper: ACC 0.954, NMI 0.899, 9.1 min (1)
    best: ACC 0.979, NMI 0.946, 9.8 min (1)
"""

from experiments.presets import Preset

PRESET = Preset("MNIST-test", 10, "acpic", "mnist-test", "mnist_full.npz", first=60_000)
