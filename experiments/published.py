"""What the paper reports: figures to be reached, never results of ours."""

CLUSTERING = {  # ACC, NMI
    "k-means on pixels": {
        "mnist-full": (0.534, 0.500),
        "mnist-test": (0.547, 0.501),
        "usps": (0.460, 0.450),
        "cmu-pie": (0.223, 0.432),
        "ytf": (0.601, 0.776),
        "frgc": (0.243, 0.287),
    },
    "DEC": {
        "mnist-full": (0.844, 0.816),
        "mnist-test": (0.859, 0.827),
        "usps": (0.619, 0.586),
        "cmu-pie": (0.801, 0.924),
        "ytf": (0.371, 0.446),
        "frgc": (0.378, 0.505),
    },
    "JULE-RC": {
        "mnist-full": (0.964, 0.913),
        "mnist-test": (0.961, 0.915),
        "usps": (0.950, 0.913),
        "cmu-pie": (1.00, 1.00),
        "ytf": (0.684, 0.848),
        "frgc": (0.461, 0.574),
    },
    "DEPICT": {
        "mnist-full": (0.965, 0.917),
        "mnist-test": (0.963, 0.915),
        "usps": (0.964, 0.927),
        "cmu-pie": (0.883, 0.974),
        "ytf": (0.621, 0.802),
        "frgc": (0.470, 0.610),
    },
}
SEMI_SUPERVISED = {100: (2.65, 0.35), 1_000: (2.10, 0.11), 3_000: (1.91, 0.06)}  # error in percent, MNIST
