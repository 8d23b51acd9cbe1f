"""The checks for plug-in authors, against components that are broken on purpose."""

from typing import ClassVar

import pytest
import torch
from pydantic import ConfigDict, Field, PrivateAttr
from torch import nn

from ganzoo import architectures, datasets, losses, trackers
from ganzoo.architectures import Architecture, Output
from ganzoo.datasets import Dataset, Samples
from ganzoo.errors import ConfigError, UnknownNameError, UnsupportedSampleError
from ganzoo.losses import Loss
from ganzoo.spec import LatentSpec, SampleSpec
from ganzoo.testing import check_architecture, check_dataset, check_loss, check_tracker
from ganzoo.trackers import Log, Tracker

SPEC = SampleSpec(kind="vector", shape=(3,))


@pytest.fixture
def registered():
    """Register classes for one test."""
    done = []

    def register(cls):
        registry = next(
            kind.registry
            for kind in (architectures, losses, datasets, trackers)
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


def test_output_with_heads_is_sound(registered):
    class Heads(Sound):
        def discriminator(self, spec):
            class Judge(Net):
                def __init__(self):
                    super().__init__(outputs=1, finish=squeeze)
                    self.classes = nn.Linear(3, 2)

                def forward(self, x, labels=None):
                    return Output(super().forward(x), self.classes(x), x)

            return Judge()

    check_architecture(registered(Heads), SPEC)


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


class Detached(Net):
    def forward(self, x, labels=None):
        return super().forward(x).detach()


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


def linear(x):
    return x


def double(x):
    return torch.tanh(x).double()


def nan(x):
    return torch.tanh(x) * float("nan")


@pytest.mark.parametrize(
    ("net", "fault"),
    [
        (lambda n: "net", r"generator\(\) must return an nn.Module, not a str"),
        (NoLabels, r"The generator's forward.*declare it as forward\(self, z, labels=None\)"),
        (lambda n: Net(n, 2), r"must return a float32 tensor of shape \(4, 3\).*shape \(4, 2\)"),
        (lambda n: Net(n, finish=double), "it returned a float64 tensor"),
        (lambda n: Net(n, finish=nan), "generator made values that are not finite"),
        (lambda n: Net(n, finish=linear), r"outside the spec's range.*output_activation\(spec\)"),
        (Unused, "No gradient reaches 'spare' of the generator"),
        (Detached, r"No gradient reaches 'layer.weight', 'layer.bias' of the generator"),
        (lambda n: Noisy(n, finish=lambda x: 0.5 * torch.tanh(x)), "different results for the sa"),
        (Hidden, "other results after its state_dict is loaded.*register_buffer"),
        (Mixing, "another sample from the same latent when the batch has another size"),
        (Extra, "'_extra_state', which is no tensor"),
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
        (lambda **_: Net(outputs=1, finish=linear), r"shape \(N,\), here \(4,\).*shape \(4, 1\)"),
        (Unused, "No gradient reaches 'spare' of the discriminator"),
        (Detached, "The logits have no gradient"),
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


def test_discriminator_may_compare_samples(registered):
    class Comparing(Sound):
        def discriminator(self, spec):
            return Mixing(outputs=1, finish=squeeze)

    check_architecture(registered(Comparing), SPEC)


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

    with pytest.raises(AssertionError, match="Building the nets changed the architecture's opt"):
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


def test_options_that_do_not_survive_json(registered):
    class Infinite(SoundLoss):
        bound: float = Field(float("inf"), description="bound")

    with pytest.raises(AssertionError, match="cannot be read back from its own JSON"):
        check_loss(registered(Infinite))


def test_options_that_change_in_json(registered):
    class Changing(SoundLoss):
        bound: float | None = Field(float("inf"), description="bound")

    with pytest.raises(AssertionError, match="changes on its way through JSON"):
        check_loss(registered(Changing))


def test_options_that_are_no_json(registered):
    class Holding(SoundLoss):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        net: nn.Module = Field(nn.Linear(1, 1), description="a net")

    with pytest.raises(AssertionError, match="cannot be written as JSON"):
        check_loss(registered(Holding))


def test_recommendations_that_are_no_json(registered):
    class Advising(SoundLoss):
        recommended: ClassVar = {"g_optimizer": object}

    with pytest.raises(AssertionError, match="cannot be written as JSON"):
        check_loss(registered(Advising))


def test_recommendations_that_do_not_exist(registered):
    class Advising(SoundLoss):
        recommended: ClassVar = {"d_step": 5}

    with pytest.raises(AssertionError, match=r"recommends 'd_step'.*Did you mean 'd_steps'"):
        check_loss(registered(Advising))


def test_private_state(registered):
    class Private(SoundLoss):
        _seen: int = PrivateAttr(0)

    with pytest.raises(AssertionError, match=r"has private attributes \(_seen\)"):
        check_loss(registered(Private))


def test_thawed_config(registered):
    class Thawed(SoundLoss):
        model_config = ConfigDict(frozen=False)

    with pytest.raises(AssertionError, match="must stay frozen"):
        check_loss(registered(Thawed))


# -- losses ---------------------------------------------------------------------------------------


def unstable(fake):
    return torch.log(1 + torch.exp(-fake)).mean()


@pytest.mark.parametrize(
    ("generator", "fault"),
    [
        (lambda fake: -fake, r"scalar tensor of shape \(\); it is a float32 tensor of shape \(4,"),
        (lambda fake: 1.0, "it is a float"),
        (lambda fake: -fake.detach().mean(), "The generator's loss has no gradient"),
        (lambda fake: torch.ones((), requires_grad=True) * 1, "does not depend on the generator"),
        (unstable, r"The generator's loss is .*inf.* around \+-100.*softplus"),
        (lambda fake: fake.sub_(1).mean(), "changes the logits in place"),
    ],
)
def test_broken_generator_losses(registered, generator, fault):
    class Broken(SoundLoss):
        def generator(self, fake, real=None):
            return generator(fake)

    with pytest.raises(AssertionError, match=fault):
        check_loss(registered(Broken))


@pytest.mark.parametrize(
    ("discriminator", "fault"),
    [
        (lambda real, fake: real.mean(), "does not depend on its logits of fake samples"),
        (lambda real, fake: fake.mean(), "does not depend on its logits of real samples"),
        (lambda real, fake: (fake - real).square().sqrt().mean() * 0 + real, r"shape \(4,\)"),
        (lambda real, fake: unstable(real) + unstable(-fake), "discriminator's loss is .*inf"),
        (
            lambda real, fake: fake.mean() + (real * 0).sqrt().mean(),
            "gradient of the discriminator's loss is not finite",
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


def test_broken_score(registered):
    class Scoring(SoundLoss):
        def score(self, logits):
            return logits.mean()

    with pytest.raises(AssertionError, match=r"one value per logit, shape \(4,\)"):
        check_loss(registered(Scoring))


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
        (BYTES, r"load\(\) must return Samples\(data, spec, ...\), not Tensor"),
        (Samples(BYTES[:0], POINTS), "The dataset is empty"),
        (Samples(BYTES.int(), POINTS), "must be uint8 or float32 on the CPU; these are a int32"),
        (Samples(FLOATS / 0, POINTS, stored_range=None), "Some samples are not finite"),
        (Samples(FLOATS, POINTS), r"between -3 and 9, outside their stored_range \(0.0, 255.0\)"),
        (Samples(FLOATS, UNIT, stored_range=None), r"outside their spec's value_range \(-1.0, 1."),
        (Samples(BYTES, NAMED), "names classes but there are no labels"),
        (Samples(BYTES, POINTS, torch.tensor([0, 1])), "labels but the spec names no classes"),
        (Samples(BYTES, NAMED, torch.tensor([0, 2])), "run from 0 to 2 but there are 2 classes"),
        (Samples(BYTES, NAMED, torch.tensor([0.0, 1.0])), "Labels must be int64"),
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
    assert (first, second) == ([0, 64], [1, 64])
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
        ({"scalars": raising}, r"scalars\(1, \{.*\}\) raised KeyError: 'modes'. Columns may come"),
        ({"scalars": clear}, "The tracker changes the settings or rows"),
        ({"scalars": draw}, "Logging drew from torch's random numbers"),
        ({"images": only_colour}, r"images\(\) of mode L raised AssertionError"),
        ({"images": paint}, r"images\(\) changes the picture in place"),
        ({"finish": raising}, r"finish\(\) raised KeyError"),
    ],
)
def test_broken_logs(registered, methods, fault):
    with pytest.raises(AssertionError, match=fault):
        check_tracker(registered(tracker_of(**methods)))


def test_tracker_that_changes_settings(registered):
    class Popping(Tracker):
        def open(self, folder, settings, step):
            settings["arch"].pop("name")
            return Silent()

    with pytest.raises(AssertionError, match="The tracker changes the settings or rows"):
        check_tracker(registered(Popping))


def test_tracker_that_opens_no_log(registered):
    class Lost(Tracker):
        def open(self, folder, settings, step):
            return None

    with pytest.raises(AssertionError, match=r"open\(\) must return a Log, not a NoneType"):
        check_tracker(registered(Lost))


def test_tracker_that_cannot_go_on(registered):
    class Once(Tracker):
        def open(self, folder, settings, step):
            (folder / "mine").mkdir()
            return Silent()

    fault = r"open\(folder, settings, step=1\) raised FileExistsError.*A training continues, after"
    with pytest.raises(AssertionError, match=fault):
        check_tracker(registered(Once))


def test_tracker_with_state(registered):
    class Counting(Tracker):
        opened: list[int] = Field([], description="counts")

        def open(self, folder, settings, step):
            self.opened.append(step)
            return Silent()

    with pytest.raises(AssertionError, match="Logging changed the tracker's options"):
        check_tracker(registered(Counting))


def test_tracker_that_lacks_something(registered):
    class Lacking(Tracker):
        def check(self):
            raise ConfigError("It needs a package.")

        def open(self, folder, settings, step):
            raise AssertionError

    with pytest.raises(ConfigError, match="It needs a package"):
        check_tracker(registered(Lacking))
