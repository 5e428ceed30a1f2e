"""What other libraries' errors say, as a part of one sentence of ours."""

from __future__ import annotations

MOST = 300  # characters of a reason: libraries quote bytes of a damaged file, by the page


def in_a_line(error: BaseException) -> str:
    """What `error` says, on one line and of at most `MOST` characters; its kind where it says nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= MOST else text[: MOST - 3] + "..."
