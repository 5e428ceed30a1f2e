"""A run to look at: the page `report.html`, and pictures for notebooks and papers."""

from .page import write_report
from .pictures import cluster_overview, contact_sheet, ranked_members, thumbnails, training_curves

__all__ = ["cluster_overview", "contact_sheet", "ranked_members", "thumbnails", "training_curves", "write_report"]
