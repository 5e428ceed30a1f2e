"""MNIST-test: the 10,000 handwritten digits of MNIST's test part, 28 x 28.

make experiment-mnist-test    # python -m experiments.run mnist-test
"""

from experiments.presets import Preset

PRESET = Preset("MNIST-test", 10, "acpic", "mnist-test", "mnist_full.npz", first=60_000)
