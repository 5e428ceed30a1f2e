import tracemalloc
import warnings
from itertools import combinations

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits, make_blobs
from sklearn.decomposition import PCA

from depict_jax import agglomerative, path_integrals
from depict_jax.agglomerative import path_integral_clustering


def dense_transitions(x, n_neighbors):
    """P (N, N) and each sample's nearest other, word for word."""
    n = len(x)
    d = np.stack([((x - row) ** 2).sum(axis=1) for row in x])
    np.fill_diagonal(d, np.inf)
    neighbors = np.argsort(d, axis=1, kind="stable")[:, : min(n_neighbors, n - 1)]
    near = np.take_along_axis(d, neighbors, axis=1)
    sigma2 = near.mean()
    while np.exp(-near[:, 0] / sigma2).min() < 1e-5:
        sigma2 *= 2
    w = np.eye(n)
    np.put_along_axis(w, neighbors, np.exp(-near / sigma2), axis=1)
    return w / w.sum(axis=1, keepdims=True), neighbors[:, 0]


def dense_components(nearest):
    group = np.arange(len(nearest))
    for i, j in enumerate(nearest):
        group[group == group[j]] = group[i]
    return [np.flatnonzero(group == g) for g in dict.fromkeys(group.tolist())]


def dense_path_integral(p, z, members, of):
    """(1/|of|^2) 1_of^T (I - z P)^-1 1_of over `members`, where `of` are places in them."""
    ones = np.zeros(len(members))
    ones[of] = 1.0
    return ones @ np.linalg.solve(np.eye(len(members)) - z * p[np.ix_(members, members)], ones) / len(of) ** 2


def dense_affinity(p, z, a, b):
    union = np.concatenate([a, b])
    in_a, in_b = np.arange(len(a)), np.arange(len(a), len(union))
    gain = dense_path_integral(p, z, union, in_a) - dense_path_integral(p, z, a, in_a)
    gain += dense_path_integral(p, z, union, in_b) - dense_path_integral(p, z, b, np.arange(len(b)))
    return gain if gain > 1e-15 / min(len(a), len(b)) else 0.0  # below is the rounding of the differences


def dense_clustering(x, n_clusters, n_neighbors=20, z=0.01, smallest=1):
    """The definition, each affinity by dense inverses: labels and the number of merges of unlinked groups."""
    moments, n_unlinked = dense_merges(x, n_clusters, n_neighbors, z)
    enough = [groups for groups in moments if sum(len(g) >= smallest for g in groups) >= n_clusters]
    groups = enough[-1] if enough else moments[-1]
    n_unlinked = n_unlinked[len(groups)]
    if enough:
        large = [g for g in groups if len(g) >= smallest]
        means = np.stack([x[g].mean(axis=0) for g in large])
        joined = [[g] for g in large]
        for g in groups:
            if len(g) < smallest:
                joined[((means - x[g].mean(axis=0)) ** 2).sum(axis=1).argmin()].append(g)
        groups = [np.concatenate(parts) for parts in joined]
    labels = np.empty(len(x), dtype=int)
    for label, members in enumerate(sorted(groups, key=min)):
        labels[members] = label
    return labels, n_unlinked


def dense_merges(x, n_clusters, n_neighbors, z):
    """The groups before the first merge and after each, and how many merges were of unlinked ones by their number."""
    p, nearest = dense_transitions(x, n_neighbors)
    first = dense_components(nearest)
    if len(first) < n_clusters:
        first = [np.array([i]) for i in range(len(x))]
    groups, affinities, n_unlinked = {}, {}, 0

    def enter(name, members):
        for other, theirs in groups.items():
            if p[np.ix_(members, theirs)].any() and p[np.ix_(theirs, members)].any():
                affinities[other, name] = dense_affinity(p, z, theirs, members)
        groups[name] = members

    for name, members in enumerate(first):
        enter(name, members)
    moments, counts = [list(groups.values())], {len(groups): 0}
    for name in range(len(first), 2 * len(first) - n_clusters):
        if affinities:
            a, b = min(affinities, key=lambda pair: (-affinities[pair], pair))
        else:
            n_unlinked += 1
            means = {g: x[members].mean(axis=0) for g, members in groups.items()}
            a, b = min(combinations(groups, 2), key=lambda ab: ((means[ab[0]] - means[ab[1]]) ** 2).sum())
        merged = np.concatenate([groups.pop(a), groups.pop(b)])
        affinities = {pair: value for pair, value in affinities.items() if not {a, b} & set(pair)}
        enter(name, merged)
        moments.append(list(groups.values()))
        counts[len(groups)] = n_unlinked
    return moments, counts


def clustering_and_count(x, *args, **kwargs):
    """Labels and the number of merges of unlinked groups, by the warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        labels = path_integral_clustering(x, *args, **kwargs)
    assert len(caught) <= 1
    return labels, int(str(caught[0].message).split()[0]) if caught else 0


def renamed(labels):
    """Names by first appearance."""
    names = {name: i for i, name in enumerate(dict.fromkeys(np.asarray(labels).tolist()))}
    return np.array([names[name] for name in np.asarray(labels).tolist()])


def blobs(seed, n=90, centers=5, width=3):
    return make_blobs(n, width, centers=centers, cluster_std=2.0, random_state=seed)[0]


def noise(seed, n=75, width=2):
    return np.random.default_rng(seed).random((n, width))


def digits(n=100):
    return load_digits().data[:n]


def far_blobs(positions, n=25, seed=0):
    """Blobs of n > 20 samples on a line, too far apart to share a neighbour, dealt in turn."""
    x = 0.01 * np.random.default_rng(seed).standard_normal((n, len(positions), 2))
    x[..., 0] += positions
    return x.reshape(-1, 2)


def tight_blobs(spread=1e-5):
    """Two blobs in 30 features, whose distances are lost where |x|^2 - 2 x y + |y|^2 is all there is."""
    rng = np.random.default_rng(0)
    return np.repeat(rng.standard_normal((2, 30)), 25, axis=0) + spread * rng.standard_normal((50, 30))


CASES = {
    **{f"blobs-{seed}": (blobs(seed), 5, {}) for seed in range(4)},
    **{f"noise-{seed}": (noise(seed), 4, {}) for seed in range(3)},
    "noise, ten features": (noise(5, width=10), 3, {}),
    "noise, thirty features": (noise(6, width=30), 3, {}),
    "digits": (digits(), 10, {}),
    "one cluster": (noise(7, n=60), 1, {}),
    "more clusters than first groups": (noise(8, n=40), 25, {}),
    "one first group": (np.arange(1, 26)[:, None] ** 1.5, 3, {}),
    "fewer samples than neighbours": (noise(9, n=12), 3, {}),
    **{f"{n} samples": (noise(9, n=n), 3, {}) for n in (20, 21, 22)},
    "two samples": (noise(10, n=2), 1, {}),
    "few neighbours": (blobs(11, n=80), 2, {"n_neighbors": 5}),
    "links that lead nowhere": (noise(12, n=80), 2, {"n_neighbors": 3}),
    "one neighbour": (noise(13, n=60, width=3), 4, {"n_neighbors": 1}),
    "tight blobs": (tight_blobs(), 2, {}),
    "unlinked blobs": (far_blobs([0.0, 1.0, 10.0, 30.0]), 2, {}),
    "long paths": (noise(14, n=60), 3, {"z": 0.5}),
    "longer paths": (blobs(15, n=50), 3, {"z": 0.9}),
    "short paths": (blobs(16, n=80), 3, {"z": 0.001}),
    "isolated sample": (np.vstack([noise(17, n=60), [[90.0, 0.0]]]), 3, {}),
    # 20 neighbours are two copies and six others three times: no neighbour is chosen among equals.
    "triplicates": (np.repeat(noise(18, n=30), 3, axis=0), 4, {}),
    "images three times": (np.repeat(digits(40), 3, axis=0), 5, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_definition(name):
    x, n_clusters, options = CASES[name]
    labels, n_unlinked = clustering_and_count(x, n_clusters, **options)
    expected, expected_unlinked = dense_clustering(x, n_clusters, **options)
    np.testing.assert_array_equal(labels, expected)
    assert n_unlinked == expected_unlinked


def test_cases_reach_both_ways_to_start_and_to_merge():
    starts = {len(dense_components(dense_transitions(x, 20)[1])) < k for x, k, _ in CASES.values()}
    counts = {name: dense_clustering(x, k, **o)[1] for name, (x, k, o) in CASES.items() if "n_neighbors" in o}
    assert starts == {False, True}
    assert counts["one neighbour"] > 1


def mixture(seed, n, width, centers):
    """(n, width) with overlap and with outliers: heavy tails around each centre."""
    rng = np.random.default_rng(seed)
    means = rng.normal(0.0, 2.0, (centers, width))
    return means[rng.integers(0, centers, n)] + rng.exponential(1.0, (n, 1)) * rng.standard_normal((n, width))


def hub(n=120, width=50):
    """A sample that is everyone's nearest: one first group, and then one group that takes in all the others."""
    x = np.random.default_rng(0).standard_normal((n, width))
    x[0] = 0.0
    return x


def digits_embedding():
    return PCA(10, random_state=0).fit_transform(load_digits().data)


# two large groups, and around them three small ones that share no link with them
FAR_STRAYS = np.vstack([blobs(30, n=100, centers=2, width=2), *(noise(k, n=5) + 99.0 * k for k in (31, 32, 33))])
# samples, clusters, options, and whether the demand for large ones changes what is found
STRAY_CASES = {
    **{f"plane-{seed}": (mixture(seed, 120, 2, 4), 4, {"smallest": 6}, True) for seed in (1, 5)},
    **{f"space-{seed}": (mixture(seed, 150, 3, 5), 5, {"smallest": 6}, True) for seed in (2, 5, 7)},
    "unlinked": (FAR_STRAYS, 2, {"smallest": 30, "n_neighbors": 3}, True),
    "as large as can be": (mixture(1, 100, 5, 4), 4, {"smallest": 18}, True),
    "all large at the end": (mixture(0, 120, 2, 4), 4, {"smallest": 6}, False),
    "never so many at a time": (noise(8, n=40), 10, {"smallest": 4}, False),
}


@pytest.mark.parametrize("name", STRAY_CASES)
def test_equals_the_definition_where_small_groups_do_not_count(name):
    x, n_clusters, options, changes = STRAY_CASES[name]
    labels, n_unlinked = clustering_and_count(x, n_clusters, **options)
    expected, expected_unlinked = dense_clustering(x, n_clusters, **options)
    np.testing.assert_array_equal(labels, expected)
    assert n_unlinked == expected_unlinked
    assert changes == (clustering_and_count(x, n_clusters, **options | {"smallest": 1})[0] != labels).any()
    assert not changes or np.bincount(labels).min() >= options["smallest"]


LARGE_CASES = {
    "plane": (lambda: mixture(0, 300, 2, 4), 4),
    "ten dimensions": (lambda: mixture(1, 500, 10, 8), 8),
    "thirty dimensions": (lambda: mixture(2, 500, 30, 5), 5),
    "five dimensions": (lambda: mixture(3, 800, 5, 10), 10),
    "thousand": (lambda: mixture(4, 1000, 10, 10), 10),
    "two thousand, 64 dimensions": (lambda: mixture(7, 2000, 64, 10), 10),
    "hub": (hub, 5),
    "line": (lambda: np.arange(1.0, 201.0)[:, None] ** 1.5, 5),
    "digits": (digits_embedding, 10),
}


@pytest.mark.parametrize("name", LARGE_CASES)
def test_equals_the_definition_for_many_samples(name):
    make, n_clusters = LARGE_CASES[name]
    x = make()
    labels, n_unlinked = clustering_and_count(x, n_clusters)
    expected, expected_unlinked = dense_clustering(x, n_clusters)
    np.testing.assert_array_equal(labels, expected)
    assert n_unlinked == expected_unlinked


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("width", "centers"), [(3, 6), (4, 5), (10, 12), (20, 30)])
def test_equals_the_definition_for_two_thousand_samples(seed, width, centers):
    x = mixture(seed, 2000, width, centers)
    np.testing.assert_array_equal(clustering_and_count(x, centers)[0], dense_clustering(x, centers)[0])


@pytest.mark.parametrize("name", CASES)
def test_paths_left_out_change_no_label(monkeypatch, name):
    x, n_clusters, options = CASES[name]
    expected = clustering_and_count(x, n_clusters, **options)
    monkeypatch.setattr(path_integrals, "_FEW", 0)
    labels, n_unlinked = clustering_and_count(x, n_clusters, **options)
    np.testing.assert_array_equal(labels, expected[0])
    assert n_unlinked == expected[1]


def test_path_vectors_of_a_large_group_stay_exact():
    """In a chain only what is near a merge is brought up to date."""
    x = np.arange(1.0, 601.0)[:, None] ** 1.5
    neighbors, distances = agglomerative._nearest_neighbors(x, 5)
    edges = agglomerative._transition_graph(neighbors, distances)
    groups = path_integrals.Groups(edges, np.arange(600), 0.01)
    c = 0
    for sample in range(1, 600):
        c = groups.merge(*sorted((c, sample)))
    p = np.zeros((600, 600))
    p[edges.src, edges.dst] = edges.p
    inverse = np.linalg.inv(np.eye(600) - 0.01 * p)
    np.testing.assert_allclose(groups.right, inverse.sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(groups.left, inverse.sum(axis=0), rtol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_transition_graph_equals_the_definition(name):
    x, _, options = CASES[name]
    n_neighbors = options.get("n_neighbors", 20)
    neighbors, distances = agglomerative._nearest_neighbors(x, min(n_neighbors, len(x) - 1))
    edges = agglomerative._transition_graph(neighbors, distances)
    p = np.zeros((len(x), len(x)))
    p[edges.src, edges.dst] = edges.p
    np.testing.assert_allclose(p, dense_transitions(x, n_neighbors)[0], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("few", [0, 256])  # with and without leaving out what is far from the crossing edges
@pytest.mark.parametrize("z", [0.01, 0.5, 0.95])
def test_affinities_and_bounds_hold_through_all_merges(monkeypatch, z, few):
    monkeypatch.setattr(path_integrals, "_FEW", few)
    x = noise(20, n=60, width=4)
    neighbors, distances = agglomerative._nearest_neighbors(x, 8)
    edges = agglomerative._transition_graph(neighbors, distances)
    p = dense_transitions(x, 8)[0]
    groups = path_integrals.Groups(edges, np.arange(60), z)
    rng = np.random.default_rng(0)
    bounds = groups.first_bounds()
    while len(groups.alive) > 2:
        for owner, other, bound in zip(*bounds, strict=True):
            exact = dense_affinity(p, z, groups.members[owner], groups.members[other])
            assert bound >= exact - 1e-13
            for hops in (0, 1, 3, 60):
                lower, upper = groups.affinity(int(other), int(owner), hops)
                assert lower <= exact * (1 + 1e-8) + 1e-13
                assert upper >= exact * (1 - 1e-8) - 1e-13
                if lower == upper or hops == 60:
                    assert lower == upper == pytest.approx(exact, rel=1e-8, abs=1e-13)
        a, b = sorted(rng.choice(sorted(groups.alive), 2, replace=False).tolist())
        c = groups.merge(a, b)
        bounds = groups.bounds(c)
        linked = {
            g
            for g in groups.alive - {c}
            if p[np.ix_(groups.members[c], groups.members[g])].any()
            and p[np.ix_(groups.members[g], groups.members[c])].any()
        }
        assert set(bounds[1].tolist()) == linked
        assert np.all(np.diff(bounds[2]) <= 0)


@pytest.mark.parametrize("n_clusters", [1, 2, 7, 30, 79, 80])
def test_labels_are_k_names_in_order_of_appearance(n_clusters):
    labels = path_integral_clustering(noise(21, n=80), n_clusters)
    assert labels.shape == (80,)
    assert labels.dtype == np.int32
    assert set(labels.tolist()) == set(range(n_clusters))
    np.testing.assert_array_equal(labels, renamed(labels))


def test_first_groups_are_the_components_of_the_nearest_neighbour_graph():
    x = noise(26)
    components = dense_components(dense_transitions(x, 20)[1])
    labels = path_integral_clustering(x, len(components))
    assert all(len(set(labels[c].tolist())) == 1 for c in components)
    assert labels.max() + 1 == len(components)


def test_as_many_clusters_as_samples_needs_no_distances():
    np.testing.assert_array_equal(path_integral_clustering(np.ones((5, 3)), 5), np.arange(5))


def test_finds_well_separated_blobs():
    x, truth = make_blobs(300, 10, centers=6, cluster_std=0.5, random_state=0)
    labels, _ = clustering_and_count(x, 6)
    np.testing.assert_array_equal(labels, renamed(truth))


@pytest.mark.parametrize("seed", range(3))
def test_order_of_samples_does_not_matter(seed):
    x = digits(400)
    order = np.random.default_rng(seed).permutation(len(x))
    labels = path_integral_clustering(x, 10)
    np.testing.assert_array_equal(renamed(path_integral_clustering(x[order], 10)), renamed(labels[order]))


@pytest.mark.parametrize(
    ("factor", "shift"), [(1.0, 1e9), (1e-3, 0.0), (-7.0, 3.0), (1e200, 0.0), (1e-200, 0.0), (1e300, -1e300)]
)
@pytest.mark.parametrize("width", [3, 30])  # the neighbour search is another one above 15 features
def test_scale_and_origin_do_not_matter(factor, shift, width):
    x = blobs(22, n=150, width=width)
    np.testing.assert_array_equal(path_integral_clustering(factor * x + shift, 5), path_integral_clustering(x, 5))


def test_duplicates_stay_together():
    x = np.repeat(noise(23, n=50), 4, axis=0)
    order = np.random.default_rng(0).permutation(len(x))
    labels = path_integral_clustering(x[order], 6)
    by_point = labels[np.argsort(order)].reshape(50, 4)
    assert (by_point == by_point[:, :1]).all()
    assert len(np.unique(labels)) == 6


def test_more_duplicates_than_neighbours():
    # Each point's neighbours are its own copies, so no links run between the points.
    x = np.concatenate([np.repeat([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]], 30, axis=0), noise(24, n=40) + 9.0])
    labels, n_unlinked = clustering_and_count(x, 3)
    np.testing.assert_array_equal(labels, np.repeat([0, 0, 1, 2], [30, 30, 30, 40]))
    assert n_unlinked == 1


def test_isolated_sample_joins_its_nearest():
    x = np.vstack([noise(25, n=100), [[300.0, 0.5]]])
    labels = path_integral_clustering(x, 4)
    nearest = ((x[:100] - x[100]) ** 2).sum(axis=1).argmin()
    assert labels[100] == labels[nearest]


@pytest.mark.parametrize("n_strays", [2, 5])
def test_a_few_strays_are_no_cluster(n_strays):
    """Far from all others they are never linked, and would leave two of the kinds merged."""
    kinds, truth = make_blobs(240, 4, centers=4, cluster_std=0.5, random_state=1)
    x = np.vstack([kinds, kinds[0] + 40.0 + 0.1 * np.arange(n_strays)[:, None]])
    plain, found = (clustering_and_count(x, 4, smallest=smallest)[0] for smallest in (1, n_strays + 1))
    assert np.bincount(plain).min() == n_strays
    np.testing.assert_array_equal(found[:240], renamed(truth))
    means = np.stack([kinds[truth == k].mean(axis=0) for k in range(4)])
    nearest = ((means - x[240:].mean(axis=0)) ** 2).sum(axis=1).argmin()
    np.testing.assert_array_equal(found[240:], found[:240][truth == nearest][0])


def test_unlinked_groups_merge_by_nearest_means_and_warn_once():
    x = far_blobs([0.0, 1.0, 10.0, 30.0])
    with pytest.warns(UserWarning, match=r"^2 of the merges .* n_clusters = 2 .* n_neighbors than 20") as caught:
        labels = path_integral_clustering(x, 2)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(labels, np.tile([0, 0, 0, 1], 25))
    np.testing.assert_array_equal(path_integral_clustering(x, 4), np.tile([0, 1, 2, 3], 25))  # warnings are errors


def test_equal_distances_merge_the_oldest_groups():
    lattice = np.stack(np.meshgrid(np.arange(4.0), np.arange(8.0)), axis=-1).reshape(-1, 2)
    x = np.concatenate([lattice + np.array([1024.0 * i, 0.0]) for i in range(4)])
    labels, n_unlinked = clustering_and_count(x, 3)
    np.testing.assert_array_equal(labels, np.repeat([0, 0, 1, 2], 32))
    assert n_unlinked == 1


@pytest.mark.parametrize(
    "convert",
    [
        np.ndarray.tolist,
        jnp.asarray,
        lambda x: jnp.asarray(x, jnp.bfloat16),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.int8),
        lambda x: np.asfortranarray(x, dtype=np.float32),
    ],
)
def test_any_real_array_will_do(convert):
    x = digits(150)  # whole numbers from 0 to 16: exact in every type
    np.testing.assert_array_equal(path_integral_clustering(convert(x), 8), path_integral_clustering(x, 8))


def test_features_are_left_alone():
    x = digits(60)
    before = x.copy()
    path_integral_clustering(x, 5)
    np.testing.assert_array_equal(x, before)


def test_memory_is_linear_in_samples():
    def peak(n):
        x = make_blobs(n, 10, centers=10, cluster_std=4.0, random_state=0)[0]
        tracemalloc.start()
        path_integral_clustering(x, 10)
        _, top = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return top

    peak(100)  # what is loaded at first use
    small, large = peak(1000), peak(4000)
    assert large < 5 * small
    assert large < 4000 * 4000


X = noise(0, n=30)


def with_value(value):
    x = X.copy()
    x[[7, 9], 1] = value
    return x


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, r"shape \(30,\), but must be 2-D", (X[:, 0], 3)),
        (ValueError, r"shape \(30, 2, 1\), but must be 2-D", (X[:, :, None], 3)),
        (ValueError, r"shape \(30, 0\), but must be 2-D .* at least one feature", (X[:, :0], 3)),
        (ValueError, "ragged", ([[1.0, 2.0], [3.0]], 1)),
        (ValueError, "1 sample.*at least 2", (X[:1], 1)),
        (ValueError, r"NaN or infinity in 2 sample\(s\), the first in row 7", (with_value(np.nan), 3)),
        (ValueError, r"NaN or infinity in 2 sample\(s\), the first in row 7", (with_value(-np.inf), 3)),
        (TypeError, "dtype object, but must hold real numbers", (X.astype(object), 3)),
        (TypeError, "dtype <U32, but must hold real numbers", (X.astype(str), 3)),
        (TypeError, "dtype complex128, but must hold real numbers", (X.astype(complex), 3)),
        (ValueError, "n_clusters is 0, .* from 1 to the number of samples, 30", (X, 0)),
        (ValueError, "n_clusters is 31, .* from 1 to the number of samples, 30", (X, 31)),
        (TypeError, "n_clusters is 3.0, but must be an integer", (X, 3.0)),
        (TypeError, "n_neighbors is '5', but must be an integer", (X, 3, "5")),
        (ValueError, "n_neighbors is 0, but must be at least 1", (X, 3, 0)),
        (ValueError, "z is 0.0, but must lie strictly between 0 and 1", (X, 3, 20, 0.0)),
        (ValueError, "z is 1, but must lie strictly between 0 and 1", (X, 3, 20, 1)),
        (ValueError, "z is nan, but must lie strictly between 0 and 1", (X, 3, 20, np.nan)),
        (TypeError, "z is '0.1', but must be a number", (X, 3, 20, "0.1")),
        (TypeError, "z is None, but must be a number", (X, 3, 20, None)),
        (ValueError, "smallest is 0, .* from 1 to the mean size of 3 clusters of 30", (X, 3, 20, 0.01, 0)),
        (ValueError, "smallest is 11, .* from 1 to the mean size of 3 clusters of 30", (X, 3, 20, 0.01, 11)),
        (TypeError, "smallest is 2.0, but must be an integer", (X, 3, 20, 0.01, 2.0)),
        (ValueError, "same values for every sample and its neighbours", (np.full((30, 2), 0.1), 3)),
    ],
)
def test_bad_input_is_named(error, message, arguments):
    with pytest.raises(error, match=message):
        path_integral_clustering(*arguments)
