"""YTF: 10,000 faces of 41 people from YouTube, 55 x 55 in colour. The images need an agreement with their owner.

make experiment-ytf    # python -m experiments.run ytf
"""

from experiments.presets import Preset

PRESET = Preset("YTF", 41, "kmeans", "ytf", "ytf.h5")
