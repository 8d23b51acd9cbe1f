"""Mistakes of plug-ins: the checks and the first batch of a training say the same sentence."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu, softplus

import ganzoo
from ganzoo import (
    architectures,
    datasets,
    features,
    losses,
    metrics,
    optimizers,
    schedules,
    trackers,
)
from ganzoo.architectures import Architecture, Output
from ganzoo.core import registry
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.core.step import Judge
from ganzoo.datasets import Dataset, Samples
from ganzoo.errors import ConfigError, ContractError, GanzooError, PluginError, RegistrationError
from ganzoo.losses import Loss
from ganzoo.schedules import Schedule
from ganzoo.testing import check_architecture, check_dataset, check_loss
from ganzoo.training import contract
from ganzoo.training.estimate import estimate
from ganzoo.training.parts import collect

BATCH, LATENT = 4, 6
SPEC = SampleSpec(kind="vector", shape=(3,))
CLASSES = ("a", "b")
KINDS = (architectures, datasets, features, losses, metrics, optimizers, schedules, trackers)


class Data(Dataset):
    """Numbers between -1 and 1."""

    count: int = 32

    def load(self) -> Samples:
        source = torch.Generator().manual_seed(0)
        data = torch.rand(self.count, 3, generator=source) * 2 - 1
        labels = torch.arange(self.count) % 2
        spec = SPEC.model_copy(update={"classes": CLASSES})
        return Samples(data, spec, labels, stored_range=(-1.0, 1.0))


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    yield
    for kind in KINDS:
        for entry in kind.registry.entries():
            if entry.distribution == __name__:
                kind.registry.unregister(entry.name)


def registered(cls: type, name: str = "broken") -> type:
    kind = next(kind for kind in KINDS if issubclass(cls, kind.registry.base))
    return kind.registry.register(name)(cls)


def trainer(**settings: Any) -> ganzoo.Trainer:
    settings = {
        "arch": {"name": "mlp", "hidden": [8]},
        "dataset": Data(),
        "latent": LATENT,
        "batch_size": BATCH,
        "steps": 2,
        "device": "cpu",
        "precision": "fp32",
        "progress": False,
        **settings,
    }
    registered(Data, "numbers")
    return ganzoo.Trainer(**settings)


def core(message: str) -> str:
    """A sentence without the figures that differ from one batch to another."""
    sentence = message.partition(" This is ")[0].partition(" Its logits have shape")[0]
    return re.sub(r"-?\d+\.\d+(e-?\d+)?|-?inf", "#", sentence)


def same_sentence(check: Callable[[], None], train: Callable[[], Any], fault: str) -> str:
    """Both say it, each in one line; returns what the training says."""
    with pytest.raises(AssertionError) as checked:
        check()
    with pytest.raises(GanzooError) as trained:
        train()
    told = str(trained.value)
    assert re.search(fault, told), told
    assert core(told) == core(str(checked.value))
    assert "\n" not in told
    return told


# -- architectures --------------------------------------------------------------------------------


class G(nn.Module):
    def __init__(self, spec: SampleSpec, latent: LatentSpec) -> None:
        super().__init__()
        self.layer, self.shape = nn.Linear(latent.numel, spec.numel), spec.shape

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.tanh(self.layer(z.flatten(1))).reshape(-1, *self.shape)


class D(nn.Module):
    def __init__(self, spec: SampleSpec, heads: int = 1) -> None:
        super().__init__()
        self.layer = nn.Linear(spec.numel, heads)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
        return self.layer(x.flatten(1)).squeeze(1)


def architecture(g: Any = G, d: Any = D, **members: Any) -> type[Architecture]:
    class Made(Architecture):
        """Nets for a test."""

        recommended: ClassVar = {"latent": LATENT}

        def generator(self, spec: SampleSpec, latent: LatentSpec) -> Any:
            return g(spec, latent)

        def discriminator(self, spec: SampleSpec) -> Any:
            return d(spec)

    for name, value in members.items():
        setattr(Made, name, value)
    return Made


def makes(act: Callable[[G, Tensor], Any]) -> type[G]:
    class Odd(G):
        def forward(self, z: Tensor, labels: Tensor | None = None) -> Any:
            return act(self, z)

    return Odd


def judges(act: Callable[[Tensor], Any], heads: int = 1) -> Callable[[SampleSpec], nn.Module]:
    """A discriminator that ends in ``act``, of logits (N, heads)."""

    class Odd(D):
        def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
            return act(self.layer(x.flatten(1)))

    return lambda spec: Odd(spec, heads)


def plain(self: G, z: Tensor) -> Tensor:
    return torch.tanh(self.layer(z))


def fail(*arguments: Any) -> Any:
    raise KeyError("a bug")


class InList(G):
    def __init__(self, spec: SampleSpec, latent: LatentSpec) -> None:
        super().__init__(spec, latent)
        self.layers = [self.layer]
        del self.layer

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.tanh(self.layers[0](z))


class Spare(G):
    def __init__(self, spec: SampleSpec, latent: LatentSpec) -> None:
        super().__init__(spec, latent)
        self.spare = nn.Linear(2, 2)


class Started(G):
    def __init__(self, spec: SampleSpec, latent: LatentSpec) -> None:
        super().__init__(spec, latent)
        with torch.no_grad():
            self.layer.bias[0] = float("nan")


class Narrow(D):
    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(SampleSpec(shape=(1, 28, 28)))


class NoLabels(G):
    def forward(self, z: Tensor) -> Tensor:  # type: ignore[override]
        return plain(self, z)


class Constant(G):
    def __init__(self, spec: SampleSpec, latent: LatentSpec) -> None:
        super().__init__(spec, latent)
        self.start = nn.Parameter(torch.randn(1, spec.numel))
        del self.layer

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.tanh(self.start).expand(len(z), -1) * 1.0


class InPlace(D):
    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().forward(x.mul_(2))


class Rich(D):
    def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
        return Output(None, classes=self.layer(x))  # type: ignore[arg-type]


ARCHITECTURES = {
    "no generator": ({"g": lambda *_: None}, r"generator\(\) must return an nn.Module, not a None"),
    "no discriminator": ({"d": lambda *_: "net"}, r"discriminator\(\) must return an nn.Module"),
    "building fails": ({"g": fail}, r"generator\(\) raised KeyError in test_contract.py, line \d+"),
    "building D fails": ({"d": fail}, r"discriminator\(\) raised KeyError .* in check\(spec\)"),
    "no parameters": ({"g": InList}, "generator has no parameters to train.*nn.ModuleList"),
    "starts with NaN": ({"g": Started}, r"The generator starts with 'layer.bias' not finite"),
    "making fails": ({"g": makes(fail)}, "The generator raised KeyError in test_contract.py, line"),
    "no labels taken": ({"g": NoLabels}, r"forward\(self, z, labels=None\)"),
    "another shape": (
        {"g": makes(lambda g, z: plain(g, z)[:, :2])},
        r"of shape \(4, 3\).*\(4, 2\)",
    ),
    "an axis more": ({"g": makes(lambda g, z: plain(g, z)[None])}, r"it returned .*\(1, 4, 3\)"),
    "float64": ({"g": makes(lambda g, z: plain(g, z).double())}, "it returned a float64 tensor"),
    "a tuple": ({"g": makes(lambda g, z: (plain(g, z),))}, "it returned a tuple"),
    "no return": ({"g": makes(lambda g, z: None)}, "it returned a NoneType"),
    "numpy": ({"g": makes(lambda g, z: plain(g, z).detach().numpy())}, "returned a ndarray"),
    "no tanh": ({"g": makes(lambda g, z: 9 * g.layer(z))}, r"outside the spec's range.*output_act"),
    "ReLU": ({"g": makes(lambda g, z: relu(9 * g.layer(z)))}, "outside the spec's range"),
    "wide only for extremes": ({"g": makes(lambda g, z: g.layer(z) / 9)}, "outside the spec's ran"),
    "NaN samples": ({"g": makes(lambda g, z: plain(g, z) / 0)}, "generator made values that are n"),
    "zeros for z": ({"g": makes(lambda g, z: plain(g, 0 * z))}, "The generator ignores its latent"),
    "a constant": ({"g": Constant}, "The generator ignores its latent: it makes the same samples"),
    "own noise": ({"g": makes(lambda g, z: plain(g, torch.randn_like(z)))}, "ignores its latent"),
    "the batch's mean": (
        {"g": makes(lambda g, z: plain(g, z.mean(0).expand_as(z)))},
        "ignores its",
    ),
    "the first row": (
        {"g": makes(lambda g, z: plain(g, z[:1].expand_as(z)))},
        "ignores its latent",
    ),
    "z in place": ({"g": makes(lambda g, z: plain(g, z.mul_(2)))}, "changes its latents in place"),
    "detached": ({"g": makes(lambda g, z: plain(g, z).detach())}, "No gradient reaches 'layer.wei"),
    "a spare layer": ({"g": Spare}, "No gradient reaches 'spare.weight', 'spare.bias' of the gene"),
    "D for 784 values": ({"d": Narrow}, r"The discriminator raised RuntimeError .*\(4, 3\): what"),
    "D (N, 1)": ({"d": judges(lambda x: x)}, r"\(N, K\).*shape \(4, 1\). .*squeeze\(1\) a si"),
    "D (N, 1, 1, 1)": ({"d": judges(lambda x: x[..., None, None])}, r"\(4, 1, 1, 1\). Keep"),
    "D (1,)": ({"d": judges(lambda x: x.mean(0))}, r"tensor of shape \(1,\). Keep the batch axis"),
    "D ()": ({"d": judges(lambda x: x.mean())}, r"a float32 tensor of shape \(\)"),
    "D (N - 1,)": ({"d": judges(lambda x: x[1:, 0])}, r"tensor of shape \(3,\)"),
    "D (K, N)": ({"d": judges(lambda x: x.T, heads=5)}, r"of shape \(5, 4\). Keep the batch axis"),
    "D of patches": (
        {"d": judges(lambda x: x.view(-1, 1, 2, 2), 4)},
        r"shape \(4, 1, 2, 2\).* flatten\(1\) several",
    ),
    "D (N, N)": ({"d": judges(lambda x: x + x.squeeze(1))}, r"a table of logits \(N, N\)"),
    "D ints": ({"d": judges(lambda x: (x[:, 0] > 0).long())}, "int64 tensor.*return no decisions"),
    "D bools": ({"d": judges(lambda x: x[:, 0] > 0)}, "it returned a bool tensor"),
    "D float64": ({"d": judges(lambda x: x[:, 0].double())}, "it returned a float64 tensor"),
    "D None": ({"d": judges(lambda x: None)}, "it returned a NoneType"),
    "D a tuple": (
        {"d": judges(lambda x: (x[:, 0], x))},
        r"Output\(logits, .* a tuple",
    ),
    "D an empty Output": ({"d": Rich}, "it returned a NoneType"),
    "D NaN": ({"d": judges(lambda x: x[:, 0] * float("nan"))}, "logits that are not finite"),
    "D detached": ({"d": judges(lambda x: x[:, 0].detach())}, "The logits have no gradient"),
    "D in place": ({"d": InPlace}, "The discriminator changes its samples in place"),
    "D fails": ({"d": judges(fail)}, "The discriminator raised KeyError in test_contract.py"),
}


@pytest.mark.parametrize("mistake", ARCHITECTURES)
def test_architectures(mistake: str) -> None:
    nets, fault = ARCHITECTURES[mistake]
    registered(architecture(**nets))
    told = same_sentence(
        lambda: check_architecture("broken", SPEC),
        lambda: list(trainer(arch="broken").iterations()),
        fault,
    )
    assert told.endswith(
        f"This is architecture 'broken' of {__name__}; "
        'ganzoo.testing.check_architecture("broken") checks all of it.'
    )


@pytest.mark.parametrize(
    "mistake", ["another shape", "an axis more", "D (N, 1)", "D ()", "D of patches", "D float64"]
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_bfloat16_is_never_the_fault(mistake: str, precision: str) -> None:
    nets, fault = ARCHITECTURES[mistake]
    registered(architecture(**nets))
    same_sentence(
        lambda: check_architecture("broken", SPEC),
        lambda: list(trainer(arch="broken", precision=precision).iterations()),
        fault,
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fit_says_it_too(precision: str) -> None:
    registered(architecture(g=makes(lambda g, z: plain(g, 0 * z))))
    with pytest.raises(ContractError, match="ignores its latent"):
        trainer(arch="broken", precision=precision).fit()


def test_a_dry_run_says_it_too() -> None:
    registered(architecture(d=Narrow))
    with pytest.raises(ContractError, match=r"The discriminator raised RuntimeError .*'broken'"):
        estimate(trainer(arch="broken"))


class ZeroStart(G):
    """What a paper may begin with: a last layer of zeros."""

    def __init__(self, spec: SampleSpec, latent: LatentSpec) -> None:
        super().__init__(spec, latent)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)


class Noisy(G):
    """Dropout in G, and noise of its own while it trains."""

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        hidden = nn.functional.dropout(self.layer(z), 0.2, self.training)
        return torch.tanh(hidden + 0.1 * torch.randn_like(hidden) * self.training)


class Skipping(G):
    """Leaves out a layer at random while it trains."""

    def __init__(self, spec: SampleSpec, latent: LatentSpec) -> None:
        super().__init__(spec, latent)
        self.more = nn.Linear(3, 3)
        self.calls = 0

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        self.calls += 1
        hidden = self.layer(z)
        return torch.tanh(hidden if self.training and self.calls % 2 else self.more(hidden))


class Frozen(D):
    """Features that are fixed on purpose."""

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        self.fixed = nn.Linear(spec.numel, spec.numel).requires_grad_(False)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().forward(self.fixed(x))


class Heads(D):
    """A head that the loss makes no use of."""

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        self.classes = nn.Linear(spec.numel, 2)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Output:
        return Output(super().forward(x), self.classes(x), x)


class Minibatch(D):
    """Compares the samples of a batch."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().forward(x - x.mean(0))


class BatchNorm(G):
    def __init__(self, spec: SampleSpec, latent: LatentSpec) -> None:
        super().__init__(spec, latent)
        self.norm = nn.BatchNorm1d(latent.numel)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().forward(self.norm(z))


class Spectral(D):
    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        nn.utils.parametrizations.spectral_norm(self.layer)


SOUND = {
    "plain": {},
    "zeros at first": {"g": ZeroStart},
    "noise": {"g": Noisy},
    "layers left out": {"g": Skipping},
    "batch norm": {"g": BatchNorm},
    "frozen on purpose": {"d": Frozen},
    "an unused head": {"d": Heads},
    "compares samples": {"d": Minibatch},
    "spectral norm": {"d": Spectral},
    "as many heads as samples": {"d": judges(lambda x: x, heads=BATCH)},
    "heads": {"d": judges(lambda x: x, heads=7)},
}


@pytest.mark.parametrize("nets", SOUND.values(), ids=list(SOUND))
def test_sound_architectures_give_no_alarm(nets: dict[str, Any]) -> None:
    registered(architecture(**nets))
    check_architecture("broken", SPEC)
    made = trainer(arch="broken", steps=3)
    assert len(list(made.iterations())) == 3
    assert made.notices == []
    for joint in (False, True):
        assert len(list(trainer(arch="broken", joint_batch=joint, steps=1).iterations())) == 1


@pytest.mark.parametrize("nets", SOUND.values(), ids=list(SOUND))
def test_looking_changes_nothing(nets: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    registered(architecture(**nets))

    def trained(looked: bool) -> dict[str, Tensor]:
        made = trainer(arch="broken", steps=3, loss="bce", conditional=False)
        made.setup()
        if not looked:
            made.game.first = None
        list(made.iterations())
        return {name: value.clone() for name, value in collect(made.parts())[0].items()}

    one, other = trained(True), trained(False)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_latent_used_in_part_is_told_of_and_trains() -> None:
    registered(architecture(g=makes(lambda g, z: plain(g, torch.cat((z[:, :4], 0 * z[:, 4:]), 1)))))
    fault = r"ignores 2 of the 6 values of its latent \(the first is number 4, from 0 on\)"
    with pytest.raises(AssertionError, match=fault):
        check_architecture("broken", SPEC)
    heard: list[Any] = []

    class Hear(ganzoo.Callback):
        def on_diagnosis(self, trainer: Any, diagnosis: Any) -> None:
            heard.append(diagnosis)

    made = trainer(arch="broken", callbacks=[Hear()])
    run = made.fit()
    assert [(each.step, each.kind) for each in heard] == [(1, "contract")]
    assert re.search(fault, heard[0].text) and re.search(fault, made.notices[0])
    assert run.diagnoses[0]["kind"] == "contract"


def test_what_has_been_trained_is_not_judged_by_its_values() -> None:
    registered(architecture())
    made = trainer(arch="broken")
    made.setup()
    assert made.game.first is not None and made.game.first.fresh
    path = made.save_checkpoint("kept")
    for ready in (False, True):
        again = trainer(arch="broken")
        if ready:
            again.setup()
        again.load_checkpoint(path)
        assert again.game.first is not None and not again.game.first.fresh


def test_errors_of_ganzoo_and_of_the_machine_pass() -> None:
    def refuse(*_: Any) -> Any:
        raise ConfigError("give it labels")

    def starve(*_: Any) -> Any:
        raise torch.OutOfMemoryError("too large")

    for act, kind in ((refuse, ConfigError), (starve, torch.OutOfMemoryError)):
        made = trainer(arch=registered(architecture(g=makes(act)))())
        with pytest.raises(kind, match=r"give it labels|too large"):
            next(made.iterations())
        architectures.registry.unregister("broken")


# -- classes and latents --------------------------------------------------------------------------


class Named(G):
    """Adds what it knows of a class, if there are any."""

    use = True

    def __init__(self, spec: SampleSpec, latent: LatentSpec) -> None:
        super().__init__(spec, latent)
        self.classes = nn.Embedding(len(spec.classes), spec.numel) if spec.classes else None

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        samples = self.layer(z)
        if self.classes is not None:
            samples = samples + self.classes(labels) * self.use
        return torch.tanh(samples).reshape(-1, *self.shape)


class NamedD(D):
    use = True

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        self.classes = nn.Embedding(len(spec.classes), spec.numel) if spec.classes else None

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        logits = super().forward(x)
        if self.classes is not None:
            logits = logits + (self.classes(labels) * x.flatten(1)).sum(1) * self.use
        return logits


class Deaf(Named):
    use = False


class DeafD(NamedD):
    use = False


class Bare(Named):
    def __init__(self, spec: SampleSpec, latent: LatentSpec) -> None:
        G.__init__(self, spec, latent)
        self.classes = nn.Embedding(len(spec.classes), spec.numel)  # type: ignore[arg-type]


def test_a_conditional_architecture_is_checked_with_classes_and_without() -> None:
    seen = []

    def g(spec: SampleSpec, latent: LatentSpec) -> Named:
        seen.append(spec.classes)
        return Named(spec, latent)

    registered(architecture(g=g, d=NamedD, conditional=True))
    check_architecture("broken", SPEC)
    assert {None, ("a", "b", "c")} == set(seen)
    assert len(list(trainer(arch="broken", conditional=True).iterations())) == 2
    assert len(list(trainer(arch="broken").iterations())) == 2


def test_labels_that_are_ignored() -> None:
    registered(architecture(g=Deaf, d=NamedD, conditional=True))
    same_sentence(
        lambda: check_architecture("broken", SPEC),
        lambda: list(trainer(arch="broken", conditional=True).iterations()),
        "The generator ignores its labels, though the architecture is conditional",
    )
    registered(architecture(g=Named, d=DeafD, conditional=True), "deaf")
    with pytest.raises(AssertionError, match="The discriminator ignores its labels"):
        check_architecture("deaf", SPEC)
    architectures.registry.unregister("deaf")


def test_classes_that_are_missing() -> None:
    registered(architecture(g=Bare, d=NamedD, conditional=True))
    same_sentence(
        lambda: check_architecture("broken", SPEC),
        lambda: trainer(arch="broken").setup(),
        r"generator\(\) raised TypeError .*spec.classes is None: build nets without labels then",
    )


def test_an_architecture_may_want_classes() -> None:
    def check(self: Architecture, spec: SampleSpec) -> None:
        if spec.classes is None:
            self.refuse(spec, "it needs classes.")

    registered(architecture(g=Bare, d=NamedD, conditional=True, check=check))
    check_architecture("broken")
    with pytest.raises(ConfigError, match="it needs classes"):
        trainer(arch="broken").setup()


def test_an_architecture_may_refuse_a_latent() -> None:
    def check_latent(self: Architecture, latent: LatentSpec, spec: SampleSpec) -> None:
        if len(latent.shape) != 2:
            self.refuse_latent(latent, "it needs two axes, such as (4, 8).")

    class Two(G):
        def __init__(self, spec: SampleSpec, latent: LatentSpec) -> None:
            super().__init__(spec, LatentSpec(shape=(latent.shape[0] * latent.shape[1],)))

    told = r"Architecture 'broken' cannot start from latents of shape \(32,\): it needs two axes"
    registered(architecture(g=Two, check_latent=check_latent))
    with pytest.raises(ConfigError, match=told):
        trainer(arch="broken", latent=32).setup()
    with pytest.raises(ConfigError, match=told):
        check_architecture("broken", SPEC, LatentSpec(shape=(32,)))
    assert len(list(trainer(arch="broken", latent=(2, 3)).iterations())) == 2
    # One that does not say so is told how.
    registered(architecture(g=Two), "silent")
    same_sentence(
        lambda: check_architecture("silent", SPEC, LatentSpec(shape=(32,))),
        lambda: trainer(arch="silent", latent=32).setup(),
        r"generator\(\) raised IndexError .* latents of shape \(32,\).*in check_latent\(latent",
    )
    architectures.registry.unregister("silent")


@pytest.mark.parametrize("name", ["dcgan", "mirror", "mlp", "upsample"])
@pytest.mark.parametrize("shape", [(1,), (2, 3), (2, 3, 4), (1, 2, 1, 2)])
def test_built_ins_start_from_any_latent(name: str, shape: tuple[int, ...]) -> None:
    spec = SampleSpec(shape=(1, 20, 20) if name != "dcgan" else (1, 16, 16))
    small = {"dcgan": {"channels": 2}, "upsample": {"channels": 2, "d_channels": 1}}
    arch, latent = architectures.create(name, **small.get(name, {})), LatentSpec(shape=shape)
    arch.check_latent(latent, spec)
    assert arch.generator(spec, latent)(latent.sample(2)).shape == (2, *spec.shape)


# -- losses ---------------------------------------------------------------------------------------


def simple(d: Any = None, g: Any = None, **members: Any) -> type[Loss]:
    class Made(Loss):
        """A loss for a test."""

        def discriminator(self, real: Tensor, fake: Tensor) -> Any:
            return d(real, fake) if d else (softplus(-real) + softplus(fake)).mean()

        def generator(self, fake: Tensor, real: Tensor | None = None) -> Any:
            return g(fake, real) if g else softplus(-fake).mean()

    for name, value in members.items():
        setattr(Made, name, value)
    return Made


class Alone(Loss):
    """G's half without real samples, which it does not ask for."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor) -> Tensor:  # type: ignore[override]
        return -fake.mean()


class Asks(Alone):
    generator_sees_real: ClassVar[bool] = True


class Needs(Loss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake - real).mean()

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:  # type: ignore[override]
        return softplus(real - fake).mean()


class WantsReal(Alone):
    def generator_loss(self, step: Any) -> Tensor:
        return (step.real_output.logits - step.fake_output.logits).mean()


class WantsSamples(Alone):
    def generator_loss(self, step: Any) -> Tensor:
        return (step.real.mean(0) - step.fake.mean(0)).square().mean()


class Reports(Alone):
    def generator_loss(self, step: Any) -> Tensor:
        return -step.fake_output.logits.mean() / (step.fake_output.logits.sum() * 0).detach()


def no_such(self: Loss, discriminator: nn.Module) -> None:
    raise AttributeError("no layer of that name")


LOSSES = {
    "not a number": (simple(lambda r, f: (f - r).mean() * float("nan")), "loss is nan for logits"),
    "infinite": (simple(g=lambda f, r: -f.mean() / 0), "The generator's loss is -?inf for logits"),
    "D a log of what is negative": (
        simple(lambda r, f: (f - r).mean() + (-1 - f.square()).log().mean()),
        "The discriminator's loss is nan for logits .* Use a stable form",
    ),
    "general, divided by zero": (Reports, "The generator's loss is -?(inf|nan) for logits"),
    "constrain": (
        simple(constrain=no_such),
        r"constrain\(\) raised AttributeError in test_contract.py, line \d+ \(no layer",
    ),
    "a vector": (
        simple(g=lambda f, r: -f),
        r"it is a float32 tensor of shape \(4,\). Return the mea",
    ),
    "D a vector": (simple(lambda r, f: f - r), "discriminator's loss must be a scalar tensor"),
    "one in a vector": (simple(g=lambda f, r: -f.mean()[None]), r"of shape \(1,\)"),
    "a float": (
        simple(g=lambda f, r: -f.mean().item()),
        "it is a float. Return the mean",
    ),
    "D an int": (simple(lambda r, f: 1), "it is a int. Return the mean"),
    "None": (simple(g=lambda f, r: None), "it is a NoneType. Return the mean"),
    "D None": (simple(lambda r, f: None), "The discriminator's loss must .* it is a NoneType"),
    "a tuple": (simple(lambda r, f: (f.mean(), -r.mean())), "it is a tuple"),
    "an integer tensor": (simple(g=lambda f, r: (f > 0).sum()), "it is a int64 tensor of shape"),
    "detached": (simple(g=lambda f, r: -f.detach().mean()), "generator's loss has no gradient"),
    "D detached": (simple(lambda r, f: (f - r).mean().detach()), "discriminator's loss has no gra"),
    "D without fake": (simple(lambda r, f: -r.mean()), "not depend on its logits of fake samples"),
    "D without real": (simple(lambda r, f: f.mean()), "not depend on its logits of real samples"),
    "without G": (
        simple(g=lambda f, r: torch.ones((), requires_grad=True) * 1),
        "does not depend on the generator: use the logits of fake samples",
    ),
    "without D": (
        simple(lambda r, f: torch.ones((), requires_grad=True) * 1),
        "does not depend on the discriminator: use its logits of both batches",
    ),
    "real unasked": (
        simple(g=lambda f, r: (f - r).mean()),
        r"raised TypeError in test_contract.py, line \d+ .*generator_sees_real: ClassVar\[bool\]",
    ),
    "real needed": (
        Needs,
        r"missing 1 required .*: 'real'\). .* G's phase has real",
    ),
    "real_output unasked": (
        WantsReal,
        "AttributeError .* None: .*step.real, step.real_output",
    ),
    "step.real unasked": (WantsSamples, "AttributeError .*says generator_sees_real"),
    "real not taken": (Asks, r"takes 2 positional .* G's half is generator\(fake, real\)"),
    "in place": (simple(g=lambda f, r: f.sub_(1).mean()), "changes the logits in place"),
    "a bug": (simple(fail), "The discriminator's loss raised KeyError in test_contract.py, line"),
    "score": (simple(score=lambda self, x: 1.0), r"score\(\) must return one value per logit"),
    "score's mean": (simple(score=lambda self, x: x.mean()), r"score\(\) .* shape \(\)"),
}


@pytest.mark.parametrize("mistake", LOSSES)
def test_losses(mistake: str) -> None:
    cls, fault = LOSSES[mistake]
    registered(cls)
    told = same_sentence(
        lambda: check_loss("broken"), lambda: list(trainer(loss="broken").iterations()), fault
    )
    assert told.endswith(
        f"This is loss 'broken' of {__name__}; "
        'ganzoo.testing.check_loss("broken") checks all of it.'
    )


class WantsClasses(Alone):
    def generator_loss(self, step: Any) -> Tensor:
        return cross_entropy(step.fake_output.classes, step.labels)


class WantsFeatures(Alone):
    def generator_loss(self, step: Any) -> Tensor:
        return step.fake_output.features.mean()


class WantsLabels(Alone):
    def generator_loss(self, step: Any) -> Tensor:
        return -step.fake_output.logits[step.labels.bool()].mean()


@pytest.mark.parametrize(
    ("cls", "fault"),
    [
        (WantsClasses, "step.labels, .*step.fake_output.classes"),
        (WantsFeatures, "step.fake_output.features"),
        (WantsLabels, "step.labels"),
    ],
)
def test_what_a_loss_reads_in_vain_is_named(cls: type[Loss], fault: str) -> None:
    registered(cls)
    with pytest.raises(ContractError, match=f"In this phase these are None: .*{fault}"):
        list(trainer(loss="broken", conditional=False).iterations())


def test_no_half_at_all() -> None:
    registered(type("Half", (Loss,), {"__module__": __name__}))
    for act in (lambda: check_loss("broken"), lambda: next(trainer(loss="broken").iterations())):
        with pytest.raises(ConfigError, match="'broken' has no discriminator loss: override one"):
            act()


def gradient_penalty(step: Any) -> Tensor:
    share = torch.rand(len(step.real), *[1] * (step.real.ndim - 1))
    between = (share * step.real + (1 - share) * step.fake).requires_grad_()
    output = step.discriminator(between, step.labels)
    assert isinstance(output, Output) and output.logits.dtype == torch.float32
    (gradient,) = torch.autograd.grad(output.logits.sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


class Penalised(Alone):
    """WGAN-GP."""

    def discriminator_loss(self, step: Any) -> Tensor:
        return super().discriminator_loss(step) + 10 * gradient_penalty(step)


class RealPenalty(Alone):
    """R1, on D's gradient at real samples."""

    def discriminator_loss(self, step: Any) -> Tensor:
        real = step.real.detach().requires_grad_()
        logits = step.discriminator(real, step.labels).logits
        (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        return super().discriminator_loss(step) + gradient.square().flatten(1).sum(1).mean()


class Augmented(Loss):
    """Judges what it has changed itself, and makes no use of what D has said."""

    def changed(self, samples: Tensor) -> Tensor:
        return samples + 0.1 * torch.randn(len(samples), *[1] * (samples.ndim - 1))

    def discriminator_loss(self, step: Any) -> Tensor:
        real = step.discriminator(self.changed(step.real), step.labels).logits
        fake = step.discriminator(self.changed(step.fake), step.labels).logits
        return relu(1 - real).mean() + relu(1 + fake).mean()

    def generator_loss(self, step: Any) -> Tensor:
        return -step.discriminator(self.changed(step.fake), step.labels).logits.mean()


class ForImages(Augmented):
    """The same for images only."""

    def changed(self, samples: Tensor) -> Tensor:
        count, _, height, _ = samples.shape
        bright = samples + torch.rand(count, 1, 1, 1)
        return torch.roll(bright, height // 8, dims=2)


class ForVectors(Augmented):
    def changed(self, samples: Tensor) -> Tensor:
        return samples + torch.rand(len(samples), 1) * torch.ones_like(samples)[:, :1]


class AsNet(Alone):
    """Uses the net behind the judge."""

    def discriminator_loss(self, step: Any) -> Tensor:
        weights = sum(weight.square().sum() for weight in step.discriminator.parameters())
        assert step.discriminator.training
        return super().discriminator_loss(step) + 1e-3 * weights


class Classified(Alone):
    """An auxiliary classifier, where D has one and there are labels."""

    def generator_loss(self, step: Any) -> Tensor:
        classes = step.fake_output.classes
        known = classes is not None and step.labels is not None
        aid = cross_entropy(classes, step.labels) if known else 0.0
        return super().generator_loss(step) + aid


SOUND_LOSSES = [
    simple(),
    Alone,
    Penalised,
    RealPenalty,
    Augmented,
    AsNet,
    Classified,
    simple(lambda r, f: relu(1 - r).mean() + relu(1 + f).mean()),
    simple(lambda r, f: softplus(f - r).mean(), lambda f, r: softplus(r - f).mean(),
           generator_sees_real=True),
    simple(lambda r, f: (r - 1 - 0.1 * torch.rand_like(r)).square().mean() + f.square().mean()),
]  # fmt: skip


@pytest.mark.parametrize("cls", SOUND_LOSSES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_sound_losses_give_no_alarm(cls: type[Loss], precision: str) -> None:
    registered(cls)
    check_loss("broken")
    for nets in ({}, {"d": judges(lambda x: x, heads=3)}, {"d": Heads}):
        registered(architecture(**nets), "nets")
        made = trainer(arch="nets", loss="broken", precision=precision)
        assert len(list(made.iterations())) == 2
        architectures.registry.unregister("nets")


@pytest.mark.parametrize("cls", [ForImages, ForVectors])
def test_a_loss_may_be_for_one_kind_of_samples(cls: type[Loss]) -> None:
    registered(cls)
    check_loss("broken")
    with pytest.raises(ContractError, match="loss raised"):
        other = SampleSpec(shape=(3, 8, 9)) if cls is ForVectors else SPEC
        check_loss("broken", other)


def test_what_a_loss_gets_of_the_discriminator() -> None:
    """The same in a check as in a training, whatever the net returns and computes in."""
    seen: list[tuple[Any, ...]] = []

    def look(step: Any) -> None:
        output = step.discriminator(step.fake, step.labels)
        seen.append((type(step.discriminator), type(output), output.logits.dtype))
        assert not torch.is_autocast_enabled("cpu")

    class Looking(Alone):
        def discriminator_loss(self, step: Any) -> Tensor:
            look(step)
            return super().discriminator_loss(step)

        def generator_loss(self, step: Any) -> Tensor:
            look(step)
            return super().generator_loss(step)

    registered(Looking)
    check_loss("broken")
    products: list[torch.dtype] = []

    class Spied(D):
        def __init__(self, spec: SampleSpec) -> None:
            super().__init__(spec)
            self.layer.register_forward_hook(lambda net, given, made: products.append(made.dtype))

    registered(architecture(d=Spied), "nets")
    for precision, computed in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        products.clear()
        list(trainer(arch="nets", loss="broken", precision=precision).iterations())
        assert set(products) == {computed}
    assert set(seen) == {(Judge, Output, torch.float32)}


def test_the_judge_has_all_that_the_net_has() -> None:
    net = D(SPEC)
    judge = Judge(net)
    assert [*judge.parameters()] == [*net.parameters()]
    assert judge.layer is net.layer and repr(net) in repr(judge)
    samples = torch.randn(5, 3)
    other = copy.deepcopy(judge)
    assert torch.equal(other(samples).logits, net(samples))
    with torch.no_grad():
        net.layer.bias += 1
    assert not torch.equal(other(samples).logits, net(samples))
    with pytest.raises(AttributeError, match="nothing"):
        judge.nothing  # noqa: B018


# -- several logits of each sample ----------------------------------------------------------------


def mean(of: Callable[[float], float], logits: Tensor) -> float:
    values = [of(value) for value in logits.double().flatten().tolist()]
    return sum(values) / len(values)


def log1pexp(x: float) -> float:
    return float(torch.nn.functional.softplus(torch.tensor(x, dtype=torch.float64)))


HEADS = {  # D's loss of real and of fake samples, G's loss: means over samples and heads
    "auxiliary-classifier": (lambda r: log1pexp(-r), log1pexp, lambda f: log1pexp(-f)),
    "bce": (lambda r: log1pexp(-r), log1pexp, lambda f: log1pexp(-f)),
    "info": (lambda r: log1pexp(-r), log1pexp, lambda f: log1pexp(-f)),
    "non-saturating": (lambda r: log1pexp(-r), log1pexp, lambda f: log1pexp(-f)),
    "minimax": (lambda r: log1pexp(-r), log1pexp, lambda f: -log1pexp(f)),
    "hinge": (lambda r: max(0, 1 - r), lambda f: max(0, 1 + f), lambda f: -f),
    "least-squares": (lambda r: (r - 1) ** 2 / 2, lambda f: f**2 / 2, lambda f: (f - 1) ** 2 / 2),
    "wasserstein": (lambda r: -r, lambda f: f, lambda f: -f),
}


def test_all_losses_are_here() -> None:
    own = [each.name for each in losses.registry.entries() if each.distribution == "ganzoo"]
    compared = [name for name in own if losses.get(name).generator_sees_real]  # elsewhere
    assert sorted([*HEADS, *compared]) == own


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 5), (4, 9)])
def test_shipped_losses_take_the_mean_over_all_logits(name: str, shape: tuple[int, ...]) -> None:
    source = torch.Generator().manual_seed(1)
    real, fake = (torch.randn(shape, generator=source) * 2 for _ in range(2))
    loss, (of_real, of_fake, of_g) = losses.create(name), HEADS[name]
    wanted = mean(of_real, real) + mean(of_fake, fake)
    assert loss.discriminator(real, fake).item() == pytest.approx(wanted, rel=1e-5)
    assert loss.generator(fake).item() == pytest.approx(mean(of_g, fake), rel=1e-5)
    assert loss.score(fake).shape == shape


@pytest.mark.parametrize(
    ("d", "g"),
    [
        (lambda r, f: f.sum() - r.sum(), None),
        (lambda r, f: (f.sum(-1) - r.sum(-1)).mean() if r.ndim > 1 else f.mean() - r.mean(), None),
        (None, lambda f, r: -f.sum() / len(f)),
        (None, lambda f, r: -f.norm()),
    ],
)
def test_losses_that_take_no_mean_over_heads(d: Any, g: Any) -> None:
    registered(simple(d, g))
    with pytest.raises(AssertionError, match=r"3 logits of each sample, \(N, 3\), and .* mean ove"):
        check_loss("broken")


def test_several_logits_are_trained_and_plotted() -> None:
    registered(architecture(d=judges(lambda x: x, heads=3)))
    made = trainer(arch="broken", loss="hinge", steps=4, log_every=2)
    run = made.fit()
    assert [row["step"] for row in run.history] == [2, 4]
    points = torch.randn(6, 3)
    wanted = made.game.discriminator(points).mean(1)
    torch.testing.assert_close(made.visualizer._judge(points), wanted)


# -- data -----------------------------------------------------------------------------------------


def loading(load: Callable[[], Any]) -> type[Dataset]:
    class Made(Dataset):
        """Data for a test."""

        def load(self) -> Any:
            return load()

    return Made


FLAT = SampleSpec(kind="vector", shape=(3,), value_range=None)
ROWS = torch.linspace(-1, 1, 96).reshape(32, 3)
NAMED = SPEC.model_copy(update={"classes": CLASSES})
LABELS = torch.arange(32) % 2
DATA = {
    "a generator": (lambda: (row for row in ROWS), r"load\(\) must return Samples.* not generator"),
    "a tensor": (lambda: ROWS, r"load\(\) must return Samples\(data, spec, ...\), not Tensor"),
    "a tuple": (lambda: (ROWS, LABELS), r"not tuple"),
    "nothing": (lambda: None, "not NoneType"),
    "outside of stored_range": (
        lambda: Samples(3 * ROWS, SPEC, None, (-1.0, 1.0)),
        "their stored_r",
    ),
    "bytes of floats": (lambda: Samples(ROWS, SPEC), r"outside their stored_range \(0.0, 255.0\)"),
    "bytes called 0 to 1": (
        lambda: Samples((ROWS * 100 + 100).byte(), SPEC, None, (0.0, 1.0)),
        "between 0 and 200, outside their stored_range",
    ),
    "outside of value_range": (
        lambda: Samples(9 * ROWS, SPEC, None, None),
        "their spec's value_range",
    ),
    "one outlier": (
        lambda: Samples(ROWS.index_fill(0, torch.tensor(31), 40), SPEC, None, (-1.0, 1.0)),
        "between -1 and 40",
    ),
    "NaN": (lambda: Samples(ROWS * float("nan"), SPEC, None, (-1.0, 1.0)), "are not finite"),
    "infinite": (lambda: Samples(ROWS / 0, FLAT, None, None), "samples are not finite"),
    "empty": (lambda: Samples(ROWS[:0], FLAT, None, None), "The dataset is empty"),
}
LABELLED = {
    "label too large": (LABELS + 1, "run from 1 to 2 but there are 2 classes"),
    "label below 0": (LABELS - 1, "run from -1 to 0 but there are 2 classes"),
    "labels of floats": (LABELS.float(), "Labels must be int64"),
    "labels of bytes": (LABELS.byte(), "Labels must be int64"),
}


@pytest.mark.parametrize("mistake", DATA)
def test_datasets(mistake: str) -> None:
    load, fault = DATA[mistake]
    registered(loading(load))
    told = same_sentence(
        lambda: check_dataset("broken"), lambda: trainer(dataset="broken").setup(), fault
    )
    assert told.endswith(f"'broken' of {__name__}; ganzoo.testing.check_dataset(\"broken\") checks "
                         "all of it.")  # fmt: skip


@pytest.mark.parametrize("mistake", LABELLED)
def test_labels(mistake: str) -> None:
    labels, fault = LABELLED[mistake]
    registered(loading(lambda: Samples(ROWS, NAMED, labels, (-1.0, 1.0))))
    registered(architecture(g=Named, d=NamedD, conditional=True), "named")
    same_sentence(
        lambda: check_dataset("broken"),
        lambda: trainer(arch="named", dataset="broken", conditional=True).setup(),
        fault,
    )
    trainer(dataset="broken").setup()  # where labels are not used they do no harm
    architectures.registry.unregister("named")


def test_float64_trains_and_is_noted() -> None:
    registered(loading(lambda: Samples(ROWS.double(), SPEC, None, (-1.0, 1.0))))
    fault = "Samples must be uint8 or float32 on the CPU; these are a float64 tensor"
    with pytest.raises(AssertionError, match=fault):
        check_dataset("broken")
    made = trainer(dataset="broken")
    assert len(list(made.iterations())) == 2
    assert any(fault in notice for notice in made.notices)


# -- options --------------------------------------------------------------------------------------


def members(base: type) -> list[str]:
    return [name for name in dir(base) if name[0] != "_" and name not in base.model_fields]


HIDDEN = [
    (kind.registry, name)
    for kind in KINDS
    for name in members(kind.registry.base)
    if name not in ("name", "provider")  # which are reserved
]


def with_option(base: type, option: str) -> type:
    """A class with an option of that name, complete but for it."""
    made = {name: lambda self, *_: None for name in base.__abstractmethods__ if name != option}
    made |= {"__annotations__": {option: int}, option: 3, "__module__": __name__}
    return type("Odd", (base,), made)


@pytest.mark.parametrize(
    ("kind", "option"), HIDDEN, ids=[f"{kind.base.kind}-{option}" for kind, option in HIDDEN]
)
def test_options_that_hide_a_member(kind: registry.Registry[Any], option: str) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(RegistrationError, match=f"has an option called '{option}', which hid"):
            kind.register("odd")(with_option(kind.base, option))
    assert [str(each.message) for each in told] == []


def test_what_hides_a_member_is_refused_without_being_registered() -> None:
    cls = with_option(Schedule, "factor")
    for form in (cls, cls()):
        with pytest.raises(RegistrationError, match="hides the member 'factor' of Schedule"):
            trainer(schedule=form)


def test_members_that_are_no_methods_say_how_to_set_them() -> None:
    with pytest.raises(RegistrationError, match=r"or write 'conditional: ClassVar = \.\.\.'"):
        registered(with_option(Architecture, "conditional"))


def test_members_of_classes_in_between() -> None:
    class Base(Alone):
        def strength(self) -> float:
            return 1.0

    with pytest.raises(RegistrationError, match="hides the member 'strength' of Base"):
        registered(with_option(Base, "strength"))


def test_options_may_be_declared_anew() -> None:
    class Slow(optimizers.get("adam")):  # type: ignore[misc]
        lr: float = 1e-5

    registered(Slow)
    assert optimizers.create("broken").lr == 1e-5


def test_a_plug_in_s_options_are_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.Entry(
        "odd", "ganzoo-odd", "0.1", "odd:Odd", load=lambda: with_option(Loss, "probability")
    )
    monkeypatch.setattr(losses.registry, "_plugins", lambda: [entry])
    with pytest.raises(PluginError, match="has an option called 'probability', which hides") as hit:
        losses.create("odd")
    assert "ganzoo-odd 0.1" in str(hit.value)


# -- somebody else's autocast ---------------------------------------------------------------------

TYPES = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_autocast_around_the_training(dtype: torch.dtype, precision: str) -> None:
    fault = rf"torch.autocast\('cpu', {dtype}\) is on around the training"
    for train in (
        lambda: trainer(precision=precision).fit(),
        lambda: list(trainer(precision=precision).iterations()),
    ):
        with torch.autocast("cpu", dtype), pytest.raises(ConfigError, match=fault):
            train()
    made = trainer(precision=precision, steps=3)
    loop = made.iterations()
    next(loop)
    with torch.autocast("cpu", dtype), pytest.raises(ConfigError, match=fault):
        next(loop)


def test_a_refused_training_leaves_no_folder(tmp_path: Any) -> None:
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ConfigError, match="autocast"):
        trainer(out="run").fit()
    assert not (tmp_path / "run").exists()


def weights(made: ganzoo.Trainer) -> list[Tensor]:
    return [value.clone() for net in made.nets().values() for value in net.state_dict().values()]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("outer", TYPES)
def test_an_autocast_that_is_switched_off_inside(precision: str, outer: torch.dtype) -> None:
    plain, within = (trainer(precision=precision, steps=4) for _ in range(2))
    list(plain.iterations())
    with torch.autocast("cpu", outer), torch.autocast("cpu", enabled=False):
        list(within.iterations())
    assert within.notices == []
    assert all(map(torch.equal, weights(plain), weights(within)))


def test_an_autocast_that_keeps_nothing_is_noted() -> None:
    plain, within = trainer(precision="bf16", steps=4), trainer(precision="fp32", steps=4)
    list(plain.iterations())
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        list(within.iterations())
    assert any("multiplies matrices in bfloat16" in notice for notice in within.notices)
    before = trainer(steps=4)
    before.setup()
    assert not all(map(torch.equal, weights(before), weights(within)))


def test_an_autocast_of_your_own_inside_the_loop() -> None:
    arch = {"name": "mlp", "hidden": [8], "dropout": 0}  # which draws random numbers
    plain, looked = (trainer(arch=arch, precision="bf16", steps=4) for _ in range(2))
    list(plain.iterations())
    for step in looked.iterations():
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            step.discriminator(step.fake)
            looked.generator.sample(2, seed=0)
    assert all(map(torch.equal, weights(plain), weights(looked)))


def test_sampling_within_an_autocast() -> None:
    made = trainer(arch={"name": "mlp", "hidden": [64]})
    list(made.iterations())
    exact = made.generator.sample(3, seed=0)
    with torch.autocast("cpu", torch.bfloat16):
        near = made.generator.sample(3, seed=0)
    torch.testing.assert_close(near.float(), exact, rtol=0.1, atol=0.05)


def test_no_update_is_made_within_an_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    step = torch.optim.Adam.step

    def spied(self: Any, *arguments: Any) -> Any:
        depth = torch.autocast_increment_nesting() - 1
        torch.autocast_decrement_nesting()
        seen.append(depth)
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", spied)
    trainer(precision="bf16", loss="hinge").fit()
    assert seen == [0] * 4


def test_a_fault_is_placed_in_the_plug_in_not_in_python() -> None:
    def opens() -> None:
        Path("there-is-no-such-file").read_bytes()

    where = pytest.raises(ContractError, match=r"in test_contract\.py, line \d+")
    with where, contract.blaming("The generator", "Correct it."):
        opens()


def test_one_sample_cannot_be_normalised_over_a_batch() -> None:
    made = ganzoo.Trainer(
        {"name": "mlp", "hidden": [4], "norm": "batch"},
        torch.randn(8, 2),
        batch_size=1,
        steps=1,
        progress=False,
    )
    fix = r"several samples: give a larger batch_size, a lower acc"
    with pytest.raises(ContractError, match=fix):
        made.fit()
