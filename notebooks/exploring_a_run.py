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
# # Exploring a run
#
# `depict-jax fit` leaves a folder behind. The page in it, `report.html`, answers the first questions; this notebook is
# for the next ones: what the embedding looks like, which images lie next to each other in it, where the clustering is
# unsure, and what each layer of the network keeps of an image.

# %%
# %matplotlib inline
import os
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from depict_jax import DEPICT
from depict_jax.augmentation import changes_of
from depict_jax.checkpoints import load_finished
from depict_jax.data import load
from depict_jax.metrics import scores
from depict_jax.report import (
    cluster_sheet,
    confusion_matrix,
    contact_sheet,
    embedding_map,
    feature_maps,
    layer_errors,
    reconstruct,
    reconstruction_sheet,
    training_curves,
    two_dimensions,
)
from depict_jax.run_folder import read_metrics

options = "--pretrain-epochs 3 --joint-epochs 3" if os.environ.get("DEPICT_NOTEBOOKS") == "small" else ""

# %% [markdown]
# ## The run
#
# Put in your own. `make run` makes the one that is named here; where it is missing, the digits are clustered now, in a
# few minutes. Where your images have no labels, leave out the cells that read `images.labels`.

# %%
run = Path("../runs/digits")
if not run.exists():
    run = Path(tempfile.mkdtemp()) / "digits"
    command = f"depict-jax fit digits --clusters 10 --out {run} --quiet {options}"
    subprocess.run(command.split(), check=True)

# %% [markdown]
# A folder holds the model, what it was trained on and how, and its final predictions. The images are not in it: they
# are read again from where they came from. (A path is the one that `fit` was given: start this notebook in the same
# folder, or name the source yourself.)

# %%
config, state = load_finished(run)
model = DEPICT.load(run)
images = load(config.source, config.reading)
assert images.content_hash == config.content_hash, f"{config.source} does not hold the run's images any more"

p, clusters = model.probabilities_, model.labels_
print(len(images.pixels), "images from", config.source, "in", p.shape[1], "clusters")

# %% [markdown]
# The curves tell whether a stage came to rest, and what joint training did to the clusters.

# %%
training_curves(read_metrics(run))

# %% [markdown]
# ## Embeddings
#
# The clean encoder turns an image into as many numbers as there are clusters, each between -1 and 1: `transform` gives
# them. t-SNE lays them out in the plane so that neighbours stay neighbours (distances between islands mean nothing).

# %%
embeddings = model.transform(images.pixels)
print(embeddings.shape, embeddings.dtype, "from", embeddings.min().round(3), "to", embeddings.max().round(3))

points = two_dimensions(embeddings, "tsne")
embedding_map(points, clusters, title="t-SNE of the embeddings, by cluster")

# %% [markdown]
# The digits have labels. Training never saw them, so they can say what the islands are. Where an island holds two
# colours, the network sees no difference; where one label has two islands, it sees one that we do not make.

# %%
embedding_map(points, images.labels, title="the same, by label")

# %% [markdown]
# The same as a table, clusters in the order that matches the labels best:

# %%
print({name: round(value, 3) for name, value in scores(images.labels, clusters).items()})
confusion_matrix(images.labels, clusters)

# %% [markdown]
# ## Neighbours
#
# Which images are nearest to each other? In each row the first image is the question, the others its nearest neighbours
# in the embedding.


# %%
def neighbours(features, n):
    """The n nearest images of each image, itself first: (N, n) indices."""
    return NearestNeighbors(n_neighbors=n).fit(features).kneighbors(features, return_distance=False)


asked = np.random.default_rng(0).choice(len(images.pixels), 6, replace=False)
near = neighbours(embeddings, 12)
Image.fromarray(contact_sheet(images.pixels[near[asked].ravel()], columns=12))

# %% [markdown]
# The same questions, with neighbours by the pixels themselves:

# %%
near_in_pixels = neighbours(images.pixels.reshape(len(images.pixels), -1).astype(np.float32), 12)
Image.fromarray(contact_sheet(images.pixels[near_in_pixels[asked].ravel()], columns=12))

# %% [markdown]
# How often does a neighbour have the label of the image that asked? Pixels are good at the very nearest ones of such
# small pictures; what the embedding is made for shows farther out.

# %%
ranks = [1, 3, 10, 30, 100]
for name, features in {"embedding": embeddings, "pixels": images.pixels.reshape(len(images.pixels), -1)}.items():
    same = images.labels[neighbours(features.astype(np.float32), max(ranks) + 1)[:, 1:]] == images.labels[:, None]
    print(f"{name:10}", "  ".join(f"nearest {rank}: {same[:, :rank].mean():.3f}" for rank in ranks))

# %% [markdown]
# ## Images that it is unsure of
#
# The largest probability of an image is its **confidence**. Sorted by it, the head of the list is where to look first
# for what the run got wrong, and the images on a border say which clusters are close.

# %%
confidence = p.max(axis=1)
unsure = np.argsort(confidence, kind="stable")[:40]
for i in unsure[:5]:
    first, second = np.argsort(-p[i])[:2]
    print(f"image {i}: cluster {first} ({p[i, first]:.2f}) or {second} ({p[i, second]:.2f})")
Image.fromarray(contact_sheet(images.pixels[unsure], columns=10))

# %% [markdown]
# Is the confidence worth anything? Give every cluster the label that most of its images have, and see how many images
# have that label, tenth by tenth, the most confident tenth first:

# %%
majority = np.array([np.bincount(images.labels[clusters == k], minlength=1).argmax() for k in range(p.shape[1])])
right = (majority[clusters] == images.labels)[np.argsort(-confidence, kind="stable")]
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.bar(range(1, 11), [tenth.mean() for tenth in np.array_split(right, 10)])
axes.set(xlabel="tenth, by falling confidence", ylabel="share with the cluster's label", xticks=range(1, 11))
plt.show()

# %% [markdown]
# In the last tenth, single images went astray: they deserve a second look. A low bar on the left tells of a whole
# cluster. Confidence is about the cluster, not about its meaning: a run that has put two digits into one is sure of
# both.
#
# One cluster from its middle to its borders: the least sure one.

# %%
used = np.unique(clusters)
least_sure = used[np.argmin([confidence[clusters == k].mean() for k in used])]
print("cluster", least_sure)
cluster_sheet(images.pixels, p, int(least_sure))

# %% [markdown]
# ## What each layer keeps
#
# DEPICT's decoder gives back not only the image but the output of every layer, from the embedding alone. In training
# the embedding is that of a corrupted image, and what it is compared with comes from the clean one.

# %%
changes = changes_of(config.settings, images.pixels)
layers = reconstruct(config.architecture, state.train.variables, images.pixels[:100], changes)
reconstruction_sheet(layers, images=12)

# %% [markdown]
# Mean squared errors by layer, beside how much there is to explain, the variance of the layer's output:

# %%
for layer, (z, *errors) in enumerate(zip(layers.clean, *layer_errors(layers), strict=True)):
    variance = z.var(axis=0).mean()
    print(f"layer {layer}  {z.shape[1:]}  variance {variance:.4f}  error, clean {errors[0]:.4f}, noisy {errors[1]:.4f}")

# %% [markdown]
# An error above the variance means that the layer's mean would do better. A few numbers cannot give back everything,
# and the hidden layers count a tenth of the image in the loss (`hidden_weight`). One image's maps in the hidden layers,
# with what the decoder makes of them:

# %%
feature_maps(layers, image=0)
