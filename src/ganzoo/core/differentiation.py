"""What penalties of gradients tell layers about the derivatives that they will take."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["for_gradients_alone", "inputs_alone", "is_for_gradients_alone", "wants_weights"]


class _Pass(threading.local):
    inputs_alone = False
    for_gradients_alone = False


_pass = _Pass()  # on a CPU a backward pass runs in the thread that asks for it


@contextlib.contextmanager
def for_gradients_alone() -> Iterator[None]:
    """Say that of outputs computed within only a function of their gradients will be minimised.

    As under a penalty at points of its own: no loss is taken of the outputs themselves.
    """
    before, _pass.for_gradients_alone = _pass.for_gradients_alone, True
    try:
        yield
    finally:
        _pass.for_gradients_alone = before


def is_for_gradients_alone() -> bool:
    """Whether what is computed now is ``for_gradients_alone``."""
    return _pass.for_gradients_alone


@contextlib.contextmanager
def inputs_alone() -> Iterator[None]:
    """Promise that backward passes within ask for gradients of inputs, and of no weight.

    ``ctx.needs_input_grad`` of a ``torch.autograd.Function`` is true of every weight that trains,
    whatever ``torch.autograd.grad`` is asked for
    (findings/custom-functions-are-told-that-unasked-weights-need-gradients.sh). Functions whose
    ``backward`` asks ``wants_weights`` then return none for them, also in a backward pass that
    another function takes within its own.
    """
    before, _pass.inputs_alone = _pass.inputs_alone, True
    try:
        yield
    finally:
        _pass.inputs_alone = before


def wants_weights() -> bool:
    """Whether a backward pass of now may ask for gradients of weights."""
    return not _pass.inputs_alone
