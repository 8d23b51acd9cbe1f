"""The same numbers as other programs compute; each test is skipped where its program is absent."""

from __future__ import annotations

import contextlib
import importlib
import io
import types
import warnings

import numpy as np
import pytest
import torch

from ganzoo import metrics
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.metrics import lpips
from ganzoo.metrics.frechet import frechet_distance
from ganzoo.metrics.inputs import MetricInputs
from ganzoo.metrics.ms_ssim import _ssim
from ganzoo.metrics.perceptual import slerp


def program(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except Exception as error:
            pytest.skip(f"{name} cannot be imported: {error}")


@pytest.fixture(params=["structured", "random"])
def parts(request, real, fake, gather):
    if request.param == "structured":
        return gather(real), gather(fake)
    source = torch.Generator().manual_seed(7)
    return (
        gather(torch.randn(400, 32, generator=source)),
        gather(torch.randn(300, 32, generator=source) * 1.1 + 0.1),
    )


def test_torch_fidelity_frechet(parts):
    program("torch_fidelity")
    module = program("torch_fidelity.metric_fid")
    real, fake = (module.fid_features_to_statistics(part.features.double()) for part in parts)
    wanted = module.fid_statistics_to_metric(real, fake, False)["frechet_inception_distance"]
    assert metrics.create("fid").score(*parts).value == pytest.approx(wanted, rel=1e-9)


def test_pytorch_fid_and_clean_fid(parts):
    wanted = []
    real, fake = (part.features.double().numpy() for part in parts)
    statistics = [
        real.mean(0),
        np.cov(real, rowvar=False),
        fake.mean(0),
        np.cov(fake, rowvar=False),
    ]
    for name, function in (
        ("pytorch_fid.fid_score", "calculate_frechet_distance"),
        ("cleanfid.fid", "frechet_distance"),
    ):
        with contextlib.suppress(pytest.skip.Exception, TypeError):  # scipy has dropped disp=
            module = program(name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wanted.append(getattr(module, function)(*statistics))
    if not wanted:
        pytest.skip("neither pytorch-fid nor clean-fid works here")
    for value in wanted:
        assert metrics.create("fid").score(*parts).value == pytest.approx(value, rel=1e-9)


def test_torchmetrics_frechet(parts):
    module = program("torchmetrics.image.fid")
    real, fake = (part.features.double() for part in parts)
    wanted = module._compute_fid(real.mean(0), real.T.cov(), fake.mean(0), fake.T.cov())
    assert frechet_distance(*(part.moments for part in parts)) == pytest.approx(
        wanted.item(), rel=1e-9
    )


@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_torch_fidelity_kid(parts, dtype, rel):
    module = program("torch_fidelity.metric_kid")
    options = {"kid_subsets": 10, "kid_subset_size": 100, "rng_seed": 2020, "verbose": False}
    real, fake = (part.features.to(dtype) for part in parts)
    wanted = module.kid_features_to_metric(fake, real, **options)
    result = metrics.create("kid", subsets=10, subset_size=100).score(*parts)
    assert result.value == pytest.approx(wanted["kernel_inception_distance_mean"], rel=rel)
    assert result.extra["std"] == pytest.approx(wanted["kernel_inception_distance_std"], rel=rel)


def test_torchmetrics_kid(parts):
    module = program("torchmetrics.image.kid")
    real, fake = (part.features[:200].double() for part in parts)
    wanted = module.poly_mmd(real, fake)
    subset = [
        MetricInputs(200, features=x, spec=SampleSpec(shape=(3, 32, 32))) for x in (real, fake)
    ]
    result = metrics.create("kid", subsets=1, subset_size=200).score(*subset)
    assert result.value == pytest.approx(wanted.item(), rel=1e-10)


@pytest.mark.parametrize("splits", [1, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_fidelity_inception_score(gather_logits, splits, dtype):
    module = program("torch_fidelity.metric_isc")
    logits = torch.randn(333, 1008, generator=torch.Generator().manual_seed(0)).to(dtype) * 3
    wanted = module.isc_features_to_metric(logits, splits)
    result = metrics.create("inception-score", splits=splits).score(None, gather_logits(logits))
    assert result.value == pytest.approx(wanted["inception_score_mean"], rel=1e-12)
    assert result.error == pytest.approx(wanted["inception_score_std"], rel=1e-10, abs=1e-14)


def test_torch_fidelity_precision_and_recall(parts):
    module = program("torch_fidelity.metric_prc")
    real, fake = (part.features for part in parts)
    for part in (0, 1):
        wanted = module.calculate_precision_recall_full(fake, real)[part]
        name = ("precision", "recall")[part]
        assert metrics.create(name).score(*parts).value == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_prdc(parts, k):
    module = program("prdc")
    with contextlib.redirect_stdout(io.StringIO()):
        wanted = module.compute_prdc(*(part.features.numpy() for part in parts), k)
    for name, value in wanted.items():
        found = metrics.create(name, neighbours=k).score(*parts).value
        assert found == pytest.approx(value, rel=1e-9), name


def test_torchmetrics_ssim(images):
    """Its multi-scale form counts windows over mirrored borders at the last scale, Wang's not."""
    module = program("torchmetrics.functional.image.ssim")
    a, b = images(4, seed=1, size=48).double(), images(4, seed=2, size=48).double()
    b = (3 * a + b) / 4
    _, wanted = module.structural_similarity_index_measure(
        a, b, data_range=255.0, reduction="none", return_full_image=True
    )
    found, _ = _ssim(a, b)
    inside = wanted[..., 5:-5, 5:-5].flatten(1).mean(1)
    assert found.tolist() == pytest.approx(inside.tolist(), rel=1e-6)


@pytest.mark.parametrize("size", [None, 24, 48])
def test_torchmetrics_lpips(images, size):
    module = program("torchmetrics.functional.image.lpips")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        other = module._LPIPS(pretrained=False, net="vgg", pnet_rand=True, resize=size)
    state = other.eval().state_dict()
    rows = {name.split(".")[2]: value for name, value in state.items() if name.startswith("net.")}
    assert len(rows) == 13
    trunk = {
        "features." + name.split(".", 2)[2]: value
        for name, value in state.items()
        if name.startswith("net.")
    }
    net = lpips.LPIPS(size).eval().requires_grad_(False)
    net.take(trunk, {name: value for name, value in state.items() if name.startswith("lin")})
    a, b = images(3, seed=1).float(), images(3, seed=2).float()
    with torch.no_grad():
        wanted = other(a / 127.5 - 1, b / 127.5 - 1).flatten()
    # Its epsilon stands elsewhere, which counts where random weights leave features near 0.
    torch.testing.assert_close(net(a, b), wanted, rtol=1e-4, atol=0)


def test_torch_fidelity_slerp():
    module = program("torch_fidelity.noise")
    a, b = torch.randn(2, 50, 16, dtype=torch.float64)
    for share in (1e-4, 0.3, 0.9):
        torch.testing.assert_close(slerp(a, b, share), module.batch_slerp_any(a, b, share))


@pytest.mark.parametrize("mode", ["lerp", "slerp_any"])
def test_torch_fidelity_path_length(monkeypatch, mode):
    fidelity = program("torch_fidelity")
    base = program("torch_fidelity.sample_similarity_base")

    class Squares(base.SampleSimilarityBase):
        def __init__(self, name, **options):
            super().__init__(name)

        def forward(self, a, b):
            return (a - b).square().flatten(1).mean(1)

    weights = torch.randn(5, 3 * 256, generator=torch.Generator().manual_seed(0))

    class Net(torch.nn.Module):
        def forward(self, z):
            return (torch.sin(z @ weights) * 127.5 + 127.5).reshape(-1, 3, 16, 16)

    registry = program("torch_fidelity.registry")
    registry.SAMPLE_SIMILARITY_REGISTRY["squares"] = Squares
    model = fidelity.GenerativeModelModuleWrapper(Net(), 5, "normal", 0)
    wanted = fidelity.calculate_metrics(
        input1=model,
        input1_model_num_samples=300,
        ppl=True,
        ppl_epsilon=1e-2,
        ppl_z_interp_mode=mode,
        ppl_sample_similarity="squares",
        ppl_sample_similarity_resize=None,
        ppl_sample_similarity_dtype="float32",
        ppl_discard_percentile_lower=None,
        ppl_discard_percentile_higher=None,
        cuda=False,
        verbose=False,
    )
    source = np.random.RandomState(2020)
    latents = [torch.from_numpy(source.randn(300, 5)).float() for _ in range(2)]
    latent = LatentSpec(shape=(5,))
    monkeypatch.setattr(LatentSpec, "sample", lambda *_, **__: latents.pop(0))
    monkeypatch.setattr(np, "percentile", lambda x, at, method: x.min() if at < 50 else x.max())
    monkeypatch.setattr(lpips, "pretrained", lambda *_: Squares("squares"))
    generator = types.SimpleNamespace(
        latent=latent,
        spec=SampleSpec(shape=(3, 16, 16), value_range=(0, 255)),
        sample=lambda count, *, seed, latents: Net()(latents),
    )
    metric = metrics.create(
        "ppl", ways=300, epsilon=1e-2, interpolation="slerp" if mode == "slerp_any" else "lerp"
    )
    result = metric.score(None, MetricInputs(0, generator=generator, spec=generator.spec))
    assert result.value == pytest.approx(wanted["perceptual_path_length_mean"], rel=1e-4)
    assert result.extra["std"] == pytest.approx(wanted["perceptual_path_length_std"], rel=1e-4)
