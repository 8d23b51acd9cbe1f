"""VGG-16, DINOv2 and CLIP: nets of the same classes with few and random weights."""

import builtins
import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import interpolate

from features.conftest import chequered
from ganzoo import features
from ganzoo.errors import CheckpointError, ConfigError
from ganzoo.features import clip, dinov2, huggingface, vgg16
from ganzoo.features.resizing import resize

CPU = torch.device("cpu")


def normalised(pictures, size, how, mean, deviation):
    x = resize(pictures, size, how) / 255
    return (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(deviation).view(3, 1, 1)


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class TinyVGG(nn.Module):
    """VGG's three parts with the same last layers, and few features."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, 16), nn.ReLU())
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(
            nn.Linear(16, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 8),
            nn.ReLU(), nn.Dropout(), nn.Linear(8, 5),
        )  # fmt: skip

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def test_vgg16_gives_its_second_layer_after_the_relu(tmp_path, monkeypatch):
    monkeypatch.setattr(vgg16, "_network", lambda: TinyVGG())
    net = TinyVGG().eval()
    path = tmp_path / "vgg.safetensors"
    save_file(net.state_dict(), path)
    extractor = features.create({"name": "vgg16", "weights": path})
    pictures = chequered(2)
    found = extractor.build(CPU, "fp32")(pictures)
    x = normalised(pictures, 224, "tf1-bilinear", *IMAGENET)
    wanted = net.classifier[:5](net.avgpool(net.features(x)).flatten(1))
    torch.testing.assert_close(found.pool, wanted, rtol=1e-5, atol=1e-5)
    assert found.logits is None
    assert extractor.build(CPU, "bf16")(pictures).pool.dtype == torch.float32


def test_vgg16_is_torchvisions_network():
    shapes = vgg16._network().state_dict()
    assert shapes["classifier.3.weight"].shape == (4096, 4096) and len(shapes) == 32
    assert all(value.is_meta for value in shapes.values())


@pytest.fixture
def transformers():
    return pytest.importorskip("transformers")


@pytest.fixture
def dino(transformers, tmp_path):
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=518, patch_size=14
    )
    model = transformers.Dinov2Model(config).eval()
    model.save_pretrained(tmp_path / "dino")
    return tmp_path / "dino", model


@pytest.mark.parametrize(
    ("preset", "how"), [("dgm-eval", "pil-bicubic-uint8"), ("torch-fidelity", "tf1-bilinear")]
)
def test_dinov2_gives_its_class_token(preset, how, dino):
    path, model = dino
    extractor = features.create({"name": "dinov2", "weights": str(path), "preset": preset})
    pictures = chequered(2)
    found = extractor.build(CPU, "fp32")(pictures).pool

    # Meta's own way with position embeddings: vision_transformer.py of facebookresearch/dinov2.
    positions = model.embeddings.position_embeddings.detach()
    grid = positions[:, 1:].reshape(1, 37, 37, -1).permute(0, 3, 1, 2)
    grid = interpolate(grid, scale_factor=(16.1 / 37, 16.1 / 37), mode="bicubic")
    positions = torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).reshape(1, 256, -1)], 1)
    x = normalised(pictures, 224, how, *IMAGENET)
    with torch.no_grad():
        tokens = model.embeddings.patch_embeddings(x)
        tokens = torch.cat([model.embeddings.cls_token.expand(2, -1, -1), tokens], 1) + positions
        encoded = model.encoder(tokens)
        wanted = model.layernorm(encoded.last_hidden_state)[:, 0]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert extractor.protocol()["weights"] == extractor.weights_hash()


def test_position_embeddings_of_the_right_grid_stay():
    positions = torch.rand(1, 257, 4)
    assert dinov2._interpolated(positions, 16) is positions


def test_clip_gives_its_image_embedding(transformers, tmp_path):
    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        image_size=32,
        patch_size=8,
        projection_dim=16,
    )
    model = transformers.CLIPVisionModelWithProjection(config).eval()
    model.save_pretrained(tmp_path / "clip")
    extractor = features.create({"name": "clip", "weights": str(tmp_path / "clip")})
    pictures = chequered(2, height=20, width=50)
    found = extractor.build(CPU, "fp32")(pictures).pool
    with torch.no_grad():
        x = normalised(pictures, 32, "tf1-bilinear", *OPENAI)
        wanted = model(pixel_values=x).image_embeds
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_folder_without_weights_is_refused(transformers, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"has config\.json and model\.safetensors"):
        features.create({"name": "clip", "weights": str(tmp_path / "empty")}).build(CPU)


class Model(nn.Module):
    """Stands for a class of transformers; its forms lie in no folder."""

    asked: ClassVar[list] = []
    others: ClassVar[dict] = {}
    spoilt = False

    class config_class:  # noqa: N801
        @staticmethod
        def from_pretrained(source, **options):
            return SimpleNamespace(
                num_hidden_layers=2, hidden_size=4, num_attention_heads=1, patch_size=8,
                hidden_act="gelu", layer_norm_eps=1e-6,
            )  # fmt: skip

    @classmethod
    def from_pretrained(cls, source, **options):
        cls.asked.append((source, options.get("revision")))
        if not Path(source).is_dir():
            raise OSError("We couldn't connect to the Hub\nand more")
        model = cls()
        model.weight = nn.Parameter(torch.tensor([torch.nan if cls.spoilt else 1.0]))
        read = {"missing_keys": set(), "unexpected_keys": set(), **cls.others}
        return (model, read) if options.get("output_loading_info") else model


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(huggingface, "_class", lambda kind: Model)
    Model.asked.clear()
    return Model


EXTRACTORS = [(clip.CLIP, clip.MODEL), (dinov2.DINOv2, dinov2.MODEL)]


@pytest.mark.parametrize(("extractor", "model"), EXTRACTORS)
def test_a_protocol_says_no_path(extractor, model, stand_in, tmp_path):
    protocols = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        protocols.append(extractor(weights=str(tmp_path / name)).protocol())
    assert protocols[0] == protocols[1]
    assert str(tmp_path) not in str(protocols) and "2 layers of 4" in protocols[0]["model"]


@pytest.mark.parametrize(("extractor", "model"), EXTRACTORS)
def test_offline_it_names_the_file_and_where_to_put_it(extractor, model, stand_in):
    with pytest.raises(CheckpointError) as caught:
        extractor().build(CPU)
    told = str(caught.value)
    assert stand_in.asked == [(model.repository, model.revision)]
    for part in ("model.safetensors", model.digest, model.revision, model.repository):
        assert part in told
    assert "give the path of that folder as weights" in told and "\n" not in told
    with pytest.raises(CheckpointError) as caught:
        extractor(weights="somebody/else").build(CPU)
    assert model.digest not in str(caught.value)
    assert stand_in.asked[1:] == [("somebody/else", None)]


def test_a_model_with_nan_is_refused(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(Model, "spoilt", True)
    with pytest.raises(CheckpointError, match="NaN or infinity in the tensor 'weight'"):
        clip.CLIP(weights=str(tmp_path)).weights_hash()


@pytest.mark.parametrize(("extractor", "model"), EXTRACTORS)
def test_weights_that_lack_something_are_refused(extractor, model, stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(Model, "others", {"missing_keys": {"a.weight", "b.weight"}})
    wanted = rf"another net than {model.kind}: the file lacks 2 tensors \(a.weight, b.weight\)"
    with pytest.raises(CheckpointError, match=wanted):
        extractor(weights=str(tmp_path)).build(CPU)


def test_only_clip_may_have_another_net_beside(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(Model, "others", {"unexpected_keys": {"register_tokens"}})
    assert clip.CLIP(weights=str(tmp_path)).weights_hash()
    with pytest.raises(CheckpointError, match=r"also has 1 tensors \(register_tokens\)"):
        dinov2.DINOv2(weights=str(tmp_path)).weights_hash()


def test_a_plain_vision_transformer_is_no_dinov2(transformers, tmp_path):
    config = transformers.ViTConfig(
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=96,
        image_size=28,
        patch_size=14,
    )
    transformers.ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="another net than Dinov2Model: the file lacks"):
        features.create({"name": "dinov2", "weights": str(tmp_path)}).weights_hash()


@pytest.mark.parametrize("name", ["clip", "dinov2"])
def test_without_transformers_it_says_what_to_install(name, monkeypatch):
    find = importlib.import_module

    def without(module, *rest):
        if module == "transformers":
            raise builtins.ModuleNotFoundError("No module named 'transformers'")
        return find(module, *rest)

    monkeypatch.setattr("importlib.import_module", without)
    extractor = features.create(name)
    with pytest.raises(ConfigError, match=r"pip install 'ganzoo\[features\]'"):
        extractor.build(CPU)
