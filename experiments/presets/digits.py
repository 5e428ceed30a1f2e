"""Digits: the 1,797 handwritten digits inside scikit-learn, 8 x 8. Not in the paper.

make experiment-digits    # python -m experiments.run digits
"""

from experiments.presets import Preset

PRESET = Preset("digits", 10, "acpic", "digits")
