"""USPS: 11,000 handwritten digits, 16 x 16.

make experiment-usps    # python -m experiments.run usps
"""

from experiments.presets import Preset

PRESET = Preset("USPS", 10, "acpic", "usps", "usps_11000.npz")
