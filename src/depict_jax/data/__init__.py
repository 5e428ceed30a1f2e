"""Where images come from: every source gives one `Images`."""

from ..reading import Reading
from .images import Images, Skipped, Stream, as_pixels
from .sources import load, mapped, stream

__all__ = ["Images", "Reading", "Skipped", "Stream", "as_pixels", "load", "mapped", "stream"]
