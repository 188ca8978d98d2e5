"""A frozen image feature extractor run once over every dataset, and linear probes on the features that are kept.

    import linprobe as lp

    ws = lp.open()
    flowers = ws.extract("folder:flowers", name="flowers")
    runs = flowers.probes(["dense", "logistic"])
    ws.compare(runs[0], runs[1])
    ws.report()

Nothing heavy is imported before it is needed: neither TensorFlow nor scikit-learn, pandas or matplotlib.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linprobe.api.comparison import Comparison
    from linprobe.api.errors import LinprobeError, WorkspaceClosed
    from linprobe.api.features import Features
    from linprobe.api.images import Images, images
    from linprobe.api.runs import Explanation, Run, Runs
    from linprobe.api.transformer import FeatureExtractor
    from linprobe.api.workspace import Workspace
    from linprobe.api.workspace import open_workspace as open
    from probe import SoftmaxPathCV
    from store import FeatureStore

__version__: str

__all__ = [
    "Comparison",
    "Explanation",
    "FeatureExtractor",
    "FeatureStore",
    "Features",
    "Images",
    "LinprobeError",
    "Run",
    "Runs",
    "SoftmaxPathCV",
    "Workspace",
    "WorkspaceClosed",
    "__version__",
    "images",
    "open",
]

# Public name → module and, where it differs, the name there.
_HOMES = {
    "Comparison": "linprobe.api.comparison",
    "Explanation": "linprobe.api.runs",
    "FeatureExtractor": "linprobe.api.transformer",
    "FeatureStore": "store",
    "Features": "linprobe.api.features",
    "Images": "linprobe.api.images",
    "LinprobeError": "linprobe.api.errors",
    "Run": "linprobe.api.runs",
    "Runs": "linprobe.api.runs",
    "SoftmaxPathCV": "probe",
    "Workspace": "linprobe.api.workspace",
    "WorkspaceClosed": "linprobe.api.errors",
    "images": "linprobe.api.images",
    "open": "linprobe.api.workspace:open_workspace",
}


def _refuse_hidden_packages() -> None:
    """Raise ImportError where a file of the working directory, such as `extract.py`, is imported for a package of ours.

    Python would fail later, with an error that names neither.
    """
    home = Path(__file__).parent.parent
    for name in ("extract", "probe", "store", "reports"):
        spec = importlib.util.find_spec(name)
        found = spec.origin if spec else None
        if found is not None and Path(found).parent.parent != home:
            # With our own name in it, 'python -m linprobe' prints the sentence alone.
            raise ImportError(
                f"{found} hides linprobe's package {name!r}, expected at {home / name}; rename it, or work in another "
                "folder.",
                name="linprobe",
            )


_refuse_hidden_packages()


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("linprobe")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, own = _HOMES[name].partition(":")
    found = getattr(importlib.import_module(module), own or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
