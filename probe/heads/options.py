"""The options of heads: declared once, checked at the edge, complete ever after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probe.errors import OptionError, nearest

__all__ = ["Option", "OptionScalar", "OptionValue", "complete_options"]

OptionScalar = bool | int | float | str
OptionValue = OptionScalar | tuple[OptionScalar, ...]


@dataclass(frozen=True)
class Option:
    """One option of a head.

    Attributes:
        name: as it stands in configurations.
        default: its type is the option's type, or that of what is in it.
        above: numbers must be greater.
        below: numbers must be less.
        least: numbers must be at least this, instead of greater than `above`.
        choices: the only strings allowed.
        grid: what the word "grid" stands for. An option that has one takes lists too: candidates to select from.
    """

    name: str
    default: OptionValue
    above: float = 0.0
    below: float = float("inf")
    least: float | None = None
    choices: tuple[str, ...] = ()
    grid: tuple[OptionScalar, ...] = ()

    def parse(self, value: object, head: str) -> OptionValue:
        """Return the value in the option's own type.

        Raises:
            OptionError: it is of another type, or not allowed.
        """
        if self.grid and value == "grid":
            return self.grid
        if not (self.grid and isinstance(value, list | tuple)):
            return self._parse_one(value, head)
        if not value:
            raise OptionError(f"{head}: {self.name} = []: one value or more expected.")
        # Sorted: the order in which a grid is written asks for nothing else.
        parsed = tuple(sorted(self._parse_one(one, head) for one in value))
        twice = next((one for one in parsed if parsed.count(one) > 1), None)
        if twice is not None:
            raise OptionError(f"{head}: {self.name} = {list(value)!r}: {twice!r} is duplicated; give each value once.")
        return parsed if len(parsed) > 1 else parsed[0]

    def _parse_one(self, value: object, head: str) -> OptionScalar:
        example = self.default[0] if isinstance(self.default, tuple) else self.default
        wanted = type(example)
        # 1 and 1.0 ask for the same head, so they must give the same run id.
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted or not isinstance(value, bool | int | float | str):
            others = ", a list of them or 'grid'" if self.grid else ""
            raise OptionError(f"{head}: {self.name} = {value!r}: {wanted.__name__}{others} expected.")
        if self.choices and value not in self.choices:
            raise OptionError(f"{head}: {self.name} = {value!r}: {nearest(str(value), self.choices)}.")
        if isinstance(value, int | float) and not isinstance(value, bool) and not self._is_within(float(value)):
            raise OptionError(f"{head}: {self.name} = {value!r}: {self._range()} expected.")
        return value

    def _is_within(self, value: float) -> bool:
        is_enough = value > self.above if self.least is None else value >= self.least
        return is_enough and value < self.below

    def _range(self) -> str:
        low = f"above {self.above:g}" if self.least is None else f"of at least {self.least:g}"
        return f"a number {low}" + (f" and below {self.below:g}" if self.below < float("inf") else "")


def complete_options(head: str, declared: Sequence[Option], given: Mapping[str, object]) -> dict[str, OptionValue]:
    """Return all options of a head, by name: those given, and the defaults of the rest.

    Raises:
        OptionError: an option does not exist, or has no such value.
    """
    known = {option.name: option for option in declared}
    for name in given:
        if name not in known:
            raise OptionError(f"{head}: no option {name!r}; {nearest(name, known)}.")
    return {
        name: option.parse(given[name], head) if name in given else option.default
        for name, option in sorted(known.items())
    }
