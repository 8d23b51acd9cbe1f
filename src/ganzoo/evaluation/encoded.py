"""Pictures of files and tables, each at its own size, decoded in each pass."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from PIL import __version__ as pillow

from ganzoo.core.spec import SampleSpec
from ganzoo.datasets.formats import carries
from ganzoo.evaluation.sources import Digest, RealSamples, Sizes, chosen, in_range, in_windows
from ganzoo.evaluation.survey import Survey, cut, in_order, look_of, place_of, read, surveyed
from ganzoo.features import tensor_cache
from ganzoo.features.programs import PROGRAMS

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.datasets.picture_dataset import PictureDataset
    from ganzoo.datasets.picture_files import Source
    from ganzoo.datasets.ranges import Range
    from ganzoo.features.programs import Reading

__all__ = ["Encoded"]

_BYTES = (0.0, 255.0)  # the range of what is not scaled
_TASK = 2**18  # bytes of small pictures that one task decodes


@dataclass(frozen=True, eq=False)
class Encoded(RealSamples):
    """Pictures of files or of the rows of a table, decoded in each pass.

    Each is seen at its own size, or at the one that the dataset's options say. The survey
    of all is cached, so that they are decoded twice the first time.
    """

    dataset: PictureDataset
    source: Source
    survey: Survey
    bounds: Range
    own_notices: tuple[str, ...]
    indices: Tensor | None
    keep: bool

    @classmethod
    def load(cls, dataset: PictureDataset, count: int | None, keep: bool) -> Encoded:
        """Decode all pictures once, unless what would be found is in the cache.

        Args:
            dataset: Folder, table, or another dataset of encoded pictures.
            count: How many to look at; all where None.
            keep: Whether to use the cache.

        Raises:
            DataError: If there are none, fewer than ``count``, too many cannot be read, or it is
                not known which range their values are in.
        """
        with contextlib.ExitStack() as guard:
            source = guard.enter_context(dataset.encoded())
            survey = surveyed(dataset, source, keep)
            facts, names = survey.facts, survey.examples
            bounds, notices = dataset.ranged(facts, names, survey.extent, source.origin)
            indices = chosen(dataset, len(survey.readable), count)
            said = tuple(notices) if facts.deep or facts.cut else ()  # 8 bits are what they are
            side = cls(dataset, source, survey, bounds, said, indices, keep)
            weakref.finalize(side, guard.pop_all().close)
        return side

    @property
    def count(self) -> int:
        """How many are compared."""
        return len(self.survey.readable) if self.indices is None else len(self.indices)

    def reading(self, asked: Reading) -> Reading:
        """How files are opened: as programs do only where that makes a difference."""
        found = self.survey
        differs = found.alpha or found.turned
        return asked if differs and self.dataset.wanted.mode == "auto" else "data"

    def spec_for(self, asked: Reading) -> SampleSpec:
        """What one sample is, of the smallest height and width."""
        if self.reading(asked) == "data":
            channels = self._channels
            channels = 3 if asked == "program" and channels == 4 else channels
        else:
            channels = 3 if self.survey.colour else 1
        return SampleSpec(shape=(channels, *self.sizes(asked).low))

    @property
    def spec(self) -> SampleSpec:
        """What one sample is, as a training would see it."""
        return self.spec_for("data")

    @property
    def _channels(self) -> int:
        return self.dataset.wanted.output(self.survey.facts).channels

    def sizes(self, asked: Reading = "data") -> Sizes:
        """Heights and widths of all that are compared."""
        if (said := self.dataset.wanted.size) is not None:
            return Sizes(said, said)
        table = self._table(self.reading(asked))
        return Sizes.of(table if self.indices is None else table[self.indices])

    def _table(self, reading: Reading) -> Tensor:
        return self.survey.sizes if reading == "data" else self.survey.stored

    def batches(
        self, size: int, part: slice, asked: Reading = "data"
    ) -> Iterator[Tensor | list[Tensor]]:
        """Pictures (n, C, H, W), or a list of such (C, H, W) where their sizes differ.

        They are uint8 where they are stored so, and otherwise floats in the spec's range.
        """
        reading, spec = self.reading(asked), self.spec_for(asked)
        places = torch.arange(part.start, part.stop) if self.indices is None else self.indices[part]
        stored = self._pictures(places.tolist(), reading, spec.channels)
        yield from in_windows(
            (in_range(each, self.bounds, spec.value_range) for each in stored), size
        )

    def _pictures(self, places: Sequence[int], reading: Reading, channels: int) -> Iterator[Tensor]:
        """As they are stored: uint8, or float32 where they are deeper."""
        table, numbers = self._table(reading), self.survey.readable
        form = self._channels if reading == "data" else channels

        def work(job: tuple[int, list[int]]) -> list[Tensor]:
            return [one(place) for place in job[1]]

        def one(place: int) -> Tensor:
            height, width = table[place].tolist()
            index = int(numbers[place])
            look = look_of(self.dataset, self.survey.facts, (height, width))
            pixels = read(self.source, index, replace(look, channels=form), reading)
            return torch.from_numpy(cut(pixels, self.dataset.wanted.size).copy())[:channels]

        jobs: list[tuple[int, list[int]]] = []  # bytes, and pictures: small ones share a task
        for place, pixels in zip(places, table[places].prod(1).tolist(), strict=True):
            if not jobs or jobs[-1][0] + 4 * pixels > _TASK:
                jobs.append((0, []))
            held, together_ = jobs[-1]
            jobs[-1] = held + 4 * pixels, [*together_, place]
        for done in in_order(jobs, work, self.dataset.decoders, lambda job: job[0]):
            yield from done

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the pictures that are compared, as a training would see them."""
        if self.indices is None:
            return self.survey.digest
        name = hashlib.sha256(self.indices.numpy().tobytes()).hexdigest()[:16]
        place = place_of(self.dataset, self.source, name)
        known = tensor_cache.read(place) if self.keep else None
        if known is not None and isinstance(known[1].get("digest"), str):
            return str(known[1]["digest"])
        running = Digest(self.count, self.bounds)
        for picture in self._pictures(self.indices.tolist(), "data", self._channels):
            running.add(picture.numpy())
        digest = running.hexdigest()
        if self.keep:
            with contextlib.suppress(OSError):
                tensor_cache.write(place, {"none": torch.zeros(1)}, digest=digest)
        return digest

    def cache_key(self, asked: Reading) -> dict[str, Any]:
        """What else decides what an extractor sees of them."""
        return {"read": self.reading(asked), "pillow": pillow, **self.read(asked)}

    def read(self, asked: Reading) -> dict[str, str]:
        """What was done to pictures on the way, where it was."""
        done: dict[str, str] = {}
        found, reading = self.survey, self.reading(asked)
        if self.dataset.wanted.size is not None:
            done["size"] = self._how
        if found.alpha:
            white = "kept" if self._channels == 4 and asked == "data" else "on white"
            dropped = reading == "program" or (self._channels == 4 and asked == "program")
            done["alpha"] = "dropped" if dropped else white
        if found.turned:
            done["orientation"] = "ignored" if reading == "program" else "applied"
        if found.facts.deep and self.bounds != _BYTES:
            done["depth"] = "scaled"
        if self.bounds != _BYTES:
            done["range"] = self._range
        if self.dataset.wanted.mode != "auto":
            done["mode"] = self.dataset.wanted.mode
        return done

    @property
    def _how(self) -> str:
        said, crop = self.dataset.wanted.size, self.dataset.wanted.crop
        assert said is not None
        verb = "stretched" if crop == "none" else "resized and cropped"
        return f"{verb} to {said[0]}x{said[1]}"

    @property
    def _range(self) -> str:
        return f"{self.bounds[0]:g} to {self.bounds[1]:g}"

    def left(self, program: str) -> tuple[str, ...]:
        """Return in what a program would treat them otherwise, a few words each."""
        found, known, own = self.survey, PROGRAMS.get(program), self.read("program")
        parts = []
        if self.bounds != _BYTES:
            if deep := bool(found.facts.deep):
                ways = ["clips them"] if found.deep else []
                ways += ["takes the upper 8 of 16 bits in colour"] if found.cut else []
                parts.append(
                    f"pictures of more than 8 bits are scaled from {self._range}, where {program} "
                    f"{' and '.join(ways)}"
                )
            if found.facts.plain and not (deep and carries(self.bounds)):
                parts.append(
                    f"values of 8 bits are taken as {self._range}, where {program} takes them as "
                    f"0 to 255"
                )
        if own.get("alpha", "dropped") != "dropped":
            parts.append(f"alpha is put on white (mode='{own['mode']}'), where {program} drops it")
        if own.get("orientation", "ignored") != "ignored":
            parts.append(f"Exif orientation is applied, where {program} ignores it")
        if self.dataset.wanted.mode == "grey" and found.colour:
            parts.append(f"colours become grey (mode='grey'), where {program} sees them")
        if "size" in own and Sizes.of(self._table("data")).one != self.dataset.wanted.size:
            parts.append(
                f"pictures are {self._how} (size), where {program} has each at its own size"
            )
        if self.dataset.name == "folder" and known is not None:
            if found.nested and not known.nested:
                parts.append(f"pictures in sub-folders count, where {program} searches none")
            if other := [each for each in found.suffixes if not known.finds(each)]:
                parts.append(f"{', '.join(other)} files count, where {program} looks for none")
        if found.skipped:
            parts.append(f"unreadable pictures are left out, where {program} stops at one")
        return tuple(parts)

    def notices(self, program: str | None = None) -> tuple[str, ...]:
        """What a person should know about them, where they are opened as a program does."""
        origin = self.source.origin
        notices = [*self.source.notices, *self.own_notices]
        found, done = self.survey, self.read("data" if program is None else "program")
        if found.skipped:
            name, reason = found.skipped[0]
            files = f"'{name}' ({reason})"
            several = found.total - len(found.readable)
            if several > 1:
                files = f"{several:,} pictures, such as {files},"
            notices.append(
                f"{files} cannot be read and {'are' if several > 1 else 'is'} left out of "
                f"{found.total:,} of {origin}."
            )
        if "size" in done and (own := Sizes.of(self._table("data"))).one is None:
            notices.append(
                f"The pictures of {origin} have {own} and are {done['size']}, as size says; "
                f"without it each is seen at its own size."
            )
        if done.get("alpha") == "on white":
            notices.append(
                f"Transparent parts of the pictures of {origin} are put on white; mode='rgba' "
                f"keeps them."
            )
        if done.get("alpha") == "dropped":
            notices.append(
                f"The pictures of {origin} have transparent parts: alpha is dropped, as {program} "
                f"does, so that the colours under it are seen; mode='rgb' puts them on white."
            )
        if program is not None and (left := self.left(program)):
            notices.append(f"The preset of {program} is left for {origin}: {'; '.join(left)}.")
        return tuple(notices)
