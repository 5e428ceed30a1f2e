"""Digits: the 1,797 handwritten digits inside scikit-learn, 8 x 8. Not in the paper.

make experiment-digits    # python -m experiments.run digits

Reached, as `make tables` found it: means over the seeds, minutes of one, how many they were.
    paper: ACC 0.843, NMI 0.873, 1.7 min (3)
    best: ACC 0.951, NMI 0.919, 2.7 min (3)
"""

from experiments.presets import Preset

PRESET = Preset("digits", 10, "acpic", "digits")
