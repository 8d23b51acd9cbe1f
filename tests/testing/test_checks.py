"""The checks for plug-in authors, against components that are broken on purpose."""

from typing import ClassVar

import pytest
import torch
from pydantic import ConfigDict, Field, PrivateAttr
from torch import nn

from ganzoo import architectures, averages, datasets, features, losses, metrics, trackers
from ganzoo.architectures import Architecture
from ganzoo.averages import Average
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets import Dataset, Samples
from ganzoo.errors import ConfigError, UnknownNameError, UnsupportedSampleError
from ganzoo.features import Extractor, Features
from ganzoo.features.base import fingerprint
from ganzoo.losses import Loss
from ganzoo.metrics import Metric, Result
from ganzoo.testing import (
    check_architecture,
    check_average,
    check_dataset,
    check_extractor,
    check_loss,
    check_metric,
    check_tracker,
)
from ganzoo.trackers import Log, Tracker

SPEC = SampleSpec(kind="vector", shape=(3,))


@pytest.fixture
def registered():
    """Register classes for one test."""
    done = []

    def register(cls):
        registry = next(
            kind.registry
            for kind in (architectures, averages, losses, datasets, features, metrics, trackers)
            if issubclass(cls, kind.registry.base)
        )
        registry.register("broken")(cls)
        done.append(registry)
        return cls

    yield register
    for registry in done:
        registry.unregister("broken")


# -- architectures --------------------------------------------------------------------------------


class Net(nn.Module):
    """A sound net, to be broken."""

    def __init__(self, inputs=3, outputs=3, finish=torch.tanh):
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)
        self.finish = finish

    def forward(self, x, labels=None):
        return self.finish(self.layer(x))


def squeeze(x):
    return x.squeeze(1)


class Sound(Architecture):
    def generator(self, spec, latent):
        return Net(latent.numel)

    def discriminator(self, spec):
        return Net(outputs=1, finish=squeeze)


def test_sound_architecture(registered):
    check_architecture(registered(Sound), SPEC)
    check_architecture("broken", SPEC, LatentSpec(shape=(2,)))


def test_random_state_is_left_alone(registered):
    registered(Sound)
    state = torch.get_rng_state()
    check_architecture("broken", SPEC)
    assert torch.equal(torch.get_rng_state(), state)


class NoLabels(Net):
    def forward(self, x):
        return super().forward(x)


class Unused(Net):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.spare = nn.Parameter(torch.zeros(1))


class Noisy(Net):
    def forward(self, x, labels=None):
        return super().forward(x) + 1e-3 * torch.randn(1)


class Hidden(Net):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.secret = torch.randn(1)

    def forward(self, x, labels=None):
        return self.finish(self.layer(x) * self.secret)


class Mixing(Net):
    def forward(self, x, labels=None):
        return self.finish(self.layer(x - x.mean(0)))


class Extra(Net):
    def get_extra_state(self):
        return {"a": 1}

    def set_extra_state(self, state):
        pass


# What the first batch of a training finds too is in tests/training/test_contract.py.


@pytest.mark.parametrize(
    ("net", "fault"),
    [
        (lambda n: Noisy(n, finish=lambda x: 0.5 * torch.tanh(x)), "different results for the sa"),
        (Hidden, "other results after its state_dict is loaded.*register_buffer"),
        (Mixing, "another sample from the same latent when the batch has another size"),
        (Extra, "'_extra_state', which is not a tensor"),
    ],
)
def test_broken_generators(registered, net, fault):
    class Broken(Sound):
        def generator(self, spec, latent):
            return net(latent.numel)

    with pytest.raises(AssertionError, match=fault):
        check_architecture(registered(Broken), SPEC)


@pytest.mark.parametrize(
    ("net", "fault"),
    [
        (NoLabels, r"The discriminator's forward.*declare it as forward\(self, x, labels=None\)"),
        (Unused, "No gradient reaches 'spare' of the discriminator"),
        (Noisy, "The discriminator gives different results"),
        (Hidden, "The discriminator gives other results after its state_dict"),
    ],
)
def test_broken_discriminators(registered, net, fault):
    class Broken(Sound):
        def discriminator(self, spec):
            return net(outputs=1, finish=squeeze)

    with pytest.raises(AssertionError, match=fault):
        check_architecture(registered(Broken), SPEC)


def test_nets_that_share_parameters(registered):
    one = Net(100)

    class Sharing(Sound):
        def generator(self, spec, latent):
            return one

    with pytest.raises(AssertionError, match="Building the generator twice gave nets that share"):
        check_architecture(registered(Sharing), SPEC)


def test_refusals(registered):
    class Choosy(Sound):
        def check(self, spec):
            if spec != SPEC:
                self.refuse(spec, "it does three numbers only.")

    registered(Choosy)
    with pytest.raises(AssertionError, match=r"refuses all of .* Pass a spec that it can do"):
        check_architecture("broken")
    with pytest.raises(UnsupportedSampleError, match="it does three numbers only"):
        check_architecture("broken", SampleSpec(kind="vector", shape=(4,)))


def test_wrong_nearest_size(registered):
    class Square(Sound):
        def check(self, spec):
            if spec.kind != "image" or spec.size[0] != spec.size[1]:
                self.refuse(spec, "it does squares only.")

    with pytest.raises(AssertionError, match=r"which check\(\) refuses.*Override nearest_size"):
        check_architecture(registered(Square), SampleSpec(shape=(1, 8, 8)))


def test_changing_options(registered):
    class Counting(Sound):
        built: list[int] = Field([], description="counts")

        def generator(self, spec, latent):
            self.built.append(1)
            return super().generator(spec, latent)

    with pytest.raises(AssertionError, match="Using the architecture changed its options"):
        check_architecture(registered(Counting), SPEC)


# -- any component --------------------------------------------------------------------------------


class SoundLoss(Loss):
    def discriminator(self, real, fake):
        return fake.mean() - real.mean()

    def generator(self, fake, real=None):
        return -fake.mean()


def test_sound_loss(registered):
    check_loss(registered(SoundLoss))
    check_loss(SoundLoss())


def test_unknown_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'hinge'"):
        check_loss("hing")


def test_unregistered():
    class Unregistered(SoundLoss):
        pass

    fault = r"Unregistered is not registered.*@ganzoo.losses.register\(\"some-name\"\)"
    with pytest.raises(AssertionError, match=fault):
        check_loss(Unregistered)
    Unregistered.name = "unheard-of"
    with pytest.raises(AssertionError, match=fault):
        check_loss(Unregistered)


class Infinite(SoundLoss):
    bound: float = Field(float("inf"), description="bound")


class Changing(SoundLoss):
    bound: float | None = Field(float("inf"), description="bound")


class Holding(SoundLoss):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    net: nn.Module = Field(nn.Linear(1, 1), description="a net")


class Advising(SoundLoss):
    recommended: ClassVar = {"g_optimizer": object}


class Misspelt(SoundLoss):
    recommended: ClassVar = {"d_step": 5}


class Private(SoundLoss):
    _seen: int = PrivateAttr(0)


class Thawed(SoundLoss):
    model_config = ConfigDict(frozen=False)


@pytest.mark.parametrize(
    ("cls", "fault"),
    [
        (Infinite, "cannot be read back from its own JSON"),
        (Changing, "changes on its way through JSON"),
        (Holding, "cannot be written as JSON"),
        (Advising, "cannot be written as JSON"),
        (Misspelt, r"recommends 'd_step'.*Did you mean 'd_steps'"),
        (Private, r"has private attributes \(_seen\)"),
        (Thawed, "must stay frozen"),
    ],
)
def test_broken_components(registered, cls, fault):
    with pytest.raises(AssertionError, match=fault):
        check_loss(registered(cls))


# -- losses ---------------------------------------------------------------------------------------


def unstable(fake):
    return torch.log(1 + torch.exp(-fake)).mean()


def test_unstable_generator_loss(registered):
    class Broken(SoundLoss):
        def generator(self, fake, real=None):
            return unstable(fake)

    fault = r"The generator's loss is .*inf.* around \+-100.*softplus"
    with pytest.raises(AssertionError, match=fault):
        check_loss(registered(Broken))


@pytest.mark.parametrize(
    ("discriminator", "fault"),
    [
        (lambda real, fake: unstable(real) + unstable(-fake), "discriminator's loss is .*inf"),
        (
            lambda real, fake: fake.mean() + (real * 0).sqrt().mean(),
            "discriminator's gradient of the loss is not finite",
        ),
    ],
)
def test_broken_discriminator_losses(registered, discriminator, fault):
    class Broken(SoundLoss):
        def discriminator(self, real, fake):
            return discriminator(real, fake)

    with pytest.raises(AssertionError, match=fault):
        check_loss(registered(Broken))


def test_missing_half(registered):
    class Half(Loss):
        def discriminator(self, real, fake):
            return fake.mean() - real.mean()

    with pytest.raises(ConfigError, match="has no generator loss"):
        check_loss(registered(Half))


def test_broken_constrain(registered):
    class Constraining(SoundLoss):
        def constrain(self, discriminator):
            with torch.no_grad():
                for parameter in discriminator.parameters():
                    parameter /= 0

    with pytest.raises(AssertionError, match=r"constrain\(\) left weights that are not finite"):
        check_loss(registered(Constraining))


def test_general_form_is_sound(registered):
    class General(Loss):
        generator_sees_real = True

        def discriminator_loss(self, step):
            classes = nn.functional.cross_entropy(step.real_output.classes, step.labels)
            margin = step.fake_output.logits - step.real_output.logits
            return margin.mean() + classes

        def generator_loss(self, step):
            margin = step.real_output.logits - step.fake_output.logits
            return margin.mean() + step.fake_output.features.square().mean()

    check_loss(registered(General))


# -- datasets -------------------------------------------------------------------------------------


POINTS = SampleSpec(kind="vector", shape=(2,), value_range=None)
NAMED = POINTS.model_copy(update={"classes": ("a", "b")})
UNIT = POINTS.model_copy(update={"value_range": (-1.0, 1.0)})
BYTES = torch.tensor([[0, 255], [3, 4]], dtype=torch.uint8)
FLOATS = torch.tensor([[0.0, 9.0], [-3.0, 4.0]])


def dataset_of(*results):
    queue = list(results)

    class Made(Dataset):
        def load(self):
            return queue.pop(0) if len(queue) > 1 else queue[0]

    return Made


@pytest.mark.parametrize(
    "samples",
    [
        Samples(BYTES, POINTS),
        Samples(BYTES, NAMED, torch.tensor([1, 0])),
        Samples(FLOATS, POINTS, stored_range=None),
        Samples(FLOATS, UNIT, stored_range=(-3, 9)),
    ],
)
def test_sound_datasets(registered, samples):
    check_dataset(registered(dataset_of(samples)))


@pytest.mark.parametrize(
    ("samples", "fault"),
    [
        (Samples(BYTES.int(), POINTS), "must be uint8 or float32 on the CPU; these are a int32"),
        (Samples(BYTES, NAMED), "names classes but there are no labels"),
        (Samples(BYTES, POINTS, torch.tensor([0, 1])), "labels but the spec names no classes"),
    ],
)
def test_broken_datasets(registered, samples, fault):
    with pytest.raises(AssertionError, match=fault):
        check_dataset(registered(dataset_of(samples)))


def test_unstable_datasets(registered):
    changing = dataset_of(Samples(BYTES, POINTS), Samples(BYTES.flip(0), POINTS))
    with pytest.raises(AssertionError, match="Loading twice gave different samples"):
        check_dataset(registered(changing))


# -- trackers -------------------------------------------------------------------------------------


class Silent(Log):
    """A sound log that writes nothing."""

    def scalars(self, step, values):
        pass

    def images(self, step, name, image):
        pass

    def finish(self):
        pass


def tracker_of(**methods):
    class Made(Tracker):
        def open(self, folder, settings, step):
            return type("Written", (Silent,), methods)()

    return Made


def test_sound_tracker(registered):
    seen = []

    class Watching(Tracker):
        def open(self, folder, settings, step):
            assert folder.is_dir()
            seen.append((folder, step, settings["batch_size"]))
            (folder / "mine").mkdir(exist_ok=True)
            return Silent()

    state = torch.get_rng_state()
    check_tracker(registered(Watching))
    (folder, *first), (same, *second) = seen
    assert (first, second) == ([0, 16], [1, 16])
    assert folder == same
    assert not folder.exists()
    assert torch.equal(torch.get_rng_state(), state)


def raising(self, *arguments):
    raise KeyError("modes")


def only_colour(self, step, name, image):
    assert image.mode != "L"


def clear(self, step, values):
    values.clear()


def paint(self, step, name, image):
    image.putpixel((0, 0), 0)


def draw(self, step, values):
    torch.rand(1)


@pytest.mark.parametrize(
    ("methods", "fault"),
    [
        ({"scalars": raising}, r"scalars\(1, \{.*\}\) raised KeyError .*modes.*. Columns may come"),
        ({"scalars": clear}, "The tracker changes its settings or rows"),
        ({"scalars": draw}, "Logging drew from torch's random numbers"),
        ({"images": only_colour}, r"images\(\) of mode L raised AssertionError"),
        ({"images": paint}, r"images\(\) changes the picture in place"),
        ({"finish": raising}, r"finish\(\) raised KeyError"),
    ],
)
def test_broken_logs(registered, methods, fault):
    with pytest.raises(AssertionError, match=fault):
        check_tracker(registered(tracker_of(**methods)))


class Popping(Tracker):
    def open(self, folder, settings, step):
        settings["arch"].pop("name")
        return Silent()


class Lost(Tracker):
    def open(self, folder, settings, step):
        return None


class Once(Tracker):
    def open(self, folder, settings, step):
        (folder / "mine").mkdir()
        return Silent()


class Counting(Tracker):
    opened: list[int] = Field([], description="counts")

    def open(self, folder, settings, step):
        self.opened.append(step)
        return Silent()


@pytest.mark.parametrize(
    ("cls", "fault"),
    [
        (Popping, "The tracker changes its settings or rows"),
        (Lost, r"open\(\) must return a Log, not a NoneType"),
        (Once, r"open\(folder, settings, step=1\) raised FileExistsError.*is resumed: go on after"),
        (Counting, "Using the tracker changed its options"),
    ],
)
def test_broken_trackers(registered, cls, fault):
    with pytest.raises(AssertionError, match=fault):
        check_tracker(registered(cls))


def test_tracker_that_lacks_something(registered):
    class Lacking(Tracker):
        def check(self):
            raise ConfigError("It needs a package.")

        def open(self, folder, settings, step):
            raise AssertionError

    with pytest.raises(ConfigError, match="It needs a package"):
        check_tracker(registered(Lacking))


# -- metrics --------------------------------------------------------------------------------------


class SoundMetric(Metric):
    """How far apart the means of the first feature are."""

    requires: ClassVar = ("features",)
    sample_kinds: ClassVar = ("vector", "audio")

    extractor: str = "any"

    def compute(self, real, fake):
        apart = real.features[:, 0].double().mean() - fake.features[:, 0].double().mean()
        return Result(abs(float(apart)), 0.5, {"real": [1, 2]}, ("a notice",))


def test_sound_metric(registered):
    check_metric(registered(SoundMetric))
    check_metric("broken", SampleSpec(kind="audio", shape=(2, 50)))
    with pytest.raises(ConfigError, match="is for samples of kind vector, audio"):
        check_metric("broken", SampleSpec(shape=(3, 8, 8)))


def test_metric_of_the_latent_space(registered):
    class Paths(Metric):
        requires: ClassVar = ("generator",)
        needs_real: ClassVar = False
        min_samples: ClassVar = 0

        seed: int = 0

        def compute(self, real, fake):
            source = torch.Generator().manual_seed(self.seed)
            latents = fake.generator.latent.sample(5, generator=source)
            return Result(float(fake.generator.sample(5, latents=latents).double().std()))

    check_metric(registered(Paths))


def declaring(**attributes):
    return type("Declaring", (SoundMetric,), {"__annotations__": {}, **attributes})


def computing(function, **attributes):
    return declaring(compute=lambda self, real, fake: function(real, fake), **attributes)


def first(part):
    return part.features[:, 0]


def drawn(real, fake):
    return Result(float(torch.rand(())))


CALLS = iter(range(10**6))


def in_place(real, fake):
    fake.features.add_(1)
    return Result(1.0)


def lenient(real, fake):
    return Result(1.0)


@pytest.mark.parametrize(
    ("metric", "fault"),
    [
        (declaring(better="up"), "better is 'up': say 'lower' or 'higher'"),
        (declaring(requires=("feature",)), r"requires is \('feature',\): give a tuple of moments"),
        (declaring(requires="samples"), "requires is 'samples': give a tuple"),
        (declaring(sample_kinds=()), r"sample_kinds is \(\): give a tuple of image, audio"),
        (declaring(requires=("samples",)), "has an option 'extractor': moments, features"),
        (computing(lambda r, f: 1.0), "must return a Result.*not a float"),
        (computing(lambda r, f: Result(first(f).mean())), "The value of the Result must be a numb"),
        (computing(lambda r, f: Result(1.0, -1.0)), "error of the Result is -1.0"),
        (computing(lambda r, f: Result(1.0, None, {"a": {1}})), "extra of the Result cannot be wr"),
        (computing(lambda r, f: Result(1.0, notices=["a"])), "notices of the Result must be a tup"),
        (computing(lambda r, f: Result(float("nan"))), r"score\(\) of 64 samples raised DataError"),
        (
            computing(lambda r, f: Result(f.samples.mean())),
            "may use only what it requires of a",
        ),
        (computing(drawn), "drew from torch's random numbers"),
        (computing(lambda r, f: Result(float(next(CALLS)))), "The same samples have the score"),
        (computing(in_place), "changes its inputs in place"),
        (computing(lambda r, f: Result(float(first(f)[0]))), "In another order the same samples"),
        (
            declaring(check=lambda self, spec: None),
            r"check\(\) of a 32x32 RGB image.*raised nothing",
        ),
        (
            computing(lenient, score=lambda self, real, fake: lenient(real, fake)),
            r"score\(\) without real samples raised nothing; it must raise ConfigError",
        ),
        (
            computing(lenient, score=lambda self, *sides: lenient(*sides), needs_real=False),
            r"score\(\) of features with NaN raised nothing; it must raise DataError",
        ),
    ],
)
def test_broken_metrics(registered, metric, fault):
    with pytest.raises(AssertionError, match=fault):
        check_metric(registered(metric))


def test_metric_with_too_few(registered):
    class Few(SoundMetric):
        min_samples: ClassVar = 100

        def score(self, real, fake):
            few = fake.count < self.min_samples
            return Result(0.0) if few else super().score(real, fake)

    with pytest.raises(
        AssertionError, match=r"99 samples, fewer than its 'min_samples', raised no"
    ):
        check_metric(registered(Few))


def test_metric_that_needs_an_extractor(registered):
    class Lacking(Metric):
        requires: ClassVar = ("moments",)

        def compute(self, real, fake):
            return Result(0.0)

    with pytest.raises(AssertionError, match="requires moments and has no option 'extractor'"):
        check_metric(registered(Lacking))


def test_metric_for_nothing_that_is_tried(registered):
    class Square(SoundMetric):
        def check(self, spec):
            raise ConfigError("never")

    with pytest.raises(AssertionError, match="refuses all of 32x32 RGB image, .* Pass a spec"):
        check_metric(registered(Square))


# -- extractors -----------------------------------------------------------------------------------


class Eye(nn.Module):
    """A sound net, to be broken."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(6.0).reshape(3, 2), requires_grad=False)

    @torch.no_grad()
    def forward(self, samples):
        if samples.shape[1] != 3:
            raise UnsupportedSampleError("This sees three channels only.")
        return Features(samples.float().mean((2, 3)) @ self.weight)


class SoundExtractor(Extractor):
    """Mean colours."""

    dimensions: ClassVar = 2
    net: ClassVar = Eye

    def build(self, device, precision="auto"):
        return type(self).net().to(device).eval()

    def weights_hash(self):
        return fingerprint(Eye().state_dict())

    def preparation(self):
        return {"resize": "none"}


def test_sound_extractor(registered):
    check_extractor(registered(SoundExtractor))
    check_extractor("broken", SampleSpec(shape=(3, 8, 12)))


def test_sound_extractor_of_points(registered):
    class Same(nn.Module):
        def forward(self, samples):
            return Features(samples.clone())

    class Points(SoundExtractor):
        net: ClassVar = Same

        @property
        def quantisation(self):
            return "none"

    check_extractor(registered(Points), SampleSpec(kind="vector", shape=(2,), value_range=None))


def test_floats_are_in_the_range_of_the_spec(registered):
    class Bounded(nn.Module):
        def forward(self, samples):
            assert samples.dtype == torch.float32
            assert -1 <= samples.min() < -0.9 and 0.9 < samples.max() <= 1
            return Features(samples.mean((2, 3))[:, :2])

    class Floats(SoundExtractor):
        net: ClassVar = Bounded
        quantisation = property(lambda self: "none")

    check_extractor(registered(Floats))


def seeing(function):
    """An extractor whose net does something else with what it sees."""

    class Other(Eye):
        def forward(self, samples):
            return function(self, super().forward(samples).pool, samples)

    return extracting(net=Other)


def extracting(**attributes):
    return type("Extracting", (SoundExtractor,), {"__module__": __name__, **attributes})


class Trained(Eye):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)


class Lively(Eye):
    def eval(self):
        return self


class Newborn(Eye):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 2), requires_grad=False)


class Fragile(Eye):
    def forward(self, samples):
        return Features(samples.float().mean((2, 3)) @ self.weight)


def greedy(net, pool, samples):
    samples.zero_()
    return Features(pool)


@pytest.mark.parametrize(
    ("extractor", "fault"),
    [
        (extracting(quantisation=property(lambda self: "int8")), "quantisation is 'int8'"),
        (extracting(weights_hash=lambda self: "none"), "must be a hexadecimal SHA-256, not 'none'"),
        (extracting(preparation=lambda self: {"a": torch.ones(1)}), "cannot be written as JSON"),
        (extracting(preparation=lambda self: {"a": next(CALLS)}), "have the protocol .* and then"),
        (extracting(build=lambda self, *_: len), "build.. must return an nn.Module"),
        (extracting(net=Trained), "Gradients would be computed for 'layer.weight', 'layer.bias'"),
        (extracting(net=Lively), "is in training mode: 'itself'"),
        (extracting(net=Newborn), "change when the net is built again"),
        (extracting(net=Fragile), "two channels raised RuntimeError"),
        (extracting(dimensions=4), r"of shape \(3, 4\); it is a float32 tensor of shape \(3, 2\)"),
        (
            seeing(lambda net, pool, x: pool),
            "must return Features.pool, logits=None., not a float32",
        ),
        (
            seeing(lambda net, pool, x: Features(pool.double())),
            "pool of 3 samples must be a float32",
        ),
        (seeing(lambda net, pool, x: Features(pool[0])), "pool of 3 samples must be a float32"),
        (seeing(lambda net, pool, x: Features(pool, pool[:1])), "logits of 3 samples must be"),
        (seeing(lambda net, pool, x: Features(pool / 0)), "pool is not finite"),
        (seeing(greedy), "changes the samples in place"),
        (seeing(lambda net, pool, x: Features(pool + torch.rand(1))), "draws random numbers"),
        (seeing(lambda net, pool, x: Features(pool.cumsum(0))), "it is alone in the batch"),
        (seeing(lambda net, pool, x: Features(pool - pool.mean(0))), "it is alone in the batch"),
    ],
)
def test_broken_extractors(registered, extractor, fault):
    with pytest.raises(AssertionError, match=fault):
        check_extractor(registered(extractor))


# -- averages -------------------------------------------------------------------------------------


class Half(Average):
    share: float = Field(0.5, ge=0, le=1)

    def retained(self, updates, images):
        return (self.share,)


class Alike(Half):
    @property
    def labels(self):
        return (0.5, 0.5)

    def retained(self, updates, images):
        return (self.share, self.share)


class TooMany(Half):
    def retained(self, updates, images):
        return (self.share, self.share)


class OneNumber(Half):
    def retained(self, updates, images):
        return self.share


class Backwards(Half):
    def retained(self, updates, images):
        return (1 - updates / 1000,)


class Restless(Half):
    def retained(self, updates, images):
        return (next(CALLS) % 2 / 2,)


class NoStart(Half):
    def retained(self, updates, images):
        return (1 / updates,)


class NoOption(Half):
    schedulable = ("pace",)


def test_sound_averages(registered):
    check_average(registered(Half))
    for name in averages.names():
        if name != "broken":
            check_average(name)


@pytest.mark.parametrize(
    ("cls", "fault"),
    [
        (Alike, r"labels must be different numbers, .* not \(0\.5, 0\.5\)\. Return"),
        (
            TooMany,
            r"retained\(0, 1\) must return a share .* of which there are 1, not \(0\.5, 0\.5",
        ),
        (OneNumber, r"must return a share .* not 0\.5\. Return a tuple"),
        (Backwards, r"retained\(10000, 1\) must return a share in \[0, 1\]"),
        (Restless, r"retained\(0, 1\) returns other shares when it is called again"),
        (NoStart, r"retained\(0, 1\) raised ZeroDivisionError.* It must return shares at any"),
        (NoOption, "schedulable has 'pace', which is no option that is a number. Name options"),
    ],
)
def test_broken_averages(registered, cls, fault):
    with pytest.raises(AssertionError, match=fault):
        check_average(registered(cls))
