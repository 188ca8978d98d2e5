"""The options of heads: declared once, checked at the edge, complete ever after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probe.errors import OptionError, nearest

__all__ = ["Option", "OptionValue", "complete_options"]

OptionValue = bool | int | float | str


@dataclass(frozen=True)
class Option:
    """One option of a head.

    Attributes:
        name: as it stands in configurations.
        default: its type is the option's type.
        above: numbers must be greater.
        choices: the only strings allowed.
    """

    name: str
    default: OptionValue
    above: float = 0.0
    choices: tuple[str, ...] = ()

    def parse(self, value: object, head: str) -> OptionValue:
        """Return the value in the option's own type.

        Raises:
            OptionError: it is of another type, or not allowed.
        """
        wanted = type(self.default)
        # 1 and 1.0 ask for the same head, so they must give the same run id.
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted or not isinstance(value, bool | int | float | str):
            raise OptionError(f"{head}: {self.name} = {value!r}: {wanted.__name__} expected.")
        if self.choices and value not in self.choices:
            raise OptionError(f"{head}: {self.name} = {value!r}: {nearest(str(value), self.choices)}.")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and not self.above < float(value) < float("inf"):
            raise OptionError(f"{head}: {self.name} = {value!r}: a number above {self.above:g} expected.")
        return value


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
