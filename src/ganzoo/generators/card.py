"""The card of a bundle: its README.md, from the template ``card.md`` and the files of the bundle.

Anyone may have written these files, so all text from them is escaped by ``markdown``.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from ganzoo import averages
from ganzoo._version import __version__
from ganzoo.errors import ConfigError, GanzooError
from ganzoo.files.storage import write_json
from ganzoo.generators import bundle
from ganzoo.generators.card_facts import NAME, REPO, Data, Facts, mapping, read
from ganzoo.generators.markdown import (
    clean,
    code,
    fence,
    hidden,
    hidden_command,
    prose,
    public,
    word,
)
from ganzoo.generators.protocols import described, number, samples_of

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from ganzoo.core.component import Component
    from ganzoo.generators.bundle import BundleConfig

__all__ = ["data_notice", "edited", "hide", "notices", "render"]

_ON_PYPI = ".dev" not in __version__
"""Whether ``pip install ganzoo`` gives this library: another project has the name until then."""

_LONGEST = 64 * 2**10  # characters of settings that are shown
_LONGEST_COMMAND = 4000  # characters
_LONGEST_ARGUMENTS = 8 * 2**10  # characters of a protocol in the front matter
_CLASSES_SHOWN = 20
_NOTICES_SHOWN = 10

_PINNED = re.compile(rf"({NAME}/{NAME})@([0-9a-f]{{40}})", re.ASCII)
_TAG = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*|arxiv:[\d.]+")
_SPDX = re.compile(r"[a-z0-9]+(?:[.+-]+[a-z0-9]+)*\+*")
_SIGNATURE = "<!-- ganzoo wrote this card, sha256 {} -->"
_SIGNED = re.compile(r"(.*\n)" + _SIGNATURE.format("([0-9a-f]{64})") + r"\n{0,2}", re.DOTALL)


def render(
    folder: Path,
    *,
    repo_id: str | None = None,
    license: str | None = None,  # noqa: A002 - the Hub's word
    source: Path | None = None,
) -> str:
    """Return the README.md of a bundle; the same files give the same text.

    It is front matter, Markdown, and a last line with the SHA-256 of all above it.

    Args:
        folder: The bundle; its weights are not read.
        repo_id: Repository that it is published in; without it, the card loads its own folder.
        license: Of the weights, as the Hub or SPDX names it; by default that of the data, unless
            the weights started from others.
        source: The bundle that its files were copied from, for messages; by default the folder.

    Raises:
        BundleError: If a file is missing, damaged or malformed.
        PluginError: If the architecture comes from a plug-in that is not installed.
        ConfigError: If ``repo_id`` or ``license`` cannot be one.
    """
    from huggingface_hub import ModelCard

    if repo_id is not None and not REPO.fullmatch(repo_id):
        raise ConfigError(f"'{repo_id}' is not a repository of the Hub: give org/name.")
    facts = Facts.of(folder, repo_id, source or folder)
    licensed = _licensed(facts, license)
    template = resources.files(__package__).joinpath("card.md").read_text(encoding="utf-8")
    filled = Template(template).substitute(
        **_fields(facts, repo_id, licensed),
        samples=_picture(folder, bundle.SAMPLES, "Samples of the generator"),
        curves=_picture(folder, bundle.CURVES, "Losses over the training"),
    )
    body = re.sub(r"\n{3,}", "\n\n", filled).strip()
    data = _front_matter(facts, repo_id, licensed)
    text = str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n\n"))
    return f"{text}{_SIGNATURE.format(_digest(text))}\n"


def hide(folder: Path, source: Path | None = None) -> None:
    """Leave out of training.json and metrics.json what a card leaves out: secrets and folders.

    Raises:
        BundleError: If a file is damaged or malformed; ``source`` is where it was copied from.
    """
    for name in (bundle.TRAINING, bundle.METRICS):
        content = read(folder, name, source or folder)
        shown = hidden(content)
        if name == bundle.TRAINING and isinstance(command := content.get("command"), str):
            shown["command"] = hidden_command(command)
        if shown != content:
            write_json(folder / name, shown)


def edited(text: str) -> bool:
    """Return whether a README.md is not what ``render`` wrote.

    Line ends of Windows and one newline more or less at the end are no edit: the Hub's own editor
    makes them.
    """
    found = _SIGNED.fullmatch(text.replace("\r\n", "\n"))
    return found is None or _digest(found[1]) != found[2]


def notices(config: BundleConfig) -> tuple[str, ...]:
    """Return what a publisher should know: one text on the data, and one on code in no package."""
    return tuple(filter(None, (data_notice(config), _code_notice(config))))


def data_notice(config: BundleConfig) -> str:
    """Return one or two sentences on the data of a generator and their licence."""
    training = public(config.training)
    data = Data.of(training)
    if not data.name:
        notice = "It is not recorded what data this generator was trained on"
    elif data.license:
        notice = f"It was trained on {data.label} under the licence {data.license}"
    else:
        notice = f"It was trained on {data.label}, whose licence is not known"
    page = f" (see https://huggingface.co/datasets/{data.hub})" if data.hub else ""
    notice += f": make sure that you may publish what is made from it{page}."
    if base := word(training.get("init_from")):
        notice += f" It started from the weights of {base}, whose data and licence count too."
    return notice


def _code_notice(config: BundleConfig) -> str:
    """A sentence on an architecture that is in no package; empty if one has it."""
    module, _, version = type(config.architecture).provider.partition(" ")
    if version or not module:
        return ""
    where = "a script or notebook" if module == "__main__" else f"the module '{module}'"
    return (
        f"Its architecture '{config.architecture.name}' is defined in {where}: others cannot "
        f"load the generator until it is in a package that they can install."
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


# -- front matter ---------------------------------------------------------------------------------


def _front_matter(facts: Facts, repo_id: str | None, licensed: Mapping[str, str]) -> Any:
    from huggingface_hub import ModelCardData

    architecture, (name, loss) = facts.config.architecture, facts.loss
    tags = ["gan", architecture.name.rpartition(":")[2], name.rpartition(":")[2]]
    tags += ["class-conditional"] if facts.config.shown.classes else []
    for component in (type(architecture), loss):
        papers = re.findall(r"arXiv:\d{4}\.\d{4,5}", component.citation) if component else []
        tags += [paper.lower() for paper in papers]
    pinned = _PINNED.fullmatch(facts.base)
    scores = list(_results(facts))
    optional: dict[str, Any] = dict(licensed)
    if scores:
        optional["eval_results"] = scores
        optional["model_name"] = (repo_id or architecture.name).rpartition("/")[2]
        optional["metrics"] = [score.metric_type for score in scores]
    return ModelCardData(
        library_name="ganzoo",
        # For images of a class too: the Hub has no other tag for them.
        pipeline_tag="unconditional-image-generation"
        if facts.config.shown.kind == "image"
        else None,
        tags=list(filter(_TAG.fullmatch, tags)),
        datasets=[facts.data.hub] if facts.data.hub else None,
        base_model=pinned[1] if pinned else None,
        **optional,
    )


def _licensed(facts: Facts, wanted: str | None) -> dict[str, str]:
    """The licence of the weights as entries of the front matter; empty if there is none."""
    if wanted is None:
        # Weights that came from elsewhere are not free because these data are.
        free = not facts.base and not facts.copied
        found = _license(facts.data.license) if free else {}
        return found if "license_name" not in found else {}
    if not (found := _license(wanted)):
        raise ConfigError(f"{wanted!r} is not a licence: give an SPDX identifier, such as MIT.")
    return found


def _license(name: str) -> dict[str, str]:
    """A licence as the Hub knows it; any name that is not an SPDX identifier is ``other``."""
    key = re.sub(r"-(only|or-later)$", "", name.strip().lower())
    if _SPDX.fullmatch(key) and not key.startswith("licenseref-"):
        return {"license": key}
    name = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
    return {"license": "other", "license_name": name} if name else {}


def _results(facts: Facts) -> Iterator[EvalResult]:
    from huggingface_hub import EvalResult

    data = facts.data
    for name, score in facts.scores.items():
        reals, split = mapping(score.protocol.get("real")), ""
        if not (called := samples_of(reals)):  # it was compared with nothing recorded
            called, reals = data.hub or data.name or "unknown", data.options
            split = word(score.protocol.get("split"))
        short = score.protocol and len(json.dumps(score.protocol)) <= _LONGEST_ARGUMENTS
        yield EvalResult(
            task_type="unconditional-image-generation"
            if facts.config.shown.kind == "image"
            else "other",
            dataset_type=called,
            dataset_name=called,
            dataset_config=word(reals.get("subset")) or None,
            dataset_split=split or word(reals.get("split")) or None,
            dataset_revision=word(reals.get("revision")) or None,
            metric_type=name,
            metric_value=score.value,
            metric_args=score.protocol if short else None,
        )


# -- the body -------------------------------------------------------------------------------------


def _fields(facts: Facts, repo_id: str | None, licensed: Mapping[str, str]) -> dict[str, str]:
    """What the template takes, but for pictures; Markdown by name."""
    data, noun, image = facts.data, facts.noun, facts.config.shown.kind == "image"
    terms = f"whose licence is {prose(data.license)}" if data.license else "of unknown licence"
    name = licensed.get("license_name") or licensed.get("license")
    return {
        "title": facts.title,
        "facts": _bullets(_rows(facts)),
        "install": _install(facts.config),
        "where": repo_id or ".",
        "example": 'generator.grid(64, seed=0).save("grid.png")'
        if image
        else "samples = generator.sample(64, seed=0)",
        "more": _more(facts, repo_id),
        "scores": _score_table(facts),
        "command": _command(facts.record.command or ""),
        "settings": _settings(facts),
        "noun": noun,
        "data": f"It was trained on {prose(data.label)}, {terms}."
        if data.name
        else "It is not recorded what data it was trained on, nor under which licence.",
        "licence": f"Its weights are under the licence {prose(name)}."
        if name
        else "No licence is stated for its weights.",
        "repeats": f"`nearest-neighbours` above measures whether it repeats the {noun} that it was "
        "compared with; others were not tested."
        if "nearest-neighbours" in facts.scores
        else f"Whether it repeats {noun} of its data was not tested.",
        "citations": _citations(facts),
    }


def _picture(folder: Path, file: str, text: str) -> str:
    return f"![{text}]({file})" if (folder / file).is_file() else ""


def _bullets(rows: Mapping[str, str]) -> str:
    return "\n".join(f"- {label}: {text}" for label, text in rows.items() if text)


def _rows(facts: Facts) -> dict[str, str]:
    """What the generator is and how it was trained; Markdown by label, empty if not known."""
    config, spec, training, data = facts.config, facts.config.shown, facts.training, facts.data
    name, (loss_name, loss) = config.architecture.name, facts.loss
    latent, half, origin = config.latent, config.half, config.origin
    classes, ends, count = spec.classes or (), spec.value_range, _parameters(config)
    more = f" and {len(classes) - _CLASSES_SHOWN:,} more" if len(classes) > _CLASSES_SHOWN else ""
    padding = config.preprocessing.notice(name) if config.preprocessing else ""
    steps = training.get("steps")
    split = word(data.options.get("split"))
    return {
        "Output": prose(str(spec)) + (f", values in [{ends[0]:g}, {ends[1]:g}]" if ends else ""),
        "Input": f"{'x'.join(map(str, latent.shape))} random numbers, {latent.distribution}"
        + (", and a class" if classes else ""),
        "Classes": ", ".join(map(code, classes[:_CLASSES_SHOWN])) + more,
        "Architecture": _described(name, type(config.architecture))
        + (f", {count:,} parameters" if count else ""),
        "Preprocessing": prose(padding),
        "Data": prose(data.label) + (f", split {code(split)}" if split else ""),
        "Loss": _described(loss_name, loss),
        "Recipe": _code(training.get("recipe")),
        "Length": f"{steps:,} steps" if type(steps) is int else "",
        "Average": _average(training),
        "Fine-tuned from": _code(facts.base),
        "Copy of": _code(f"{origin.repo_id}@{origin.revision}" if origin and facts.copied else ""),
        "Converted from": _code(mapping(training.get("converted_from")).get("file")),
        "Half precision": f"changes samples by {100 * half.mean:.2g}% of their range on average "
        f"and by {100 * half.largest:.2g}% at most"
        if half
        else "",
    }


def _average(training: Mapping[str, Any]) -> str:
    """How weights were averaged, with all options; Markdown, empty if not known."""
    try:
        average = averages.create(training["average"])
    except (KeyError, GanzooError):
        return ""
    options = [
        f"{code(option)} {_numbers(getattr(average, option))}"
        for option in type(average).model_fields
    ]
    kept = training.get("average_kept")
    kept = f", of which it is {kept:g}" if kept in average.labels else ""
    return ", ".join([code(average.name), *options]) + kept


def _numbers(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return " ".join(map(_numbers, value))
    return f"{value:,.15g}" if type(value) in (int, float) else prose(f"{value}")


def _code(value: Any) -> str:
    return code(text) if (text := word(value)) else ""


def _parameters(config: BundleConfig) -> int | None:
    """Numbers that were trained, counted without allocating them."""
    import torch

    from ganzoo.core.nets import build_on_meta

    try:
        with torch.random.fork_rng(devices=[]):  # a plug-in's net may draw random numbers
            net = build_on_meta(lambda: config.build(bundle.WEIGHTS))
    except Exception:  # a plug-in's net may need a real device
        return None
    return sum(parameter.numel() for parameter in net.parameters())


def _described(name: str, component: type[Component] | None) -> str:
    """A component by name, with the first line of its docstring; Markdown."""
    text = (component.__doc__ or "").strip() if component else ""
    summary = clean(text.partition("\n")[0]).rstrip(". ")
    return f"{code(name)} ({prose(summary)})" if summary else code(name)


def _install(config: BundleConfig) -> str:
    """What the generator needs; Markdown."""
    package, _, version = type(config.architecture).provider.partition(" ")
    packages = [*(["ganzoo"] if _ON_PYPI else []), *([package] if version else [])]
    parts = [prose(_code_notice(config))]
    if not _ON_PYPI:
        parts.append(
            f"It needs ganzoo, whose version {prose(public(config.library_version))} wrote it. "
            f"That is not on PyPI yet, where another project has the name: install it from its "
            f"source."
        )
    if packages:
        parts.append(fence(f"pip install {shlex.join(packages)}", "bash"))
    return "\n\n".join(filter(None, parts))


def _more(facts: Facts, repo_id: str | None) -> str:
    """What else it can be used for; Markdown."""
    parts = []
    if repo_id:
        parts.append("With `revision=` and a commit, it loads the same weights for good.")
    if facts.config.shown.classes:
        parts.append("With `labels=` it makes samples of these classes, else of random ones.")
    if bundle.DISCRIMINATOR in facts.config.weights:
        command = f"ganzoo train --init-from {repo_id or '.'} --dataset DATA"
        parts += ["The discriminator is included, to train on from both:", fence(command, "bash")]
    return "\n\n".join(parts)


def _score_table(facts: Facts) -> str:
    if not facts.scores:
        return f"Not scored: how good and how varied its {facts.noun} are has not been measured."
    rows = ["| Score | Value | Measured with |", "| --- | --- | --- |"]
    for name, score in facts.scores.items():
        error = "" if score.error is None else f" ± {score.error:.2g}"
        protocol = prose(described(score.protocol))
        rows.append(f"| {prose(name)} | {number(score.value)}{error} | {protocol} |")
    texts = dict.fromkeys(notice for score in facts.scores.values() for notice in score.notices)
    return "\n".join([*rows, "", *(f"- {prose(text)}" for text in list(texts)[:_NOTICES_SHOWN])])


def _command(text: str) -> str:
    """A recorded ``ganzoo train`` without secrets as Markdown; empty for any other command.

    It must be quoted as ``shlex.join`` does, which leaves nothing for a shell to act on.
    """
    if len(text) > _LONGEST_COMMAND or not text.isprintable():
        return ""
    try:
        words = shlex.split(text)
    except ValueError:  # quotes without an end
        return ""
    if words[:2] != ["ganzoo", "train"] or text != shlex.join(words):
        return ""
    return f"This command repeats it:\n\n{fence(hidden_command(text), 'bash')}"


def _settings(facts: Facts) -> str:
    """All settings and the environment of the training; Markdown."""
    import yaml

    if not (settings := facts.record.config or facts.training):
        return "Nothing is recorded of it."
    settings = {"arch": public(facts.config.architecture.model_dump(mode="json")), **settings}
    if environment := facts.record.environment:
        settings = {**settings, "environment": environment}
    if len(json.dumps(settings)) > _LONGEST:
        return f"All settings are in `{bundle.CONFIG}` and `{bundle.TRAINING}`."
    text = yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, allow_unicode=True)
    block = fence(text.strip(), "yaml")
    return f"<details>\n<summary>All settings</summary>\n\n{block}\n\n</details>"


def _citations(facts: Facts) -> str:
    parts: dict[str, list[str]] = {}
    sources = {
        "architecture": type(facts.config.architecture),
        "loss": facts.loss[1],
        "data": facts.data.component,
    }
    for title, component in sources.items():
        if component is not None and component.citation:
            parts.setdefault(component.citation, []).append(title)
    rows = {" and ".join(titles).capitalize(): prose(text) for text, titles in parts.items()}
    return f"## Citation\n\n{_bullets(rows)}" if rows else ""
