"""Two runs, compared."""

from html import escape
from typing import TYPE_CHECKING, Any

from probe import Difference

if TYPE_CHECKING:
    import pandas as pd

    from linprobe.commands.compare import ComparedRuns

__all__ = ["Comparison"]


class Comparison:
    """What can be said of two runs on the test images that they share; differences are first less second.

    Every number of `probe.Comparison` is an attribute: `n_pictures`, `accuracies`, `accuracy`, `balanced_accuracy`,
    `nll`, `only_first`, `only_second`, `mcnemar`, `p_value`, `detectable`, `n_groups`.
    """

    accuracy: Difference
    p_value: float

    def __init__(self, compared: "ComparedRuns") -> None:
        self._compared = compared

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._compared.found, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._compared.found.__dataclass_fields__} - {"classes"})

    @property
    def is_significant(self) -> bool:
        """Whether the test tells the two apart, at 5%."""
        return self._compared.is_significant

    def classes(self) -> "pd.DataFrame":
        """Return a row per class: `class_name, n, difference, p_value, p_holm`."""
        import pandas as pd

        return pd.DataFrame(list(self._compared.found.classes))

    def __repr__(self) -> str:
        return self._compared.text()

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self._compared.text())}</pre>"
