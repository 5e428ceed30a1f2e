"""A run to look at: the page `report.html`, and its pictures for notebooks and papers."""

from .advice import warnings_in_words
from .clusters import cluster_overview, cluster_sheet, cluster_sizes
from .confusion import confusion_matrix
from .curves import training_curves
from .layers import feature_maps, layer_errors, reconstruct, reconstruction_sheet
from .maps import embedding_map, two_dimensions
from .mosaics import contact_sheet, thumbnails
from .page import write_report
from .ranking import cluster_groups, ranked_members

__all__ = [
    "cluster_groups",
    "cluster_overview",
    "cluster_sheet",
    "cluster_sizes",
    "confusion_matrix",
    "contact_sheet",
    "embedding_map",
    "feature_maps",
    "layer_errors",
    "ranked_members",
    "reconstruct",
    "reconstruction_sheet",
    "thumbnails",
    "training_curves",
    "two_dimensions",
    "warnings_in_words",
    "write_report",
]
