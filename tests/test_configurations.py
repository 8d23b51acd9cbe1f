"""Random configurations: each trains, or is refused by an error of ganzoo's own that says why.

The strategies are made from the fields of the settings and of all registered components, so a
new component or setting is drawn as soon as it exists. A thousand are drawn, and the figures
printed, by ``pytest -m slow tests/test_configurations.py``.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import re
import shutil
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from PIL import Image
from pydantic.fields import FieldInfo

import ganzoo
from ganzoo import architectures, recipes
from ganzoo.config import COMPONENTS, TrainConfig, read_config, resolve
from ganzoo.core.component import Component
from ganzoo.core.registry import Registry
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets import InMemoryDataset
from ganzoo.datasets import registry as datasets
from ganzoo.errors import GanzooError, UnsupportedSampleError
from ganzoo.training.callbacks import Callback

LARGE = 16  # a default beyond that is never left to stand: the nets and data are to be tiny
STEPS = 2
FILES = 12  # samples in each of the files and folders

# -- what is drawn --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """A component with options, in one of the forms in which settings take it."""

    registry: Registry[Any] = field(repr=False)
    name: str
    options: Mapping[str, Any]
    form: Literal["mapping", "object", "name", "class", "options"]

    def build(self) -> Any:
        if self.form == "object":
            return self.registry.get(self.name)(**self.options)
        if self.form == "options":
            return dict(self.options)
        plain = {"name": self.name, **self.options}
        if self.options:
            return plain
        return {"name": self.name, "class": self.registry.get(self.name)}.get(self.form, plain)


@dataclass(frozen=True)
class Data:
    """Samples in memory."""

    shape: tuple[int, ...]
    dtype: str
    fill: Literal["noise", "signed", "wide", "constant", "nan", "infinite"]
    labels: Literal["none", "numbers", "names", "one", "floats", "short"]
    form: Literal["tensor", "array", "pair", "dict", "dataset", "given"]
    options: Mapping[str, Any]
    seed: int

    def build(self) -> Any:
        source = torch.Generator().manual_seed(self.seed)
        values = torch.rand(self.shape, generator=source)
        if self.fill == "constant":
            values = torch.full(self.shape, 0.5)
        if self.dtype in ("uint8", "int16", "uint16", "int64"):
            values = (255 * values).round()
        if self.fill == "signed":
            values = 2 * values - 1
        if self.fill == "wide":
            values = 1000 * values - 300
        if self.fill in ("nan", "infinite"):
            values.view(-1)[0] = math.nan if self.fill == "nan" else -math.inf
        if self.dtype in ("uint8", "int16", "uint16", "int64", "bool"):
            values = values.nan_to_num(0, 0, 0)
        if self.dtype in ("uint8", "uint16"):
            values = values.clamp(0, 255)
        data: Any = values.to(getattr(torch, self.dtype))
        labels = self._labels()
        if self.form == "dataset":
            return Items(data, labels)
        if self.form == "array" and self.dtype != "bfloat16":
            data = data.numpy()
        if self.form == "dict":
            data = {"images": data} if labels is None else {"images": data, "labels": labels}
        elif labels is not None or self.form == "pair":
            data = (data, labels)
        return InMemoryDataset.of(data, **self.options) if self.form == "given" else data

    def _labels(self) -> Any:
        count = self.shape[0]
        short = count if self.form == "dataset" else count - 1  # items always have their own
        return {
            "none": None,
            "numbers": torch.arange(count) % 3 - 1,
            "names": np.array([("cat", "dog")[place % 2] for place in range(count)]),
            "one": np.zeros(count, dtype=np.uint8),
            "floats": torch.linspace(0, 1, count),
            "short": torch.zeros(short, dtype=torch.int64),
        }[self.labels]


class Items(torch.utils.data.Dataset[Any]):
    """A torch Dataset."""

    def __init__(self, data: torch.Tensor, labels: Any) -> None:
        self.data, self.labels = data, labels

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        return self.data[index] if self.labels is None else (self.data[index], self.labels[index])


@dataclass(frozen=True)
class Case:
    """One configuration, and how it is tried."""

    given: Mapping[str, Any]
    in_config: frozenset[str]
    config_form: Literal["mapping", "file", "object"]
    way: Literal["fit", "iterations"]
    out: bool


# -- strategies from fields -----------------------------------------------------------------------

TEXTS = ("", "x", "images", "a b", "\u00e4\u4e2d", "../x", "-1", "nan")
PATHS = ("squares.npy", "vectors.npz", "waves.safetensors", "pictures", "broken.npy", "absent.npy")
EXTREME = (5e-324, 1e-300, 1e-45, 1e-20, 1e6, 1e20, 3.4e38, 3.5e38, 1e300, -1e300, -1e6, 0.0)
WRONG = (
    *(-1, 0, 0.5, -0.5, math.nan, math.inf, "x", "", None, True, b"x", "1", "auto", Path("x")),
    *((), [], {}, (1, 2, 3), [0], (0.5, "x"), {"name": 3}, {"name": "x"}, {"x": 1}, {3: 1}),
    *(object, np.float32(2), np.zeros(2), torch.zeros(2, 2)),
)


def bounds(metadata: tuple[Any, ...]) -> dict[str, Any]:
    """Limits such as ``{"gt": 0}`` of a field."""
    names = ("gt", "ge", "lt", "le", "min_length")
    return {name: getattr(each, name) for each in metadata for name in names if hasattr(each, name)}


def integers(limits: Mapping[str, Any]) -> SearchStrategy[int]:
    low = limits.get("ge", limits.get("gt", -5) + 1)
    high = limits.get("le", limits.get("lt", math.inf) - 1)
    # What has so high a limit is no size.
    return st.integers(low, high if 2**32 < high < math.inf else min(high, low + 7))


def floats(limits: Mapping[str, Any]) -> SearchStrategy[float]:
    low = limits.get("ge", limits.get("gt"))
    high = limits.get("le", limits.get("lt"))
    if low is None:
        return st.floats(-3, 3)
    if high is None or high - low > 100:
        return st.floats(low + 1e-5, low + 0.5)
    margin = (high - low) / 100
    return st.floats(low + margin * ("gt" in limits), high - margin * ("lt" in limits))


def values(annotation: Any, metadata: tuple[Any, ...] = ()) -> SearchStrategy[Any]:
    """Values that a field of this type takes, small ones where they may be sizes."""
    for each in metadata:
        registry = getattr(getattr(each, "func", None), "__self__", None)
        if isinstance(registry, Registry):
            return components(registry)
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        inner = [each.metadata if isinstance(each, FieldInfo) else [each] for each in parts[1:]]
        return values(parts[0], (*metadata, *itertools.chain(*inner)))
    if origin in (Union, types.UnionType):
        return st.one_of(*(values(part, metadata) for part in parts))
    if origin is Literal:
        return st.sampled_from(parts)
    if origin is tuple and parts[1:] == (...,):
        least = bounds(metadata).get("min_length", 0)
        return st.lists(values(parts[0]), min_size=least, max_size=3).map(tuple)
    if origin is tuple:
        pair = st.tuples(*(values(part) for part in parts))
        return pair.map(lambda ends: tuple(sorted(ends)))
    plain: dict[Any, Callable[[], SearchStrategy[Any]]] = {
        bool: st.booleans,
        int: lambda: integers(bounds(metadata)),
        float: lambda: floats(bounds(metadata)),
        str: lambda: st.sampled_from(TEXTS),
        Path: lambda: st.sampled_from(PATHS),
        type(None): st.none,
    }
    if annotation not in plain:
        raise TypeError(f"No strategy for {annotation}: give one in `values` or `PINNED`.")
    return plain[annotation]()


PINNED: dict[str, SearchStrategy[Any]] = {
    # Nothing is fetched from a network, and nothing kept outside the test's own folder.
    "download": st.just(False),
    "root": st.just("absent"),
    "repo": st.none(),
    "cache": st.just("decoded"),
    "extractor": st.just({"name": "inception", "download": False}),
    "labels_key": st.sampled_from([None, None, None, "labels", "absent"]),
    "key": st.sampled_from([None, None, None, "images", "absent"]),
    "label_column": st.sampled_from([None, None, None, "label"]),
    "labels": st.sampled_from(["auto", "auto", "none", "none", "folders", "file"]),
    "stored_range": st.sampled_from([None, None, (0.0, 255.0), (-1.0, 1.0), (0, 1)]),
    "power.widths": st.sampled_from([(0.05, 0.1), (0.2,), 1e-3, (0.1, 0.05), ()]),
}
"""Strategies of options that fields alone would draw badly, in any component or in one."""


def option(cls: type[Component], name: str) -> SearchStrategy[Any]:
    info = cls.model_fields[name]
    plain = values(info.annotation, tuple(info.metadata)) if name not in PINNED else PINNED[name]
    return PINNED.get(f"{cls.name}.{name}", plain)


def is_large(value: Any) -> bool:
    return any(
        isinstance(each, int) and each > LARGE
        for each in (value if isinstance(value, tuple) else (value,))
    )


@functools.cache
def options_of(cls: type[Component]) -> SearchStrategy[dict[str, Any]]:
    fields = cls.model_fields
    needed = {
        name
        for name, info in fields.items()
        if info.is_required() or is_large(info.default) or name in ("download", "root", "cache")
    }
    return st.fixed_dictionaries(
        {name: option(cls, name) for name in fields if name in needed},
        optional={name: option(cls, name) for name in fields if name not in needed},
    )


@st.composite
def components(draw: DrawFn, registry: Registry[Any]) -> Chosen:
    """Any component that ganzoo itself brings."""
    name = draw(st.sampled_from(own_names(registry)))
    options = draw(options_of(registry.get(name)))
    form = draw(st.sampled_from(["mapping", "object", "name", "class"]))
    return Chosen(registry, name, options, form)


@functools.cache
def own_names(registry: Registry[Any]) -> list[str]:
    return [entry.name for entry in registry.entries() if entry.distribution == "ganzoo"]


def often(usual: SearchStrategy[Any], seldom: SearchStrategy[Any], one_in: int) -> Any:
    return st.integers(1, one_in).flatmap(lambda drawn: seldom if drawn == one_in else usual)


# -- strategies of settings -----------------------------------------------------------------------


@st.composite
def in_memory(draw: DrawFn) -> Data:
    kind = draw(often(st.just("image"), st.sampled_from(["vector", "audio", "audio3"]), 4))
    count = draw(st.sampled_from([4, 1, 2, 3, 7, 11]))
    side = st.integers(1, 33)
    options: dict[str, Any] = {}
    form = draw(st.sampled_from(["tensor", "array", "pair", "dict", "dataset", "given"]))
    if kind == "image":
        channels = draw(st.integers(1, 7))
        shape = draw(st.sampled_from([(channels, "h", "w"), ("h", "w", channels), ("h", "w")]))
        sides = {"h": draw(side), "w": draw(side)}
        shape = tuple(sides.get(axis, axis) for axis in shape)
    elif kind == "vector":
        shape = (draw(st.integers(1, 9)),)
    else:
        form, options["sample_kind"] = "given", "audio"
        shape = (draw(side),) if kind == "audio" else (draw(st.integers(1, 3)), draw(side))
    if form == "given":
        options.update(
            draw(options_of(InMemoryDataset).map(_without("description", "fingerprint")))
        )
        options["sample_kind"] = kind.removesuffix("3")
    dtype = draw(
        often(
            st.sampled_from(["uint8", "float32"]),
            st.sampled_from(
                ["float64", "float16", "bfloat16", "bool", "int16", "uint16", "int64", "complex64"]
            ),
            5,
        )
    )
    return Data(
        (count, *shape),
        dtype,
        draw(
            often(
                st.sampled_from(["noise", "constant"]),
                st.sampled_from(["signed", "wide", "nan", "infinite"]),
                6,
            )
        ),
        draw(often(st.sampled_from(["none", "numbers", "names", "one"]), LABELS_WRONG, 12)),
        form,
        options,
        draw(st.integers(0, 2**16)),
    )


LABELS_WRONG = st.sampled_from(["floats", "short"])


def _without(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda drawn: {key: value for key, value in drawn.items() if key not in names}


def count_of(dataset: Data | Chosen | str) -> int:
    if isinstance(dataset, Data):
        return dataset.shape[0]
    if isinstance(dataset, Chosen):
        return int(dataset.options.get("count") or FILES)
    return FILES


latents = st.one_of(
    st.integers(1, 16),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    st.fixed_dictionaries(
        {"shape": st.one_of(st.integers(1, 16), st.just((2, 3)))},
        optional={
            name: values(info.annotation, tuple(info.metadata))
            for name, info in LatentSpec.model_fields.items()
            if name not in ("shape", "low", "high")
        },
    ),
    st.builds(
        lambda shape, low: LatentSpec(
            shape=(shape,), distribution="uniform", low=low, high=low + 1
        ),
        st.integers(1, 16),
        st.floats(-2, 2),
    ),
)

SETTINGS: dict[str, SearchStrategy[Any]] = {
    "epochs": st.floats(0.1, 3),
    "init_from": often(st.none(), st.sampled_from(["mlp.mnist", "nowhere"]), 24),
    "d_steps": st.integers(1, 3),
    "g_steps": st.integers(1, 3),
    "conditional": often(st.just(False), st.just(True), 8),
    "device": st.sampled_from(["cpu", "auto", "cpu:0"]),
    "size": often(
        st.none(), st.sampled_from([16, 32, (16, 32), (32, 64), [36, 20], 20, 7, 1, (5, 33)]), 6
    ),
    "value_range": often(
        st.none(), st.sampled_from([(-1, 1), (0, 1), [0.0, 255.0], (-3.5, 0.25), (-1e-3, 1e3)]), 6
    ),
    "keep_best": st.sampled_from([None, "min:g_loss", "max:high_quality", "min:d_real", "min:x"]),
    "metrics": often(
        st.just(()),
        st.sampled_from(
            [
                "modes",
                "ms-ssim",
                "x,y",
                [{"name": "swd", "patches": 2, "directions": 2}],
                [{"name": "fid", "extractor": {"name": "inception", "download": False}}],
            ]
        ),
        4,
    ),
    "evaluate_every": often(st.just(0), st.sampled_from([1, 2, "epoch"]), 4),
    "evaluate_num_fake": st.sampled_from([1, 2, 8, 30]),
    "evaluate_num_real": often(st.none(), st.sampled_from([1, 2, 10**4]), 8),
    "real_split": often(st.none(), st.just("test"), 16),
    "patience": often(st.none(), st.just(1), 8),
    "workers": often(st.none(), st.just(0), 6),
    "penalties": st.just(()),
    "labels": often(st.just("data"), st.just("uniform"), 8),
    "joint_batch": often(st.just(False), st.just(True), 4),
    "accumulate": often(st.just(1), st.sampled_from([2, 3, 64]), 12),
    "packing": often(st.just(1), st.sampled_from([2, 3, 64]), 12),
    "adversarial_weight": often(st.just(1.0), st.sampled_from([0.5, 3, 0]), 12),
    "schedules": often(
        st.just({}),
        st.sampled_from(
            [{"g_optimizer.lr": "cosine 1e-5"}, "d_optimizer.lr step 1e-6 at=.3"] * 3
            + [{"x": "linear 1"}]
        ),
        6,
    ),
    "augmentation": st.none(),
    "trackers": often(st.just(()), st.sampled_from(["tensorboard", [{"name": "tensorboard"}]]), 24),
}
"""Strategies of settings whose fields alone would draw badly; all others follow from theirs."""

APART = {"recipe", "steps", "epochs", "arch", "dataset", "batch_size", "latent"}
"""Settings that ``configurations`` draws by itself."""


@functools.cache
def others() -> SearchStrategy[dict[str, Any]]:
    fields = TrainConfig.model_fields
    return st.fixed_dictionaries(
        {},
        optional={
            name: SETTINGS[name]
            if name in SETTINGS
            else values(info.annotation, tuple(info.metadata))
            for name, info in fields.items()
            if name not in APART
        },
    )


def likely_images(dataset: Data | Chosen | str) -> bool:
    if isinstance(dataset, Data):
        return len(dataset.shape) > 2 and dataset.options.get("sample_kind") != "audio"
    if isinstance(dataset, Chosen):
        return "count" not in dataset.options or "root" in dataset.options
    return dataset in ("squares.npy", "pictures")


@functools.cache
def versatile() -> list[str]:
    """Architectures that make vectors too."""
    able = []
    for name in own_names(architectures.registry):
        with contextlib.suppress(UnsupportedSampleError):
            architectures.create(name).check(
                SampleSpec(kind="vector", shape=(2,), value_range=None)
            )
            able.append(name)
    return able


@st.composite
def configurations(draw: DrawFn) -> Case:
    chosen: dict[str, Any] = {"arch": draw(components(architectures.registry))}
    origin = draw(often(st.just("memory"), st.sampled_from(["points", "points", "any", "file"]), 3))
    if origin == "memory":
        chosen["dataset"] = draw(in_memory())
    elif origin == "points":
        drawn = {name: fields_of(datasets, name) for name in own_names(datasets)}
        points = [name for name in drawn if "count" in drawn[name] and "root" not in drawn[name]]
        name = draw(st.sampled_from(points))
        chosen["dataset"] = Chosen(datasets, name, draw(options_of(datasets.get(name))), "mapping")
    elif origin == "any":
        chosen["dataset"] = draw(components(datasets))
    else:
        chosen["dataset"] = draw(st.sampled_from(PATHS))
    if not likely_images(chosen["dataset"]):
        able = draw(often(st.sampled_from(versatile()), st.none(), 4))
        if able is not None:
            arch = architectures.registry.get(able)
            chosen["arch"] = Chosen(
                architectures.registry, able, draw(options_of(arch)), chosen["arch"].form
            )
    count = count_of(chosen["dataset"])
    fitting = [size for size in (2, 3, 1, 5, count) if size <= count]
    chosen["batch_size"] = draw(often(st.sampled_from(fitting), st.just(count + 1), 16))
    chosen["latent"] = draw(latents)
    length = draw(often(st.just("steps"), st.sampled_from(["epochs", "longer"]), 10))
    chosen["steps"] = STEPS if length == "steps" else 2 * STEPS
    if length == "epochs":
        del chosen["steps"]
        chosen["epochs"] = draw(SETTINGS["epochs"])
    chosen.update(draw(others()))
    if draw(st.integers(1, 24)) == 24:
        chosen["recipe"] = draw(st.sampled_from(recipes.names()))
    chosen = draw(often(st.just(chosen), spoilt(chosen), 8))
    return Case(
        given=chosen,
        in_config=draw(st.sets(st.sampled_from(sorted(chosen))).map(frozenset)),
        config_form=draw(st.sampled_from(["mapping", "file", "object"])),
        way=draw(st.sampled_from(["fit", "iterations"])),
        out=draw(st.booleans()),
    )


def fields_of(registry: Registry[Any], name: str) -> Mapping[str, FieldInfo]:
    return registry.get(name).model_fields


@st.composite
def spoilt(draw: DrawFn, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings, one of them wrong or at the edge of what can be computed."""
    keys = sorted(key for key, value in chosen.items() if isinstance(value, Chosen))
    what = draw(st.sampled_from(["setting", "option", "option", "unknown", "edge", "edge"]))
    if what == "setting":
        key = draw(st.sampled_from(sorted(TrainConfig.model_fields)))
        return {**chosen, key: draw(st.sampled_from(WRONG))}
    if what == "unknown":
        key = draw(st.sampled_from(["batchsize", "lr", "x", "arch.channels"]))
        return {**chosen, key: 1}
    if what == "edge" and draw(st.booleans()):
        return {**chosen, **draw(st.sampled_from(EDGES))}
    key = draw(st.sampled_from(keys))
    component: Chosen = chosen[key]
    fields = fields_of(component.registry, component.name)
    wrong: Any = st.sampled_from(WRONG)
    names = [*fields, "x"]
    if what == "edge":
        names = [name for name, info in fields.items() if "float" in str(info.annotation)]
        wrong = st.sampled_from(EXTREME)
        if not names:
            return {**chosen, "clip_grad": draw(wrong)}
    name = draw(st.sampled_from(names))
    value = draw(wrong)
    if isinstance(fields[name].annotation if name in fields else None, types.GenericAlias):
        value = (value, value) if what == "edge" else value
    options = {**component.options, name: value}
    form = draw(st.sampled_from([component.form, "options"]))
    return {**chosen, key: Chosen(component.registry, component.name, options, form)}


EDGES: tuple[dict[str, Any], ...] = (
    *({"clip_grad": value} for value in (1e-300, 1e-45, 1e38, 1e300)),
    *(
        {"value_range": ends}
        for ends in ((-1e38, 1e38), (-1e300, 1e300), (0, 1e-45), (1, 1 + 1e-15))
    ),
    *(
        {"latent": {"shape": 3, "truncation": bound, "distribution": "truncated"}}
        for bound in EXTREME
    ),
    *(
        {"latent": {"shape": 3, "low": low, "high": high, "distribution": "uniform"}}
        for low, high in ((-1e300, 1e300), (0, 1e-300), (-3e38, 3e38), (1, 1 + 1e-15), (0, 0))
    ),
    *({name: 10**30} for name in ("batch_size", "steps", "seed", "log_every", "keep_checkpoints")),
    *({name: 10**30} for name in ("sample_every", "checkpoint_every", "snapshot_every")),
    *({"epochs": value, "steps": None} for value in (1e-300, 1e12, 1e300)),
    *({"schedule": {"name": "linear", "warmup": warmup}} for warmup in (10**6, 10**30)),
    *({"schedule": {"name": "cosine", "final": final}} for final in (1e10, 1e300)),
    *({"device": name} for name in ("cuda:99", "tpu", "meta", "", "cpu:1", "mps:3")),
    *({"seed": seed} for seed in (2**63 - 1, 2**63, -1)),
    {"average": {"decay": 1 - 2**-53}},
    {"average": {"name": "power", "widths": [1e-6, 0.2886]}},
    {"size": (1, 300)},
    {"size": (300, 1), "resize_mode": "resize"},
)
"""Settings at the edge of what can be computed."""


# -- trying a configuration -----------------------------------------------------------------------

FIX = re.compile(
    r"(?i)\b(add|bring|check|choose|compute it|convert|correct|delete|did you mean|give|install|"
    r"keep|leave|lower|or set|pass|raise|remove|replace|reshape|resize|restore|save|say|shorten|"
    r"swap|take|turn|upgrade|use|write)\b|[.,;] set [a-z]"
    # What is possible, as the rule that it breaks or as a list.
    r"|\b(available|names in it|options|settings): |\bneeds (an?|at least|low)\b|"
    r"\bmust (be|have|lie|not)\b|: (input|tuple|string|value) should \w+\b|"
    r"; the nearest it can is\b"
)
"""What an error has in it, where it tells what to do or what is possible."""


class Stop(Callback):
    """Ends a training that would be longer."""

    def on_step(self, trainer: ganzoo.Trainer, step: Any) -> None:
        if trainer.step >= 2 * STEPS:
            trainer.stop()


def trial(case: Case) -> str:
    """How it went: ``fit``, ``iterations``, or the name of the error."""
    try:
        trainer = prepared(case)
        if case.way == "fit":
            fitted(trainer)
        else:
            for step in itertools.islice(trainer.iterations(), STEPS):
                assert set(step.scalars) >= {"d_loss", "g_loss"}
            sampled(trainer.generator)
    except GanzooError as error:
        text = str(error)
        assert "\n" not in text and len(text) < 1500, text
        assert FIX.search(text), f"It does not say what to do: {text}"
        return type(error).__name__
    # A fraction of an epoch may be one step.
    return case.way if trainer.step >= min(STEPS, trainer.total_steps) == STEPS else "one step"


def prepared(case: Case) -> ganzoo.Trainer:
    built = {
        key: value.build() if isinstance(value, (Chosen, Data)) else value
        for key, value in case.given.items()
    }
    lower = {key: value for key, value in built.items() if key in case.in_config}
    upper = {key: value for key, value in built.items() if key not in case.in_config}
    config: Any = lower
    if case.config_form == "file":
        plain = {key: value for key, value in lower.items() if is_plain(value)}
        upper.update({key: value for key, value in lower.items() if key not in plain})
        config = Path("settings.yaml")
        config.write_text(yaml.safe_dump(plain), encoding="utf-8")
    elif case.config_form == "object" and "recipe" not in lower:
        config = resolve(lower)
        if upper.get("epochs") is None:  # it says a number of steps, which would win
            upper.setdefault("steps", built.get("steps"))
    return ganzoo.Trainer(
        config=config,
        out="out" if case.out else None,
        progress=False,
        callbacks=[Stop()],
        **upper,
    )


def is_plain(value: Any) -> bool:
    try:
        return bool(yaml.safe_load(yaml.safe_dump(value)) == value)
    except (yaml.YAMLError, ValueError, RuntimeError):
        return False


def fitted(trainer: ganzoo.Trainer) -> None:
    run = trainer.fit()
    assert run.history[-1]["step"] == trainer.step
    assert all(math.isfinite(value) for row in run.history for value in row.values())
    sampled(run.generator)
    # What a run says of itself is a configuration again, and the same one.
    assert resolve(read_config(run.path / "config.yaml")).dump() == trainer.config.dump()


def sampled(generator: ganzoo.Generator) -> None:
    assert generator.sample(2, seed=0).shape == (2, *generator.spec.shape)


@contextlib.contextmanager
def clean_partial_writes() -> Iterator[None]:
    """Leave no files behind, and torch as it was."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        for place in ("out", "runs"):
            shutil.rmtree(place, ignore_errors=True)


def write_files() -> None:
    """The files that ``PATHS`` names, in the working folder."""
    from safetensors.numpy import save_file

    source = np.random.default_rng(3)
    np.save("squares.npy", source.integers(0, 256, (FILES, 9, 14), dtype=np.uint8))
    labels = np.arange(FILES) % 2
    np.savez("vectors.npz", x=source.normal(size=(FILES, 3)).astype(np.float32), y=labels)
    save_file({"data": source.random((FILES, 21), dtype=np.float32)}, "waves.safetensors")
    Path("broken.npy").write_bytes(b"\x93NUMPY no array at all")
    for place in range(FILES):
        folder = Path("pictures", ("cat", "dog")[place % 2])
        folder.mkdir(parents=True, exist_ok=True)
        pixels = source.integers(0, 256, (17, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{place}.png")


@dataclass
class Findings:
    """How configurations went."""

    outcomes: Counter[str] = field(default_factory=Counter)
    at_work: set[tuple[str, str]] = field(default_factory=set)
    """Settings, and the names of the components that they were where it trained."""

    def add(self, case: Case, outcome: str) -> None:
        self.outcomes[outcome] += 1
        if outcome in ("fit", "iterations"):
            chosen = [(key, each) for key, each in case.given.items() if isinstance(each, Chosen)]
            self.at_work |= {(key, each.name) for key, each in chosen}

    @property
    def total(self) -> int:
        return self.outcomes.total()

    @property
    def trained(self) -> int:
        """How many trained two steps or more."""
        return self.outcomes["fit"] + self.outcomes["iterations"]


def explore(count: int, number: int | None = None, findings: Findings | None = None) -> Findings:
    """Try that many configurations, those of a number or any; ``findings`` are added to."""
    write_files()
    findings = Findings() if findings is None else findings

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(case=configurations())
    def every_configuration(case: Case) -> None:
        with clean_partial_writes():
            findings.add(case, trial(case))

    run = every_configuration if number is None else seed(number)(every_configuration)
    run()
    return findings


# -- tests ----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _quick_and_strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small pictures, one thread, no waiting for the disk; each of torch's warnings every time."""
    monkeypatch.setattr("ganzoo.training.visualizer._SHOWN", 4)
    monkeypatch.setattr("os.fsync", lambda handle: None)
    before, threads = torch.is_warn_always_enabled(), torch.get_num_threads()
    torch.set_warn_always(True)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_warn_always(before)


def test_the_strategies_are_of_settings_that_exist() -> None:
    assert SETTINGS.keys() | APART <= TrainConfig.model_fields.keys()


def test_random_configurations_train_or_are_refused() -> None:
    found = explore(150, 0)
    assert found.total >= 150
    # What is drawn hangs together, and on the modules that are imported: 28 to 55% train.
    for number in (1, 2, 3):
        if found.trained < 0.4 * found.total:
            explore(150, number, found)
    assert found.trained >= 0.4 * found.total, found.outcomes
    assert found.outcomes["fit"] and found.outcomes["iterations"] and found.outcomes["ConfigError"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_configurations_train_or_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = explore(1000)
    with capsys.disabled():
        print(f"\n{found.total} configurations, of which {found.trained} trained: ", end="")
        print(", ".join(f"{count} {name}" for name, count in found.outcomes.most_common()))
    assert found.total >= 1000
    assert found.trained >= 400, found.outcomes
    for setting, registry in COMPONENTS.items():
        if setting != "dataset":  # most of which need files that are not here
            assert {(setting, name) for name in own_names(registry)} <= found.at_work
