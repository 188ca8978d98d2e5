"""One page with the drawings of what a network saw in pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["ExplainedPicture", "explanation_page"]


@dataclass(frozen=True)
class ExplainedPicture:
    """A picture of the page.

    Attributes:
        image: what the picture is called.
        drawings: file beside the page → what it shows, in words.
    """

    image: str
    drawings: Mapping[str, str]


def explanation_page(title: str, lead: str, pictures: Sequence[ExplainedPicture], created: str) -> str:
    """Return the page as HTML.

    Args:
        title: what was explained.
        lead: how to read it.
        pictures: from top to bottom.
        created: UTC, ISO 8601 to the second.
    """
    # Reading this module must not wait for jinja2.
    from reports.rendering import render

    return render("explanations.html", title=title, lead=lead, entries=pictures, created=created)
