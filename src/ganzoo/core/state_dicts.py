"""What is asked of tensors by name, wherever they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["below", "mismatch", "not_finite"]


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with ``prefix`` and a dot, by what follows it."""
    lead = f"{prefix}."
    return {n.removeprefix(lead): value for n, value in tensors.items() if n.startswith(lead)}


def not_finite(tensors: Mapping[str, Tensor]) -> str:
    """Return the name of the first tensor with NaN or infinity in it; empty if there is none."""
    for name, given in tensors.items():
        if not (given.is_floating_point() or given.is_complex()):
            continue
        value = given.float() if given.element_size() == 1 else given  # torch sums no float8
        # The sum reads memory once and makes nothing; only an overflow needs a second look.
        if not value.sum().isfinite() and not value.isfinite().all():
            return name
    return ""


def mismatch(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Return in words the first tensor whose name, shape or dtype is another; empty if none is."""
    for name in sorted(set(expected) | set(found)):
        if name not in found:
            return f"lacks the weight '{name}' that its architecture has"
        if name not in expected:
            return f"has a weight '{name}' that its architecture lacks"
        have, need = found[name], expected[name]
        if have.shape != need.shape or have.dtype != need.dtype:
            return (
                f"has the weight '{name}' as {tuple(have.shape)} {have.dtype}, but its "
                f"architecture needs {tuple(need.shape)} {need.dtype}"
            )
    return ""
