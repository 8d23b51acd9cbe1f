"""ganzoo's scores against those of torch-fidelity, torchmetrics, pytorch-fid, clean-fid and prdc.

All see the same pictures, as PNG, and the same weights, in float32 on the CPU. ganzoo's side is
``ganzoo.evaluate`` with the preset that follows the program. Each part writes its section of one
JSON file, which docs/agreement.md is made from (``python tools/make_docs.py``):

    pip install --no-deps torch-fidelity torchmetrics lightning-utilities pytorch-fid clean-fid prdc
    pip install scikit-learn "scipy<1.18"
    python benchmarks/references.py programs --weights WEIGHTS --first FOLDER --second FOLDER
    python benchmarks/references.py batches --weights WEIGHTS --first FOLDER --second FOLDER
    python benchmarks/references.py figures --weights WEIGHTS

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
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ganzoo import evaluate, metrics, storage
from ganzoo.features.inception import Inception
from ganzoo.features.inception_net import InceptionNet
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

    def __init__(self, work: Path, weights: Path, first: Path, second: Path, count: int) -> None:
        self.work, self.count = work, count
        self.first, self.second = work / "first", work / "second"
        for source, place in ((first, self.first), (second, self.second)):
            if not place.is_dir():
                copy_pictures(source, place, count)
        for folder in (self.first, self.second):
            if not array_of(folder).is_file():
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


def clean_fid(bench: Bench) -> tuple[Found, Pair]:
    """Its FID of two folders, and its KID of their features."""
    from cleanfid import fid, inception_pytorch
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
    net = InceptionV3W(str(bench.work), download=False).eval()
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

    class Given(nn.Module):
        """Takes the next features for those of the pictures."""

        num_features = 2048

        def forward(self, part: Tensor) -> Tensor:
            return part

    count = bench.count
    fid = FrechetInceptionDistance(feature=Given())
    kid = KernelInceptionDistance(feature=Given(), subsets=1, subset_size=count)
    score = InceptionScore(feature=Given(), splits=1)
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
                    reals=10_000,
                    precision=precision,
                    device="cpu",
                )
                return scores["fid"].value

            value = once(work / f"{name}-{precision}.json", run)
            print(f"{name}, {precision}: {value!r}", flush=True)
            rows.append({"dataset": name, "precision": precision, "fid": value})
    return rows


def main() -> None:
    """Compute one part and write its section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("programs", "batches", "figures"))
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
    if options.part != "figures":
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
        if options.part == "programs":
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
