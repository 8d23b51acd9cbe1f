"""Orthogonal regularisation of weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from ganzoo.penalties.base import Penalty, Player

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.step import Step

__all__ = ["Orthogonal"]


class Orthogonal(Penalty):
    """Filters of a layer are orthogonal to each other, whatever their norms.

    Brock et al. 2019, arXiv:1809.11096, eq. 3, summed over the layers: |W W^T * (1 - I)|^2, with a
    layer's weight W as a matrix of one row per index of its first axis.
    """

    name: ClassVar[str] = "orthogonal"
    citation: ClassVar[str] = (
        'Brock et al. 2019, "Large Scale GAN Training for High Fidelity Natural Image Synthesis", '
        "arXiv:1809.11096"
    )
    player: ClassVar[Player] = "generator"

    weight: float = Field(1e-4, ge=0, allow_inf_nan=False, description="factor of the term")
    nets: Literal["generator", "discriminator", "both"] = Field(
        "generator", description="whose weights"
    )

    @property
    def players(self) -> frozenset[Player]:
        """Whose weights: ``nets``."""
        if self.nets == "both":
            return frozenset({"generator", "discriminator"})
        return frozenset({self.nets})

    def value(self, weights: Iterable[Tensor]) -> Tensor:
        """Return the sum of |W W^T * (1 - I)|^2 over weights with at least two axes; a scalar."""
        terms = [_off_diagonal(weight.flatten(1)) for weight in weights if weight.ndim > 1]
        return torch.stack(terms).sum() if terms else torch.zeros(())

    def penalty(self, step: Step) -> Tensor:
        """Return the penalty of the player's weights, a scalar."""
        net = step.generator if step.player == "generator" else step.discriminator
        # The vectors of classes are alike at first, and are no filters of one layer.
        tables = {id(part.weight) for part in net.modules() if isinstance(part, nn.Embedding)}
        return self.value(weight for weight in net.parameters() if id(weight) not in tables)


def _off_diagonal(rows: Tensor) -> Tensor:
    """Return |W W^T * (1 - I)|^2."""
    if len(rows) <= rows.shape[1]:
        gram = rows @ rows.T
        return (gram - gram.diag().diag()).square().sum()
    # W^T W is smaller, and its norm the same.
    return (rows.T @ rows).square().sum() - rows.square().sum(1).square().sum()
