# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: -all
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own images
#
# From a folder of pictures to a sorted folder: first by the command line, which needs no Python at all, then the same
# from Python.

# %%
# %matplotlib inline
import csv
import os
import tempfile
from collections import Counter
from html import escape
from pathlib import Path

import numpy as np
from IPython.display import IFrame
from PIL import Image

os.chdir(tempfile.mkdtemp())  # all that follows happens in a folder of its own
os.environ.pop("FORCE_COLOR", None)  # Jupyter sets it, and commands take it for a terminal where bars can move
os.environ["OPTIONS"] = "--pretrain-epochs 3 --joint-epochs 3" if os.environ.get("DEPICT_NOTEBOOKS") == "small" else ""

# %% [markdown]
# ## A folder of pictures
#
# Put yours in its place. Any format that Pillow reads will do, in subfolders too, of any size and of mixed sizes, grey
# or colour; what is no picture is skipped and listed. Here the folder is made: 1,797 handwritten digits as PNG files,
# and a file that does not belong there.

# %%
from sklearn.datasets import load_digits

pictures = Path("pictures")
pictures.mkdir()
for number, digit in enumerate(load_digits().images):
    Image.fromarray(np.uint8(digit * 15.9)).save(pictures / f"scan-{number:04}.png")
(pictures / "readme.txt").write_text("Scanned in 1998.\n")

print(len(list(pictures.iterdir())), "files, among them", *sorted(path.name for path in pictures.iterdir())[:4])

# %% [markdown]
# ## Look before you start
#
# `data info` says what would be read, at which size, and what would be skipped. It takes seconds and saves you from
# clustering the wrong thing.

# %% language="bash"
# depict-jax data info pictures

# %% [markdown]
# ## Cluster and sort
#
# You choose the number of clusters; if you do not know it, rather take a few too many: clusters that belong together
# are quickly merged by eye. `--copy-into` copies every picture into a folder for its cluster. The originals are read
# and never touched; `--link-into` makes links in place of copies, which take no room.

# %% language="bash"
# depict-jax fit pictures --clusters 10 --out run --copy-into sorted $OPTIONS

# %% [markdown]
# ## What came out
#
# The sorted pictures, a folder for each cluster:

# %%
for folder in sorted(Path("sorted").iterdir()):
    names = sorted(path.name for path in folder.iterdir())
    print(f"{folder}  {len(names):4} pictures:", ", ".join(names[:3]), "...")

# %% [markdown]
# `run/assignments.csv` has a line for each picture, with its file's name, its cluster, and how sure the model is (1 is
# certain). Any spreadsheet opens it.

# %%
print(*Path("run/assignments.csv").read_text().splitlines()[:5], sep="\n")

with open("run/assignments.csv", newline="") as file:
    rows = list(csv.DictReader(file))
print("\nclusters and their sizes:", dict(sorted(Counter(int(row["cluster"]) for row in rows).items())))
print("the least sure:", [row["name"] for row in sorted(rows, key=lambda row: float(row["confidence"]))[:5]])

# %% [markdown]
# `run/report.html` is the page to look at and to send around: one file with every cluster's most typical and least
# certain pictures, warnings in words, and what to try next.

# %%
page = Path("run/report.html").read_text()
IFrame("about:blank", "100%", 700, extras=[f'srcdoc="{escape(page)}"'])

# %% [markdown]
# ## New pictures
#
# The run's folder holds the model, so pictures that come later need no training:

# %% language="bash"
# mkdir later && cp pictures/scan-000?.png later
# depict-jax predict run later --out later.csv --copy-into later-sorted
# cut -d , -f 1-4 later.csv
# ls later-sorted

# %% [markdown]
# ## The same from Python
#
# `load` reads the folder, `DEPICT.load` the run that the command line made. (To train from Python, `DEPICT` is a
# scikit-learn estimator: `DEPICT(n_clusters=10).fit(images.pixels)`.)

# %%
from depict_jax import DEPICT
from depict_jax.data import load
from depict_jax.report import cluster_overview

images = load("pictures")
print(images.pixels.shape, images.pixels.dtype, "without labels" if images.labels is None else "with labels")
print("first file:", images.names[0], "  skipped:", *images.skipped)

model = DEPICT.load("run")
cluster_overview(images.pixels, model.probabilities_)

# %% [markdown]
# Files are found by their cluster, and everything else is NumPy:

# %%
cluster = model.labels_[0]
alike = np.flatnonzero(model.labels_ == cluster)
alike = alike[np.argsort(-model.probabilities_[alike, cluster])]
print(f"most typical of the cluster of {images.names[0]}:", [images.names[i] for i in alike[:5]])

# %% [markdown]
# ## If it does not come out as hoped
#
# * **The clusters follow something else** (background, brightness, size): the model sees whole pictures. Crop to what
#   matters; `--fit crop` keeps the middle.
# * **Pictures of very different sizes** are brought to one; `--image-size 64` keeps more than the default of 32.
# * **A cluster is empty, or one swallows others**: another `--seed` or other `--clusters`. The report says which it is.
# * **Known shares**: `--prior 0.5 0.3 0.2` says how large the clusters should be, `--prior-weight` how strictly.
