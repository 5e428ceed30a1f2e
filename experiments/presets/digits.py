"""Digits: the 1,797 handwritten digits inside scikit-learn, 8 x 8. Not in the paper.

make experiment-digits    # python -m experiments.run digits

Reached, as `make tables` found it: means over the seeds, minutes of one, how many they were.
    paper: ACC 0.856, NMI 0.886, 2.2 min (10)
    best: ACC 0.949, NMI 0.920, 3.6 min (10)
"""

from experiments.presets import Preset

PRESET = Preset("digits", 10, "acpic", "digits", seeds=10)
