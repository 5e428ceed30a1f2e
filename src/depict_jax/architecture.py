"""The shape of a DEPICT network: image, convolutions, embedding width, corruption rates.

Plain data, free of JAX: whoever needs to know how large a layer is asks here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

FEATURE_MAPS = 50
SMALLEST_SIDE = 7
LAST_MAP = range(4, 15)  # the paper's last maps are 4 to 13 wide; 14 lets 64 x 64 do with two layers


@dataclass(frozen=True)
class Convolution:
    """One convolution; kernel, stride and pad are (rows, columns), the pad is added on both sides."""

    features: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (2, 2)
    pad: tuple[int, int] = (0, 0)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the map that an input of `size` gives.

        Raises:
            ValueError: the transposed convolution would not give `size` back.
        """
        rows, columns = (_convolved(*numbers) for numbers in zip(size, self.kernel, self.stride, self.pad, strict=True))
        return rows, columns


@dataclass(frozen=True)
class Architecture:
    """Encoder and mirrored decoder: convolutions, then one fully connected layer to the embedding.

    The embedding is `n_clusters` wide, as in the paper. `dropout` has one rate for the input and one for each
    convolution's output (0.1, 0.1, 0 in the paper); the embedding is never corrupted.

    Raises:
        ValueError: sizes that are not positive, a layer whose transposed convolution would not give its input's
            size back, or rates outside [0, 1).
    """

    image: tuple[int, int, int]
    convolutions: tuple[Convolution, ...]
    n_clusters: int
    dropout: tuple[float, ...] = (0.1, 0.1, 0.0)

    def __post_init__(self) -> None:
        if len(self.image) != 3 or min(self.image) < 1:
            raise ValueError(f"image is {self.image}: expected (height, width, channels), each at least 1")
        if not hasattr(self.n_clusters, "__index__") or self.n_clusters < 2:
            raise ValueError(f"n_clusters is {self.n_clusters}: expected an integer of at least 2")
        if not self.convolutions:
            raise ValueError("convolutions is empty: expected at least one convolution")
        if min(convolution.features for convolution in self.convolutions) < 1:
            raise ValueError(f"convolutions are {self.convolutions}: expected at least one feature map in each")
        if len(self.dropout) != len(self.convolutions) + 1:
            raise ValueError(
                f"dropout has {len(self.dropout)} rates for {len(self.convolutions)} convolutions: "
                "expected one for the input and one for each convolution"
            )
        if not all(0 <= rate < 1 for rate in self.dropout):
            raise ValueError(f"dropout is {self.dropout}: expected rates of at least 0 and below 1")
        _ = self.maps  # walks the layers, and so refuses what cannot be inverted

    @property
    def maps(self) -> tuple[tuple[int, int, int], ...]:
        """(rows, columns, channels) of z^0 (the image), z^1, ... up to the last convolution's output."""
        sizes = [self.image]
        for convolution in self.convolutions:
            sizes.append((*convolution.output_size(sizes[-1][:2]), convolution.features))
        return tuple(sizes)

    @classmethod
    def for_image(cls, shape: tuple[int, ...], n_clusters: int, dropout: float = 0.1) -> Architecture:
        """The network for images of `shape`, (height, width) or (height, width, channels).

        28x28, 16x16, 32x32 and 55x55 get the paper's table. Any other size gets kernels 4 (even sizes) and 5 (odd
        sizes) at stride 2, so that every layer inverts exactly and the last map is 4 to 14 wide: small images keep
        stride 1 in the first layer, large ones take further layers.

        Args:
            shape: image height, width and, optionally, channels (default 1).
            n_clusters: K, the width of the embedding and of the soft-max head.
            dropout: rate on the input and after every convolution but the last, which the paper leaves alone.

        Raises:
            ValueError: images smaller than 7 x 7, a shape that is not two or three positive numbers, or
                what the class itself refuses.
        """
        if len(shape) not in (2, 3) or min(shape) < 1:
            raise ValueError(f"image shape is {tuple(shape)}: expected (height, width) or (height, width, channels)")
        height, width, channels = (*shape, 1) if len(shape) == 2 else shape
        if min(height, width) < SMALLEST_SIDE:
            raise ValueError(
                f"images are {height} x {width} pixels: too small for the network, which needs at least "
                f"{SMALLEST_SIDE} x {SMALLEST_SIDE}; enlarge them first"
            )
        if (height, width) in _PAPER:
            layers = _PAPER[height, width]
        else:
            depth = next(d for d in range(2, 64) if _plan(max(height, width), d, stride_one_layers=int(d == 2)))
            rows, columns = (_plan(size, depth, stride_one_layers=depth) for size in (height, width))
            assert rows is not None and columns is not None  # a layer of stride 1 fits any size
            layers = tuple(zip(rows, columns, strict=True))
        convolutions = tuple(
            Convolution(FEATURE_MAPS, (row[0], column[0]), (row[1], column[1]), (row[2], column[2]))
            for row, column in layers
        )
        return cls((height, width, channels), convolutions, n_clusters, (*(dropout,) * len(convolutions), 0.0))


Side = tuple[int, int, int]  # kernel, stride and pad along one side of the image


def _square(*layers: Side) -> tuple[tuple[Side, Side], ...]:
    return tuple((layer, layer) for layer in layers)


_PAPER = {
    (28, 28): _square((4, 2, 0), (5, 2, 2)),
    (16, 16): _square((4, 2, 0), (5, 2, 2)),
    (32, 32): _square((4, 2, 2), (5, 2, 2)),
    (55, 55): _square((5, 2, 2), (4, 2, 0)),
}


def _convolved(size: int, kernel: int, stride: int, pad: int) -> int:
    spare = size + 2 * pad - kernel
    if min(kernel, stride) < 1 or pad < 0 or pad >= kernel:
        raise ValueError(f"kernel {kernel}, stride {stride}, pad {pad}: expected kernel > pad >= 0 and stride >= 1")
    if spare < 0 or spare % stride:
        raise ValueError(
            f"a side of {size} with kernel {kernel}, stride {stride} and pad {pad} cannot be inverted: "
            f"size + 2 pad - kernel is {spare}, expected a non-negative multiple of the stride, so that the "
            "decoder's map is as large as the encoder's"
        )
    return spare // stride + 1


def _plan(size: int, depth: int, stride_one_layers: int) -> list[Side] | None:
    """`depth` layers for one side of the image, ending on a map of a wanted size; None where there are none."""
    for leading in range(stride_one_layers + 1):
        for halve in (True, False):  # halving keeps the border; without a pad the map shrinks a little more
            layers, rest = [(5, 1, 2)] * leading, size
            for kernel, stride, pad in _downsampling(rest, depth - leading, halve):
                layers.append((kernel, stride, pad))
                rest = _convolved(rest, kernel, stride, pad)
            if len(layers) == depth and (rest in LAST_MAP or (leading == depth and rest < LAST_MAP.stop)):
                return layers
    return None


def _downsampling(size: int, depth: int, halve: bool) -> Iterator[Side]:
    for _ in range(depth):
        kernel = 5 if size % 2 else 4
        pad = (2 if size % 2 else 1) if halve else 0
        if size + 2 * pad < kernel:
            return
        yield kernel, 2, pad
        size = _convolved(size, kernel, 2, pad)
