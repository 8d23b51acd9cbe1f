"""What pictures are, and the form in which a set of them is cached."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from ganzoo.datasets.ranges import Range, within

__all__ = [
    "Crop",
    "Depth",
    "ImageStats",
    "Mode",
    "OutputFormat",
    "PictureError",
    "RequestedFormat",
    "carries",
    "span",
]

Crop = Literal["center", "random", "none"]
Mode = Literal["auto", "grey", "rgb", "rgba"]
Depth = Literal["uint16", "int32", "float32"]

NATIVE_LIMIT = 256
"""Longest side up to which pictures of one size stay as they are."""
FALLBACK = (64, 64)
"""Height and width of pictures that have no size in common."""

_CHANNELS = {"grey": 1, "rgb": 3, "rgba": 4}
_SPARE = (8, 7)  # a random crop takes 7/8 of each side of what is cached


class PictureError(Exception):
    """A picture that cannot be decoded; the text says why, to stand in parentheses."""


class ImageStats(NamedTuple):
    """What has been seen in pictures, of which the form of their set follows.

    Attributes:
        low: Smallest height and smallest width.
        high: Largest height and largest width.
        colour: Whether one has colours, or could have.
        any_opaque: Whether one has no alpha channel.
        any_transparent: Whether one has a transparent pixel.
        plain: Whether one has 8 bits or fewer.
        deep: What numbers those with more than 8 bits hold, with the lowest and the highest:
            ``uint16``, ``int32`` (of no range of their own) or ``float32``.
        cut: Whether one has 16 bits in colour, of which only the upper 8 can be read.
    """

    low: tuple[int, int]
    high: tuple[int, int]
    colour: bool
    any_opaque: bool
    any_transparent: bool
    plain: bool = True
    deep: tuple[tuple[Depth, float, float], ...] = ()
    cut: bool = False

    def merged(self, other: ImageStats | None) -> ImageStats:
        """Return what has been seen in both."""
        if other is None:
            return self
        return ImageStats(
            low=(min(self.low[0], other.low[0]), min(self.low[1], other.low[1])),
            high=(max(self.high[0], other.high[0]), max(self.high[1], other.high[1])),
            colour=self.colour or other.colour,
            any_opaque=self.any_opaque or other.any_opaque,
            any_transparent=self.any_transparent or other.any_transparent,
            plain=self.plain or other.plain,
            deep=_joined(self.deep, other.deep),
            cut=self.cut or other.cut,
        )

    @property
    def original_size(self) -> tuple[int, int] | None:
        """Height and width that all pictures have, if they do and are not too large."""
        return self.high if self.low == self.high and max(self.high) <= NATIVE_LIMIT else None


def _joined(
    ours: tuple[tuple[Depth, float, float], ...], theirs: tuple[tuple[Depth, float, float], ...]
) -> tuple[tuple[Depth, float, float], ...]:
    """Lowest and highest number of each depth in both."""
    found: dict[Depth, Range] = {}
    for depth, low, high in (*ours, *theirs):
        before = found.get(depth, (low, high))
        found[depth] = min(low, before[0]), max(high, before[1])
    return tuple((depth, *found[depth]) for depth in sorted(found))


def span(low: tuple[int, int], high: tuple[int, int]) -> str:
    """Return the sizes of pictures in words: ``heights from 32 to 64 and one width of 96``."""
    height, width = (
        f"one {what} of {most}" if least == most else f"{what}s from {least} to {most}"
        for what, least, most in zip(("height", "width"), low, high, strict=True)
    )
    return f"{height} and {width}"


@dataclass(frozen=True)
class OutputFormat:
    """The form in which the pictures of a set are cached.

    Attributes:
        channels: 1, 3 or 4.
        size: Height and width.
        stretch: Whether proportions give way; otherwise what is too long is cut off both ends.
        deep: Whether numbers stay as they are, in float32; otherwise they are uint8.
        bounds: Lowest and highest number that may occur, where that decides what becomes of a
            picture: of 8 bits among deeper ones, or transparent.
    """

    channels: int
    size: tuple[int, int]
    stretch: bool
    deep: bool = False
    bounds: Range = (0.0, 255.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (self.channels, *self.size)


@dataclass(frozen=True)
class RequestedFormat:
    """The form that was asked for, where it was.

    Attributes:
        size: Height and width of a sample, or None for what ``size_of`` says.
        crop: How pictures of other proportions are brought to it.
        mode: What the channels mean, or ``auto``.
        stored_range: Lowest and highest number that pictures may hold, or None for what their
            type says.
    """

    size: tuple[int, int] | None
    crop: Crop
    mode: Mode
    stored_range: Range | None = None

    @property
    def settled(self) -> bool:
        """Whether the form does not depend on the pictures."""
        return self.size is not None and self.mode != "auto"

    def size_of(self, facts: ImageStats | None) -> tuple[int, int]:
        """Return height and width of a sample: as asked for, as all are, or 64x64."""
        return self.size or (facts.original_size if facts is not None else None) or FALLBACK

    def output(self, facts: ImageStats | None) -> OutputFormat:
        """Return the form in which pictures of these facts are cached.

        With ``auto``, the channels are those of RGBA where every picture has an alpha channel and
        at least one makes use of it; of RGB where at least one picture has colours; otherwise
        grey. For random crops, each side has an eighth to spare. Pictures of more than 8
        bits are float32, unless they hold integers within 0..255 and no range is given.
        """
        if self.mode != "auto":
            channels = _CHANNELS[self.mode]
        elif facts is not None and facts.any_transparent and not facts.any_opaque:
            channels = 4
        else:
            channels = 1 if facts is not None and not facts.colour else 3
        height, width = self.size_of(facts)
        if self.crop == "random":
            spare, part = _SPARE
            height, width = -(-height * spare // part), -(-width * spare // part)
        output = OutputFormat(channels=channels, size=(height, width), stretch=self.crop == "none")
        if facts is None:
            return output
        deep = bool(facts.deep) and (self.stored_range is not None or not _fit_bytes(facts.deep))
        if facts.any_transparent or (facts.deep and (facts.plain or channels == 4)):
            return replace(output, deep=deep, bounds=self.bounds(facts))
        return replace(output, deep=deep)

    def bounds(self, facts: ImageStats | None) -> Range:
        """Return the range that the numbers of all pictures are of, as far as it is known."""
        return self.stored_range or _bounds(() if facts is None else facts.deep)


def _fit_bytes(deep: tuple[tuple[Depth, float, float], ...]) -> bool:
    """Whether all are integers without a range of their own, and within 0..255."""
    return all(depth == "int32" and low >= 0 and high <= 255 for depth, low, high in deep)


def _bounds(deep: tuple[tuple[Depth, float, float], ...]) -> Range:
    """The range of numbers of which none was said, as far as it is known."""
    depths = {depth for depth, _, _ in deep}
    low = min((low for _, low, _ in deep), default=0.0)
    high = max((high for _, _, high in deep), default=0.0)
    if depths == {"float32"}:
        return (0.0 if within(low, 1.0, (0.0, 1.0)) else -1.0), 1.0
    if not deep or ("int32" in depths and low >= 0 and high <= 255):
        return 0.0, 255.0
    return 0.0, 65535.0


def carries(bounds: Range) -> bool:
    """Return whether pictures of 8 bits are carried to a range; else it is one of their numbers."""
    return not (bounds[0] >= 0 and 1 < bounds[1] <= 255)
