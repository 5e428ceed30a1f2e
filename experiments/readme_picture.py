"""The README's picture from a finished run: a row of most typical images for each cluster."""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.text import Text

from depict_jax.checkpoints import load_finished
from depict_jax.data import load
from depict_jax.report import cluster_overview

GREY = "#7d8590"  # legible on GitHub's white and on its dark background


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("out", type=Path, help="PNG to write")
    arguments = parser.parse_args()

    config, state = load_finished(arguments.run)
    images = load(config.source)
    if images.content_hash != config.content_hash:
        parser.error(f"{config.source} no longer holds the images that {arguments.run} was trained on")
    figure = cluster_overview(images.pixels, np.asarray(state.p))
    for text in figure.findobj(Text):
        text.set_color(GREY)
    figure.savefig(arguments.out, format="png", dpi="figure")


if __name__ == "__main__":
    main()
