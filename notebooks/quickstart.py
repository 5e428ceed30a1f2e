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
# # Images to clusters in five cells
#
# depict-jax groups images by what they show, without a label: you give images and a number of clusters. Run the cells
# from top to bottom, on a CPU, a GPU or a TPU (in Colab: *Runtime*, *Change runtime type*).
#
# ## 1. Install
#
# Where depict-jax is there already, this cell installs nothing. Elsewhere set `SOURCE` to what pip should install:
# `git+https://` and the address of the repository, or a folder with its code; `..` is right for a notebook that lies
# in the repository. The JAX that is there stays as it is, since in Colab it is the one that knows the machine's GPU or
# TPU: pip is told to keep its version, and NumPy's.

# %%
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

SOURCE = ".."
options = {"pretrain_epochs": 3, "joint_epochs": 3} if os.environ.get("DEPICT_NOTEBOOKS") == "small" else {}

if importlib.util.find_spec("depict_jax") is None:
    there = {found.name: found.version for found in importlib.metadata.distributions()}
    kept = [f"{name}=={there[name]}" for name in there if re.match("jax|libtpu|numpy", str(name))]
    Path("constraints.txt").write_text("\n".join(kept))
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "-c", "constraints.txt", SOURCE], check=True)

# %% [markdown]
# ## 2. What it will run on

# %%
# %matplotlib inline
import tempfile
from html import escape

import jax
from IPython.display import IFrame

from depict_jax import DEPICT
from depict_jax.data import load
from depict_jax.metrics import scores
from depict_jax.report import cluster_overview, write_report

print("JAX", jax.__version__, "on", jax.devices())

# %% [markdown]
# ## 3. Cluster
#
# scikit-learn brings 1,797 handwritten digits of 8 x 8 pixels. `load` reads many other sources too: a folder of
# pictures, the name of a data set, a file. The model is a scikit-learn estimator; it sees the pixels and nothing else.

# %%
images = load("digits")
model = DEPICT(n_clusters=10, verbose=True, **options)
clusters = model.fit_predict(images.pixels)

# %% [markdown]
# ## 4. Look
#
# A row for each cluster, its most typical images first.

# %%
cluster_overview(images.pixels, model.probabilities_)

# %% [markdown]
# ## 5. Score and report
#
# The digits come with labels, which serve for this score alone (1 is perfect). `save` writes a folder with the model
# and `assignments.csv`, a line for each image; `write_report` adds `report.html`, a page that can be sent to anybody.

# %%
print({name: round(value, 3) for name, value in scores(images.labels, clusters).items()})

folder = Path(tempfile.mkdtemp()) / "digits"
model.save(folder)
page = write_report(folder, images)
print("the page and the model are in", folder)
IFrame("about:blank", "100%", 700, extras=[f'srcdoc="{escape(page.read_text())}"'])

# %% [markdown]
# ## And now
#
# * [your_own_images](your_own_images.ipynb): a folder of pictures, sorted into a folder for each cluster.
# * [exploring_a_run](exploring_a_run.ipynb): embeddings, neighbours, uncertain images, what each layer keeps.
# * [derivation](derivation.ipynb): where the targets of the training come from.
