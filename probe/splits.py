"""The language of splits: TFDS's own slices, and parts that a seed draws.

    train                           a base split, whole
    train[:80%]                     its first 80%, rounded as TFDS does ("closest")
    train[10%:20%]+train[50:70]     sums, absolute bounds
    train[-100:]                    negative bounds count from the end
    all                             every base split (unless one is called `all`)
    all/draw0[:80%]                 80% of a base split, drawn by seed 0, and every class that can be in both parts
    all/draw0[80%:]                 the other 20%
    all/seed0[10%:20%]              what seed 0 draws to these positions, whatever it holds; see `probe.draws`

Positions are positions in the source, quarantined images included: an image that cannot be
decoded leaves a hole and shifts nothing.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from probe.errors import SplitError, nearest

__all__ = ["Draw", "Range", "Slice", "base_splits", "drawn", "parse_split"]

_TERM = re.compile(r"(?P<base>[\w-]+)(?:/(?P<how>seed|draw)(?P<seed>\d+))?(?:\[(?P<selector>[\d\w%:.-]*)\])?")
_TERMS = re.compile(r"\s*\+\s*")
_BOUND = re.compile(r"(?:(?P<value>-?[\d_.]+)(?P<unit>%|shard)?)?")
_HOW = "write it as TFDS does, such as 'train', 'train[:80%]' or 'train[10%:20%]+train[50:70]'"


@dataclass(frozen=True)
class Range:
    """Candidates `start` to `stop` (exclusive) of a base split; empty where stop ≤ start."""

    base: str
    start: int
    stop: int


@dataclass(frozen=True)
class Draw:
    """The members of a base split whose drawn position lies in [low, high) percent.

    Attributes:
        keeps_classes: whether it is one of two parts that keep every class, `low` 0 or `high` 100: see
            `probe.draws.draw_two`.
    """

    base: str
    seed: int
    low: float
    high: float
    keeps_classes: bool = False


Slice = Range | Draw


def drawn(base: str, seed: int, bounds: str) -> str:
    """Return how a drawn part is written, such as `all/draw0[:80%]`."""
    return f"{base}/draw{seed}[{bounds}]"


def parse_split(spec: str, candidates: Mapping[str, int]) -> tuple[Slice, ...]:
    """Parse a split.

    Args:
        spec: the split as text.
        candidates: base split → how many images it has, quarantined ones included.

    Returns:
        The terms of the sum, in order; neighbouring ranges that continue each other are joined, so
        that `train[:50%]+train[50%:]` and `train` are the same.

    Raises:
        SplitError: it cannot be read, or names a base split that does not exist.
    """
    terms: list[Slice] = []
    for text in _TERMS.split(spec.strip()):
        for term in _parse_term(text, spec, candidates):
            last = terms[-1] if terms else None
            if _is_empty(term):
                continue
            if isinstance(term, Range) and isinstance(last, Range) and _end(last) == (term.base, term.start):
                terms[-1] = Range(term.base, last.start, term.stop)
            else:
                terms.append(term)
    return tuple(terms)


def base_splits(spec: str, names: Sequence[str]) -> list[str]:
    """Return the base splits that a split draws on, without knowing how many images they have.

    Args:
        spec: the split as text.
        names: the base splits that there are.

    Raises:
        SplitError: it cannot be read, or names a base split that does not exist.
    """
    found: list[str] = []
    for text in _TERMS.split(spec.strip()):
        bases, _, _ = _read_term(text, spec, names)
        found += bases
    return list(dict.fromkeys(found))


def _end(term: Range) -> tuple[str, int]:
    return term.base, term.stop


def _is_empty(term: Slice) -> bool:
    return term.high <= term.low if isinstance(term, Draw) else term.stop <= term.start


def _read_term(text: str, spec: str, names: Collection[str]) -> tuple[list[str], re.Match[str] | None, str | None]:
    """Return the base splits that a term names, all for the word `all`; its draw if it is one; and its selector."""
    match = _TERM.fullmatch(text)
    if match is None:
        raise SplitError(f"split {spec!r}: {text!r} cannot be read; {_HOW}.")
    base = match["base"]
    if base in names:
        return [base], match if match["how"] else None, match["selector"]
    if text == "all":
        return sorted(names), None, None
    raise SplitError(f"split {spec!r}: there is no base split {base!r}; {nearest(base, names)}.")


def _parse_term(text: str, spec: str, candidates: Mapping[str, int]) -> list[Slice]:
    bases, draw, selector = _read_term(text, spec, candidates)
    if draw is None and selector is None:
        return [Range(name, 0, candidates[name]) for name in bases]
    (base,) = bases
    low, high, unit = _bounds(selector, text, spec)
    if draw is not None:
        seed = int(draw["seed"])
        if unit != "%" and (low, high) != (None, None):
            raise SplitError(f"split {spec!r}: a drawn part takes percent, such as {drawn(base, seed, ':80%')!r}.")
        part = Draw(base, seed, _percent(low, 0.0), _percent(high, 100.0), draw["how"] == "draw")
        if part.keeps_classes and part.low > 0 and part.high < 100:
            raise SplitError(
                f"split {spec!r}: a draw that keeps every class has two parts, such as {drawn(base, seed, ':80%')!r} "
                f"and {drawn(base, seed, '80%:')!r}; '{base}/seed{seed}[{selector}]' draws what lies between."
            )
        return [part]
    return [_range(base, low, high, unit=unit, count=candidates[base], spec=spec)]


def _bounds(selector: str | None, text: str, spec: str) -> tuple[float | None, float | None, str]:
    """Return lower bound, upper bound (None: open) and unit of a selector such as `10%:-5%`."""
    if selector is None:
        return None, None, ""
    bounds = [_BOUND.fullmatch(bound) for bound in selector.split(":")]
    if len(bounds) != 2 or None in bounds or selector == ":":
        raise SplitError(f"split {spec!r}: {text!r} cannot be read; {_HOW}.")
    matches = [bound for bound in bounds if bound is not None]
    # As in TFDS, the first unit that is written holds for both bounds.
    unit = next((bound["unit"] for bound in matches if bound["unit"]), "")
    if unit == "shard":
        raise SplitError(f"split {spec!r}: sets know no shards of the source; use percent or positions.")
    try:
        values = [None if b["value"] is None else (float if unit else int)(b["value"]) for b in matches]
    except ValueError as error:
        raise SplitError(f"split {spec!r}: {text!r} cannot be read ({error}); {_HOW}.") from error
    if unit and any(abs(value) > 100 for value in values if value is not None):
        raise SplitError(f"split {spec!r}: percent lie between -100 and 100.")
    return values[0], values[1], unit


def _percent(bound: float | None, default: float) -> float:
    if bound is None:
        return default
    return bound + 100.0 if bound < 0 else float(bound)


def _range(base: str, low: float | None, high: float | None, *, unit: str, count: int, spec: str) -> Range:
    """Resolve bounds to positions.

    Source: tensorflow_datasets.core.splits, `_rel_to_abs_instr` with rounding "closest".
    """
    if unit == "%":
        low = None if low is None else round(low * count / 100.0)
        high = None if high is None else round(high * count / 100.0)
    start = 0 if low is None else int(low)
    stop = count if high is None else int(high)
    if abs(start) > count or abs(stop) > count:
        raise SplitError(f"split {spec!r}: {base!r} has {count} candidates, positions up to {max(start, stop)} asked.")
    return Range(base, start + count if start < 0 else start, stop + count if stop < 0 else stop)
