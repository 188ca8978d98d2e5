"""Templates to HTML. Every text that comes from data is escaped, and made visible first."""

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.wording import confidence, number, percent, plain, points, shorten, visible

__all__ = ["Page", "render"]

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Page:
    """A page and what it shows.

    Attributes:
        html: the whole document.
        figures: file name in the site's folder of figures → SVG bytes.
    """

    html: str
    figures: dict[str, bytes]


def render(template: str, **context: Any) -> str:
    """Return a template of `reports/templates` as HTML."""
    return _environment().get_template(template).render(**context) + "\n"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(
        confidence=confidence, number=number, percent=percent, plain=plain, points=points, shorten=shorten
    )
    script = (_TEMPLATES / "sort.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Both are files of ours. The digest goes into the page's policy: no other script runs on it.
    environment.globals.update(
        style=Markup((_TEMPLATES / "style.css").read_text("utf-8")), script=Markup(script), script_digest=digest
    )
    return environment


def _finalize(value: object) -> object:
    return value if isinstance(value, Markup) else visible(value)
