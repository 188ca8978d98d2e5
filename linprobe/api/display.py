"""How objects of the API print: as text, and as a table in a notebook."""

from collections.abc import Sequence
from html import escape

__all__ = ["Described"]


class Described:
    """What prints as a title with a line for each of its facts."""

    def _title(self) -> str:
        raise NotImplementedError

    def _facts(self) -> Sequence[tuple[str, str]]:
        """Return what a reader wants to know: (name, value) each."""
        raise NotImplementedError

    def __repr__(self) -> str:
        facts = self._facts()
        width = max((len(name) for name, _ in facts), default=0)
        return "\n".join([self._title(), *(f"  {name:<{width}}  {value}" for name, value in facts)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(value)}</td></tr>'
            for name, value in self._facts()
        )
        return f"<table><caption><b>{escape(self._title())}</b></caption>{rows}</table>"
