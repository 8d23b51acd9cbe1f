from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ganzoo.architectures.dcgan import DCGAN
from ganzoo.architectures.mlp import MLP
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets.preprocessing import Preprocessing
from ganzoo.errors import BundleError, ConfigError, DeviceError
from ganzoo.files import checkpoint
from ganzoo.generators import bundle, pretrained, sampling
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator
from ganzoo.showing import pictures

LATENT = LatentSpec(shape=(3,))
SMALL = SampleSpec(shape=(1, 4, 6))


def make(spec: SampleSpec = SMALL, preprocessing=None, arch=None, latent=LATENT) -> Generator:
    arch = arch or MLP(hidden=(4,))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = arch.generator(spec, latent)
    config = BundleConfig(
        architecture=arch, sample=spec, preprocessing=preprocessing, latent=latent
    )
    return Generator(net, config)


class Echo(nn.Module):
    """Gives back its latents, marked with their labels, and remembers the sizes of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.batches = []

    def forward(self, z, labels=None):
        self.batches.append(len(z))
        return z if labels is None else torch.cat((z, labels[:, None].float()), 1)


def echo(classes=None, latent=LATENT) -> Generator:
    spec = SampleSpec(kind="vector", shape=(latent.numel,), value_range=None, classes=classes)
    config = BundleConfig(architecture=MLP(hidden=(4,)), sample=spec, latent=latent)
    return Generator(Echo(), config)


# -- one seed, one set of samples -----------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 5, 64, 65, 200])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_a_seed_gives_the_same_latents_whatever_the_count_and_batches(count, batch_size) -> None:
    generator = echo()
    everything = echo().sample(300, seed=5)
    found = generator.sample(count, seed=5, batch_size=batch_size)
    assert torch.equal(found, everything[:count])
    full, rest = divmod(count, batch_size)
    assert generator.module.batches == [batch_size] * full + [rest] * (rest > 0)


@pytest.mark.parametrize("count", [1, 5, 64, 65, 200])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_a_seed_gives_the_same_samples_whatever_the_count_and_batches(count, batch_size) -> None:
    generator = make()
    everything = generator.sample(200, seed=5)
    found = generator.sample(count, seed=5, batch_size=batch_size)
    assert found.shape == (count, 1, 4, 6) and found.dtype == torch.float32
    torch.testing.assert_close(found, everything[:count], rtol=0, atol=1e-5)
    assert torch.equal(found, generator.sample(count, seed=5, batch_size=batch_size))


@pytest.mark.parametrize("latent", [LATENT, LatentSpec(shape=(2, 2), distribution="truncated")])
def test_no_latent_is_drawn_twice(latent) -> None:
    generator = echo(latent=latent)
    drawn = torch.cat(
        [generator.sample(130, seed=seed).flatten(1) for seed in (0, 1, 2, 2**63 - 1)]
    )
    assert len(drawn.unique(dim=0)) == 4 * 130


def test_without_a_seed_samples_are_fresh() -> None:
    generator = echo()
    torch.manual_seed(0)
    first = generator.sample(3)
    torch.manual_seed(0)  # the global source has no part in it
    assert not torch.equal(generator.sample(3), first)


def test_sampling_leaves_the_global_source_alone() -> None:
    before = torch.get_rng_state()
    echo(classes=("a", "b")).sample(70, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_given_latents_are_used() -> None:
    latents = torch.randn(7, 3)
    assert torch.equal(echo().sample(7, latents=latents, batch_size=3), latents)


@pytest.mark.parametrize("shape", [(4, 3), (5, 2), (5,), (5, 3, 1)])
def test_latents_of_another_shape(shape) -> None:
    with pytest.raises(ConfigError) as caught:
        make().sample(5, latents=torch.zeros(shape))
    assert str(caught.value) == (
        f"The latents have shape {shape}; 5 samples of this generator need (5, 3)."
    )


@pytest.mark.parametrize(("count", "batch_size"), [(-1, 64), (3, 0), (3, -2)])
def test_impossible_numbers(count, batch_size) -> None:
    with pytest.raises(ConfigError) as caught:
        make().sample(count, batch_size=batch_size)
    assert str(caught.value) == (
        f"Cannot draw {count} samples in batches of {batch_size}: both are whole numbers, of at "
        f"least 0 and 1."
    )


def test_large_samples_are_drawn_few_at_a_time() -> None:
    latent = LatentSpec(shape=(3 * 2**20,))
    generator = echo(latent=latent)
    assert generator.sample(50, latents=torch.zeros(1).expand(50, *latent.shape)).shape[0] == 50
    assert generator.module.batches == [21, 21, 8]
    generator = echo()
    generator.sample(100)
    assert generator.module.batches == [64, 36]


def affordable(generator: Generator, count: int) -> int:
    return sampling.affordable_batch(generator.module, generator.config, count, count)


def test_large_layers_are_fed_few_at_a_time(monkeypatch) -> None:
    arch, spec = DCGAN(channels=8), SampleSpec(shape=(1, 16, 16))
    assert sampling.widest(make(spec, arch=arch).config) == 4 * 8 * 8 * 8  # 8 channels of 8x8
    monkeypatch.setattr("ganzoo.generators.sampling._BATCH", 5 * 4 * 16 * 16 * 4)
    assert affordable(make(spec, arch=arch), 64) == 5
    wide = MLP(hidden=(2**17,))
    generator = make(arch=wide, latent=LatentSpec(shape=(1,)))
    monkeypatch.setattr("ganzoo.generators.sampling._BATCH", 2**20)
    assert affordable(generator, 8) == 8
    monkeypatch.setenv("GANZOO_MAX_BYTES", str(2**22))
    assert affordable(generator, 8) == 2
    monkeypatch.setenv("GANZOO_MAX_BYTES", str(2**18))
    with pytest.raises(ConfigError) as caught:
        generator.sample(8)
    assert str(caught.value) == (
        "One sample of this generator needs 524,288 bytes, more than the 262,144 that are allowed. "
        "If it is meant to be so large, set the environment variable GANZOO_MAX_BYTES to more."
    )


def test_more_samples_than_memory_is_to_hold(monkeypatch) -> None:
    monkeypatch.setenv("GANZOO_MAX_BYTES", "10000")
    make().sample(90)
    with pytest.raises(ConfigError) as caught:
        make().sample(1000)
    assert str(caught.value) == (
        "1,000 samples of 96 bytes each exceed the 10,000 bytes that are allowed. Draw them in "
        "parts, each with a seed of its own, or set the environment variable GANZOO_MAX_BYTES to "
        "more."
    )


def test_no_samples() -> None:
    assert make().sample(0, seed=0).shape == (0, 1, 4, 6)
    assert echo(classes=("a",)).sample(0).shape == (0, 3)
    assert make().images(0) == []
    with pytest.raises(ConfigError, match="needs at least one sample"):
        make().grid(0)


# -- labels ---------------------------------------------------------------------------------------

CLASSES = ("shirt", "shoe", "bag")


def classes_of(generator: Generator, count: int, **options) -> list[int]:
    return generator.sample(count, **options)[:, -1].int().tolist()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (2, [2] * 5),
        ([0, 1, 2, 0, 1], [0, 1, 2, 0, 1]),
        (torch.tensor([2, 2, 1, 0, 0]), [2, 2, 1, 0, 0]),
        (torch.tensor(1), [1] * 5),
        (np.array([1, 0, 1, 0, 1]), [1, 0, 1, 0, 1]),
    ],
)
def test_labels_as_asked(labels, expected) -> None:
    assert classes_of(echo(CLASSES), 5, labels=labels, batch_size=2) == expected


def test_labels_do_not_change_the_latents() -> None:
    plain, labelled = echo().sample(70, seed=3), echo(CLASSES).sample(70, seed=3)
    assert torch.equal(labelled[:, :3], plain)
    assert torch.equal(echo(CLASSES).sample(70, seed=3, labels=1)[:, :3], plain)


def test_drawn_labels_follow_the_seed_and_cover_all_classes() -> None:
    drawn = classes_of(echo(CLASSES), 200, seed=4)
    assert set(drawn) == {0, 1, 2}
    assert classes_of(echo(CLASSES), 65, seed=4, batch_size=7) == drawn[:65]
    assert classes_of(echo(CLASSES), 200, seed=5) != drawn


def test_labels_without_classes() -> None:
    with pytest.raises(ConfigError) as caught:
        make().sample(5, labels=1)
    assert str(caught.value) == (
        "This generator was trained without labels, so it cannot be asked for a class; leave out "
        "'labels'."
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (3, "Labels go from 0 to 2 (shirt, shoe, bag); got 3 to 3."),
        ([0, -1, 2, 5], "Labels go from 0 to 2 (shirt, shoe, bag); got -1 to 5."),
        ([0, 1], "Give one label for all samples or one for each of the 4; got (2,)."),
        ([[0, 1, 2, 0]], "Give one label for all samples or one for each of the 4; got (1, 4)."),
    ],
)
def test_wrong_labels(labels, message) -> None:
    with pytest.raises(ConfigError) as caught:
        echo(CLASSES).sample(4, labels=labels)
    assert str(caught.value) == message


# -- pictures -------------------------------------------------------------------------------------


def test_pictures() -> None:
    generator = make()
    found = generator.images(3, seed=1)
    samples = generator.sample(3, seed=1)
    assert [picture.size for picture in found] == [(6, 4)] * 3
    for picture, sample in zip(found, samples, strict=True):
        wanted = ((sample[0] + 1) * 127.5).round().numpy()
        assert np.array_equal(np.asarray(picture), wanted)


@pytest.mark.parametrize(
    ("count", "columns", "size"),
    [(64, None, (8 * 68 + 2, 8 * 46 + 2)), (5, None, (3 * 68 + 2, 2 * 46 + 2)), (4, 4, (274, 48))],
)
def test_grids(count, columns, size) -> None:
    # 4x6 is enlarged by 11 to 44x66, with 2 pixels between.
    assert make().grid(count, columns=columns, seed=0).size == size


def test_a_grid_shows_64_samples_by_default() -> None:
    generator = make()
    assert generator.grid(seed=0).tobytes() == generator.grid(64, seed=0).tobytes()


@pytest.mark.parametrize("show", ["images", "grid"])
def test_vectors_are_no_pictures(show) -> None:
    with pytest.raises(ConfigError, match="Only images can be shown as pictures; this is a vector"):
        getattr(echo(), show)(4)


# -- the net --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        SampleSpec(kind="vector", shape=(2,), value_range=None),
        SampleSpec(kind="audio", shape=(1, 16)),
        SampleSpec(kind="sequence", shape=(5, 3), value_range=(0.0, 1.0)),
    ],
    ids=lambda spec: spec.kind,
)
def test_other_kinds_of_samples(spec, tmp_path: Path) -> None:
    generator = make(spec)
    samples = generator.sample(5, seed=0)
    assert generator.spec == spec and samples.shape == (5, *spec.shape)
    loaded = Generator.from_pretrained(generator.save_pretrained(tmp_path / "b"))
    assert loaded.spec == spec and torch.equal(loaded.sample(5, seed=0), samples)


def test_padding_is_cropped() -> None:
    preprocessing = Preprocessing.fit((3, 4), (4, 6), "pad")
    whole, cropped = make(), make(preprocessing=preprocessing)
    samples = cropped.sample(5, seed=0)
    assert cropped.spec.shape == (1, 3, 4) and samples.is_contiguous()
    assert torch.equal(samples, whole.sample(5, seed=0)[..., 0:3, 1:5])
    assert cropped.images(1, seed=0)[0].size == (4, 3)
    assert cropped(torch.zeros(2, 3)).shape == (2, 1, 4, 6)  # the net itself crops nothing
    assert cropped.sample(0).shape == (0, 1, 3, 4)


@pytest.mark.parametrize("method", ["none", "resize"])
def test_nothing_else_is_cropped(method) -> None:
    original_size = (4, 6) if method == "none" else (3, 4)
    generator = make(preprocessing=Preprocessing.fit(original_size, (4, 6), method))
    assert generator.spec == SMALL
    assert torch.equal(generator.sample(5, seed=0), make().sample(5, seed=0))


def test_calling_it_gives_gradients() -> None:
    generator = make()
    latents = torch.randn(4, 3, requires_grad=True)
    samples = generator(latents)
    assert torch.equal(samples, generator.module(latents))
    (gradient,) = torch.autograd.grad(samples.sum(), latents)
    assert gradient.shape == (4, 3) and gradient.abs().min() > 0


def test_sampling_gives_no_gradients() -> None:
    assert not make().sample(3).requires_grad


def test_calling_it_passes_labels_on() -> None:
    found = echo(CLASSES)(torch.zeros(2, 3), torch.tensor([1, 2]))
    assert found[:, -1].tolist() == [1, 2]


@pytest.mark.parametrize("training", [False, True])
def test_the_mode_of_the_net_is_restored(training) -> None:
    generator = make(SampleSpec(shape=(1, 16, 16)), arch=DCGAN(channels=2))
    assert not generator.module.training
    expected = generator.sample(3, seed=0)
    before = {name: value.clone() for name, value in generator.module.state_dict().items()}
    generator.module.train(training)
    assert torch.equal(generator.sample(3, seed=0), expected)  # in eval mode either way
    assert {part.training for part in generator.module.modules()} == {training}
    for name, value in generator.module.state_dict().items():
        assert torch.equal(value, before[name])


def test_text() -> None:
    assert repr(make()) == "Generator(mlp: 4x6 greyscale image, latent (3,))"


# -- saving and loading ---------------------------------------------------------------------------


@pytest.mark.parametrize("arch", [MLP(hidden=(4,)), DCGAN(channels=2)], ids=["mlp", "dcgan"])
def test_saved_and_loaded(arch, tmp_path: Path) -> None:
    preprocessing = Preprocessing.fit((14, 15), (16, 16), "pad")
    generator = make(SampleSpec(shape=(1, 16, 16)), preprocessing, arch)
    generator.sample(2)
    assert generator.save_pretrained(str(tmp_path / "b")) == tmp_path / "b"
    loaded = Generator.from_pretrained(str(tmp_path / "b"))
    assert loaded.config.model_copy(update={"weights": {}}) == generator.config
    expected, found = generator.module.state_dict(), loaded.module.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert torch.equal(loaded.sample(9, seed=2), generator.sample(9, seed=2))
    assert not loaded.module.training
    assert not any(weight.requires_grad for weight in loaded.module.parameters())
    again = loaded.save_pretrained(tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (again / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_loaded_generator_may_be_saved_over_itself(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path / "b")
    loaded = Generator.from_pretrained(tmp_path / "b")
    expected = loaded.sample(3, seed=0)
    loaded.save_pretrained(tmp_path / "b")
    assert torch.equal(loaded.sample(3, seed=0), expected)
    assert torch.equal(Generator.from_pretrained(tmp_path / "b").sample(3, seed=0), expected)


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A bundle with all that may lie beside it."""
    folder = make().save_pretrained(tmp_path / "run" / "generator")
    for name in bundle.EXTRAS:
        (folder / name).write_bytes(b"\x89PNG\r\n\x1a\n" if name.endswith(".png") else b"{}")
    return folder


def beside(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {bundle.CONFIG, bundle.WEIGHTS}


UNROUNDED = {bundle.TRAINING, bundle.SAMPLES, bundle.CURVES}


def test_what_tells_of_the_weights_goes_with_them(told: Path, tmp_path: Path) -> None:
    generator = Generator.from_pretrained(told.parent)
    copy = generator.save_pretrained(tmp_path / "s1")
    assert beside(copy) == {*UNROUNDED, bundle.METRICS}
    for name in beside(copy):
        assert (copy / name).read_bytes() == (told / name).read_bytes()
    (copy / bundle.METRICS).write_text('{"newer": 1}')  # is what lies there then, whoever saves
    again = Generator.from_pretrained(copy)
    again.save_pretrained(copy)
    assert (copy / bundle.METRICS).read_text() == '{"newer": 1}'
    assert beside(generator.save_pretrained(tmp_path / "s2", half=True)) == UNROUNDED
    with torch.no_grad():
        next(generator.module.parameters()).add_(1e-5)
    assert beside(generator.save_pretrained(tmp_path / "s3")) == set()
    assert beside(generator.save_pretrained(told)) == {bundle.CARD}


def test_rounding_in_place_keeps_what_is_still_true(told: Path, tmp_path: Path) -> None:
    generator = Generator.from_pretrained(told)
    generator.save_pretrained(told, half=True)
    assert beside(told) == {*UNROUNDED, bundle.CARD}
    (told / bundle.METRICS).write_text("{}")  # of the rounded ones
    assert beside(generator.save_pretrained(tmp_path / "exact")) == UNROUNDED
    rounded = Generator.from_pretrained(told)
    for half in False, True:  # which it is already
        found = beside(rounded.save_pretrained(tmp_path / "rounded", half=half))
        assert found == {*UNROUNDED, bundle.METRICS}
    with torch.no_grad():
        next(rounded.module.parameters()).add_(1e-7)  # less than half precision would keep
    assert beside(rounded.save_pretrained(tmp_path / "other")) == set()


@pytest.mark.parametrize("half", [False, True])
def test_changed_weights_are_no_copy(tmp_path: Path, half: bool) -> None:
    origin = bundle.Origin(repo_id="ada/gan", revision="0123456789" * 4)
    source = make()
    bundle.write(
        tmp_path / "pulled",
        source.config.model_copy(update={"origin": origin}),
        source.module.state_dict(),
    )
    loaded = Generator.from_pretrained(tmp_path / "pulled")
    for _ in range(2):
        saved = Generator.from_pretrained(loaded.save_pretrained(tmp_path / "same", half=half))
        assert saved.config.origin == origin and "init_from" not in saved.config.training
    with torch.no_grad():
        next(loaded.module.parameters()).add_(0.5)
    changed = bundle.config(loaded.save_pretrained(tmp_path / "changed", half=half))
    assert changed.origin is None
    assert changed.training["init_from"] == f"ada/gan@{origin.revision}"
    assert loaded.config.origin == origin  # it is still where that was loaded from


def test_a_run_folder_will_do(tmp_path: Path) -> None:
    generator = make()
    generator.save_pretrained(tmp_path / "generator")
    loaded = Generator.from_pretrained(tmp_path)
    assert torch.equal(loaded.sample(3, seed=0), generator.sample(3, seed=0))


def test_what_a_run_leads_to_elsewhere_is_not_loaded(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path / "b")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "generator").symlink_to(tmp_path / "b")
    with pytest.raises(BundleError, match="generator is a link that leads out of the run"):
        Generator.from_pretrained(tmp_path / "run")
    (tmp_path / "again").symlink_to(tmp_path / "b")  # which is what was asked for
    Generator.from_pretrained(tmp_path / "again")


# -- while it is saved ----------------------------------------------------------------------------


@pytest.fixture
def moments(monkeypatch) -> list:
    """What happens while from_pretrained waits, in turn; nothing more must be left to wait for."""
    planned: list = []
    monkeypatch.setattr("ganzoo.generators.locating.time.sleep", lambda _: planned.pop(0)())
    return planned


@pytest.mark.parametrize("inner", ["", "generator"])
def test_a_folder_that_is_just_replaced_is_waited_for(tmp_path: Path, moments, inner) -> None:
    target = tmp_path / "run" / inner
    make().save_pretrained(target)
    aside = target.rename(target.with_name(f".{target.name}.0123abcd.old"))
    moments += [lambda: aside.rename(target)]
    loaded = Generator.from_pretrained(tmp_path / "run")
    assert torch.equal(loaded.sample(3, seed=0), make().sample(3, seed=0)) and not moments


def test_a_folder_that_is_saved_is_no_repository(tmp_path: Path, monkeypatch, moments) -> None:
    monkeypatch.chdir(tmp_path)
    left = tmp_path / "zoo" / ".a.0123abcd.old"
    left.mkdir(parents=True)
    moments += [lambda: None]
    with pytest.raises(BundleError) as caught:
        Generator.from_pretrained("zoo/a")
    assert str(caught.value) == (
        f"There is no folder zoo/a at the moment: it is being saved, or was when its process was "
        f"killed, which left {left}. Load it when that is done, or rename what is left to a if it "
        f"is whole."
    )
    assert not moments


def test_a_folder_that_changes_while_it_is_read(tmp_path: Path, monkeypatch, moments) -> None:
    make().save_pretrained(tmp_path / "b")
    load = bundle.load

    def exchanged(folder: Path):
        monkeypatch.setattr(bundle, "load", load)
        config = (folder / "config.json").read_bytes()
        other = MLP(hidden=(4,)).generator(SMALL, LATENT)
        Generator(other, make().config).save_pretrained(folder)
        (folder / "config.json").write_bytes(config)  # as one who began before would see it
        return load(folder)

    monkeypatch.setattr(bundle, "load", exchanged)
    moments += [lambda: make().save_pretrained(tmp_path / "b")]
    loaded = Generator.from_pretrained(tmp_path / "b")
    assert torch.equal(loaded.sample(3, seed=0), make().sample(3, seed=0)) and not moments


def test_damage_is_not_waited_for(tmp_path: Path, moments) -> None:
    make().save_pretrained(tmp_path / "b")
    (tmp_path / "b" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(BundleError, match="size mismatch"):
        Generator.from_pretrained(tmp_path / "b")


def test_two_that_save_at_once(tmp_path: Path, monkeypatch) -> None:
    make().save_pretrained(tmp_path / "b")
    rename = Path.rename

    def moved(self: Path, to: Path) -> Path:
        if to.suffix == ".old":
            rename(self, tmp_path / "theirs")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", moved)
    with pytest.raises(BundleError) as caught:
        make().save_pretrained(tmp_path / "b")
    assert "something else saves there at the same moment" in str(caught.value)
    assert str(caught.value).endswith(" Save one after the other, or to different folders.")


# -- the other player -----------------------------------------------------------------------------


def run_with(tmp_path: Path, arch: MLP, tensors: dict) -> Generator:
    """The generator of a run whose newest checkpoint has these tensors."""
    make(arch=arch).save_pretrained(tmp_path / "run" / "generator")
    (tmp_path / "run" / "config.yaml").touch()
    checkpoint.save(tmp_path / "run" / "checkpoints", 1, tensors, {"step": 1})
    return Generator.from_pretrained(tmp_path / "run")


def test_the_discriminator_of_a_run(tmp_path: Path) -> None:
    arch = MLP(hidden=(4,), d_hidden=(5,))
    weights = arch.discriminator(SMALL).state_dict()
    kept = {f"discriminator.{name}": value for name, value in weights.items()}
    state = torch.get_rng_state()
    net = run_with(tmp_path, arch, {**kept, "generator.x": torch.zeros(1)}).discriminator()
    assert torch.equal(torch.get_rng_state(), state)
    found = net.state_dict()
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], value) for name, value in weights.items())
    net(torch.zeros(2, *SMALL.shape)).sum().backward()


def test_a_discriminator_of_another_shape(tmp_path: Path) -> None:
    generator = run_with(tmp_path, MLP(hidden=(4,)), {"discriminator.x": torch.zeros(1)})
    with pytest.raises(BundleError, match="checkpoints.* that its architecture"):
        generator.discriminator()


def test_a_discriminator_beyond_all_memory_is_not_built(tmp_path: Path) -> None:
    huge = MLP(hidden=(4,), d_hidden=(2**18, 2**18))  # 256 GiB
    generator = run_with(tmp_path, huge, {"discriminator.x": torch.zeros(1)})
    with pytest.raises(BundleError, match="bytes for its net and one sample, more than the"):
        generator.discriminator()


def test_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        Generator.from_pretrained(tmp_path / "absent")
    assert str(caught.value) == (
        f"There is no folder {tmp_path / 'absent'}. Give the folder of a run or of a saved "
        f"generator."
    )


@pytest.mark.parametrize(
    ("source", "hint"),
    [("dcgan.fashoin", " Did you mean 'dcgan.fashion'?"), ("nowhere", ""), ("nowhere@v1", "")],
)
def test_a_word_that_is_no_source(source: str, hint: str) -> None:
    with pytest.raises(BundleError) as caught:
        Generator.from_pretrained(source)
    assert str(caught.value) == (
        f"There is no folder {source}.{hint} Give the folder of a run or of a saved generator, a "
        f"repository on the Hub as 'owner/name', or a pretrained generator by its name: "
        f"{', '.join(pretrained.names())}."
    )


def test_a_file_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "netG.pth").write_bytes(b"x")
    with pytest.raises(BundleError) as caught:
        Generator.from_pretrained(str(tmp_path / "netG.pth"))
    assert str(caught.value) == (
        f"{tmp_path / 'netG.pth'} is a file. Give the folder of a run or of a saved generator; "
        f"a file of another library becomes one by 'ganzoo convert'."
    )


def test_a_name_no_folder_can_have() -> None:
    with pytest.raises(BundleError, match="There is no folder"):
        Generator.from_pretrained("x" * 5000)


def test_only_repositories_have_revisions(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path / "b")
    with pytest.raises(ConfigError, match=r"b is a folder, which has no revision 'v1'\. Leave the"):
        Generator.from_pretrained(tmp_path / "b", revision="v1")
    with pytest.raises(ConfigError, match=r"'dcgan\.fashion' is one generator, which has no revis"):
        Generator.from_pretrained("dcgan.fashion", revision="v1")


def test_a_run_that_is_not_finished(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    with pytest.raises(BundleError) as caught:
        Generator.from_pretrained(tmp_path)
    assert str(caught.value) == (
        f"The run {tmp_path} has not saved its generator yet: 'ganzoo resume {tmp_path}' finishes "
        f"it."
    )


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"holds no config\.json, so it is not a bundle"):
        Generator.from_pretrained(tmp_path)


def test_an_absent_device(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path / "b")
    with pytest.raises(DeviceError, match="'gpu' is not a device"):
        Generator.from_pretrained(tmp_path / "b", device="gpu")


# -- grids of classes -----------------------------------------------------------------------------


class Marked(nn.Module):
    """Pictures whose pixels are the first latent value (left) and the label (right)."""

    def forward(self, z, labels=None):
        pair = torch.stack((z[:, 0], labels.float()), 1)
        return pair[:, None, None, :].expand(-1, 1, 2, 2)


def marked(count: int, names=None) -> Generator:
    classes = tuple(names or (f"class {number}" for number in range(count)))
    spec = SampleSpec(shape=(1, 2, 2), value_range=(-200.0, 200.0), classes=classes)
    config = BundleConfig(architecture=MLP(hidden=(4,)), sample=spec, latent=LATENT)
    return Generator(Marked(), config)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list:
    """What is given to the grid: samples, columns, names."""
    found: list = []
    real = pictures.grid

    def grid(samples, spec, columns=None, names=None):
        found.append((samples, columns, names))
        return real(samples, spec, columns, names)

    monkeypatch.setattr(pictures, "grid", grid)
    return found


@pytest.mark.parametrize("columns", [None, 1, 3])
def test_a_grid_has_a_row_for_each_class_and_a_column_for_each_latent(columns, shown) -> None:
    marked(3).grid(seed=4, columns=columns)
    ((samples, wide, names),) = shown
    assert wide == (columns or 8)
    assert dict(names) == {0: "class 0", 1: "class 1", 2: "class 2"}
    latents = sampling.draw_latents(LATENT, wide, 4)[:, 0]
    rows = samples[:, 0, 0].reshape(3, wide, 2)
    for label in range(3):
        assert torch.equal(rows[label, :, 0], latents)
        assert (rows[label, :, 1] == label).all()


@pytest.mark.parametrize("count", [16, 17, 40, 1000])
def test_of_many_classes_sixteen_are_shown_evenly(count, shown) -> None:
    marked(count).grid(seed=1, columns=2)
    ((samples, _, names),) = shown
    labels = samples[:, 0, 0, 1].reshape(16, 2)
    assert torch.equal(labels[:, 0], labels[:, 1])
    numbers = labels[:, 0].int().tolist()
    assert list(names.items()) == [(number, f"class {number}") for number in numbers]
    assert numbers[0] == 0 and sorted(set(numbers)) == numbers and numbers[-1] < count
    gaps = {after - before for before, after in itertools.pairwise([*numbers, count])}
    assert max(gaps) - min(gaps) <= 1


def test_names_that_cannot_be_written_have_the_numbers_of_their_classes() -> None:
    cats = marked(40, ["\u732b" * (number + 1) for number in range(40)])
    numbered = marked(40)
    one, other = (np.asarray(each.grid(seed=1, columns=1)) for each in (cats, numbered))
    assert np.array_equal(one, other)


def test_a_count_labels_or_latents_make_a_plain_grid(shown) -> None:
    generator = marked(3)
    for given in ({"count": 5}, {"labels": "class 1"}, {"latents": torch.zeros(4, 3)}):
        generator.grid(seed=1, **given)
    assert [len(samples) for samples, _, _ in shown] == [5, 64, 4]
    assert all(names is None for _, _, names in shown)
    assert (shown[1][0][:, 0, 0, 1] == 1).all()


def test_a_grid_of_classes_is_the_same_again_and_needs_columns() -> None:
    generator = marked(3)
    one, other = (np.asarray(generator.grid(seed=1)) for _ in range(2))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, np.asarray(generator.grid(seed=2)))
    for columns in (0, -1):
        with pytest.raises(ConfigError, match=f"at least one column, not {columns}"):
            generator.grid(columns=columns)
