"""One seed, many independent streams of random numbers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import operator
import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ganzoo.errors import ConfigError, quoted

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["checked", "derive", "preserve_rng_state", "restore", "seed_all", "states"]


def checked(seed: Any) -> int:
    """Return a seed that a person gave as an integer.

    Raises:
        ConfigError: If it is not a whole number from 0 to 2**63 - 1.
    """
    with contextlib.suppress(TypeError, RuntimeError):
        number = operator.index(seed)  # of NumPy and torch too
        if type(seed) is not bool and 0 <= number < 2**63:
            return number
    raise ConfigError(f"A seed is a whole number from 0 to 2**63 - 1, not {quoted(seed)}.")


def derive(seed: int, *purpose: str | int) -> int:
    """Return the seed of one stream, in [0, 2**63), from a run's seed and what the stream is for.

    Streams seeded with the same number would draw the same numbers: weights would start as the
    first latents. A hash keeps them apart, on every machine alike.
    """
    text = ":".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_all(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch, each with a stream of its own.

    ganzoo itself draws from generators of its own wherever it can; architectures, losses and
    plug-ins may draw from the global ones.
    """
    import numpy as np
    import torch

    random.seed(derive(seed, "python"))
    np.random.seed(derive(seed, "numpy") % 2**32)
    torch.manual_seed(derive(seed, "torch"))


def states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of the global generators: ``python``, ``numpy``, ``cpu``, ``device``."""
    import numpy as np

    _, key, *rest = np.random.get_state(legacy=True)
    tensors = {
        "python": _packed(random.getstate()),
        "numpy": _packed([np.asarray(key).tolist(), *rest]),
    }
    return tensors | torch_states(device)


def torch_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's global generators: ``cpu`` and that of the ``device``."""
    import torch

    tensors = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        tensors["device"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        tensors["device"] = torch.mps.get_rng_state()
    return tensors


def restore(tensors: Mapping[str, Tensor], device: torch.device, same_kind: bool = True) -> None:
    """Put back what ``states`` returned.

    Args:
        tensors: They may hold other things too.
        device: Where training goes on.
        same_kind: Whether that is the kind of device that it was on; else that one's own
            generator stays as it is.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: If they are of something else.
    """
    import numpy as np

    version, internal, gauss = _unpacked(tensors["python"])
    random.setstate((version, tuple(internal), gauss))
    key, *rest = _unpacked(tensors["numpy"])
    np.random.set_state(("MT19937", np.array(key, dtype=np.uint32), *rest))
    restore_torch(tensors, device, same_kind)


def restore_torch(
    tensors: Mapping[str, Tensor], device: torch.device, same_kind: bool = True
) -> None:
    """Put back what ``torch_states`` returned; arguments as those of ``restore``."""
    import torch

    torch.set_rng_state(tensors["cpu"])
    if same_kind and device.type == "cuda":
        torch.cuda.set_rng_state(tensors["device"], device)
    elif same_kind and device.type == "mps":
        torch.mps.set_rng_state(tensors["device"])


@contextlib.contextmanager
def preserve_rng_state(device: torch.device) -> Iterator[None]:
    """Leave all global generators as they are, whatever is drawn from them in this block."""
    before = states(device)
    try:
        yield
    finally:
        restore(before, device)


def _packed(value: object) -> Tensor:
    """Nested numbers as the bytes of their JSON, which keeps floats to the bit."""
    import torch

    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def _unpacked(packed: Tensor) -> list[Any]:
    value: list[Any] = json.loads(packed.numpy().tobytes())
    return value
