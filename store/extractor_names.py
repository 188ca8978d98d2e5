"""What the name of an extractor says, as plain data: whether it is a floor, or the view of another."""

__all__ = ["MAX_VIEWS", "PIXELS", "RANDOM", "is_floor", "split_view_name", "view_name"]

# Floors are features without any learning in them: the pixels themselves, and `random:NETWORK`.
PIXELS = "pixels"
RANDOM = "random"

MAX_VIEWS = 100
_MARK = "@view"


def is_floor(extractor: str) -> bool:
    """Tell whether an extractor is a floor: features without any learning in them."""
    return extractor == PIXELS or extractor.startswith(f"{RANDOM}:")


def view_name(extractor: str, view: int) -> str:
    """Return what a view of an extractor is called, such as `mobilenet_v2@view1`; the extractor itself for 0."""
    return f"{extractor}{_MARK}{view}" if view else extractor


def split_view_name(name: str) -> tuple[str, int]:
    """Return extractor and number of a name that `view_name` gives; any other name, and 0."""
    extractor, mark, number = name.rpartition(_MARK)
    is_view = extractor and mark and number.isascii() and number.isdigit() and not number.startswith("0")
    return (extractor, int(number)) if is_view else (name, 0)
