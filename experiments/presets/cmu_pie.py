"""CMU-PIE: 2,856 faces of 68 people, 32 x 32.

make experiment-cmu-pie    # python -m experiments.run cmu-pie

Reached, as `make tables` found it: means over the seeds, minutes of one, how many they were.
    paper: ACC 0.847, NMI 0.947, 11.5 min (2)
    best: ACC 0.999, NMI 0.999, 12.3 min (2)
"""

from experiments.presets import Preset

PRESET = Preset("CMU-PIE", 68, "kmeans", "cmu-pie", "cmu_pie_32x32.npz")
