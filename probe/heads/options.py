"""The options of heads: a typed model for each head, checked at the edge, complete ever after."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from probe.errors import OptionError, nearest

__all__ = ["Count", "Grid", "HeadOptions", "Number", "OptionScalar", "OptionValue"]

OptionScalar = bool | int | float | str
OptionValue = OptionScalar | tuple[OptionScalar, ...]

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

# A number above 0, and one of at least 1.
Number = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class Grid:
    """Marks an option that takes one value, a list of candidates to select from, or the word "grid".

    `learning_rate: Annotated[float | tuple[float, ...], Grid(Number, (0.001, 0.01))] = 0.001`

    Attributes:
        item: the type of one value.
        values: what the word "grid" stands for.
    """

    item: Any
    values: tuple[OptionScalar, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic parse the option by `parse`."""
        return core_schema.no_info_plain_validator_function(self.parse)

    def parse(self, value: object) -> OptionValue:
        """Return a value, or several in increasing order: the order in which a grid is written asks for nothing else.

        Raises:
            PydanticCustomError: a value is not allowed, or duplicated; or there is none.
        """
        if value == "grid":
            return self.values
        if not isinstance(value, list | tuple):
            found: OptionScalar = self._parse_one(value)
            return found
        if not value:
            raise PydanticCustomError("option", "[]: one value or more expected.")
        parsed = tuple(sorted(self._parse_one(one) for one in value))
        repeated = next((one for one in parsed if parsed.count(one) > 1), None)
        if repeated is not None:
            raise PydanticCustomError("option", f"{list(value)!r}: {repeated!r} is duplicated; give each value once.")
        return parsed if len(parsed) > 1 else parsed[0]

    def _parse_one(self, value: object) -> Any:
        try:
            return TypeAdapter(self.item, config=ConfigDict(strict=True, allow_inf_nan=False)).validate_python(value)
        except ValidationError as error:
            metadata = [one for field in self.item.__metadata__ for one in getattr(field, "metadata", [field])]
            said = _expected(error.errors()[0], get_args(self.item)[0], metadata, others=", a list of them or 'grid'")
            raise PydanticCustomError("option", f"{value!r}: {said}") from None


class HeadOptions(BaseModel):
    """What can be set of a head; a subclass has a typed field with a default for each option.

    An integer is a number: 1 and 1.0 ask for the same head, so they must give the same run id.
    """

    model_config = _STRICT

    @classmethod
    def parse(cls, head: str, given: Mapping[str, object]) -> Self:
        """Return all options of a head: those given, and the defaults of the rest.

        Raises:
            OptionError: an option does not exist, or has no such value; the nearest is suggested.
        """
        for name in given:
            if name not in cls.model_fields:
                raise OptionError(f"{head}: no option {name!r}; {nearest(name, cls.model_fields)}.")
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            found = error.errors()[0]
            name = str(found["loc"][0])
            if found["type"] == "option":
                raise OptionError(f"{head}: {name} = {found['msg']}") from None
            field: FieldInfo = cls.model_fields[name]
            said = _expected(found, field.annotation, field.metadata)
            raise OptionError(f"{head}: {name} = {found['input']!r}: {said}") from None

    def document(self) -> dict[str, OptionValue]:
        """Return name → value, by name: what a run id covers, and run.json says."""
        return dict(sorted(self.model_dump().items()))


def _expected(error: ErrorDetails, annotation: Any, metadata: list[Any], *, others: str = "") -> str:
    """Return in words what was expected of a value."""
    if get_origin(annotation) is Literal:
        return f"{nearest(str(error['input']), get_args(annotation))}."
    limits = {name: getattr(one, name) for one in metadata for name in ("gt", "ge", "lt") if hasattr(one, name)}
    if error["type"] in ("greater_than", "greater_than_equal", "less_than", "finite_number") and limits:
        low = f"above {limits['gt']:g}" if "gt" in limits else f"of at least {limits['ge']:g}"
        return f"a number {low}" + (f" and below {limits['lt']:g}" if "lt" in limits else "") + " expected."
    return f"{annotation.__name__}{others} expected."
