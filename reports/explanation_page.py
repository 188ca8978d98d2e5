"""One page with the drawings of what a network saw in images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["ExplainedImage", "explanation_page"]


@dataclass(frozen=True)
class ExplainedImage:
    """An image of the page.

    Attributes:
        image: what the image is called.
        drawings: file beside the page → what it shows, in words.
    """

    image: str
    drawings: Mapping[str, str]


def explanation_page(title: str, lead: str, images: Sequence[ExplainedImage], *, created: str) -> str:
    """Return the page as HTML.

    Args:
        title: what was explained.
        lead: how to read it.
        images: from top to bottom.
        created: UTC, ISO 8601 to the second.
    """
    # Reading this module must not wait for jinja2.
    from reports.rendering import render

    return render("explanations.html", title=title, lead=lead, entries=images, created=created)
