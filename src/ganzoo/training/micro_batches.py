"""Micro-batches that were computed one after the other, as the one batch that they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ganzoo.core.step import OWN, Output

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.step import Step

__all__ = ["detached", "joined"]


def detached(step: Step) -> Step:
    """Return what a step has been seen with, without the graph that holds its activations."""
    return replace(
        step,
        latent=step.latent.detach(),
        fake=step.fake.detach(),
        real=None if step.real is None else step.real.detach(),
        real_output=_without_graph(step.real_output),
        fake_output=_without_graph(step.fake_output),
    )


def joined(steps: Sequence[Step]) -> Step:
    """Return the step of the whole batch, with means of what its parts have reported.

    ganzoo's own numbers are means over all parts. Those of components are means over the parts
    that have reported them and have a finite value, as means of rows are over iterations.
    """
    names = {name: None for step in steps for name in step.scalars}
    scalars = {}
    for name in names:
        values = torch.stack([s.scalars[name].float() for s in steps if name in s.scalars])
        if name not in OWN:
            finite = values.isfinite()
            scalars[name] = values.where(finite, 0).sum() / finite.sum()
        else:
            scalars[name] = values.mean()
    return replace(
        steps[-1],
        latent=torch.cat([step.latent for step in steps]),
        fake=torch.cat([step.fake for step in steps]),
        real=_one([step.real for step in steps]),
        labels=_one([step.labels for step in steps]),
        real_output=_output([step.real_output for step in steps]),
        fake_output=_output([step.fake_output for step in steps]),
        scalars=scalars,
        share=1.0,
    )


def _without_graph(output: Output | None) -> Output | None:
    """Logits and classes; features, which may be large, are for the penalties of a phase."""
    if output is None:
        return None
    classes = None if output.classes is None else output.classes.detach()
    return Output(output.logits.detach(), classes)


def _one(parts: Sequence[Tensor | None]) -> Tensor | None:
    found = [part for part in parts if part is not None]
    return torch.cat(found) if found else None


def _output(parts: Sequence[Output | None]) -> Output | None:
    found = [part for part in parts if part is not None]
    if not found:
        return None
    logits = torch.cat([part.logits for part in found])
    return Output(logits, _one([part.classes for part in found]))
