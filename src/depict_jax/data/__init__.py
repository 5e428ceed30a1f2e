"""Where images come from: every source gives one `Images`."""

from .images import Images, as_pixels
from .sources import load, stream

__all__ = ["Images", "as_pixels", "load", "stream"]
