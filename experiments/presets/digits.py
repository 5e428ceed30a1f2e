"""Digits: the 1,797 handwritten digits inside scikit-learn, 8 x 8. Not in the paper.

make experiment-digits    # python -m experiments.run digits

Reached, as `make tables` found it: means over the seeds, minutes of one, how many they were.
    paper: ACC 0.852, NMI 0.882, 2.1 min (5)
    best: ACC 0.953, NMI 0.922, 3.4 min (5)
"""

from experiments.presets import Preset

PRESET = Preset("digits", 10, "acpic", "digits")
