"""The course of one number over a training, from a start value to a final one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ganzoo.core.model import Model
from ganzoo.errors import ConfigError, listing, quoted

__all__ = ["NumberSchedule", "read", "read_all", "read_each"]

Share = Annotated[float, Field(ge=0, le=1)]


class NumberSchedule(Model):
    """The course of one number, as a function of the share of the training that is done.

    Images seen are counted as a share of all that the training will see, so that a shorter
    training has the same course. In text: ``SHAPE [START] FINAL [OPTION=VALUE ...]``, such as
    ``cosine 2e-4 5e-5 warmup=.05``.

    ``cosine`` is eq. 5 of Loshchilov & Hutter 2016, arXiv:1608.03983, without restarts.
    ``inverse-square-root`` stays at ``start`` and then falls with the root of the images seen
    (as in Karras et al. 2024, arXiv:2312.02696), from where it ends at ``final``.

    Raises:
        ConfigError: If an option is wrong or fractions do not ascend.
    """

    error_label: ClassVar[str] = "A schedule"

    shape: Literal["linear", "cosine", "step", "inverse-square-root"] = Field(
        description="how it goes from start to final"
    )
    start: float | None = Field(None, description="first value; by default the setting's own")
    final: float = Field(description="last value")
    warmup: Share = Field(0.0, description="share of the run in which it rises from 0 besides")
    begin: Share | None = Field(None, description="share at which it leaves start")
    end: Share | None = Field(None, description="share at which it reaches final")
    at: tuple[Share, ...] = Field((), description="shares at which a step's value changes")
    geometric: bool = Field(False, description="equal factors instead of equal differences")

    @model_validator(mode="after")
    def _ascending(self) -> NumberSchedule:
        if self.shape == "step" and not self.at:
            raise ConfigError(
                "A step schedule needs 'at'. Give the shares of the run at which it changes, such "
                "as at=.5,.75."
            )
        shares = (self.warmup, *self.at, 1.0) if self.at else (self.warmup, self._begin, self._end)
        ascending = all(left < right for left, right in itertools.pairwise(shares[1:]))
        if shares[0] > shares[1] or not ascending:
            names = "warmup, at, 1" if self.at else "warmup, begin, end"
            raise ConfigError(
                f"A schedule's fractions must ascend, and {names} are "
                f"{listing(f'{share:g}' for share in shares)}. Give them in ascending order."
            )
        others = {
            "at": bool(self.at) and self.shape != "step",
            "begin": self.begin is not None and self.shape in ("step", "inverse-square-root"),
            "end": self.end is not None and self.shape in ("step", "inverse-square-root"),
            "geometric": self.geometric and self.shape == "inverse-square-root",
        }
        for option, odd in others.items():
            if odd:
                raise ConfigError(
                    f"A schedule of shape '{self.shape}' has no '{option}'. Leave it out."
                )
        return self

    @property
    def text(self) -> str:
        """The same in text, as ``read`` takes it."""
        ends = [self.final] if self.start is None else [self.start, self.final]
        words = [self.shape, *map(repr, ends)]
        for name in ("warmup", "begin", "end", "at", "geometric"):
            value = getattr(self, name)
            if value != type(self).model_fields[name].default:
                words.append(f"{name}={','.join(map(repr, value)) if name == 'at' else value}")
        return " ".join(words)

    @property
    def _begin(self) -> float:
        return self.warmup if self.begin is None else self.begin

    @property
    def _end(self) -> float:
        return 1.0 if self.end is None else self.end

    def check(self, start: float) -> None:
        """Refuse a start value from which this shape cannot go to the final one.

        Raises:
            ConfigError: With the values that it can do.
        """
        if self.geometric and not (start > 0 and self.final > 0):
            raise ConfigError(
                f"geometric=True needs values above 0, not {start:g} and {self.final:g}. "
                f"Leave it off."
            )
        if self.shape == "inverse-square-root" and not 0 < self.final <= start:
            raise ConfigError(
                f"An inverse square root falls, to a value above 0, and {self.final:g} from "
                f"{start:g} is not that. Take 'linear' or 'cosine'."
            )

    def value(self, step: int, total: int, own: float | None = None) -> float:
        """Return the value of iteration ``step`` (from 0) of ``total``.

        Args:
            step: Iterations finished.
            total: Iterations in all.
            own: The setting's own value, from which it starts where ``start`` is none.
        """
        start = self.start if self.start is not None else own
        assert start is not None
        progress = step / total
        if self.shape == "inverse-square-root":
            constant = (self.final / start) ** 2  # until then, so that it ends at final
            found = start * math.sqrt(constant / max(progress, constant))
        else:
            way = self._way(progress)
            if self.geometric:
                found = start ** (1 - way) * self.final**way
            else:
                found = (1 - way) * start + way * self.final
        warm = self.warmup * total
        return found * (step + 1) / (warm + 1) if step < warm else found

    def _way(self, progress: float) -> float:
        """How much of the way from start to final is behind."""
        if self.shape == "step":
            return sum(progress >= share for share in self.at) / len(self.at)
        share = min(1.0, max(0.0, (progress - self._begin) / (self._end - self._begin)))
        return share if self.shape == "linear" else (1 - math.cos(math.pi * share)) / 2


def read(value: Any) -> Any:
    """Return options of a schedule from ``SHAPE [START] FINAL [OPTION=VALUE ...]``.

    Raises:
        ConfigError: If the text is not of that form.
    """
    if not isinstance(value, str):
        return value
    shape, *words = value.split() or [""]
    ends = [word for word in words if "=" not in word]
    if not 1 <= len(ends) <= 2:
        raise ConfigError(
            f"A schedule is not {quoted(value)}. Write 'SHAPE [START] FINAL', such as "
            f"'cosine 2e-4 5e-5'."
        )
    options: dict[str, Any] = {"shape": shape}
    options |= dict(zip(("final", "start"), reversed(ends), strict=False))
    for word in words:
        name, equals, text = word.partition("=")
        if equals:
            options[name] = text.split(",") if name == "at" else text
    return options


def read_all(value: Any) -> Any:
    """Return schedules by path from ``PATH SCHEDULE; PATH SCHEDULE``; all else as it is.

    ``none`` is None, with which a layer of settings takes back all that are below it.

    Raises:
        ConfigError: If a path is given twice or without a schedule.
    """
    if not isinstance(value, str):
        return value
    if value.strip() == "none":
        return None
    found: dict[str, str] = {}
    for text in filter(None, map(str.strip, value.split(";"))):
        path, _, schedule = text.partition(" ")
        if path in found:
            raise ConfigError(f"'{path}' has two schedules; give it one.")
        found[path] = schedule
    return found


def read_each(value: Any) -> Any:
    """Return schedules of a mapping by path; all else as it is.

    One that is None or ``none`` is left out, and None is no schedules.

    Raises:
        ConfigError: If one is wrong, with its path.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return value
    found: dict[Any, Any] = {}
    for path, each in value.items():
        if each in (None, "none"):
            continue
        try:
            options = read(each)
            found[path] = NumberSchedule(**options) if isinstance(options, Mapping) else options
        except ConfigError as error:
            raise ConfigError(f"schedules.{path}: {error}") from None
    return found
