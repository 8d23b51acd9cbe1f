"""Inception features against the programs that they are compared with.

The golden numbers are those of torch-fidelity 0.4.0, pytorch-fid 0.3.0 and clean-fid 0.1.35 (and of
StudioGAN's resizer on pytorch-fid's network) with the same weights. Where these programs are
installed, whole batches are compared with them too.
"""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from features.conftest import chequered, random_tensors
from ganzoo import datasets, evaluate, features
from ganzoo.errors import CheckpointError, UnsupportedSampleError
from ganzoo.features import inception, inception_net
from ganzoo.features.inception import ENVIRONMENT, Inception

CPU = torch.device("cpu")
CLOSE = {"rtol": 2e-5, "atol": 2e-5}
# Of the second picture: four features, and the root mean square of all of both pictures.
POOL = {
    "torch-fidelity": ([1.1961983, 0.2257801, 1.5470606, 0.013386332], 2.2628393),
    "pytorch-fid": ([1.2250215, 0.22920069, 1.5860486, 0.023428734], 2.2728298),
    "clean": ([1.5022216, 0.25827622, 1.9652177, 0.027307345], 2.774119),
    "studiogan": ([1.2250208, 0.22920066, 1.5860479, 0.023428818], 2.2728294),
}
GREY = [1.402464, 0.22864452, 1.6971939, 0.0089209564]
LOGITS = {
    "torch-fidelity": [-2.2080512, -1.3440647, 4.1189809, -0.67947114],
    "studiogan": [-2.2813494, -1.308569, 4.1334715, -0.64149082],
}
REAL = [0.22546884, 0.22282021, 0.276429, 0.15667355]


def built(weights, preset="torch-fidelity", precision="fp32"):
    return Inception(preset=preset, weights=weights).build(CPU, precision)


@pytest.fixture(scope="module")
def net(random_weights):
    return built(random_weights)


@pytest.fixture(scope="module")
def seen(net):
    """What it sees in the pictures."""
    return net(chequered())


@pytest.mark.parametrize("preset", POOL)
def test_features_and_logits_are_those_of_the_reference(preset, random_weights, pictures, seen):
    first, size = POOL[preset]
    found = seen if preset == "torch-fidelity" else built(random_weights, preset)(pictures)
    assert found.pool.dtype == found.logits.dtype == torch.float32
    torch.testing.assert_close(found.pool[1, :4], torch.tensor(first), **CLOSE)
    assert found.pool.square().mean().sqrt().item() == pytest.approx(size, rel=1e-5)
    if preset in LOGITS:
        torch.testing.assert_close(found.logits[1, :4], torch.tensor(LOGITS[preset]), **CLOSE)


def test_grey_pictures_are_rgb_with_equal_channels(net, pictures):
    grey = net(pictures[:, :1]).pool
    torch.testing.assert_close(grey[1, :4], torch.tensor(GREY), **CLOSE)
    same = net(pictures[:, :1].repeat(1, 3, 1, 1)).pool
    torch.testing.assert_close(grey, same, **CLOSE)


def test_features_do_not_depend_on_the_batch(random_weights, net, monkeypatch):
    pictures = chequered(3, height=20, width=44)
    monkeypatch.setattr(inception, "_TOGETHER", 2)
    parted, whole = built(random_weights)(pictures), net(pictures)  # parted: 2 and 1
    torch.testing.assert_close(parted.pool, whole.pool, **CLOSE)
    torch.testing.assert_close(parted.logits, whole.logits, **CLOSE)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fid_is_the_same_in_batches_of_any_size(real_weights):
    data = datasets.create("fashion-mnist-10k").load().data
    metric = {"name": "fid", "extractor": Inception(weights=real_weights)}
    values = [
        evaluate(data[:2500], data[2500:5000], [metric], precision="fp32", batch_size=size)[
            "fid"
        ].value
        for size in (64, 1, 7)
    ]
    assert values == pytest.approx([values[0]] * 3, rel=1e-6)


def test_bf16_is_near(random_weights, pictures, seen):
    near = built(random_weights, precision="bf16")(pictures).pool
    assert near.dtype == torch.float32
    assert 0 < (near - seen.pool).norm() / seen.pool.norm() < 0.03


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_without_fused_operations_it_computes_the_same(
    precision, random_weights, pictures, seen, monkeypatch
):
    monkeypatch.setattr(inception_net, "_can_fuse", lambda device, dtype: False)
    plain = built(random_weights, precision=precision)(pictures).pool
    bound = 1e-5 if precision == "fp32" else 0.03
    assert (plain - seen.pool).norm() / seen.pool.norm() < bound


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_float32_is_that_only_where_it_was_asked_for(precision, random_weights, monkeypatch):
    """Graphics cards compute convolutions in TF32 otherwise."""
    backends, seen = torch.backends, []
    parts = (backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.matmul)
    before = [part.fp32_precision for part in parts]
    net = built(random_weights, precision=precision)

    def look(pictures):
        seen.extend(part.fp32_precision for part in parts)
        return torch.zeros(len(pictures), 2048)

    monkeypatch.setattr(net.net, "forward", look)
    net(chequered(1))
    assert seen == (["ieee"] * 3 if precision == "fp32" else before)
    assert [part.fp32_precision for part in parts] == before


class Moves(TorchDispatchMode):
    """Notes the types of what goes to another device."""

    def __init__(self):
        super().__init__()
        self.types = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if kwargs.get("device") == torch.device("meta"):
            self.types |= {args[0].dtype, kwargs.get("dtype") or args[0].dtype}
        return function(*args, **kwargs)


def test_no_float64_goes_to_a_device_that_may_lack_it(random_weights):
    tensors = load_file(random_weights)
    with Moves() as moves:
        net = inception_net.InceptionNet(tensors, torch.device("meta"), torch.bfloat16)
    assert moves.types == {torch.float32, torch.bfloat16}
    assert {value.device.type for value in net.state_dict().values()} == {"meta"}


def test_weights_in_any_form_are_the_same(tmp_path, monkeypatch, random_weights):
    tensors = load_file(random_weights)
    published = dict(tensors)
    for name in tensors:
        if name.endswith("running_var"):
            published[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    torch.save(published, tmp_path / "published.pth")
    convolutions = {name: value for name, value in tensors.items() if not name.startswith("fc.")}
    save_file(convolutions, tmp_path / "nofc.safetensors")
    hashes = {
        Inception(weights=path).weights_hash()
        for path in (random_weights, tmp_path / "published.pth", tmp_path / "nofc.safetensors")
    }
    assert len(hashes) == 1
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "nofc.safetensors"))
    extractor = features.create("inception")
    assert extractor.protocol() == {
        "extractor": "inception",
        "quantisation": "uint8",
        "preset": "torch-fidelity",
        "size": 299,
        "resize": "tf1-bilinear",
        "scaling": "(x - 128) / 128",
        "logits": "without bias",
        "weights": hashes.pop(),
    }
    found = extractor.build(CPU, "fp32")(chequered(1, height=8, width=8))
    assert found.logits is None and found.pool.shape == (1, extractor.dimensions)


def test_weights_of_another_net_are_refused(tmp_path, random_weights):
    tensors = load_file(random_weights)
    tensors["Mixed_9z.conv.weight"] = tensors.pop("Mixed_5b.branch1x1.conv.weight")
    tensors["fc.bias"] = torch.zeros(1000)
    save_file(tensors, tmp_path / "other.safetensors")
    wanted = (
        r"other.safetensors holds the weights of another net: it lacks 1 tensors "
        r"\(Mixed_5b.branch1x1.conv.weight\) and also has 1 tensors \(Mixed_9z.conv.weight\) "
        r"and has other shapes of 1 tensors \(fc.bias\)"
    )
    with pytest.raises(CheckpointError, match=wanted):
        Inception(weights=tmp_path / "other.safetensors").build(CPU)


@pytest.mark.parametrize(
    "pictures", [chequered(1, channels=2), chequered(1).float(), chequered(1)[0]]
)
def test_what_is_no_picture_is_refused(pictures, net):
    with pytest.raises(UnsupportedSampleError, match="sees greyscale and RGB pictures"):
        net(pictures)


def test_features_of_the_real_weights(real_weights, pictures):
    found = built(real_weights)(pictures).pool[1, :4]
    torch.testing.assert_close(found, torch.tensor(REAL), **CLOSE)


def reference(program, tmp_path, monkeypatch):
    """A function from uint8 pictures to the features of a reference program."""
    tensors = random_tensors()
    for name in list(tensors):
        if name.endswith("running_var"):
            tensors[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    if program == "torch-fidelity":
        module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
        torch.save(tensors, tmp_path / "weights.pth")
        net = module.FeatureExtractorInceptionV3(
            "inception-v3-compat",
            ["2048"],
            feature_extractor_weights_path=str(tmp_path / "weights.pth"),
        )
        return lambda pictures: net(pictures)[0]
    module = pytest.importorskip("pytorch_fid.inception")
    monkeypatch.setattr(module, "load_state_dict_from_url", lambda *_, **__: tensors)
    net = module.InceptionV3().eval()
    if program == "pytorch-fid":
        return lambda pictures: net(pictures.float() / 255)[0].flatten(1)
    resizing = pytest.importorskip("cleanfid.resize")
    # StudioGAN, which is no package, takes clean-fid's resizer and pytorch-fid's net.
    kind, centre = {"clean": ("bicubic", 128), "studiogan": ("bilinear", 127.5)}[program]
    resize = resizing.make_resizer("PIL", False, kind, (299, 299))
    net.resize_input = net.normalize_input = False

    def resized(pictures):
        found = [torch.from_numpy(resize(each)) for each in pictures.permute(0, 2, 3, 1).numpy()]
        return net((torch.stack(found).permute(0, 3, 1, 2) - centre) / centre)[0].flatten(1)

    return resized


@pytest.mark.slow
@pytest.mark.parametrize("program", ["torch-fidelity", "pytorch-fid", "clean", "studiogan"])
@pytest.mark.parametrize("size", [(32, 32), (40, 24), (350, 310)], ids=str)
@pytest.mark.filterwarnings("ignore")
def test_features_are_those_of_the_program_where_it_is_installed(
    program, size, tmp_path, random_weights, monkeypatch
):
    pictures = chequered(2, height=size[0], width=size[1])
    with torch.no_grad():
        wanted = reference(program, tmp_path, monkeypatch)(pictures)
    found = built(random_weights, program)(pictures).pool
    assert (found - wanted).abs().max() / wanted.abs().max() < 3e-6
