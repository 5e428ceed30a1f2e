"""USPS: 11,000 handwritten digits, 16 x 16.

make experiment-usps    # python -m experiments.run usps

Reached, as `make tables` found it: means over the seeds, minutes of one, how many they were.
    paper: ACC 0.966, NMI 0.925, 2.8 min (5)
    best: ACC 0.988, NMI 0.967, 4.0 min (5)
"""

from experiments.presets import Preset

PRESET = Preset("USPS", 10, "acpic", "usps", "usps_11000.npz")
