"""Results to pages: the leaderboard as a table and as text, and a site of plain files.

Importing this package loads neither matplotlib nor jinja2 nor scikit-learn; writing a site does.
"""

from reports.errors import DuplicateRun, InvalidRun, NotAReport, NothingToReport, ReportError
from reports.examples import grid_examples
from reports.leaderboard import leaderboard
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
