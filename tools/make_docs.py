"""Write the parts of the documentation that follow from the code.

    python tools/make_docs.py          writes them
    python tools/make_docs.py --check  exits with 1 and names what is not up to date

Written are the zoo table of README.md, the pages of docs/zoo/, docs/recipes.md, docs/settings.md,
and docs/agreement.md from what benchmarks/references.py has measured (docs/agreement.json). What
combines with what, docs/zoo/combinations.md, is found by setting up such trainings.
Plug-ins that happen to be installed are left out.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
import types
from functools import cache
from inspect import cleandoc
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

os.environ["GANZOO_DISABLE_PLUGINS"] = "1"

import torch
from pydantic.fields import FieldInfo

from ganzoo import Trainer, architectures, recipes
from ganzoo.architectures.mlp import MLP
from ganzoo.cli.zoo import KINDS, worded
from ganzoo.config import COMPONENTS, TrainConfig, differences, resolve
from ganzoo.core.component import Component
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets import Dataset, Samples
from ganzoo.errors import ConfigError
from ganzoo.schedules import NumberSchedule

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- zoo:start -->", "<!-- zoo:end -->"
NOTE = "<!-- Written by tools/make_docs.py; edit the code's descriptions instead. -->"
BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "min_length": "length >="}


def main() -> int:
    """Write or check all generated parts; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail on differences")
    check = parser.parse_args().check
    torch.set_num_threads(1)  # the nets here are tiny
    readme = ROOT / "README.md"
    texts = {
        readme: with_zoo(readme.read_text(encoding="utf-8")),
        **zoo_pages(),
        ROOT / "docs" / "zoo" / "combinations.md": combinations_page(),
        ROOT / "docs" / "recipes.md": recipes_page(),
        ROOT / "docs" / "settings.md": settings_page(),
        ROOT / "docs" / "agreement.md": agreement_page(),
    }
    gone = {*(ROOT / "docs" / "zoo").rglob("*.md")} - {*texts}
    stale = len(gone)
    for path in sorted(gone):
        print(f"{path.relative_to(ROOT)} is of nothing that there is", file=sys.stderr)
        if not check:
            path.unlink()
    for path, text in texts.items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        name = path.relative_to(ROOT)
        if check:
            print(f"{name} is not up to date; run: python tools/make_docs.py", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"wrote {name}")
    return int(check and stale > 0)


# -- what there is ----------------------------------------------------------------------------


def components(kind: str) -> list[type[Component]]:
    """The built-in components of one kind, by name."""
    registry = importlib.import_module(f"ganzoo.{kind}").registry
    own = [
        entry.name
        for entry in registry.entries()
        if entry.distribution == "ganzoo" and entry.listed
    ]
    return [registry.get(name) for name in own]


def with_zoo(readme: str) -> str:
    """The README with its table of the zoo made anew."""
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise SystemExit(f"README.md lacks the markers {START} and {END}.")
    rows = []
    for kind in KINDS:
        for number, component in enumerate(components(kind)):
            lead = f"**{kind}**" if number == 0 else ""
            rows.append((lead, f"`{component.name}`", summary(component)))
    return f"{before}{START}\n{table(('kind', 'name', 'what it is'), rows)}\n{END}{after}"


def zoo_pages() -> dict[Path, str]:
    """docs/zoo/: a list of all, and a page for each component."""
    folder = ROOT / "docs" / "zoo"
    parts = [
        NOTE,
        "# The zoo",
        "Everything that comes with ganzoo. Each page lists the options. `ganzoo show NAME` prints "
        "the same, and `ganzoo list` also shows installed plug-ins. Set options with "
        '`--arch.channels 32` on the command line, and with `arch={"name": "dcgan", "channels": '
        "32}` or an object in Python. A method's recommendations apply to settings that you leave "
        "out. [What combines with what](combinations.md) has a page of its own.",
    ]
    pages = {}
    for kind in KINDS:
        rows = []
        for component in components(kind):
            page = f"{kind}/{component.name}.md"
            pages[folder / page] = "\n\n".join(section(component)) + "\n"
            rows.append((f"[`{component.name}`]({page})", summary(component)))
        if rows:  # otherwise only plug-ins have some
            parts += [f"## {kind.capitalize()}", table(("name", "what it is"), rows)]
    return {folder / "index.md": "\n\n".join(parts) + "\n", **pages}


def section(component: type[Component]) -> list[str]:
    """The page of one component."""
    parts = [NOTE, f"# {component.name}", *prose(component)]
    if component.citation:
        parts.append(f"Source: {linked(component.citation)}")
    if licence := getattr(component, "license", ""):
        parts.append(f"Licence of the data: {licence}")
    if component.model_fields:
        rows = [
            (f"`{name}`", kind_of(field), default(field), field.description or "")
            for name, field in component.model_fields.items()
        ]
        parts.append(table(("option", "type", "default", "description"), rows))
    if component.variants:
        rows = [
            (f"`{name}`", ", ".join(f"`{key}` {value_text(item)}" for key, item in options.items()))
            for name, options in component.variants.items()
        ]
        parts.append(table(("variant", "options"), rows))
    if component.recommended:
        parts.append("Recommended with it:")
        rows = [(f"`{key}`", value_text(value)) for key, value in component.recommended.items()]
        parts.append(table(("setting", "value"), rows))
    return parts


def recipes_page() -> str:
    """docs/recipes.md."""
    parts = [
        NOTE,
        "# Recipes",
        "A recipe is a set of settings that reproduces a known system, figure for figure. Your own "
        "settings override it.",
        "```sh\nganzoo list recipes\nganzoo show mirror-mnist\nganzoo train --recipe mirror-mnist "
        "--epochs 2\n```",
        "```python\nimport ganzoo\n\n"
        'run = ganzoo.Trainer.from_recipe("three-gaussians-2d", steps=1000).fit()\n'
        'print(run.history[-1]["modes"])\n```',
        "In a configuration file, use the line `recipe: mirror-mnist`. A recipe overrides what "
        "architecture and loss recommend; the file and your own settings override the recipe. Each "
        "table shows how its settings differ from those that its architecture, loss and data have "
        "without it.",
    ]
    for name in recipes.names():
        recipe = recipes.get(name)
        counts = " and ".join(f"{net} {count:,}" for net, count in recipe.parameters.items())
        rows = [
            (f"`{place}`", f"`{worded(value)}`", f"`{worded(other)}`", why)
            for place, value, other, why in differences(name)
        ]
        more = " --dataset PATH" if recipe.needs else ""
        parts += [
            f"## {name}",
            recipe.summary,
            recipe.about,
            f"Parameters: {counts}.",
            table(("setting", "here", "otherwise", "why"), rows),
            f"```sh\nganzoo train --recipe {name}{more}\n```",
        ]
    return "\n\n".join(parts) + "\n"


def settings_page() -> str:
    """docs/settings.md."""
    base = resolve()
    long = Trainer({"name": "mlp", "hidden": [1]}, steps=1000, device="cpu", progress=False)
    long.setup()
    pictures = 1000 // (long.config.sample_every or 1)
    checkpoints = 1000 // (long.config.checkpoint_every or 1)
    special = {
        "steps": f"{base.steps}, unless `epochs` is given",
        "size": "the nearest that `arch` can do",
        "value_range": "that of the dataset's samples: -1 1 for images and audio, none for vectors",
        "sample_every": f"1/{pictures} of the steps",
        "checkpoint_every": f"1/{checkpoints} of the steps",
        "latent": "shape 100, normal",
    }
    rows = []
    for name, field in TrainConfig.model_fields.items():
        if name in COMPONENTS:
            kind = COMPONENTS[name].base.kind
            what, usual = f"[{kind}](zoo/index.md#{anchor(kind)})", f"`{getattr(base, name).name}`"
        elif name == "latent":
            what, usual = "[latent](#the-latent)", special[name]
        elif name == "schedules":
            what, usual = "[mapping](#schedules-of-single-numbers)", "none"
        else:
            what, usual = kind_of(field), special.get(name) or default(field)
        rows.append((f"`{name}`", what, usual, field.description or ""))
    latent = [
        (f"`{name}`", kind_of(field), default(field), field.description or "")
        for name, field in LatentSpec.model_fields.items()
    ]
    course = [
        (
            f"`{name}`",
            kind_of(field),
            "" if field.is_required() else default(field),
            field.description or "",
        )
        for name, field in NumberSchedule.model_fields.items()
    ]
    head = ("setting", "type", "default", "description")
    parts = [
        NOTE,
        "# Settings",
        "Every setting of a training. All have a default. Later ones win: the defaults below, the "
        "recommendations of the architecture, those of the loss (both in [The zoo](zoo/index.md)), "
        "the [recipe](recipes.md), the configuration file, your own settings.",
        "In Python a setting is an argument of `Trainer`, such as `batch_size=32`; on the command "
        "line an option, such as `--batch-size 32` or `--size 48 96`; in a YAML file for "
        "`--config` a key, such as `batch_size: 32`. The `config.yaml` of a run has all of them.",
        "A setting that is a component takes a name, a mapping with `name` and options, or an "
        'object. A mapping without `name`, such as `g_optimizer={"lr": 1e-4}`, or an option such '
        "as `--g-optimizer.lr 1e-4` changes the component that was chosen before.",
        table(head, rows),
        "## Schedules of single numbers",
        "`schedules` gives numbers a course over the training: a mapping from a path to "
        "`SHAPE [START] FINAL [OPTION=VALUE ...]` or to a mapping of the options below; on the "
        "command line "
        '`--schedules "g_optimizer.lr cosine 2e-4 5e-5; penalties.r1.weight linear .5"`, or '
        '`--schedules.g-optimizer.lr "cosine 2e-4 5e-5"` for one. `none` takes a schedule of a '
        "recipe or file back, and `--schedules none` all of them. Paths "
        "are `g_optimizer.lr`, `g_optimizer.beta1`, `g_optimizer.beta2` and "
        "`g_optimizer.weight_decay`, the same of `d_optimizer` (`alpha` of `rmsprop`, "
        "`momentum` of `sgd`), "
        "`adversarial_weight`, `loss.weight` of `auxiliary-classifier` and `info`, "
        "`loss.continuous_weight` of `info`, "
        "`penalties.NAME.weight`, `average.decay` or, of `half-life`, `average.images`, "
        "`augmentation.sigma` of `noise` without `steps`, and `augmentation.p` of `ada` without "
        "`ramp`. Shares are of all images that the training will see. The course of "
        "G's optimizer is that of further nets of the loss too, and the factor of "
        "`schedule` multiplies scheduled learning rates.",
        "`inverse-square-root` stays at `start` for a share of (`final` / `start`)² and then "
        "falls with the root of the images seen. A `step` schedule goes the same way at each "
        "share of `at`, to `final` at the last.",
        table(("option", *head[1:]), course),
        "## The latent",
        'What the generator is fed: `128`, `(4, 8, 8)`, `{"shape": [128]}` or a `LatentSpec`; on '
        "the command line `--latent 128`.",
        table(("option", *head[1:]), latent),
        "## The precision",
        "`auto` computes in bfloat16 where the hardware multiplies it, and in float32 elsewhere: "
        "on CUDA from compute capability 8.0, on CPUs with AMX (`amx_bf16`), with AVX-512 BF16 "
        "(`avx512_bf16`: AMD from Zen 4, Intel's Cooper Lake and Sapphire Rapids) or with "
        "Arm's BF16 (`bf16`). On a CPU torch must have oneDNN, which torch for macOS does not, and "
        "`ONEDNN_MAX_CPU_ISA` must allow that feature. Weights, optimizers and saved files are "
        "float32 in either case.",
        "`ganzoo train --dry-run`, `ganzoo doctor` and `environment.json` show the choice and the "
        "reason. A resumed run retains its precision on any machine. An architecture's "
        "recommendation overrides `auto`: `mirror`'s nets are too small to gain from bfloat16.",
        "On one thread of a CPU with AVX-512 BF16 and no AMX (Zen 4), bfloat16 against float32, in "
        "turns in one process:",
        table(
            ("architecture", "batch", "times as fast", "range"),
            [
                ("`dcgan`", "64", "1.66", "1.53 to 1.85"),
                ("`mlp`", "100", "1.55", "1.36 to 1.69"),
                ("`mirror`", "32", "0.98", "0.89 to 1.57"),
            ],
        ),
        "With AMX `dcgan` gains 2.1 times. Arm's feature has not been measured.",
    ]
    return "\n\n".join(parts) + "\n"


def agreement_page() -> str:
    """docs/agreement.md, of the parts that have been measured."""
    found = json.loads((ROOT / "docs" / "agreement.json").read_text(encoding="utf-8"))
    programs = found["programs"]
    count, rows = f"{programs['count']:,}", programs["rows"]
    worst = max(row["difference"] for row in rows)
    kid = max(abs(row["theirs"] - row["ganzoo"]) for row in rows if row["metric"][:3] == "kid")
    versions = [f"{name} {version}" for name, version in programs["versions"].items()]
    parts = [
        NOTE,
        "# Agreement with other programs",
        f"This page compares the scores of ganzoo with those of the programs that papers use, on "
        f"the same pictures with the same weights: {count} pictures of `{programs['first']}` "
        f"against {count} of `{programs['second']}`, in float32 on a CPU. "
        f"`benchmarks/references.py` measures this on any two folders. Differences are relative to "
        f"the other program's score; the largest is {worst:.0e}.",
        table(
            ("preset", "score", "program", "its value", "ganzoo", "difference"),
            [
                (
                    f"`{row['preset']}`" if row["preset"] else "",
                    row["metric"],
                    row["program"],
                    f"{row['theirs']:.7g}",
                    f"{row['ganzoo']:.7g}",
                    apart(row["difference"]),
                )
                for row in rows
            ],
        ),
        f"With {', '.join(versions)}.",
    ]
    notes = {
        "on features of": 'One program "on features of" another computed the score from the '
        "other's features.",
        "torch-fidelity": "**KID** is computed in float32 by these programs and in float64 by "
        f"ganzoo. Their rounding is at most {kid:.0e} here. It does not shrink with KID, so the "
        "relative difference means nothing for similar sets.",
        "torchmetrics": "**torchmetrics** used torch-fidelity's features, whose network is also "
        "its own. By itself it resizes with `antialias=True`, which is none of the presets. It "
        "draws subsets and splits from random numbers of its own, as clean-fid does; hence one "
        "subset, or one split, of all samples (`-of-all`).",
    }
    text = "\n".join(row["program"] for row in rows)
    lines = [
        *(note for word, note in notes.items() if word in text),
        "**Inception Score** was computed with a random last layer on the given weights, and with "
        "an entirely random network.",
        "The preset **`studiogan`** follows no package. Tests compare its features with those of "
        "pytorch-fid's network behind clean-fid's resizer with Pillow's bilinear filter.",
        "The pictures came in the order of their names. ganzoo reads a folder in [another "
        "order](data.md), which changes the subsets of KID and the splits of the Inception Score. "
        "These two then differ by less than their error.",
    ]
    parts.append("\n".join(f"- {line}" for line in lines))
    if folders := found.get("folders"):
        parts += folder_section(folders)
    if batches := found.get("batches"):
        parts += [
            "## Batches and processes",
            f"FID of {batches['count']:,} pictures against cached statistics of as many, in "
            f"float32:",
            table(
                ("batch size", "processes", "FID", "difference"),
                [
                    (
                        str(row["batch_size"]),
                        str(row["processes"]),
                        f"{row['fid']:.10g}",
                        apart(row["difference"]),
                    )
                    for row in batches["rows"]
                ],
            ),
        ]
    if figures := found.get("figures"):
        parts += [
            "## MNIST and Fashion-MNIST",
            "FID of the 10,000 test images against 10,000 training images, default preset:",
            table(
                ("dataset", "precision", "FID"),
                [
                    (f"`{row['dataset']}`", row["precision"], f"{row['fid']:.5f}")
                    for row in figures["rows"]
                ],
            ),
            '```sh\nganzoo evaluate \'{"name": "mnist", "split": "test"}\' --dataset mnist '
            "--real-split train --num-real 10000 --metrics fid\n```",
        ]
    return "\n\n".join(parts) + "\n"


def folder_section(section: dict[str, Any]) -> list[str]:
    """Each program on each kind of folder, and what ganzoo does with it."""
    rows, worst, compared = [], 0.0, 0
    for row in section["rows"]:
        theirs, ours = row["theirs"], row["ganzoo"]
        says = "; ".join(part.partition(", where")[0] for part in ours["left"])
        done = ", ".join(f"{key} {value}" for key, value in ours["read"].items())
        if "failure" in theirs:
            figures = ("-", f"{ours['fid']:.6g}", "-")
            fact = f"fails: {theirs['failure']}"
        else:
            gap = max(
                abs(ours[score] - theirs[score]) / abs(theirs[score]) for score in ("fid", "kid")
            )
            same = not ours["left"] or gap < 1e-4
            worst, compared = (max(worst, gap), compared + 1) if same else (worst, compared)
            figures = (
                f"{theirs['fid']:.6g}",
                f"{ours['fid']:.6g}",
                apart(gap) if same else "the preset is left",
            )
            fact = "in batches of one only" if "alone" in theirs else ""
            if theirs["count"] != ours["count"]:
                fact = f"sees {theirs['count']} of {ours['count']}"
        rows.append((row["folder"], row["program"], *figures, fact, says or done))
    count = max(row["ganzoo"]["count"] for row in section["rows"])
    versions = [f"{name} {version}" for name, version in section["versions"].items()]
    return [
        "## Folders of each kind",
        f"Scores of {count} pictures of each kind against as many RGB pictures of 64x64, by the "
        f"programs and by ganzoo with the preset that follows the program. The difference is the "
        f"larger one of FID and KID (of all pictures at once), relative to the program's; in the "
        f"{compared} rows that can be compared the largest is {worst:.0e}. The scores are computed "
        f"from each program's features in float64. With {', '.join(versions)}.",
        table(
            ("folder", "program", "its FID", "ganzoo", "difference", "the program", "ganzoo does"),
            rows,
        ),
        '- All three open a file as `Image.open(path).convert("RGB")`: alpha is dropped, Exif '
        "orientation ignored, the first frame taken.\n"
        "- **Mixed sizes**: clean-fid resizes each picture by itself. torch-fidelity and "
        "pytorch-fid stack pictures into batches before they resize, so they need batches of one. "
        "ganzoo sees each at its own size in batches of any size.\n"
        "- **More than 8 bits**: the programs clip, so that each pixel of a 16-bit picture is 255 "
        "and one of floats in [0, 1] is black, and take the upper 8 bits of 16 in colour. ganzoo "
        "scales all from the range that a training takes, or from `stored_range`. All take "
        "integers from 0 to 255 as they are, and floats with `stored_range=(0, 255)`, without "
        "which ganzoo asks for their range.\n"
        "- **Which files**: torch-fidelity takes `.png`, `.jpg` and `.jpeg` in small or capital "
        "letters and pytorch-fid nine suffixes in small letters, both without sub-folders; "
        "clean-fid searches sub-folders and takes `.JPEG`, `.JPG`, `.PNG` and `.npy` as well. "
        "ganzoo searches sub-folders, takes what [a training](data.md#folders-of-pictures) takes, "
        "and passes over names that begin with a dot.\n"
        "- **Broken files** end these programs; ganzoo leaves them out up to the dataset's "
        "`max_bad`, and says so.",
    ]


def apart(difference: float) -> str:
    """A relative difference, roughly."""
    return f"{difference:.0e}" if difference else "0"


# -- what combines with what ------------------------------------------------------------------

SAMPLES = {
    "image": SampleSpec(kind="image", shape=(3, 32, 32)),
    "audio": SampleSpec(kind="audio", shape=(2, 16)),
    "sequence": SampleSpec(kind="sequence", shape=(5, 8), value_range=(0.0, 1.0)),
    "vector": SampleSpec(kind="vector", shape=(8,), value_range=None),
}
"""A sample of each kind; the image is one that all architectures can do."""
CLASSIFIER = "auxiliary-classifier"
CODES = {"shape": 8, "categorical": [3], "continuous": 2}
NEEDS: dict[str, dict[str, Any]] = {
    "": {},
    "labels": {"conditional": True},
    "labels that D tells": {"conditional": True, "arch": {"d_condition": "auxiliary"}},
    "codes in the latent": {"latent": CODES},
}
"""What methods may need, least first, and the settings that give it."""


class Zeros(Dataset):
    """Samples of one kind, with labels, that are nothing but zeros."""

    name = "zeros"

    of: str

    def load(self) -> Samples:
        """Return four samples of two classes."""
        spec = SAMPLES[self.of].model_copy(update={"classes": ("a", "b")})
        return Samples(
            torch.zeros(4, *spec.shape), spec, torch.arange(4) % 2, spec.value_range or (0.0, 1.0)
        )


class Kinked(MLP):
    """Dense nets with a layer that has no second derivative."""

    def _activate(self) -> torch.nn.Module:
        return torch.nn.Hardsigmoid()


def refusal(kind: str = "image", **settings: Any) -> str:
    """Why a training is refused when it is set up; empty if it is not."""
    arch = {"name": "mlp", **settings.pop("arch", {})}
    tiny = {"channels": 2} if arch["name"] in ("dcgan", "upsample") else {"hidden": [4]}
    usual = {"batch_size": 2, "steps": 1, "device": "cpu", "progress": False, "latent": 8}
    try:
        Trainer(tiny | arch, Zeros(of=kind), **(usual | settings)).setup()
    except ConfigError as error:
        return str(error)
    return ""


def setting(component: type[Component]) -> dict[str, Any]:
    """The setting by which a training has a component."""
    name = component.name
    return {"penalties": [name]} if component.kind == "penalty" else {component.kind: name}


@cache
def needs(component: type[Component]) -> str:
    """The least of ``NEEDS`` with which a component is not refused for images."""
    if component.kind == "architecture":
        return ""
    return next(need for need, more in NEEDS.items() if not refusal(**more, **setting(component)))


def joint(one: type[Component], other: type[Component]) -> str:
    """Why two methods are refused together, where each has what it needs."""
    together: dict[str, Any] = {}
    for component in (one, other):
        together |= NEEDS[needs(component)] | setting(component)
    return refusal(**together)


def verdict(reason: str, notes: list[str]) -> str:
    """A cell: yes, or no and the number of a note, to which what to do instead is added."""
    if not reason:
        return "yes"
    way = re.split("[.;] ", reason, maxsplit=1)[-1].rstrip(".")
    note = re.sub(r"'([\w-]+)'", r"`\1`", way[:1].upper() + way[1:] + ".")
    notes += [note] * (note not in notes)
    return f"no ({notes.index(note) + 1})"


def noted(head: tuple[str, ...], rows: list[tuple[str, ...]], notes: list[str]) -> str:
    """A table with numbered notes below."""
    lines = [f"{number}. {note}" for number, note in enumerate(notes, start=1)]
    return "\n\n".join([table(head, rows), *(["\n".join(lines)] if lines else [])])


def page_of(component: type[Component]) -> str:
    """A link to the page of a component."""
    folder = next(kind for kind in KINDS if component in components(kind))
    return f"[`{component.name}`]({folder}/{component.name}.md)"


def combined(ones: str, others: str) -> str:
    """A table of two kinds of methods, or a sentence where all of them combine."""
    found = {(a, b): joint(a, b) for a in components(ones) for b in components(others)}
    if not any(found.values()):
        return f"Each of the {ones} combines with each of the {others}."
    notes: list[str] = []
    rows = [
        (page_of(a), *(verdict(found[a, b], notes) for b in components(others)))
        for a in components(ones)
    ]
    return noted(("", *map(page_of, components(others))), rows, notes)


def by_kind() -> str:
    """A table of what there is by kind of samples."""
    return by_case({kind: {"kind": kind} for kind in SAMPLES})


def by_batch() -> str:
    """A table of what there is by how a batch is shown to D and computed."""
    cases = {"`packing`": {"packing": 2}, "`joint_batch`": {"joint_batch": True}}
    return by_case({**cases, "`accumulate`": {"accumulate": 2, "batch_size": 4}})


def by_case(cases: dict[str, dict[str, Any]]) -> str:
    """A table of what there is by some settings; one row where all of a kind are alike."""
    rows, notes = [], []
    for plural in ("architectures", "losses", "penalties", "augmentations"):
        own: list[tuple[str, ...]] = []
        for component in components(plural):
            settings = dict(NEEDS[needs(component)])
            if plural == "architectures":
                settings["arch"] = {"name": component.name}
            else:
                settings |= setting(component)
            cells = []
            for case in cases.values():
                cell = verdict(refusal(**{**settings, **case}), notes)
                partly = "accumulate" in case and getattr(component, "whole_batch", False)
                cells.append("of each micro-batch" if partly and cell == "yes" else cell)
            own.append((page_of(component), *cells))
        if len({tuple(cells) for _, *cells in own}) == 1:
            own = [("all", *own[0][1:])]
        rows += [(f"**{plural}**" * (row is own[0]), *row) for row in own]
    return noted(("", "", *cases), rows, notes)


def by_labels() -> str:
    """A table of the ways in which labels enter, by architecture."""
    archs = components("architectures")
    rows = []
    for option in ("condition", "d_condition"):
        fields = {arch: arch.model_fields[option] for arch in archs if option in arch.model_fields}
        ways = dict.fromkeys(way for field in fields.values() for way in get_args(field.annotation))
        for number, way in enumerate(ways):
            cells = []
            for arch in archs:
                chosen = {"name": arch.name, option: way}
                if not refusal(arch=chosen, conditional=True):
                    usual = arch in fields and fields[arch].default == way
                    cells.append("yes, the default" if usual else "yes")
                elif not refusal(arch=chosen, conditional=True, penalties=[CLASSIFIER]):
                    cells.append(f"with loss or penalty `{CLASSIFIER}`")
                else:
                    cells.append("no")
            rows.append((f"`{option}`" if number == 0 else "", f"`{way}`", *cells))
    return table(("option", "value", *map(page_of, archs)), rows)


def needed() -> str:
    """A table of the methods that need something."""
    rows = []
    architectures.register("kinked")(Kinked)
    for plural in ("losses", "penalties", "augmentations"):
        for component in components(plural):
            need = needs(component)
            arch = {"name": "kinked", **NEEDS[need].get("arch", {})}
            told = refusal(**{**NEEDS[need], "arch": arch, **setting(component)})
            second = ""
            if told:
                instead = re.search("Take penalty '([^']+)'", told)
                second = f"yes; `{instead[1]}` does without" if instead else "yes"
            if need or second:
                rows.append((component.kind, page_of(component), need, second))
    architectures.registry.unregister("kinked")
    return table(("", "method", "needs", "second derivatives of the nets"), rows)


def combinations_page() -> str:
    """docs/zoo/combinations.md, by setting up a training for each cell."""
    parts = [
        NOTE,
        "# What combines with what",
        "Each cell is what setting up such a training has found, with the methods at their "
        "defaults. What does not combine is refused before training, with an error that says what "
        "to do. The tests train each pair of built-in methods for a few steps in float32 and "
        "bfloat16, with labels and without, and resume it to the bit.",
        "## Losses and augmentations",
        combined("losses", "augmentations"),
        "## Losses and penalties",
        combined("losses", "penalties"),
        "## Penalties and augmentations",
        combined("penalties", "augmentations"),
        "Several penalties may be given at once.",
        "## Kinds of samples",
        f"Images are {' x '.join(map(str, SAMPLES['image'].shape))} here; the page of an "
        f"architecture says which sizes it can do. Losses, penalties and augmentations are tried "
        f"with `{MLP.name}`.",
        by_kind(),
        "## Batches",
        "D sees several samples together (`packing`), or real and generated ones in one batch "
        "(`joint_batch`); a batch is computed in parts (`accumulate`). What looks at a whole "
        "batch, batch norm among it, then looks at each micro-batch, and a notice says so. With "
        "labels there is no packing. All but architectures are tried with `mlp`.",
        by_batch(),
        "## Labels",
        "How labels enter the generator (`condition`) and the discriminator (`d_condition`), "
        "with `conditional=True`:",
        by_labels(),
        "## Needs",
        f"All other losses, penalties and augmentations need nothing of this. Labels need "
        f"`conditional=True` and data with labels, and a discriminator tells them with "
        f"`d_condition` set to `auxiliary`. Codes are such as `latent={json.dumps(CODES)}`.",
        needed(),
    ]
    return "\n\n".join(parts) + "\n"


# -- putting it into words --------------------------------------------------------------------


def anchor(kind: str) -> str:
    """The heading of docs/zoo/index.md for a kind of component."""
    return next(name for name in KINDS if (found := components(name)) and found[0].kind == kind)


def prose(component: type[Component]) -> list[str]:
    """The paragraphs of a docstring, without its sections."""
    text = cleandoc(component.__doc__ or "")
    text = re.split(r"^(?:Args|Raises|Returns|Attributes):$", text, flags=re.MULTILINE)[0]
    paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
    return [marked_up(part) for part in paragraphs]


def summary(component: type[Component]) -> str:
    """The first line of the docstring."""
    return marked_up(cleandoc(component.__doc__ or "").partition("\n")[0])


def marked_up(text: str) -> str:
    """Docstring text as Markdown."""
    return linked(text.replace("``", "`"))


def linked(text: str) -> str:
    """Text with its arXiv and DOI numbers as links."""
    text = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
    return re.sub(r"doi:(10\.[\w./-]*\w)", r"[doi:\1](https://doi.org/\1)", text)


def kind_of(field: FieldInfo) -> str:
    """The type of an option with its bounds."""
    bounds = bounds_of(field.metadata)
    return type_text(field.annotation, bounds)


def bounds_of(metadata: Any) -> str:
    """Bounds such as ``> 0``, from what pydantic keeps of a constraint."""
    return ", ".join(
        f"{sign} {number(getattr(item, name))}"
        for item in metadata
        for name, sign in BOUNDS.items()
        if getattr(item, name, None) is not None
    )


def number(value: float) -> str:
    """A number; large powers of two as such."""
    exponent = int(value).bit_length() - 1
    return f"2^{exponent}" if exponent > 20 and value == 2**exponent else f"{value:g}"


def type_text(annotation: Any, bounds: str = "") -> str:
    """A type in plain words."""
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    lead = f" {bounds}" if bounds else ""
    if hasattr(annotation, "__metadata__"):
        return type_text(arguments[0], bounds_of(annotation.__metadata__))
    if origin in (Union, types.UnionType):
        kept = [type_text(item, bounds) for item in arguments if item is not type(None)]
        return " or ".join([*kept, *(["none"] if type(None) in arguments else [])])
    if origin is Literal:
        return ", ".join(f"`{item}`" for item in arguments)
    if origin is tuple:
        if arguments[-1] is ...:
            return f"list of {type_text(arguments[0])}"
        return f"{len(arguments)} x {type_text(arguments[0])}"
    return f"{getattr(annotation, '__name__', str(annotation)).lower()}{lead}"


def default(field: FieldInfo) -> str:
    """The default of an option, or that it has none."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "none" if value is None else value_text(value)


def value_text(value: Any) -> str:
    """A value as the command line takes it."""
    return f"`{worded(value)}`"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


if __name__ == "__main__":
    sys.exit(main())
