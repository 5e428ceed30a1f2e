"""FRGC: 2,462 faces of 20 people, 32 x 32 in colour. The images need an agreement with their owner.

make experiment-frgc    # python -m experiments.run frgc
"""

from experiments.presets import Preset

PRESET = Preset("FRGC", 20, "kmeans", "frgc", "frgc.h5")
