"""ganzoo's scores against those of torch-fidelity, torchmetrics, pytorch-fid, clean-fid and prdc.

All see the same pictures, as PNG, and the same weights, in float32 on the CPU. ganzoo's side is
``ganzoo.evaluate`` with the preset that follows the program. Each part writes its section of one
JSON file, which docs/agreement.md is made from (``python tools/make_docs.py``):

    pip install --no-deps torch-fidelity torchmetrics lightning-utilities pytorch-fid clean-fid prdc
    pip install scikit-learn "scipy<1.18"
    python benchmarks/references.py programs --weights WEIGHTS --first FOLDER --second FOLDER
    python benchmarks/references.py batches --weights WEIGHTS --first FOLDER --second FOLDER
    python benchmarks/references.py figures --weights WEIGHTS
    python benchmarks/references.py folders --weights WEIGHTS

The last one makes small folders of each kind that people score (sizes, modes, depths, sub-folders)
and compares each program's FID and KID of it with ganzoo's; it needs no other pictures.

WEIGHTS is a file of the Inception network's weights, safetensors or ``.pth``. Its last layer is not
used: the Inception Score is compared with a random last layer on these weights, and with a network
that is random all through. scipy 1.18 has no ``sqrtm(disp=False)`` any more, which pytorch-fid and
clean-fid call.

2,500 pictures of each folder and its subfolders are taken, evenly spaced in the order of their
paths. What a program has computed is kept in the folder ``--work``, so that a run that was stopped
goes on; other weights, folders or counts need another one. On two cores each program takes some ten
minutes, and the figures a good hour.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ganzoo import evaluate, metrics
from ganzoo.features.inception import Inception
from ganzoo.features.inception_net import InceptionNet
from ganzoo.files import storage
from ganzoo.metrics.kid import KID

OUT = Path(__file__).resolve().parent.parent / "docs" / "agreement.json"
SUFFIXES = (".jpg", ".jpeg", ".png")
PACKAGES = ("torch-fidelity", "torchmetrics", "pytorch-fid", "clean-fid", "prdc", "scipy", "torch")
NEIGHBOURS = {"precision": 3, "recall": 3, "density": 5, "coverage": 5}
DIVISIONS = ((64, 1), (7, 1), (1, 1), (64, 2))  # batch size, processes
FIGURES = ("mnist", "fashion-mnist")
PRECISIONS = ("bf16", "fp32")

Found = dict[str, float]
Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


@metrics.register("kid-of-all")
class WholeKID(KID):
    """KID of all samples at once, which leaves nothing to chance."""


@metrics.register("inception-score-of-all")
class WholeInceptionScore(metrics.get("inception-score")):  # type: ignore[misc]
    """Inception Score in one split."""


class Bench:
    """Pictures and weights in the forms that the programs want."""

    def __init__(
        self, work: Path, weights: Path, first: Path | None, second: Path | None, count: int
    ) -> None:
        self.work, self.count = work, count
        self.first, self.second = work / "first", work / "second"
        for source, place in ((first, self.first), (second, self.second)):
            if source is not None and not place.is_dir():
                copy_pictures(source, place, count)
        for folder in (self.first, self.second):
            if folder.is_dir() and not array_of(folder).is_file():
                save_array(folder)
        # Convolutions as given and a last layer of random numbers; and nothing but random numbers.
        self.given, self.random = work / "given.safetensors", work / "random.safetensors"
        kinds: dict[str, Callable[[Any, Path], object]] = {
            ".safetensors": save_file,
            ".pth": torch.save,
        }
        files = [path.with_suffix(kind) for path in (self.given, self.random) for kind in kinds]
        if not all(file.is_file() for file in files):
            chance = random_weights()
            whole = chance | convolutions(weights)
            for file in files:
                with storage.new_file(file) as fresh:
                    kinds[file.suffix](whole if file.stem == "given" else chance, fresh)

    @property
    def pth(self) -> str:
        """The weights as torch saves them."""
        return str(self.given.with_suffix(".pth"))

    def tensors(self) -> dict[str, Tensor]:
        """The weights."""
        return load_file(self.given)


def copy_pictures(source: Path, place: Path, count: int) -> None:
    """Write ``count`` pictures as RGB PNG, which every program decodes to the same bytes."""
    from PIL import Image

    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(paths) < count:
        raise SystemExit(f"{source} has {len(paths)} pictures, fewer than {count}.")
    fresh = place.with_name(f"{place.name}.part")
    fresh.mkdir(exist_ok=True)
    for number in range(count):
        with Image.open(paths[number * len(paths) // count]) as picture:
            picture.convert("RGB").save(fresh / f"{number:05d}.png")
    fresh.rename(place)


def array_of(folder: Path) -> Path:
    """The same pictures in a file that keeps the order of their names, unlike a folder's."""
    return folder.with_suffix(".npy")


def save_array(folder: Path) -> None:
    """Write that file."""
    from torchvision.io import decode_image

    pictures = [decode_image(str(path)) for path in sorted(folder.iterdir())]
    with storage.new_file(array_of(folder)) as fresh, fresh.open("wb") as file:
        np.save(file, torch.stack(pictures).numpy())


def convolutions(path: Path) -> dict[str, Tensor]:
    """All of the network's weights that are not of its last layer."""
    if path.suffix == ".safetensors":
        tensors = load_file(path)
    else:
        tensors = torch.load(path, weights_only=True)
    wanted = [name for name in InceptionNet.shapes() if not name.startswith("fc.")]
    return {name: tensors[name] for name in wanted}


def random_weights() -> dict[str, Tensor]:
    """Random numbers that keep activations near 1 and make logits of spread about 1."""
    tensors = {}
    for index, (name, shape) in enumerate(InceptionNet.shapes().items()):
        source = torch.Generator().manual_seed(index)
        if name.endswith("conv.weight"):
            fan = shape[1] * shape[2] * shape[3]
            tensors[name] = torch.randn(shape, generator=source) * (2 / fan) ** 0.5
        elif name.endswith("fc.weight"):
            weight = torch.randn(shape, generator=source) * 0.1
            tensors[name] = weight - weight.mean(1, keepdim=True)  # no class is always likeliest
        elif name.endswith("running_var"):
            tensors[name] = 0.5 + torch.rand(shape, generator=source)
        elif name.endswith("bn.weight"):
            tensors[name] = 0.9 + 0.2 * torch.rand(shape, generator=source)
        else:
            tensors[name] = 0.1 * torch.randn(shape, generator=source)
    return tensors


# -- the programs -----------------------------------------------------------------------------


@contextlib.contextmanager
def recorded(module: Any, name: str) -> Iterator[list[Any]]:
    """Keep what a function of a program returns while it is called by that program."""
    kept: list[Any] = []
    original = getattr(module, name)

    def call(*arguments: Any, **options: Any) -> Any:
        kept.append(original(*arguments, **options))
        return kept[-1]

    setattr(module, name, call)
    try:
        yield kept
    finally:
        setattr(module, name, original)


@contextlib.contextmanager
def channels_last() -> Iterator[None]:
    """Lay weights out with channels last where they are loaded: two thirds of the time on a CPU."""
    original = nn.Module.load_state_dict

    def load(net: nn.Module, *arguments: Any, **options: Any) -> Any:
        found = original(net, *arguments, **options)
        net.to(memory_format=torch.channels_last)
        return found

    nn.Module.load_state_dict = load  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.load_state_dict = original  # type: ignore[method-assign]


def torch_fidelity(bench: Bench) -> tuple[Found, Pair]:
    """Its scores of one call, and those of the random network."""
    from torch_fidelity import calculate_metrics

    kept = bench.work / "torch-fidelity"
    options: dict[str, Any] = {
        "feature_extractor": "inception-v3-compat",
        "cuda": False,
        "verbose": False,
        "kid_subset_size": min(1000, bench.count),
    }
    found = calculate_metrics(
        input1=str(bench.first),
        input2=str(bench.second),
        **dict.fromkeys(("isc", "fid", "kid", "prc"), True),
        **options,
        feature_extractor_weights_path=bench.pth,
        cache_root=str(kept),
        input1_cache_name="first",
        input2_cache_name="second",
    )
    chance = calculate_metrics(
        input1=str(bench.first),
        isc=True,
        **options,
        cache=False,
        feature_extractor_weights_path=str(bench.random.with_suffix(".pth")),
    )
    scores = {
        "fid": found["frechet_inception_distance"],
        "kid": found["kernel_inception_distance_mean"],
        "kid, std": found["kernel_inception_distance_std"],
        "precision": found["precision"],
        "recall": found["recall"],
        "inception-score": found["inception_score_mean"],
        "inception-score, std": found["inception_score_std"],
        "inception-score, random network": chance["inception_score_mean"],
        "inception-score, random network, std": chance["inception_score_std"],
    }
    files = [kept / f"{side}-inception-v3-compat-features-2048.pt" for side in ("first", "second")]
    first, second = (torch.load(file, weights_only=True).numpy() for file in files)
    return scores, (first, second)


def pytorch_fid(bench: Bench) -> tuple[Found, Pair]:
    """Its FID of two folders."""
    from pytorch_fid import fid_score, inception

    with recorded(fid_score, "get_activations") as seen:
        inception.load_state_dict_from_url = lambda *_, **__: bench.tensors()
        folders = [str(bench.first), str(bench.second)]
        value = fid_score.calculate_fid_given_paths(folders, 50, "cpu", 2048, num_workers=0)
    return {"fid": float(value)}, (seen[0].astype(np.float32), seen[1].astype(np.float32))


def clean_net(bench: Bench) -> Any:
    """Its network, with these weights."""
    from cleanfid import inception_pytorch
    from cleanfid.inception_torchscript import InceptionV3W

    class Whole(nn.Module):
        """The network in the form of the file that clean-fid downloads."""

        def __init__(self) -> None:
            super().__init__()
            inception_pytorch.load_state_dict_from_url = lambda *_, **__: bench.tensors()
            self.layers = Layers()

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.layers(x)
            return found

    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = inception_pytorch.InceptionV3(resize_input=False, normalize_input=False)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.net(x)[0]
            return found

    torch.jit.trace(Whole().eval(), torch.zeros(2, 3, 299, 299)).save(
        str(bench.work / "inception-2015-12-05.pt")
    )
    return InceptionV3W(str(bench.work), download=False).eval()


def clean_fid(bench: Bench) -> tuple[Found, Pair]:
    """Its FID of two folders, and its KID of their features."""
    from cleanfid import fid

    net = clean_net(bench)
    with recorded(fid, "get_folder_features") as seen:
        value = fid.compute_fid(
            str(bench.first),
            str(bench.second),
            mode="clean",
            custom_feat_extractor=net,
            num_workers=0,
            device=torch.device("cpu"),
            verbose=False,
        )
    first, second = seen
    kid = fid.kernel_distance(first, second, num_subsets=1, max_subset_size=bench.count)
    return {"fid": float(value), "kid-of-all": kid}, (first, second)


PROGRAMS: dict[str, tuple[str, Callable[[Bench], tuple[Found, Pair]]]] = {
    "torch-fidelity": ("torch-fidelity", torch_fidelity),
    "pytorch-fid": ("pytorch-fid", pytorch_fid),
    "clean-fid": ("clean", clean_fid),
}
"""The preset that follows each program, and what computes its scores."""


def on_features(first: NDArray[np.float32], second: NDArray[np.float32]) -> dict[str, Found]:
    """Scores that other programs have, of features that one program has made."""
    from prdc import compute_prdc
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    size = min(1000, len(first))
    a, b = torch.from_numpy(first), torch.from_numpy(second)
    with contextlib.redirect_stdout(io.StringIO()):
        kid = kid_features_to_metric(a, b, kid_subset_size=size, verbose=False)
        balls = prc_features_to_metric(a, b, verbose=False)
        shares = {k: compute_prdc(second, first, k) for k in set(NEIGHBOURS.values())}
    return {
        "torch-fidelity": {
            "kid": kid["kernel_inception_distance_mean"],
            "precision": balls["precision"],
            "recall": balls["recall"],
        },
        "prdc": {name: float(shares[k][name]) for name, k in NEIGHBOURS.items()},
    }


def torchmetrics(bench: Bench, features: Pair) -> Found:
    """Its scores of features that torch-fidelity has made, whose network is also its own.

    It draws subsets and splits from random numbers that nobody else has: so one of each, of all.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    class InMemoryDataset(nn.Module):
        """Takes the next features for those of the pictures."""

        num_features = 2048

        def forward(self, part: Tensor) -> Tensor:
            return part

    count = bench.count
    fid = FrechetInceptionDistance(feature=InMemoryDataset())
    kid = KernelInceptionDistance(feature=InMemoryDataset(), subsets=1, subset_size=count)
    score = InceptionScore(feature=InMemoryDataset(), splits=1)
    for values, real in zip(features, (False, True), strict=True):
        for part in torch.from_numpy(values).split(50):
            fid.update(part, real=real)
            kid.update(part, real=real)
    score.update(torch.from_numpy(features[0]) @ bench.tensors()["fc.weight"].T)
    return {
        "fid": fid.compute().item(),
        "kid-of-all": kid.compute()[0].item(),
        "inception-score-of-all": score.compute()[0].item(),
    }


# -- ganzoo -----------------------------------------------------------------------------------


def ours(bench: Bench, preset: str) -> Found:
    """All scores of one pass with a preset."""

    def extractor(weights: Path) -> dict[str, Any]:
        return {"name": "inception", "preset": preset, "weights": str(weights)}

    count = bench.count
    inception = {"extractor": extractor(bench.given)}
    wanted: list[dict[str, Any]] = [
        {"name": "fid"},
        {"name": "kid", "subset_size": min(1000, count)},
        {"name": "kid-of-all", "subsets": 1, "subset_size": count},
        *({"name": name, "neighbours": k} for name, k in NEIGHBOURS.items()),
    ]
    if preset == "torch-fidelity":
        wanted += [{"name": "inception-score"}, {"name": "inception-score-of-all", "splits": 1}]
    options: dict[str, Any] = {"precision": "fp32", "device": "cpu", "cache": False}
    given = [metric | inception for metric in wanted]
    first, second = array_of(bench.first), array_of(bench.second)
    scores = evaluate(first, second, given, **options)
    found = {name: score.value for name, score in scores.items()}
    found["kid, std"] = scores["kid"].extra["std"]
    if "inception-score" in scores:
        found["inception-score, std"] = scores["inception-score"].error or 0.0
    if preset == "torch-fidelity":
        chance = {"name": "inception-score", "extractor": extractor(bench.random)}
        random = evaluate(first, None, [chance], **options)["inception-score"]
        found["inception-score, random network"] = random.value
        found["inception-score, random network, std"] = random.error or 0.0
    return found


def reverse_kl(work: Path) -> tuple[float, float]:
    """Reverse KL of a mixture of 25 normals as NumPy computes it, and as ganzoo does."""
    from ganzoo import datasets

    mixture = datasets.create("grid").load().mixture
    assert mixture is not None
    centres = np.array(mixture.centres)
    source = np.random.default_rng(0)
    shares = source.dirichlet(np.ones(len(centres)))
    points = centres[source.choice(len(centres), 2500, p=shares)]
    points = (points + source.normal(0, 2 * mixture.sd, points.shape)).astype(np.float32)
    np.save(work / "points.npy", points)
    nearest = ((points[:, None].astype(np.float64) - centres) ** 2).sum(-1).argmin(1)
    q = np.bincount(nearest, minlength=len(centres)) / len(points)
    wanted = float((q[q > 0] * np.log(q[q > 0] * len(centres))).sum())
    found = evaluate(work / "points.npy", "grid", "modes", device="cpu")["modes"]
    return wanted, float(found.extra["reverse_kl"])


# -- the parts --------------------------------------------------------------------------------


def same_inputs(work: Path, inputs: dict[str, Any]) -> None:
    """Refuse a folder whose numbers are those of other inputs, and note there what these are."""
    path = work / "inputs.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    other = [name for name, value in inputs.items() if known.get(name, value) != value]
    if other:
        raise SystemExit(
            f"What {work} keeps was computed of other inputs ({', '.join(other)}). Give another "
            f"folder as --work, or delete it."
        )
    work.mkdir(parents=True, exist_ok=True)
    storage.write_json(path, known | inputs)


def once(path: Path, compute: Callable[[], Any]) -> Any:
    """What a file of JSON has, or what is computed and written there."""
    if not path.is_file():
        storage.write_json(path, compute())
    return json.loads(path.read_text(encoding="utf-8"))


def programs(bench: Bench) -> list[dict[str, Any]]:
    """A row for each score of each program."""
    rows = []
    for name, (preset, program) in PROGRAMS.items():

        def run(name: str = name, program: Any = program) -> Found:
            with channels_last():
                scores, (first, second) = program(bench)
            np.savez(bench.work / f"{name}.npz", first=first, second=second)
            found: Found = scores
            return found

        print(name, flush=True)
        theirs = {name: once(bench.work / f"{name}.json", run)}

        def more(name: str = name) -> dict[str, Found]:
            with np.load(bench.work / f"{name}.npz") as file:
                return on_features(file["first"], file["second"])

        others = once(bench.work / f"{name}-features.json", more)
        if name == "torch-fidelity":

            def same() -> Found:
                with np.load(bench.work / "torch-fidelity.npz") as file:
                    return torchmetrics(bench, (file["first"], file["second"]))

            others["torchmetrics"] = once(bench.work / "torchmetrics-features.json", same)
        for other, scores in others.items():
            if other != name:
                theirs[f"{other} on features of {name}"] = scores

        def mine(preset: str = preset) -> Found:
            return ours(bench, preset)

        found = once(bench.work / f"ganzoo-{preset}.json", mine)
        for who, scores in theirs.items():
            rows += [
                row(preset, metric, who, value, found[metric]) for metric, value in scores.items()
            ]
    rows.append(row(None, "modes, reverse KL", "NumPy", *reverse_kl(bench.work)))
    return rows


def row(preset: str | None, metric: str, who: str, theirs: float, value: float) -> dict[str, Any]:
    """One line of the table."""
    print(f"  {who}, {metric}: {theirs:.8g}, ganzoo {value:.8g}", flush=True)
    return {
        "preset": preset,
        "metric": metric,
        "program": who,
        "theirs": theirs,
        "ganzoo": value,
        "difference": abs(value - theirs) / abs(theirs),
    }


def batches(bench: Bench) -> list[dict[str, Any]]:
    """FID against the same kept reals in batches of several sizes, and by two processes."""
    os.environ["GANZOO_CACHE"] = str(bench.work / "cache")
    rows: list[dict[str, Any]] = []

    def mine() -> Found:
        return ours(bench, "torch-fidelity")

    # Its FID came in batches of 64, which is evaluate's own size.
    whole = once(bench.work / "ganzoo-torch-fidelity.json", mine)
    storage.write_json(bench.work / "batches-64-1.json", whole["fid"])
    for size, processes in DIVISIONS:
        path = bench.work / f"batches-{size}-{processes}.json"
        if not path.is_file() and processes == 1:
            storage.write_json(path, divided(bench.work, bench.given, size))
        elif not path.is_file():
            torch.multiprocessing.spawn(
                one_of, (processes, bench.work, bench.given, size, path), nprocs=processes
            )
        value = json.loads(path.read_text(encoding="utf-8"))
        first = rows[0]["fid"] if rows else value
        print(f"batch size {size}, {processes} processes: {value!r}", flush=True)
        rows.append(
            {
                "batch_size": size,
                "processes": processes,
                "fid": value,
                "difference": abs(value - first) / first,
            }
        )
    return rows


def divided(work: Path, weights: Path, size: int) -> float:
    """FID in batches of one size, by this process and those beside it."""
    scores = evaluate(
        array_of(work / "first"),
        array_of(work / "second"),
        [{"name": "fid", "extractor": {"name": "inception", "weights": str(weights)}}],
        precision="fp32",
        device="cpu",
        batch_size=size,
    )
    return scores["fid"].value


def one_of(rank: int, processes: int, work: Path, weights: Path, size: int, path: Path) -> None:
    """One process of several that take their shares."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    meeting = (work / "meeting").absolute().as_uri()
    torch.distributed.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=processes
    )
    value = divided(work, weights, size)
    if rank == 0:
        storage.write_json(path, value)
    torch.distributed.destroy_process_group()


def figures(work: Path, weights: Path, precisions: Sequence[str]) -> list[dict[str, Any]]:
    """FID of 10,000 test images against 10,000 training images."""
    metric = {"name": "fid", "extractor": {"name": "inception", "weights": str(weights)}}
    rows = []
    for precision in precisions:
        for name in FIGURES:

            def run(name: str = name, precision: Any = precision) -> float:
                scores = evaluate(
                    {"name": name, "split": "test"},
                    name,
                    [metric],
                    real_split="train",
                    num_real=10_000,
                    precision=precision,
                    device="cpu",
                )
                return scores["fid"].value

            value = once(work / f"{name}-{precision}.json", run)
            print(f"{name}, {precision}: {value!r}", flush=True)
            rows.append({"dataset": name, "precision": precision, "fid": value})
    return rows


# -- folders of each kind ---------------------------------------------------------------------

FOLDERS = (
    "64x64",
    "300x300",
    "512x512",
    "mixed sizes",
    "greyscale",
    "greyscale and RGB",
    "1 bit",
    "palette",
    "transparent palette",
    "RGBA",
    "greyscale with alpha",
    "CMYK JPEG",
    "JPEG, turned by Exif",
    "integers in 32 bits",
    "16 bits",
    "floats in [0, 1]",
    "with a sub-folder",
    "only sub-folders",
    "suffixes in capitals",
    "with a broken file",
)
_PICTURES = 12  # of a folder
_MIXED = ((64, 64), (300, 300), (96, 130), (47, 301), (200, 200))


def drawn(number: int, strength: int, size: tuple[int, int] = (64, 64)) -> NDArray[np.uint8]:
    """A picture (H, W, 3) of waves and noise."""
    source = np.random.default_rng(1000 * number + strength)
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    waves = source.uniform(0.1, 1.2, (3, 2))
    parts = [127 + strength * np.sin(x * a) * np.sin(y * b) for a, b in waves]
    picture = np.stack(parts, -1) + source.normal(0, 10, (*size, 3))
    return picture.clip(0, 255).astype(np.uint8)


def folder_of(kind: str, place: Path) -> Path:
    """Make a folder of a kind, unless it is there."""
    from PIL import Image

    folder = place / re.sub(r"\W+", "-", kind).strip("-")  # clean-fid takes brackets for a pattern
    if folder.is_dir():
        return folder
    fresh = folder.with_name(f"{folder.name}.part")
    fresh.mkdir(parents=True, exist_ok=True)
    sides = {"64x64": 64, "300x300": 300, "512x512": 512}
    for number in range(_PICTURES):
        side = sides.get(kind, 64)
        size = _MIXED[number % len(_MIXED)] if kind == "mixed sizes" else (side, side)
        array = drawn(number, 90, size)
        picture: Any = Image.fromarray(array)
        name, options = f"{number:02d}.png", {}
        if kind == "greyscale" or (kind == "greyscale and RGB" and number % 2):
            picture = picture.convert("L")
        elif kind == "1 bit":
            picture = picture.convert("1")
        elif "palette" in kind:
            picture = picture.quantize(64)
            picture.info |= {"transparency": 0} if "transparent" in kind else {}
        elif kind in ("RGBA", "greyscale with alpha"):
            picture = picture.convert("RGB" if kind == "RGBA" else "L")
            picture.putalpha(Image.fromarray(drawn(number, 120)[..., 0]))
        elif kind == "CMYK JPEG":
            picture, name = picture.convert("CMYK"), f"{number:02d}.jpg"
        elif kind == "JPEG, turned by Exif":
            exif = Image.Exif()
            exif[0x0112] = 6
            name, options = f"{number:02d}.jpg", {"exif": exif}
        elif kind == "integers in 32 bits":
            picture = Image.fromarray(array[..., 0].astype(np.int32))
            name = f"{number:02d}.tiff"
        elif kind == "16 bits":
            picture = Image.fromarray(array[..., 0].astype(np.uint16) * 257)
        elif kind == "floats in [0, 1]":
            picture = Image.fromarray(array[..., 0].astype(np.float32) / 255)
            name = f"{number:02d}.tiff"
        elif "sub-folder" in kind:
            inner = kind.startswith("only") or number % 2
            name = f"inner/{name}" if inner else name
        elif "capitals" in kind:
            name = f"{number:02d}.PNG"
        path = fresh / name
        path.parent.mkdir(exist_ok=True)
        picture.save(path, **options)
    if kind == "with a broken file":
        path = fresh / "00.png"
        path.write_bytes(path.read_bytes()[:2000])
    fresh.rename(folder)
    return folder


def seen_by_torch_fidelity(bench: Bench, batch: int) -> Callable[[Path], NDArray[np.float32]]:
    """What makes torch-fidelity's features of a folder, its pictures in batches."""
    from torch_fidelity import utils

    options: dict[str, Any] = {
        "cuda": False,
        "verbose": False,
        "cache": False,
        "feature_extractor_weights_path": bench.pth,
    }
    net = utils.create_feature_extractor("inception-v3-compat", ["2048"], **options)

    def seen(folder: Path) -> NDArray[np.float32]:
        found = utils.extract_featuresdict_from_input_id(
            1, net, input1=str(folder), batch_size=batch, save_cpu_ram=True, **options
        )
        features: NDArray[np.float32] = found["2048"].numpy()
        return features

    return seen


def seen_by_pytorch_fid(bench: Bench, batch: int) -> Callable[[Path], NDArray[np.float32]]:
    """What makes pytorch-fid's features of a folder."""
    from pytorch_fid import fid_score, inception

    inception.load_state_dict_from_url = lambda *_, **__: bench.tensors()
    net = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]])

    def seen(folder: Path) -> NDArray[np.float32]:
        with recorded(fid_score, "get_activations") as kept:
            # Its statistics of a folder, without the distance: that takes most of a minute.
            fid_score.compute_statistics_of_path(str(folder), net, batch, 2048, "cpu", 0)
        features: NDArray[np.float32] = kept[0].astype(np.float32)
        return features

    return seen


def seen_by_clean_fid(bench: Bench, batch: int) -> Callable[[Path], NDArray[np.float32]]:
    """What makes clean-fid's features of a folder."""
    from cleanfid import fid

    net = clean_net(bench)

    def seen(folder: Path) -> NDArray[np.float32]:
        features: NDArray[np.float32] = fid.get_folder_features(
            str(folder),
            net,
            num_workers=0,
            batch_size=batch,
            device=torch.device("cpu"),
            mode="clean",
            verbose=False,
        )
        return features

    return seen


SEEN: dict[str, Callable[[Bench, int], Callable[[Path], NDArray[np.float32]]]] = {
    "torch-fidelity": seen_by_torch_fidelity,
    "pytorch-fid": seen_by_pytorch_fid,
    "clean-fid": seen_by_clean_fid,
}


def distances(first: NDArray[np.float32], second: NDArray[np.float32]) -> Found:
    """FID, and KID of as many as there are, in float64 from a program's features."""
    from ganzoo.metrics.frechet import frechet_distance
    from ganzoo.metrics.inputs import Moments

    moments = (Moments(), Moments())
    for each, features in zip(moments, (second, first), strict=True):
        each.add(torch.from_numpy(features))
    size = min(len(first), len(second))
    x, y = (each[:size].astype(np.float64) for each in (first, second))
    dimensions = x.shape[1]

    def kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = (a @ b.T / dimensions + 1) ** 3
        return found

    own = sum((k.sum() - np.trace(k)) / (size * (size - 1)) for k in (kernel(x, x), kernel(y, y)))
    return {"fid": frechet_distance(*moments), "kid": float(own - 2 * kernel(x, y).mean())}


def folders(bench: Bench) -> list[dict[str, Any]]:
    """A row for each program and kind of folder, against a folder of 64x64 RGB pictures."""
    place = bench.work / "folders"
    with_ = place / "reference"
    if not with_.is_dir():
        fresh = with_.with_name("reference.part")
        copies = [drawn(number, 20) for number in range(_PICTURES)]
        fresh.mkdir(parents=True, exist_ok=True)
        from PIL import Image

        for number, picture in enumerate(copies):
            Image.fromarray(picture).save(fresh / f"{number:02d}.png")
        fresh.rename(with_)
    rows = []
    for name, (preset, _) in PROGRAMS.items():
        makers: dict[int, Callable[[Path], NDArray[np.float32]]] = {}

        def see(folder: Path, batch: int, name: str = name, makers: Any = makers) -> Any:
            if batch not in makers:
                with channels_last():
                    makers[batch] = SEEN[name](bench, batch)
            with contextlib.redirect_stdout(io.StringIO()):
                return makers[batch](folder)

        reference: list[Any] = []
        for kind in FOLDERS:
            folder = folder_of(kind, place)

            def one(folder: Path = folder, see: Any = see, reference: Any = reference) -> Any:
                if not reference:
                    reference.append(see(with_, 32))
                failure = ""
                try:
                    seen = see(folder, 32)
                except Exception as error:  # whatever a program raises
                    failure = f"{type(error).__name__}: {' '.join(str(error).split())}"[:90]
                    try:
                        seen = see(folder, 1)
                    except Exception:
                        return {"failure": failure}
                found: dict[str, Any] = {"count": len(seen), **distances(seen, reference[0])}
                return found | ({"alone": failure} if failure else {})

            def mine(folder: Path = folder, preset: str = preset) -> Any:
                return own_scores(bench, preset, folder, with_)

            slug = folder.name
            theirs = once(bench.work / f"{name}-{slug}.json", one)
            ours_ = once(bench.work / f"ganzoo-{preset}-{slug}.json", mine)
            rows.append({"folder": kind, "program": name, "theirs": theirs, "ganzoo": ours_})
            print(f"{name}, {kind}: {theirs}, ganzoo {ours_}", flush=True)
    return rows


def own_scores(bench: Bench, preset: str, folder: Path, reference: Path) -> dict[str, Any]:
    """What ganzoo computes of a folder, of how many pictures, and in what it left the preset."""
    source = {"name": "folder", "path": str(folder), "max_bad": 1}
    extractor = {"name": "inception", "preset": preset, "weights": str(bench.given)}
    count = _PICTURES - ("broken" in folder.name)
    wanted = [{"name": "fid"}, {"name": "kid", "subsets": 1, "subset_size": count}]
    metrics_ = [metric | {"extractor": extractor} for metric in wanted]
    scores = evaluate(source, reference, metrics_, precision="fp32", device="cpu")
    fake = scores["fid"].protocol["fake"]
    return {
        "count": fake["count"],
        "fid": scores["fid"].value,
        "kid": scores["kid"].value,
        "read": fake.get("read", {}),
        "left": fake.get("left", []),
    }


def main() -> None:
    """Compute one part and write its section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("programs", "batches", "figures", "folders"))
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--first", type=Path, help="pictures that are scored")
    parser.add_argument("--second", type=Path, help="pictures that they are compared with")
    parser.add_argument("--count", type=int, default=2500, help="pictures of each folder")
    parser.add_argument("--work", type=Path, default=Path("references"), help="what is kept")
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="of the figures"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="file that is written")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # those of the programs
    section: dict[str, Any] = {"weights": Inception(weights=options.weights).weights_hash()}
    if options.part not in ("figures", "folders"):
        if options.first is None or options.second is None:
            parser.error("give --first and --second")
        section |= {
            "count": options.count,
            "first": "/".join(options.first.parts[-3:]),
            "second": "/".join(options.second.parts[-3:]),
        }
    same_inputs(options.work, section)
    if options.part == "figures":
        section["rows"] = figures(options.work, options.weights, options.precision)
    else:
        bench = Bench(options.work, options.weights, options.first, options.second, options.count)
        if options.part == "folders":
            section["versions"] = {name: importlib.metadata.version(name) for name in PROGRAMS}
            section["rows"] = folders(bench)
        elif options.part == "programs":
            section["versions"] = {name: importlib.metadata.version(name) for name in PACKAGES}
            section["rows"] = programs(bench)
        else:
            section["rows"] = batches(bench)
    known: dict[str, Any] = {}
    if options.out.is_file():
        known = json.loads(options.out.read_text(encoding="utf-8"))
    storage.write_json(options.out, known | {options.part: section})


if __name__ == "__main__":
    main()
