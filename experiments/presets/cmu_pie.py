"""CMU-PIE: 2,856 faces of 68 people, 32 x 32.

make experiment-cmu-pie    # python -m experiments.run cmu-pie
"""

from experiments.presets import Preset

PRESET = Preset("CMU-PIE", 68, "kmeans", "cmu-pie", "cmu_pie_32x32.npz")
