"""Results to pages: the leaderboard as a table and as text, and a site of plain files.

Importing this package loads neither matplotlib nor jinja2 nor scikit-learn; writing a site does.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.errors import DuplicateRun, InvalidRun, NotAReport, NothingToReport, ReportError
    from reports.examples import grid_examples
    from reports.ranking import leaderboard
    from reports.site import write_site
    from reports.tables import summary_lines, to_csv, to_json, to_markdown
    from reports.thumbnails import ImageLookup

__all__ = [
    "DuplicateRun",
    "ImageLookup",
    "InvalidRun",
    "NotAReport",
    "NothingToReport",
    "ReportError",
    "grid_examples",
    "leaderboard",
    "summary_lines",
    "to_csv",
    "to_json",
    "to_markdown",
    "write_site",
]

# Where each public name lives; its module is imported when the name is first asked for.
_HOMES = {
    "DuplicateRun": "reports.errors",
    "ImageLookup": "reports.thumbnails",
    "InvalidRun": "reports.errors",
    "NotAReport": "reports.errors",
    "NothingToReport": "reports.errors",
    "ReportError": "reports.errors",
    "grid_examples": "reports.examples",
    "leaderboard": "reports.ranking",
    "summary_lines": "reports.tables",
    "to_csv": "reports.tables",
    "to_json": "reports.tables",
    "to_markdown": "reports.tables",
    "write_site": "reports.site",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
