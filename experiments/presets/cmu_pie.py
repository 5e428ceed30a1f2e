"""CMU-PIE: 2,856 faces of 68 people, 32 x 32.

make experiment-cmu-pie    # python -m experiments.run cmu-pie

Reached, as `make tables` found it: means over the seeds, minutes of one, how many they were.
    paper: ACC 0.870, NMI 0.957, 13.8 min (5)
    best: ACC 0.987, NMI 0.995, 22.1 min (5)
"""

from experiments.presets import Preset

PRESET = Preset("CMU-PIE", 68, "kmeans", "cmu-pie", "cmu_pie_32x32.npz")
