"""What the checks of all kinds share: a component's own contract, and samples to try it on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from ganzoo.config import TrainConfig
from ganzoo.core.component import Component
from ganzoo.core.spec import SampleSpec
from ganzoo.errors import ContractError, GanzooError, UnknownNameError, did_you_mean, listing
from ganzoo.training.contract import require

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.registry import Registry

__all__ = ["SPECS", "as_json", "checked", "first_accepted", "made_up", "require_no_draws"]

T = TypeVar("T", bound=Component)

SPECS = (
    SampleSpec(shape=(3, 32, 32)),
    SampleSpec(kind="vector", shape=(2,), value_range=None),
    SampleSpec(kind="audio", shape=(1, 256)),
    SampleSpec(kind="sequence", shape=(8, 32), value_range=(0.0, 1.0)),
)
"""What a sample may be: a small RGB image, a vector, audio and a sequence."""


@contextmanager
def checked(value: Any, registry: Registry[T]) -> Iterator[T]:
    """Create a component and check what all components owe; the block then uses it.

    It must be registered, frozen, round-trip through JSON, and keep its options while it is used.
    The global random state is restored in the end.
    """
    component = registry.create(value)
    cls = type(component)
    private = ", ".join(cls.__private_attributes__)
    settings = sorted(TrainConfig.model_fields)
    unknown = next((key for key in cls.recommended if key not in settings), "")
    for holds, fault in (
        (
            "name" in vars(cls) and _is_registered(cls, registry),
            f'is not registered. Decorate it with @{registry.group}.register("some-name"), or '
            f"declare it as an entry point of the group '{registry.group}'.",
        ),
        (
            bool(cls.model_config.get("frozen")) and cls.model_config.get("extra") == "forbid",
            "changes model_config: a component must stay frozen and forbid unknown options.",
        ),
        (
            not private,
            f"has private attributes ({private}). They would be lost on saving: make them options, "
            f"ClassVars, or buffers of what is built.",
        ),
        (
            not unknown,
            f"recommends '{unknown}', an unknown setting.{did_you_mean(unknown, settings)} "
            f"Settings: {listing(settings)}.",
        ),
    ):
        require(holds, f"{cls.__name__} {fault}")
    remedy = "Options and 'recommended' must be numbers, strings, booleans, None, or lists and "
    as_json(cls.__name__, lambda: dict(cls.recommended), remedy + "mappings of them.")
    text = as_json(cls.__name__, lambda: component.model_dump(mode="json"), remedy + "mappings.")
    try:
        again = registry.create(json.loads(text))
    except GanzooError as error:
        raise ContractError(
            f"{cls.__name__} cannot be read back from its own JSON {text}: {error}"
        ) from error
    require(
        again == component,
        f"{cls.__name__} changes on its way through JSON: {component!r} became {again!r}. "
        f"Options must survive being written and read; validators must be idempotent.",
    )
    before = component.model_dump()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield component
    require(
        component.model_dump() == before,
        f"Using the {component.kind} changed its options. A component is only a configuration: "
        f"keep state in what it builds or gets (the buffers of a net, a tracker's Log, the cache "
        f"of a metric's inputs), or keep none.",
    )


def _is_registered(cls: type[T], registry: Registry[T]) -> bool:
    try:
        return registry.get(cls.name) is cls
    except UnknownNameError:
        return False


def as_json(what: str, value: Callable[[], Any], remedy: str) -> str:
    """Return a value as JSON."""
    try:
        return json.dumps(value(), sort_keys=True)
    except Exception as error:
        raise ContractError(f"{what} cannot be written as JSON ({error}). {remedy}") from error


@contextmanager
def require_no_draws(what: str) -> Iterator[None]:
    """Check that the block draws none of torch's global random numbers."""
    before = torch.get_rng_state()
    yield
    require(
        torch.equal(before, torch.get_rng_state()),
        f"{what} drew from torch's random numbers, so that a training with it differs from one "
        f"without. Use a torch.Generator of its own, with an option 'seed'.",
    )


def first_accepted(
    component: Component, check: Callable[[SampleSpec], None], specs: tuple[SampleSpec, ...]
) -> SampleSpec:
    """Return the first kind of samples that a component does not refuse."""
    for spec in specs:
        try:
            check(spec)
        except GanzooError:
            continue
        return spec
    raise ContractError(
        f"The {component.kind} '{type(component).name}' refuses all of "
        f"{', '.join(map(str, specs))}. Pass a spec that it can do: "
        f"check_{component.kind}(..., spec=SampleSpec(...))."
    )


def made_up(spec: SampleSpec, count: int, seed: int) -> Tensor:
    """Return samples: uint8 where they are images, else floats in the spec's range."""
    source = torch.Generator().manual_seed(seed)
    shape = (count, *spec.shape)
    if spec.kind == "image":
        return torch.randint(0, 256, shape, generator=source, dtype=torch.uint8)
    if spec.value_range is None:
        return torch.randn(shape, generator=source)
    low, high = spec.value_range
    return torch.rand(shape, generator=source) * (high - low) + low
