"""Scores of pictures at their own sizes: what each preset's program sees, file by file.

The programs' ways with a file are written down here once more, by Pillow, NumPy and torch; a small
net stands in for the Inception network behind the presets' own resizing. Where the real weights are
found, the whole network is compared as well.
"""

from __future__ import annotations

import functools
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, interpolate

import ganzoo
from ganzoo.architectures.mlp import MLP
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import ConfigError, DataError
from ganzoo.evaluation import differences
from ganzoo.features import Features, inception
from ganzoo.features.inception import ENVIRONMENT, Inception
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator

PRESETS = ("torch-fidelity", "pytorch-fid", "clean", "studiogan")
MIXED = ((64, 64), (300, 300), (512, 512), (96, 130), (301, 47))
SIZES = {"64": ((64, 64),), "300": ((300, 300),), "512": ((512, 512),), "mixed": MIXED}
COUNT = 8


# -- a small net, and the programs' ways ----------------------------------------------------------


class Small(nn.Module):
    """Sees coarse and fine structure of (N, 3, 299, 299)."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.randn(3 * (64 + 16), 6, generator=torch.Generator().manual_seed(3))

    def forward(self, x):
        parts = [adaptive_avg_pool2d(x, 8).flatten(1), adaptive_max_pool2d(x, 4).flatten(1)]
        return torch.cat(parts, 1) @ self.weights / 10

    def logits(self, pool, bias):
        return pool


@pytest.fixture(autouse=True)
def _small(request, monkeypatch) -> None:
    if "real" in request.fixturenames:
        return

    def build(self, device, precision="auto"):
        return inception._Module(Small(), self.preset, device, exact=True).eval()

    monkeypatch.setattr(Inception, "build", build)
    monkeypatch.setattr(Inception, "weights_hash", lambda self: "small")
    monkeypatch.setattr(Inception, "logits_hash", lambda self: "small")


def opened(path: Path) -> np.ndarray:
    """As all of them open a file, (H, W, 3)."""
    return np.array(Image.open(path).convert("RGB"))


def filtered(picture: np.ndarray, how: Image.Resampling) -> np.ndarray:
    """As clean-fid resizes: by Pillow, each channel as floats."""
    channels = [
        np.asarray(Image.fromarray(picture[..., c].astype(np.float32)).resize((299, 299), how))
        for c in range(3)
    ]
    return np.stack(channels).clip(0, 255)


def tensorflow(picture: np.ndarray) -> np.ndarray:
    """As TensorFlow 1 resizes: no half pixels, no smoothing."""
    found = picture.astype(np.float32).transpose(2, 0, 1)
    for axis in (2, 1):
        length = found.shape[axis]
        place = np.arange(299, dtype=np.float32) * np.float32(length / 299)
        low = place.astype(int)
        part = (place - low).reshape(-1, *[1] * (2 - axis))
        high = np.minimum(low + 1, length - 1)
        first = found.take(low, axis)
        found = first + (found.take(high, axis) - first) * part
    return found


def torchs(picture: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(picture.transpose(2, 0, 1).copy()).float()[None]
    return interpolate(x, (299, 299), mode="bilinear", align_corners=False)[0].numpy()


PREPARED = {
    "torch-fidelity": lambda picture: (tensorflow(picture) - 128) / 128,
    "pytorch-fid": lambda picture: (torchs(picture) - 127.5) / 127.5,
    "clean": lambda picture: (filtered(picture, Image.Resampling.BICUBIC) - 128) / 128,
    "studiogan": lambda picture: (filtered(picture, Image.Resampling.BILINEAR) - 127.5) / 127.5,
}


def features(pictures, preset: str, net: nn.Module | None = None) -> np.ndarray:
    """Those of pictures (H, W, 3), one by one."""
    net = net or Small()
    with torch.no_grad():
        seen = [
            net(torch.from_numpy(PREPARED[preset](each).astype(np.float32))[None])
            for each in pictures
        ]
    return torch.cat(seen).double().numpy()


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    (m, s), (n, t) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (a, b))
    roots = np.linalg.eigvals(s @ t).real.clip(0)
    return float(((m - n) ** 2).sum() + np.trace(s + t) - 2 * np.sqrt(roots).sum())


def kernel(a: np.ndarray, b: np.ndarray) -> float:
    """KID of all samples at once."""

    def k(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    n, m = len(a), len(b)
    own = [(k(x, x).sum() - np.trace(k(x, x))) / (len(x) * (len(x) - 1)) for x in (a, b)]
    return float(sum(own) - 2 * k(a, b).sum() / (n * m))


def scores(a, b, preset="pytorch-fid", count=COUNT, **options):
    kid = {"name": "kid", "subset_size": count, "subsets": 1}
    options = {"device": "cpu", "precision": "fp32", **options}
    return ganzoo.evaluate(a, b, ["fid", kid], preset=preset, **options)


def agrees(a, b, wanted_a, wanted_b, preset="pytorch-fid", **options):
    """Whether scores of two sides are those of these pictures (H, W, 3); returns FID's."""
    found = scores(a, b, preset, min(len(wanted_a), len(wanted_b)), **options)
    first, second = features(wanted_a, preset), features(wanted_b, preset)
    assert found["fid"].value == pytest.approx(frechet(first, second), rel=1e-4)
    if len(first) == len(second):
        assert found["kid"].value == pytest.approx(kernel(first, second), rel=1e-4)
    return found["fid"]


# -- pictures -------------------------------------------------------------------------------------


@functools.cache
def drawn(number: int, height: int, width: int, strength: int) -> np.ndarray:
    """A picture uint8 (H, W, 3) with structure at all scales."""
    random = np.random.default_rng(1000 * number + strength)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = random.uniform(0.1, 1.2, (3, 2))
    parts = [127 + strength * np.sin(x * a) * np.sin(y * b) for a, b in waves]
    return np.clip(np.stack(parts, -1) + random.normal(0, 8, (height, width, 3)), 0, 255).astype(
        np.uint8
    )


def some(sizes=((40, 40),), strength=90, count=COUNT) -> list[np.ndarray]:
    return [drawn(i, *sizes[i % len(sizes)], strength) for i in range(count)]


def saved(pictures, folder: str, suffix: str = ".png", **options) -> Path:
    """A folder of them; arrays or Pillow pictures."""
    for number, picture in enumerate(pictures):
        path = Path(folder, f"{number:02d}{suffix}")
        path.parent.mkdir(exist_ok=True, parents=True)
        image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
        image.save(path, **({"compress_level": 1} if suffix == ".png" else {}), **options)
    return Path(folder)


def files(folder: Path) -> list[np.ndarray]:
    return [opened(path) for path in sorted(folder.rglob("*")) if path.is_file()]


def transparent(pictures, mode="RGBA") -> list[Image.Image]:
    """Pictures with colours under what is transparent."""
    found = []
    for number, picture in enumerate(pictures):
        alpha = np.where(drawn(number, *picture.shape[:2], 60)[..., 0] > 127, 255, 40)
        image = Image.fromarray(picture).convert("L" if mode == "LA" else "RGB")
        image.putalpha(Image.fromarray(alpha.astype(np.uint8)))
        found.append(image)
    return found


# -- each preset, at all sizes --------------------------------------------------------------------


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_sees_each_size_as_its_program_does(preset, sizes) -> None:
    a, b = saved(some(SIZES[sizes]), "a"), saved(some(SIZES[sizes], 20), "b")
    agrees(a, b, files(a), files(b), preset)


@pytest.mark.parametrize("preset", PRESETS)
def test_one_side_may_be_small_and_the_other_large(preset) -> None:
    a, b = saved(some(((33, 33),)), "a"), saved(some(MIXED, 20), "b")
    fid = agrees(a, b, files(a), files(b), preset)
    samples = fid.protocol["samples"]
    assert samples["form"] == "33x33 RGB image"
    assert samples["real"] == "RGB images with heights from 64 to 512 and widths from 47 to 512"
    agrees(b, a, files(b), files(a), preset)


def held(mixed: bool = True):
    pictures = some(MIXED[3:] if mixed else ((40, 40),))
    return pictures, saved(pictures, "same")


class Pictures(torch.utils.data.Dataset):
    def __init__(self, items) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def as_npy(pictures):
    np.save("held.npy", np.stack(pictures))
    return "held.npy"


def as_npz(pictures):
    np.savez("held.npz", images=np.stack(pictures))
    return "held.npz"


def as_tensor(pictures):
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def as_floats(pictures):
    return as_tensor(pictures).float() / 255


def as_items(pictures):
    return Pictures([(Image.fromarray(each), 0) for each in pictures])


def as_arrays(pictures):
    return Pictures(pictures)


def as_float_items(pictures):
    return Pictures([torch.from_numpy(each).permute(2, 0, 1) / 255 for each in pictures])


def encoded(pictures) -> list[dict]:
    found = []
    for number, each in enumerate(pictures):
        held = io.BytesIO()
        Image.fromarray(each).save(held, "PNG")
        found.append({"bytes": held.getvalue(), "path": f"{number}.png"})
    return found


def as_parquet(pictures):
    pyarrow = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("datasets")
    pq.write_table(pyarrow.table({"image": encoded(pictures)}), "held.parquet")
    return "held.parquet"


def as_hugging_face(pictures):
    hub = pytest.importorskip("datasets")
    features = hub.Features({"image": hub.Image()})
    return hub.Dataset.from_dict({"image": encoded(pictures)}, features=features)


ONE_SIZE = (as_npy, as_npz, as_tensor, as_floats)
ANY_SIZE = (as_items, as_arrays, as_float_items, as_parquet, as_hugging_face)


@pytest.mark.parametrize("sizes", [((300, 290),), ((40, 56), (48, 48), (30, 70))])
@pytest.mark.parametrize("held", [*ONE_SIZE, *ANY_SIZE])
def test_the_same_pictures_any_way_in(held, sizes) -> None:
    if held in ONE_SIZE and len(sizes) > 1:
        pytest.skip("an array has one size")
    pictures = some(sizes)
    other = saved(some(((50, 60),), 20), "b")
    agrees(held(pictures), other, pictures, files(other))
    agrees(other, held(pictures), files(other), pictures, "clean")


def test_arrays_of_two_sizes() -> None:
    small, large = some(((33, 40),)), some(((310, 300),), 20)
    fid = agrees(as_tensor(small), as_floats(large), small, large, "clean")
    assert fid.protocol["samples"] == {"form": "33x40 RGB image", "real": "310x300 RGB image"}


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_scores_do_not_depend_on_the_batches(batch_size, monkeypatch) -> None:
    a, b = saved(some(MIXED), "a"), saved(some(MIXED, 20), "b")
    monkeypatch.setattr("ganzoo.evaluation.sources.WINDOW", 700_000)  # large ones one at a time
    agrees(a, b, files(a), files(b), batch_size=batch_size, cache=False)


def test_of_many_the_same_ones_are_chosen_at_their_own_sizes() -> None:
    a, b = saved(some(MIXED), "a"), saved(some(MIXED, 20, 20), "b")
    first, second = (scores(a, b, num_real=9, cache=cache)["fid"] for cache in (True, False))
    assert first.value == pytest.approx(second.value, rel=1e-6)
    assert first.protocol["real"] == second.protocol["real"]
    assert first.protocol["real"]["count"] == 9


def test_large_pictures_are_resized_channel_by_channel(monkeypatch) -> None:
    a, b = saved(some(((300, 200),)), "a"), saved(some(((300, 200),), 20), "b")
    monkeypatch.setattr("ganzoo.features.resizing._LARGE", 100_000)
    for preset in PRESETS:
        agrees(a, b, files(a), files(b), preset)


# -- each kind of file ----------------------------------------------------------------------------


def palettes(pictures, **options):
    found = []
    for picture in pictures:
        image = Image.fromarray(picture).quantize(32)
        image.info.update(options)
        found.append(image)
    return found


def turned(pictures):
    exif = Image.Exif()
    exif[0x0112] = 6
    return [Image.fromarray(each) for each in pictures], {"exif": exif}


def of_kind(kind: str) -> Path:
    plain = some(((40, 56), (48, 48)))
    modes = {"L": "L", "1": "1", "CMYK": "CMYK"}
    if kind in ("RGBA", "LA"):
        return saved(transparent(plain, kind), kind)
    if kind in modes:
        pictures = [Image.fromarray(each).convert(modes[kind]) for each in plain]
        return saved(pictures, f"mode-{kind}", ".jpg" if kind == "CMYK" else ".png")
    if kind == "palette":
        return saved(palettes(plain), kind)
    if kind == "transparent palette":
        return saved(palettes(plain, transparency=0), "clear")
    if kind == "jpeg":
        return saved(plain, kind, ".jpg", quality=80)
    if kind == "turned jpeg":
        pictures, options = turned(plain)
        return saved(pictures, "turned", ".jpg", **options)
    if kind == "turned png":
        pictures, options = turned(plain)
        return saved(pictures, "turned-png", ".png", **options)
    if kind == "grey and colour":
        half = [Image.fromarray(each) for each in plain]
        return saved([each.convert("L") if i % 2 else each for i, each in enumerate(half)], "half")
    if kind == "alpha and none":
        half = transparent(plain)
        return saved([each.convert("RGB") if i % 2 else each for i, each in enumerate(half)], "few")
    if kind == "integers":  # as datasets writes int64 arrays
        pictures = [Image.fromarray(each[..., 0].astype(np.int32)) for each in plain]
        return saved(pictures, kind, ".tiff")
    if kind == "floats to 255":
        pictures = [Image.fromarray(each[..., 0].astype(np.float32)) for each in plain]
        return saved(pictures, "floats", ".tiff")
    if kind == "animated":
        folder = Path("animated")
        folder.mkdir()
        for number, each in enumerate(plain):
            first, second = Image.fromarray(each), Image.fromarray(each[::-1].copy())
            first.save(folder / f"{number:02d}.webp", save_all=True, append_images=[second])
        return folder
    raise AssertionError(kind)


KINDS = (
    "RGBA",
    "LA",
    "L",
    "1",
    "CMYK",
    "palette",
    "transparent palette",
    "jpeg",
    "turned jpeg",
    "turned png",
    "grey and colour",
    "alpha and none",
    "integers",
    "floats to 255",
    "animated",
)
CLEAR = ("RGBA", "LA", "transparent palette", "alpha and none")


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_each_kind_are_opened_as_the_programs_do(kind) -> None:
    files_, other = of_kind(kind), saved(some(((64, 64),), 20), "other")
    folder = files_
    if kind == "floats to 255":  # of which nobody knows the range
        with pytest.raises(DataError, match=r"say what they may be .* stored_range=\(0, 255\)"):
            scores(files_, other)
        folder = {"name": "folder", "path": str(files_), "stored_range": (0, 255)}
    fid = agrees(folder, other, files(files_), files(other))
    read = fid.protocol["fake"].get("read", {})
    expected = {"alpha": "dropped"} if kind in CLEAR else {}
    assert read == expected | ({"orientation": "ignored"} if "turned" in kind else {})
    assert any("as pytorch-fid does" in each for each in fid.notices) == (kind in CLEAR)
    assert "left" not in fid.protocol["fake"]
    agrees(other, folder, files(other), files(files_), "clean")


def test_alpha_goes_on_white_where_the_mode_says_so() -> None:
    folder, other = saved(transparent(some()), "clear"), saved(some(strength=20), "other")
    said = {"name": "folder", "path": str(folder), "mode": "rgb"}
    white = []
    for path in sorted(folder.iterdir()):
        image = Image.open(path)
        ground = Image.new("RGBA", image.size, "white")
        ground.alpha_composite(image)
        white.append(np.array(ground.convert("RGB")))
    fid = agrees(said, other, white, files(other))
    assert fid.protocol["fake"]["read"] == {"alpha": "on white", "mode": "rgb"}
    assert "where pytorch-fid drops it" in fid.protocol["fake"]["left"][0]
    dropped = scores(folder, other)["fid"]
    assert "fake.read" in differences(fid, dropped)


def test_rgba_as_the_mode_that_was_said_is_seen_without_alpha() -> None:
    folder, other = saved(transparent(some()), "clear"), saved(some(strength=20), "other")
    said = {"name": "folder", "path": str(folder), "mode": "rgba"}
    fid = agrees(said, other, files(folder), files(other))
    assert fid.protocol["fake"]["read"] == {"alpha": "dropped", "mode": "rgba"}


@pytest.mark.parametrize("held", [torch.utils.data.Dataset, None])
def test_alpha_of_arrays_is_dropped_as_that_of_files(held) -> None:
    pictures = [np.array(each) for each in transparent(some())]
    other = saved(some(strength=20), "other")
    given = Pictures(pictures) if held else torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    fid = agrees(given, other, [each[..., :3] for each in pictures], files(other))
    assert fid.protocol["fake"]["read"] == {"alpha": "dropped"}
    assert any("taken for alpha and is dropped" in notice for notice in fid.notices)


def test_alpha_of_items_of_several_sizes() -> None:
    clear = transparent(some(MIXED[3:]))
    given = Pictures([each.convert("RGB") if i % 3 else each for i, each in enumerate(clear)])
    other = saved(some(strength=20), "other")
    fid = agrees(given, other, [np.array(each.convert("RGB")) for each in clear], files(other))
    assert fid.protocol["fake"]["read"] == {"alpha": "dropped"}


# -- what is done better than by the programs ------------------------------------------------------


def deep(pictures) -> list[Image.Image]:
    """The same in 16 bits."""
    return [Image.fromarray(each[..., 0].astype(np.uint16) * 257) for each in pictures]


def test_16_bits_are_scaled_and_the_protocol_says_that_the_preset_is_left() -> None:
    folder, other = saved(deep(some()), "deep"), saved(some(strength=20), "other")
    grey = [np.repeat(each[..., :1], 3, -1) for each in some()]
    fid = agrees(folder, other, grey, files(other))
    assert fid.protocol["fake"]["read"] == {"depth": "scaled", "range": "0 to 65535"}
    (left,) = fid.protocol["fake"]["left"]
    assert "more than 8 bits are scaled from 0 to 65535, where pytorch-fid clips them" in left
    assert sum("The preset of pytorch-fid is left" in notice for notice in fid.notices) == 1
    assert np.unique(np.stack(files(folder))).tolist() == [255]  # what the programs see


@pytest.mark.parametrize(
    ("preset", "left"), [("torch-fidelity", 2), ("pytorch-fid", 1), ("clean", 0), ("studiogan", 0)]
)
def test_sub_folders_and_files_that_a_program_does_not_look_for(preset, left) -> None:
    pictures = some()
    saved(pictures[:4], "tree/inner"), saved(pictures[4:], "tree", ".bmp")
    other = saved(some(strength=20), "other")
    fid = agrees("tree", other, files(Path("tree")), files(other), preset)
    told = fid.protocol["fake"].get("left", [])
    assert len(told) == left
    assert ("sub-folders" in " ".join(told)) == (left > 0)
    assert (".bmp files count" in " ".join(told)) == (left > 1)
    real = scores(other, "tree", preset)["fid"].protocol["real"]
    assert real.get("left", []) == told


def test_capitals_in_suffixes_are_told_where_a_program_passes_them_over() -> None:
    folder, other = saved(some(), "a", ".PNG"), saved(some(strength=20), "other")
    told = {p: scores(folder, other, p)["fid"].protocol["fake"].get("left", []) for p in PRESETS}
    assert [len(told[preset]) for preset in PRESETS] == [0, 1, 0, 0]


def test_unreadable_files_are_left_out_and_told() -> None:
    folder, other = saved(some(), "a"), saved(some(strength=20), "other")
    whole = (folder / "03.png").read_bytes()
    (folder / "03.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"1 picture is unreadable among 8 of .*'03\.png'"):
        scores(folder, other)
    lenient = {"name": "folder", "path": str(folder), "max_bad": 0.2}
    rest = [opened(path) for path in sorted(folder.iterdir()) if path.name != "03.png"]
    fid = agrees(lenient, other, rest, files(other))
    assert "unreadable pictures are left out, where pytorch-fid stops" in str(fid.protocol["fake"])
    assert "'03.png'" in " ".join(fid.notices) and "left out of 8" in " ".join(fid.notices)


# -- a size that is said, generators, pixels ------------------------------------------------------


def test_a_size_that_is_said_is_what_is_seen() -> None:
    a, b = saved(some(MIXED), "a"), saved(some(((40, 40),), 20), "b")
    said = [{"name": "folder", "path": str(each), "size": 40} for each in (a, b)]
    fid = scores(*said)["fid"]
    assert fid.protocol["samples"] == {"form": "40x40 RGB image"}
    assert fid.protocol["fake"]["read"] == {"size": "resized and cropped to 40x40"}
    assert any("heights from 64 to 512" in notice for notice in fid.notices)
    assert "fake.read" in differences(fid, scores(a, b)["fid"])
    loaded = [ganzoo.datasets.create(each).load().data for each in said]
    assert fid.value == pytest.approx(scores(*loaded)["fid"].value, rel=1e-3)
    assert "size" not in scores(b, said[1])["fid"].protocol["fake"].get("read", {})


def test_sizes_in_notes_are_true() -> None:
    saved(some(((96, 64), (96, 130))), "a")
    notices = ganzoo.datasets.create({"name": "folder", "path": "a"}).load().notices
    assert any("one height of 96 and widths from 64 to 130" in notice for notice in notices)


def make(size: int = 16, channels: int = 3, **training) -> Generator:
    spec = SampleSpec(shape=(channels, size, size))
    arch, latent = MLP(hidden=(8,)), LatentSpec(shape=(3,))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = arch.generator(spec, latent)
    config = BundleConfig(architecture=arch, sample=spec, latent=latent, training=training)
    return Generator(net, config)


def test_reals_beside_a_generator_are_brought_to_its_size() -> None:
    folder = saved(some(MIXED), "a")
    fid = scores(make(), folder, num_fake=COUNT)["fid"]
    reals = fid.protocol["real"]
    assert reals["read"] == {"size": "resized and cropped to 16x16, as for a training"}
    assert fid.protocol["samples"] == {"form": "16x16 RGB image"}
    data = ganzoo.datasets.create({"name": "folder", "path": "a", "size": 16}).load().data
    small = [each.permute(1, 2, 0).numpy() for each in data]
    fakes = make().sample(COUNT, seed=ganzoo.core.seeds.derive(0, "evaluate", 0))
    shown = [
        each.add(1).mul(127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        for each in fakes
    ]
    wanted = frechet(features(shown, "pytorch-fid"), features(small, "pytorch-fid"))
    assert fid.value == pytest.approx(wanted, rel=1e-4)


def test_alpha_of_a_generator_is_dropped() -> None:
    clear = make(channels=4)
    fid = scores(clear, saved(some(), "a"), num_fake=COUNT)["fid"]
    assert fid.protocol["fake"]["read"] == {"alpha": "dropped"}
    assert any("of this generator is taken for alpha" in notice for notice in fid.notices)


SWD = {"name": "swd", "patches": 2, "directions": 4}


@pytest.mark.parametrize("metric", [SWD, "ms-ssim"])
def test_a_metric_on_pixels_asks_for_a_size(metric) -> None:
    mixed, one = saved(some(MIXED), "a"), saved(some(((40, 40),), 20), "b")
    large = saved(some(((300, 300),), 20), "c")
    for pair in ((mixed, one), (one, mixed), (mixed, mixed), (one, large)):
        with pytest.raises(DataError, match=r"takes pictures of one size.*such as size=64"):
            ganzoo.evaluate(*pair, [metric], device="cpu")
    name = metric if isinstance(metric, str) else metric["name"]
    score = ganzoo.evaluate(mixed, large, [metric], size=64, device="cpu")[name]
    assert score.protocol["samples"]["form"] == "64x64 RGB image"
    assert "heights from 64 to 512" in score.protocol["samples"]["resized"]
    same = ganzoo.evaluate(large, large, [metric], device="cpu")[name]
    assert same.protocol["samples"] == {"form": "300x300 RGB image"}


def test_one_size_for_pixels_and_each_its_own_for_features() -> None:
    a, b = saved(some(MIXED), "a"), saved(some(MIXED, 20), "b")
    both = ganzoo.evaluate(a, b, ["fid", SWD], size=(48, 40), device="cpu", precision="fp32")
    alone = ganzoo.evaluate(a, b, ["fid"], device="cpu", precision="fp32")
    assert both["fid"].value == pytest.approx(alone["fid"].value, rel=1e-6)
    assert both["fid"].protocol["samples"] == alone["fid"].protocol["samples"]
    assert both["swd"].protocol["samples"]["form"] == "48x40 RGB image"
    vain = ganzoo.evaluate(a, b, ["fid"], size=64, device="cpu")["fid"]
    assert any("'size' changed nothing" in notice for notice in vain.notices)
    for wrong in (0, "64", 1.5, (64,), True):
        with pytest.raises(ConfigError, match="size"):
            ganzoo.evaluate(a, b, ["fid"], size=wrong, device="cpu")


def test_alpha_is_on_white_for_pixels_and_dropped_for_features() -> None:
    clear = transparent(some())
    folder = saved([each.convert("RGB") if i == 0 else each for i, each in enumerate(clear)], "a")
    both = ganzoo.evaluate(folder, saved(some(), "b"), ["fid", SWD], device="cpu")
    assert both["fid"].protocol["fake"]["read"] == {"alpha": "dropped"}
    assert both["swd"].protocol["fake"]["read"] == {"alpha": "on white"}
    assert both["fid"].value == pytest.approx(0, abs=1e-6) and both["swd"].value > 1


@pytest.mark.parametrize(
    ("features", "pixels"),
    [("fid", SWD), ({"name": "kid", "subset_size": 4}, "ms-ssim"), ("precision", SWD)],
    ids=["fid-swd", "kid-ms-ssim", "precision-swd"],
)
@pytest.mark.parametrize("kind", ["files", "said", "array", "sizes", "generator"])
def test_scores_with_alpha_do_not_depend_on_the_others(kind, features, pixels) -> None:
    pictures = transparent(some())
    if kind == "sizes":
        pictures[1] = pictures[1].resize((50, 40))
    a, b = saved(pictures, "a"), saved(transparent(some(strength=20)), "b")
    sides = (a, b)
    if kind == "said":
        sides = tuple({"name": "folder", "path": str(each), "mode": "rgba"} for each in sides)
    if kind == "array":
        sides = tuple(
            np.stack([np.array(Image.open(path)) for path in sorted(each.iterdir())])
            for each in sides
        )
    if kind == "generator":
        sides = (make(size=40, channels=4), b)
    ask = {"num_fake": COUNT, "size": 40, "device": "cpu", "seed": 3}
    both = ganzoo.evaluate(*sides, [pixels, features], **ask)
    for metric in (pixels, features):
        ((name, alone),) = ganzoo.evaluate(*sides, [metric], **ask).items()
        assert both[name].value == alone.value
        assert both[name].protocol == alone.protocol


def test_a_function_sees_each_picture_at_its_own_size() -> None:
    shapes = set()

    def cells(samples):
        shapes.add(tuple(samples.shape[1:]))
        return adaptive_avg_pool2d(samples.float(), 4).flatten(1)

    a, b = saved(some(MIXED), "a"), saved(some(((40, 40),), 20), "b")
    found = ganzoo.evaluate(a, b, [{"name": "fid", "extractor": cells}], device="cpu")["fid"]
    assert found.value > 0
    assert shapes == {(3, *size) for size in (*MIXED, (40, 40))}


def test_features_that_depend_on_the_size_are_refused_in_a_sentence() -> None:
    a, b = saved(some(((40, 40), (50, 50))), "a"), saved(some(((40, 40),), 20), "b")
    metric = {"name": "fid", "extractor": lambda samples: samples.flatten(1)}
    for pair in ((a, b), (as_tensor(some()), as_tensor(some(((50, 50),)))), (a, a)):
        with pytest.raises(DataError, match="whose sizes differ"):
            ganzoo.evaluate(*pair, [metric], device="cpu")


def test_pictures_of_nearest_neighbours_of_several_sizes() -> None:
    a, b = saved(some(MIXED), "a"), saved(some(MIXED, 20), "b")
    ganzoo.evaluate(a, b, ["nearest-neighbours"], device="cpu", picture="pairs.png")
    with Image.open("pairs.png") as drawn_:
        assert drawn_.width > 50


# -- what is kept ----------------------------------------------------------------------------------


def test_what_is_kept_of_reals_is_of_one_way_of_reading(monkeypatch) -> None:
    folder = saved(transparent(some()), "clear")
    other = saved(some(strength=20), "other")
    white = {"name": "folder", "path": str(folder), "mode": "rgb"}
    fresh = [scores(other, each, cache=False)["fid"].value for each in (folder, white)]
    first = [scores(other, each)["fid"].value for each in (folder, white)]
    again = [scores(other, each)["fid"].value for each in (folder, white)]
    assert fresh == pytest.approx(first, rel=1e-9) and again == pytest.approx(first, rel=1e-9)
    assert abs(first[0] - first[1]) > 0.01 * first[0]


def test_known_reals_are_not_decoded_again(monkeypatch) -> None:
    a, b = saved(some(), "a"), saved(some(MIXED, 20), "b")
    first = scores(a, b)["fid"]
    seen = []
    build = Inception.build

    def counting(self, *arguments):
        net = build(self, *arguments)

        class Counting(nn.Module):
            def forward(self, samples):
                seen.append(len(samples))
                return net(samples)

        return Counting()

    monkeypatch.setattr(Inception, "build", counting)
    monkeypatch.setattr("ganzoo.evaluation.survey._survey", lambda *_: pytest.fail("looked"))
    assert scores(a, b)["fid"] == first
    assert sum(seen) == COUNT


def test_a_folder_that_changed_is_looked_at_again() -> None:
    a, b = saved(some(), "a"), saved(some(MIXED, 20), "b")
    first = scores(a, b)["fid"].value
    saved(some(MIXED, 60), "b")
    assert scores(a, b)["fid"].value != pytest.approx(first, rel=1e-3)
    agrees(a, b, files(a), files(b))


def test_equal_pictures_of_a_folder_and_an_array_have_one_hash() -> None:
    """So scores of a generator, whose reals are loaded, compare with those of a folder."""
    folder = saved(some(((16, 16),)), "a")
    side = scores(make(), folder, num_fake=COUNT)["fid"].protocol["real"]["sha256"]
    assert scores(folder, folder)["fid"].protocol["real"]["sha256"] == side


def test_equal_small_pictures_go_in_batches() -> None:
    sizes = []

    def cells(samples):
        sizes.append(len(samples))
        return adaptive_avg_pool2d(samples.float(), 2).flatten(1)

    a = saved(some(), "a")
    ganzoo.evaluate(a, a, [{"name": "fid", "extractor": cells}], batch_size=5, device="cpu")
    assert sizes == [5, 3] * 2


# -- the whole network -----------------------------------------------------------------------------


@pytest.fixture
def real(monkeypatch):
    """The network with its real weights; skipped where there are none."""
    given = os.environ.get("GANZOO_TEST_INCEPTION") or os.environ.get(ENVIRONMENT)
    if not given or not Path(given).is_file():
        pytest.skip("no Inception weights: set GANZOO_TEST_INCEPTION to a file of them")
    monkeypatch.setenv(ENVIRONMENT, given)
    net = inception.InceptionNet(Inception()._tensors(), torch.device("cpu"), torch.float32)
    return net.eval()


@pytest.mark.parametrize("preset", PRESETS)
def test_the_whole_network_on_sizes_of_all_kinds(preset, real) -> None:
    a, b = saved(some(MIXED, count=8), "a"), saved(some(((64, 64),), 20, 8), "b")
    found = scores(a, b, preset, 8)
    first, second = (features(files(each), preset, real) for each in (a, b))
    moments = [ganzoo.metrics.inputs.Moments() for _ in range(2)]
    for each, seen in zip(moments, (second, first), strict=True):
        each.add(torch.from_numpy(seen))
    wanted = ganzoo.metrics.frechet.frechet_distance(*moments)
    assert found["fid"].value == pytest.approx(wanted, rel=1e-4)
    assert found["kid"].value == pytest.approx(kernel(first, second), rel=1e-4)


def test_features_is_what_is_seen() -> None:
    assert isinstance(
        inception._Module(Small(), "clean", torch.device("cpu"), exact=True)(
            torch.zeros(1, 3, 9, 9, dtype=torch.uint8)
        ),
        Features,
    )
