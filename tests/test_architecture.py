from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from depict_jax.architecture import Architecture, Convolution

TABLE = {  # image: (kernel, stride, pad) of conv 1 and conv 2, sizes
    (28, 28, 1): ((4, 2, 0), (5, 2, 2), (28, 13, 7)),
    (16, 16, 1): ((4, 2, 0), (5, 2, 2), (16, 7, 4)),
    (32, 32, 3): ((4, 2, 2), (5, 2, 2), (32, 17, 9)),
    (55, 55, 3): ((5, 2, 2), (4, 2, 0), (55, 28, 13)),
}


def sizes_given_back(architecture):
    """What each layer's transposed convolution makes of the layer's output."""
    return [
        tuple((out - 1) * s + k - 2 * p for out, k, s, p in zip(after, c.kernel, c.stride, c.pad, strict=False))
        for c, after in zip(architecture.convolutions, architecture.maps[1:], strict=True)
    ]


def strides(architecture):
    return [convolution.stride for convolution in architecture.convolutions]


@pytest.mark.parametrize("image", TABLE)
def test_the_papers_table(image):
    architecture = Architecture.for_image(image, 10)
    *layers, sizes = TABLE[image]
    expected = tuple(Convolution(50, (kernel,) * 2, (stride,) * 2, (pad,) * 2) for kernel, stride, pad in layers)
    assert architecture.convolutions == expected
    assert architecture.maps == tuple((s, s, c) for s, c in zip(sizes, (image[2], 50, 50), strict=True))
    assert architecture.dropout == (0.1, 0.1, 0.0)
    assert architecture.n_clusters == 10


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [28, 16, 32, 55])
def test_channels_do_not_change_the_layers(side, channels):
    grey = Architecture.for_image((side, side), 10)
    assert Architecture.for_image((side, side, channels), 10).convolutions == grey.convolutions
    assert grey.image == (side, side, 1)


def test_every_square_inverts_and_ends_on_4_to_14():
    for side in range(7, 301):
        architecture = Architecture.for_image((side, side), 2)
        assert sizes_given_back(architecture) == [size[:2] for size in architecture.maps[:-1]], side
        rows, columns, features = architecture.maps[-1]
        assert 4 <= rows == columns <= 14, side
        assert features == 50


def test_rectangles_invert_and_end_on_4_to_14():
    rng = np.random.default_rng(0)
    shapes = [*rng.integers(7, 301, (300, 2)).tolist(), (7, 300), (300, 7), (28, 16), (95, 96)]
    for height, width in shapes:
        architecture = Architecture.for_image((height, width, 3), 2)
        assert sizes_given_back(architecture) == [size[:2] for size in architecture.maps[:-1]], (height, width)
        assert all(4 <= side <= 14 for side in architecture.maps[-1][:2]), (height, width)
        turned = Architecture.for_image((width, height, 3), 2)
        assert [size[1::-1] for size in turned.maps] == [size[:2] for size in architecture.maps]


def test_small_images_keep_stride_one_first():
    architecture = Architecture.for_image((8, 8), 10)
    assert strides(architecture) == [(1, 1), (2, 2)]
    assert [size[0] for size in architecture.maps] == [8, 8, 4]


def test_large_images_take_more_layers():
    for side in range(7, 65):
        assert len(Architecture.for_image((side, side), 2).convolutions) == 2
    for side in range(96, 301):
        architecture = Architecture.for_image((side, side), 2)
        assert len(architecture.convolutions) > 2
        assert set(strides(architecture)) == {(2, 2)}
    assert len(architecture.dropout) == len(architecture.convolutions) + 1


def test_dropout_spares_the_last_convolution():
    assert Architecture.for_image((28, 28), 10, dropout=0.4).dropout == (0.4, 0.4, 0.0)
    assert Architecture.for_image((96, 96), 10, dropout=0.4).dropout == (0.4, 0.4, 0.4, 0.0)


@pytest.mark.parametrize("shape", [(6, 6), (6, 28), (28, 6, 3), (1, 1)])
def test_refuses_small_images(shape):
    with pytest.raises(ValueError, match=f"images are {shape[0]} x {shape[1]} pixels: too small .* 7 x 7"):
        Architecture.for_image(shape, 10)


@pytest.mark.parametrize("shape", [(), (28,), (28, 28, 1, 1), (0, 28), (28, 28, 0), (28, -28)])
def test_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="image shape is ") as error:
        Architecture.for_image(shape, 10)
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("n_clusters", [1, 0, -3])
def test_refuses_fewer_than_two_clusters(n_clusters):
    with pytest.raises(ValueError, match=f"n_clusters is {n_clusters}: expected an integer of at least 2"):
        Architecture.for_image((28, 28), n_clusters)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Convolution(4, (3, 3)), "a side of 8 with kernel 3, stride 2 and pad 0 cannot be inverted: .* is 5"),
        (Convolution(4, (4, 3)), "a side of 8 with kernel 3, stride 2 and pad 0 cannot be inverted"),
        (Convolution(4, (9, 9)), "a side of 8 with kernel 9, stride 2 and pad 0 cannot be inverted: .* is -1"),
        (Convolution(4, (4, 4), (2, 2), (4, 4)), "kernel 4, stride 2, pad 4: expected kernel > pad"),
        (Convolution(4, (4, 4), (2, 2), (-1, 0)), "kernel 4, stride 2, pad -1: expected"),
        (Convolution(4, (4, 4), (0, 2)), "kernel 4, stride 0, pad 0: expected"),
        (Convolution(4, (0, 4)), "kernel 0, stride 2, pad 0: expected"),
    ],
)
def test_refuses_what_cannot_be_inverted(layer, message):
    with pytest.raises(ValueError, match=message):
        Architecture((8, 8, 1), (layer,), 2, (0.0, 0.0))


def test_refuses_a_later_layer_that_cannot_be_inverted():
    first = Convolution(4, (4, 4), (2, 2), (1, 1))
    with pytest.raises(ValueError, match="a side of 4 with kernel 3"):
        Architecture((8, 8, 1), (first, Convolution(4, (3, 3))), 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dropout": (0.1, 0.1)}, "dropout has 2 rates for 2 convolutions"),
        ({"dropout": (0.1,) * 4}, "dropout has 4 rates for 2 convolutions"),
        ({"dropout": (0.1, 1.0, 0.0)}, r"dropout is \(0.1, 1.0, 0.0\): expected rates"),
        ({"dropout": (-0.1, 0.1, 0.0)}, r"dropout is \(-0.1, 0.1, 0.0\): expected rates"),
        ({"dropout": (0.1, 0.1, float("nan"))}, r"dropout is \(0.1, 0.1, nan\): expected rates"),
        ({"convolutions": ()}, "convolutions is empty"),
        ({"convolutions": (Convolution(0, (4, 4)),), "dropout": (0.0, 0.0)}, "expected at least one feature map"),
        ({"n_clusters": 2.5}, "n_clusters is 2.5: expected an integer"),
        ({"image": (8, 8)}, r"image is \(8, 8\): expected"),
        ({"image": (8, 8, 0)}, r"image is \(8, 8, 0\): expected"),
    ],
)
def test_refuses_other_fields(small, fields, message):
    known = {name: getattr(small, name) for name in ("image", "convolutions", "n_clusters", "dropout")}
    with pytest.raises(ValueError, match=message):
        Architecture(**{**known, **fields})


def test_is_a_value():
    one, other = Architecture.for_image((28, 28, 1), 10), Architecture.for_image((28, 28), 10)
    assert one == other
    assert hash(one) == hash(other)  # jit takes it as a static argument
    assert one != Architecture.for_image((28, 28), 11)
    with pytest.raises(FrozenInstanceError):
        one.n_clusters = 3
