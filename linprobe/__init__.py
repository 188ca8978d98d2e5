"""A frozen image feature extractor run once over every dataset, and linear probes on the features that are kept."""

import importlib.util
from pathlib import Path

__all__: list[str] = []


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
