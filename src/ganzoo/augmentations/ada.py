"""Adaptive discriminator augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field, model_validator
from torch import nn

from ganzoo.augmentations.base import Augmentation, images_only
from ganzoo.augmentations.colour import recoloured
from ganzoo.augmentations.geometry import moved
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import SampleSpec
    from ganzoo.core.step import Step

__all__ = ["ADA"]


class ADA(Augmentation):
    """Adaptive discriminator augmentation: the more D overfits, the more images are changed.

    Karras et al. 2020, arXiv:2006.06676: the set "bgc" of its appendix B, each change with
    probability p, and p moved towards a mean sign of D's logits of real images (sec. 3.1, r_t).
    Since p stays below 1, G does not learn the changes (sec. 2.2). For any number of channels and
    any sides. Here images are resampled once, bicubically and with reflected borders, and those
    that are not moved stay as they are; hue turns images of three channels; quarter turns are half
    turns where sides differ.
    """

    name: ClassVar[str] = "ada"
    citation: ClassVar[str] = (
        'Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", '
        "arXiv:2006.06676"
    )

    start: float = Field(0.0, ge=0, le=1, description="probability of each change at first")
    target: float = Field(
        0.6, ge=-1, le=1, description="mean sign of D's logits of real images to keep"
    )
    ramp: int | None = Field(
        500_000, ge=1, description="real images in which p may move by 1; none keeps it at start"
    )
    interval: int = Field(4, ge=1, description="updates of D between two moves of p")
    limit: float = Field(0.8, ge=0, le=1, description="largest p; above .8 G may learn changes")
    geometry: bool = Field(True, description="mirror, turn, move, scale and stretch")
    colour: bool = Field(True, description="brightness, contrast, luma, hue and saturation")

    @model_validator(mode="after")
    def _starts_below_the_limit(self) -> ADA:
        if self.start > self.limit:
            raise ConfigError(
                f"Augmentation 'ada' starts at probability {self.start:g}, above its limit "
                f"{self.limit:g}. Give a start of at most that, or a higher limit, with which G "
                f"may learn the changes."
            )
        return self

    @property
    def without_signs(self) -> str:
        """How to do without the signs of D's logits, which p follows."""
        if self.ramp is None:
            return ""
        return "Set ramp to none, which keeps the probability at start, or take 'diffaugment'."

    @property
    def schedulable(self) -> Mapping[str, str]:
        """``p``, where ``ramp`` is none."""
        return {"p": "start"} if self.ramp is None else {}

    def build(self, spec: SampleSpec) -> Pipeline:
        """Return the module: images (N, C, H, W) to the same.

        Raises:
            ConfigError: If samples are no images.
        """
        images_only(self, spec)
        return Pipeline(self, *(spec.value_range or (-1.0, 1.0)))

    def adapt(self, module: nn.Module, step: Step) -> None:
        """Move p after every ``interval`` updates of D; the row has it as ``ada_p``."""
        assert isinstance(module, Pipeline) and step.real_output is not None
        if self.ramp is not None:
            logits = step.real_output.logits
            module.signs.add_(logits.sign().mean())
            module.updates.add_(1)
            due = module.updates >= self.interval
            packing = getattr(step.discriminator, "packing", 1)  # of ganzoo's own D
            pace = self.interval * len(logits) * packing / self.ramp
            way = (module.signs / module.updates - self.target).sign() * pace * due
            module.p.add_(way).clamp_(0, self.limit)
            module.signs.mul_(~due)
            module.updates.mul_(~due)
        step.scalars["ada_p"] = module.p.clone()


class Pipeline(nn.Module):
    """The changes, each with probability p.

    Args:
        options: What is done.
        low: Smallest value of the range of images.
        high: Largest value.
    """

    p: Tensor
    signs: Tensor
    updates: Tensor

    def __init__(self, options: ADA, low: float, high: float) -> None:
        super().__init__()
        self.geometry, self.colour = options.geometry, options.colour
        self.middle, self.span = (low + high) / 2, (high - low) / 2
        self.register_buffer("p", torch.tensor(options.start))
        self.register_buffer("signs", torch.zeros(()))
        self.register_buffer("updates", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        """Return the augmented images, computed in float32 at least."""
        # Under autocast, products would round pixels to bfloat16.
        with torch.autocast(images.device.type, enabled=False):
            images = images.float() if images.element_size() < 4 else images
            if self.geometry:
                images = moved(images, self.p)
            if self.colour:
                images = recoloured(images, self.p, self.middle, self.span)
        return images
