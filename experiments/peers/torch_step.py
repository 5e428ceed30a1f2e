"""The joint training step in PyTorch, written by hand, to compare ours against.

Run by `make bench-step` in an environment of its own; prints one JSON line per epoch: {"ms_per_step": ...}.
"""

import argparse
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

FEATURES = 50


class Depict(nn.Module):
    """The paper's network for grey images: three pathways, one set of encoder weights, soft-max head."""

    def __init__(self, side: int, first: tuple[int, int, int], second: tuple[int, int, int], n_clusters: int):
        super().__init__()
        (k1, s1, p1), (k2, s2, p2) = first, second
        self.last = ((side + 2 * p1 - k1) // s1 + 1 + 2 * p2 - k2) // s2 + 1
        flat = FEATURES * self.last**2
        self.conv1 = nn.Conv2d(1, FEATURES, k1, stride=s1, padding=p1)
        self.conv2 = nn.Conv2d(FEATURES, FEATURES, k2, stride=s2, padding=p2)
        self.embedding = nn.Linear(flat, n_clusters)
        self.expand = nn.Linear(n_clusters, flat)
        self.deconv2 = nn.ConvTranspose2d(FEATURES, FEATURES, k2, stride=s2, padding=p2)
        self.deconv1 = nn.ConvTranspose2d(FEATURES, 1, k1, stride=s1, padding=p1)
        self.head = nn.Linear(n_clusters, n_clusters)

    def encode(self, x: torch.Tensor, rate: float) -> tuple[torch.Tensor, ...]:
        """z^0 .. z^3, corrupted where rate is positive."""
        z0 = F.dropout(x, rate) if rate else x
        z1 = F.leaky_relu(self.conv1(z0), 0.01)
        z1 = F.dropout(z1, rate) if rate else z1
        z2 = F.leaky_relu(self.conv2(z1), 0.01)
        return z0, z1, z2, torch.tanh(self.embedding(z2.flatten(1)))

    def forward(self, x: torch.Tensor, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """L_R + cross entropy, and the clean predictions."""
        *_, noisy = self.encode(x, 0.1)
        clean = self.encode(x, 0.0)
        d2 = F.leaky_relu(self.expand(noisy), 0.01).view(-1, FEATURES, self.last, self.last)
        d1 = F.leaky_relu(self.deconv2(d2), 0.01)
        d0 = torch.tanh(self.deconv1(d1))
        reconstruction = F.mse_loss(d0, x) + 0.1 * F.mse_loss(d1, clean[1]) + 0.1 * F.mse_loss(d2, clean[2])
        cross_entropy = -(q * F.log_softmax(self.head(noisy), 1)).sum(1).mean()
        return reconstruction + cross_entropy, F.softmax(self.head(clean[3]).detach(), 1)


def layer(words: str) -> tuple[int, int, int]:
    """kernel,stride,pad."""
    kernel, stride, pad = (int(word) for word in words.split(","))
    return kernel, stride, pad


def main() -> None:
    """Time epochs of random images; one JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--first", type=layer, default=(4, 2, 0), help="kernel,stride,pad of the first convolution")
    parser.add_argument("--second", type=layer, default=(5, 2, 2))
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--layout", choices=["channels_last", "nchw"], default="channels_last")
    parser.add_argument("--compile", action="store_true", help="torch.compile the loss and its gradient")
    parser.add_argument("--serve", action="store_true", help="time one epoch for each line read from stdin")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    side, batch = arguments.side, arguments.batch_size
    layout = torch.channels_last if arguments.layout == "channels_last" else torch.contiguous_format
    network = Depict(side, arguments.first, arguments.second, arguments.clusters)
    model = network.to(memory_format=layout)
    loss_of = torch.compile(model) if arguments.compile else model
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    images = torch.randint(0, 256, (arguments.images, 1, side, side), dtype=torch.uint8)
    targets = torch.full((arguments.images, arguments.clusters), 1 / arguments.clusters)

    def epoch(steps: int) -> float:
        collected = torch.zeros(arguments.images, arguments.clusters)
        order = torch.randperm(arguments.images)
        start = time.perf_counter()
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            x = ((images[chosen].float() - 127.5) / 127.5).contiguous(memory_format=layout)
            loss, p = loss_of(x, targets[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            collected[chosen] = p
        return (time.perf_counter() - start) * 1000 / steps

    steps = arguments.images // batch
    epoch(min(steps, 10))  # warm up: oneDNN and the compiler build their kernels
    if arguments.serve:
        print("ready", flush=True)
        for _ in sys.stdin:
            print(json.dumps({"ms_per_step": epoch(steps)}), flush=True)
    else:
        print(json.dumps({"ms_per_step": epoch(steps)}), flush=True)


if __name__ == "__main__":
    main()
