"""On which page of a file a place in its text is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from stateless_rag.checks import whole

__all__ = ["page_at"]


def page_at(metadata: Mapping[str, Any], start: int) -> int | None:
    """The page, from 1, on which a character of a document is that was a PDF; None where it has no pages.

    `metadata` is that of the document, `start` an offset in its text, such as a reference has.

    >>> page_at({"pages": [0, 1200, 2400]}, 1300)
    2
    """
    pages = metadata.get("pages")
    if not isinstance(pages, list | tuple) or not pages:
        return None
    return max(1, bisect_right(pages, whole("start", start)))
