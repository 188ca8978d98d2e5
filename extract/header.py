"""What an image claims to be, and the rules by which it is seen.

A change of any rule changes numbers: raise `DECODING_RULES`.
"""

from dataclasses import dataclass

__all__ = ["AS_SHOWN", "AS_STORED", "DECODING_RULES", "WHITE", "Header", "Rules"]

DECODING_RULES = 2
WHITE = "#ffffff"


@dataclass(frozen=True)
class Rules:
    """What is done to an image beyond decoding it.

    Attributes:
        orientation: `exif`: turned as EXIF says, as viewers show it; `stored`: as its pixels are stored. What TIFF and
            HEIF state is about how rows are stored, and is applied in any case.
        background: `#rrggbb`, under transparent pixels.
        number: `DECODING_RULES`; under rules 1, of older pools, transparency was dropped, and what it hid was seen.
    """

    orientation: str = "stored"
    background: str = WHITE
    number: int = DECODING_RULES


AS_STORED = Rules()
# As viewers show it, on white.
AS_SHOWN = Rules("exif")


@dataclass(frozen=True)
class Header:
    """What an image's bytes claim to be.

    Attributes:
        format: such as `JPEG`; `pixels` for raw arrays.
        mode: Pillow's name of the colour layout, such as `RGB`, `L`, `P`, `CMYK`.
        width, height: in pixels, as they are stored.
        bits: of a channel.
        orientation: EXIF's, 1 to 8, which `Rules.orientation` applies or not.
        frames: how many there are; the first counts.
        has_transparency: whether pixels can be transparent.
        is_usual: whether it is of a kind that every decoder of its format reads.
    """

    format: str
    mode: str
    width: int
    height: int
    bits: int = 8
    orientation: int = 1
    frames: int = 1
    has_transparency: bool = False
    is_usual: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether the pipeline's fast decoder takes it: 8-bit grey or RGB without transparency, JPEG or PNG."""
        is_simple = self.mode in ("L", "RGB") and self.bits <= 8 and not self.has_transparency
        return self.format in ("JPEG", "PNG") and is_simple and self.is_usual

    def shown_size(self, rules: Rules) -> tuple[int, int]:
        """Return width and height of what is seen of it."""
        is_turned = rules.orientation == "exif" and self.orientation >= 5
        return (self.height, self.width) if is_turned else (self.width, self.height)

    def has_equal_pixels(self, one: Rules, other: Rules) -> bool:
        """Whether two rules make the same pixels of it."""
        if self.format == "pixels":
            return True
        turns = {rules.orientation == "exif" and self.orientation != 1 for rules in (one, other)}
        return (
            len(turns) == 1
            and (one.background == other.background or not self.has_transparency)
            and (one.number == other.number or self.is_plain)
        )
