"""The card of a bundle: its README.md, which says what a generator is and where it comes from.

Everything in it comes from files of the bundle, whoever wrote them, so all of it is escaped: no
name or text of a file can break YAML or Markdown. Absolute paths are cut to their last part, and
what looks like a secret is left out.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, Strict

from ganzoo import datasets, losses, recipes
from ganzoo._version import __version__
from ganzoo.core.model import Model
from ganzoo.datasets.base import SUBSET_FIELDS
from ganzoo.errors import BundleError, ConfigError, GanzooError, PluginError, UnknownNameError
from ganzoo.files import bounded_json
from ganzoo.generators import bundle

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from ganzoo.core.component import Component
    from ganzoo.core.registry import Registry
    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.generators.bundle import BundleConfig

__all__ = ["data_notice", "edited", "measured", "notices", "render"]

_ON_PYPI = ".dev" not in __version__
"""Whether ``pip install ganzoo`` gives this library: the name there is ours from a release on."""

_LICENSES = frozenset(
    """
    afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m
    bigscience-bloom-rail-1.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause
    bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0
    cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0
    cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0
    epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 fair-noncommercial-research-license gemma gfdl
    gpl gpl-2.0 gpl-3.0 grok2-community h-research intel-research isc lgpl lgpl-2.1 lgpl-3.0
    lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit mpl-2.0 ms-pl ncsa
    odbl odc-by ofl-1.1 openmdw-1.0 openmdw-1.1 openrail openrail++ osl-3.0 other pddl postgresql
    unknown unlicense wtfpl zlib
    """.split()  # noqa: SIM905 - one on each line would fill a page
)
"""What the Hub accepts as ``license`` (https://huggingface.co/docs/hub/repositories-licenses)."""

_UNVERSIONED = {f"{name}-1.0": name for name in ("c-uda", "odbl", "odc-by", "pddl")}

_OWN = {"array": "an array file", "folder": "a folder of pictures", "given": "data given in Python"}
_NOUNS = {"image": "images", "audio": "clips", "sequence": "sequences", "vector": "points"}
_LARGEST = 2**20  # bytes of training.json or metrics.json
_LONGEST_TEXT = 2000  # characters of one string from a file
_LONGEST_SETTINGS = 64 * 2**10  # characters of settings that are shown
_DEEPEST = 20
_CLASSES_SHOWN = 20
_NOTICES_SHOWN = 10
_HASH_SHOWN = 8  # digits of a hash; the front matter has all
_LONGEST_PROTOCOL = 800  # characters of a protocol in words
_LONGEST_ARGUMENTS = 8 * 2**10  # characters of a protocol in the front matter
_NEIGHBOURS = "nearest-neighbours"
_COMMAND_WIDTH = 88
_LONGEST_COMMAND = 4000  # characters

_NAME = r"[A-Za-z0-9][\w.-]*"
_REPO = re.compile(rf"{_NAME}(?:/{_NAME})?", re.ASCII)
_PINNED = re.compile(rf"({_NAME}/{_NAME})@([0-9a-f]{{40}})", re.ASCII)
_TAG = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
_ARXIV = r"arXiv:\d{4}\.\d{4,5}"
_LINKED = re.compile(rf"({_ARXIV}|doi:10\.[^\s<>()\[\]\\`|]+[\w/]|https://[^\s<>()\[\]\\`|]+[\w/])")
_SEAL = "<!-- ganzoo wrote this card, sha256 {} -->"
_SEALED = re.compile(r"(.*\n)" + _SEAL.format("([0-9a-f]{64})") + r"\n{0,2}", re.DOTALL)


def render(
    folder: Path,
    *,
    repo_id: str | None = None,
    revision: str | None = None,
    license: str | None = None,  # noqa: A002 - the Hub's word
) -> str:
    """Return the whole README.md of a bundle.

    It comes from config.json, and from training.json, metrics.json and the pictures where they are
    there. The same files give the same text, byte for byte.

    Args:
        folder: The bundle; its weights are not read.
        repo_id: Repository that it is published in; without it, the card loads it from its folder.
        revision: Commit, tag or branch that the card loads it from.
        license: Of the weights, as an SPDX or Hub identifier; by default that of the data, where
            they have one that the Hub knows and nothing else went into the weights.

    Returns:
        Front matter, Markdown, and a last line with the SHA-256 of all above it.

    Raises:
        BundleError: If a file is missing, damaged or not what it should be.
        PluginError: If the architecture comes from a plug-in that is not installed.
        ConfigError: If ``repo_id``, ``revision`` or ``license`` cannot be one.
    """
    from huggingface_hub import ModelCard

    if repo_id is not None and not _REPO.fullmatch(repo_id):
        raise ConfigError(f"'{repo_id}' is no repository of the Hub: give org/name.")
    if revision is not None and not re.fullmatch(r"[\w./-]+", revision, re.ASCII):
        raise ConfigError(f"'{revision}' is no commit, tag or branch: give its plain name.")
    facts = _Facts.of(folder, repo_id)
    licensed = _licensed(facts, license)
    parts = [
        f"# {facts.title}",
        _picture(folder, bundle.SAMPLES, "Samples of the generator"),
        _introduction(facts),
        *_usage(facts, repo_id, revision),
        *_score_section(facts),
        *_training(facts, _picture(folder, bundle.CURVES, "Losses over the training")),
        *_limits(facts, licensed),
        *_citations(facts),
    ]
    data = _front_matter(facts, repo_id, licensed)
    body = "\n\n".join(part for part in parts if part)
    text = str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n\n"))
    return f"{text}{_SEAL.format(_digest(text))}\n"


def edited(text: str) -> bool:
    """Return whether a README.md is not, byte for byte, what ``render`` wrote.

    Line ends of Windows and one newline more or less at the end are no edit: the Hub's own editor
    makes them.
    """
    found = _SEALED.fullmatch(text.replace("\r\n", "\n"))
    return found is None or _digest(found[1]) != found[2]


def notices(config: BundleConfig) -> tuple[str, ...]:
    """Return what to know before a generator is published, a text each: on its data, its code."""
    module = _in_code(config)
    if not module:
        return (data_notice(config),)
    where = "a script or notebook" if module == "__main__" else f"the module '{module}'"
    return (
        data_notice(config),
        f"Its architecture '{config.architecture.name}' is defined in {where}: nobody else can "
        f"load the generator until it is in a package that they can install.",
    )


def data_notice(config: BundleConfig) -> str:
    """Return one or two sentences on the data of a generator, for whoever is about to publish it.

    They say what it was trained on and under which licence, or what to find out where that is not
    known.
    """
    training = _public(config.training)
    data = _Data.of(training)
    notice = f"It was trained on {data.plain}"
    if not data.name:
        notice = (
            "It is not recorded what data this generator was trained on: make sure that you may "
            "publish what is made from them."
        )
    elif data.hub:
        notice += (
            f", whose licence ganzoo does not know: read it at {_dataset_page(data.hub)} before "
            f"you publish."
        )
    elif data.license == "CC0-1.0":
        notice += f" under the licence {data.license}, which asks for nothing."
    elif data.license and _license(data.license):
        notice += f" under the licence {data.license}, which may bind what you publish too."
    elif data.license:
        notice += (
            f" under the licence {data.license}, for which the Hub has no name: read its terms "
            f"before you publish."
        )
    elif data.own:
        notice += (
            ", whose licence ganzoo does not know: make sure that you may publish what is made "
            "from them, above all if they show people."
        )
    else:
        notice += ", whose licence is not known: find out whether it allows publishing."
    base = _base(training)
    if base is not None:
        notice += f" It started from the weights of {base}, whose data and licence count too."
    return notice


# -- what there is to say -------------------------------------------------------------------------


class _Training(Model):
    """What the card reads of training.json."""

    model_config = ConfigDict(extra="ignore")
    error_label: ClassVar[str] = "It"

    config: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)
    steps: Annotated[int, Strict(), Field(ge=0)] | None = None
    images: Annotated[int, Strict(), Field(ge=0)] | None = None
    command: str | None = None


class _Score(Model):
    """One entry of metrics.json."""

    model_config = ConfigDict(extra="ignore")
    error_label: ClassVar[str] = "It"

    value: Annotated[float, Strict()]
    error: Annotated[float, Strict()] | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    protocol: dict[str, Any] = Field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def reals(self) -> Mapping[str, Any]:
        """What the samples were compared with."""
        return _mapping(self.protocol.get("reals"))


@dataclass(frozen=True)
class _Data:
    """The data of a training, as far as a file names them."""

    name: str
    options: Mapping[str, Any]
    license: str
    component: type[datasets.Dataset] | None

    @classmethod
    def of(cls, training: Mapping[str, Any]) -> _Data:
        given = training.get("dataset")
        options = {"name": given} if isinstance(given, str) else _mapping(given)
        name = _word(options.get("name"))
        component = _component(datasets.registry, options)
        licensed = component.license if component else ""
        return cls(name, options, _word(training.get("data_license")) or licensed, component)

    @property
    def hub(self) -> str:
        """Its name on the Hub, empty if it is not from there."""
        return _on_hub(self.name, self.options)

    @property
    def place(self) -> str:
        """Last part of the file or folder that it was read from."""
        elsewhere = "" if self.hub else _word(self.options.get("repo"))
        return _word(self.options.get("path")) or elsewhere

    @property
    def own(self) -> bool:
        """Whether it is something that a user had, and no data set with a name."""
        return self.name in _OWN or bool(self.place)

    @property
    def plain(self) -> str:
        """What to call it in a sentence on a terminal."""
        if self.own:
            what = self.place or _word(self.options.get("description"))
            return f"{_OWN.get(self.name, 'local data')}{f' ({what})' if what else ''}"
        return f"the Hub's data set '{self.hub}'" if self.hub else f"'{self.name}'"

    @property
    def title(self) -> str:
        """What to call it in a heading; Markdown."""
        return _prose(self.plain if self.own else self.hub or self.name)

    @property
    def linked(self) -> str:
        """What to call it in a sentence; Markdown."""
        if self.own:
            return _prose(self.plain)
        return f"[{_prose(self.hub)}]({_dataset_page(self.hub)})" if self.hub else _code(self.name)

    @property
    def summary(self) -> str:
        """One line on what it is; plain text, empty where it says nothing of these data."""
        return "" if self.own or self.hub else _summary(self.component)


@dataclass(frozen=True)
class _Facts:
    """All that a card is made of."""

    config: BundleConfig
    training: Mapping[str, Any]  # as config.json has it
    settings: Mapping[str, Any]  # all of them, as a configuration file has them
    record: _Training
    scores: Mapping[str, _Score]
    data: _Data
    base: str | None
    copied: bool
    parameters: int | None

    @classmethod
    def of(cls, folder: Path, repo_id: str | None) -> _Facts:
        config = bundle.config(folder)
        training = _public(config.training)
        record = _record(folder / bundle.TRAINING)
        inside = {key: value for key, value in training.items() if key != "data_license"}
        settings = record.config or {
            "arch": _public(config.architecture.model_dump(mode="json")),
            "latent": config.latent.model_dump(mode="json"),
            **inside,
        }
        origin = config.origin
        return cls(
            config=config,
            training={**record.config, **training},
            settings=settings,
            record=record,
            scores=_scores(folder / bundle.METRICS),
            data=_Data.of(training),
            base=_base(training),
            copied=origin is not None and origin.repo_id != repo_id,
            parameters=_parameters(folder, config),
        )

    @property
    def spec(self) -> SampleSpec:
        """What one sample is, as people see it."""
        preprocessing, spec = self.config.preprocessing, self.config.sample
        padded = preprocessing is not None and preprocessing.method == "pad"
        return (
            spec.resized(preprocessing.original_size)
            if preprocessing is not None and padded
            else spec
        )

    @property
    def noun(self) -> str:
        """What several samples are."""
        return "numbers" if self.spec.shape == (1,) else _NOUNS[self.spec.kind]

    @property
    def title(self) -> str:
        """The heading; Markdown."""
        name = _prose(self.config.architecture.name)
        return f"{name} trained on {self.data.title}" if self.data.name else f"{name} generator"

    @property
    def steps(self) -> int | None:
        """Iterations of the training."""
        steps = self.training.get("steps")
        return steps if type(steps) is int and steps >= 0 else self.record.steps

    @property
    def loss(self) -> tuple[str, type[Component] | None]:
        """Name of the loss, empty if not recorded, and its class, if it is at hand."""
        given = self.training.get("loss")
        options = {"name": given} if isinstance(given, str) else _mapping(given)
        return _word(options.get("name")), _component(losses.registry, options)


def _record(path: Path) -> _Training:
    content = _read(path)
    try:
        if content is None:
            return _Training()
        # The command is cleaned word by word, when its quotes have been taken off.
        return _Training(**{**_public(content), "command": content.get("command")})
    except ConfigError as error:
        raise _useless(path, error) from None


def _scores(path: Path) -> dict[str, _Score]:
    found = {}
    for name, entry in (_read(path) or {}).items():
        try:
            if not bundle.SCORED.fullmatch(name):
                raise ConfigError(f"a score cannot be called {name!r:.120}")
            if not isinstance(entry, dict):
                raise ConfigError(f"the score '{name}' is no mapping with 'value' and 'protocol'")
            found[name] = _Score(**_public(entry))
        except ConfigError as error:
            raise _useless(path, error) from None
    return found


def _read(path: Path) -> dict[str, Any] | None:
    """The mapping in a JSON file; None where there is no file."""
    try:
        value = bounded_json.read(path, largest=_LARGEST)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _useless(path, error) from None
    if not isinstance(value, dict):
        raise _useless(path, ConfigError("it is no mapping"))
    return value


def _useless(path: Path, error: Exception) -> BundleError:
    reason = str(error).rstrip(".")
    return BundleError(
        f"{path} cannot be used for the card ({reason}). Remove it, or copy the folder again."
    )


def _parameters(folder: Path, config: BundleConfig) -> int | None:
    """Numbers that were trained, counted without allocating them."""
    import torch

    from ganzoo.core.nets import build_on_meta

    try:
        with torch.random.fork_rng(devices=[]):  # a plug-in's nets may draw random numbers
            plan = build_on_meta(
                lambda: config.architecture.generator(config.sample, config.latent)
            )
    except GanzooError as error:
        raise BundleError(f"{folder / bundle.CONFIG} contradicts itself: {error}") from None
    except Exception as error:
        if config.architecture.provider:  # a plug-in's nets may need a real device
            return None
        raise _useless(folder / bundle.CONFIG, error) from error
    return sum(parameter.numel() for parameter in plan.parameters())


def _base(training: Mapping[str, Any]) -> str | None:
    """What a training started from, ``org/repo@commit`` where it lies on the Hub."""
    return _word(training.get("init_from")) or None


def _component(registry: Registry[Any], options: Mapping[str, Any]) -> Any:
    """The class that a saved component names; None where it is not at hand."""
    name, provider = options.get("name"), options.get("provider", "")
    if not isinstance(name, str) or not isinstance(provider, str):
        return None
    try:
        return registry.get(name, provider=provider)
    except (UnknownNameError, PluginError):
        return None


def _in_code(config: BundleConfig) -> str:
    """The module that defines an architecture which is in no package; empty if it is in one."""
    module, _, version = type(config.architecture).provider.partition(" ")
    return "" if version else module


def _summary(component: type[Component] | None) -> str:
    """First line of a component's docstring, without its full stop; plain text."""
    text = (component.__doc__ or "") if component else ""
    return _clean(text.strip().partition("\n")[0]).rstrip(". ")


def _license(name: str) -> str | None:
    """The Hub's identifier of a licence; None if it has none."""
    key = re.sub(r"-(only|or-later)$", "", name.strip().lower())
    key = _UNVERSIONED.get(key, key)
    return key if key in _LICENSES else None


def _dataset_page(repo: str) -> str:
    return f"https://huggingface.co/datasets/{repo}"


# -- front matter ---------------------------------------------------------------------------------


def _front_matter(facts: _Facts, repo_id: str | None, licensed: Mapping[str, str]) -> Any:
    from huggingface_hub import ModelCardData

    config, spec = facts.config, facts.spec
    architecture = type(config.architecture)
    name, loss = facts.loss
    tags = ["gan", config.architecture.name.rpartition(":")[2], name.rpartition(":")[2]]
    tags += ["class-conditional"] if spec.classes else []
    for component in (architecture, loss):
        papers = re.findall(_ARXIV, component.citation) if component else []
        tags += [paper.replace("arXiv", "arxiv") for paper in papers]
    pinned = _PINNED.fullmatch(facts.base or "")
    scores = list(_results(facts))
    optional: dict[str, Any] = dict(licensed)
    if scores:
        optional["eval_results"] = scores
        optional["model_name"] = (repo_id or config.architecture.name).rpartition("/")[2]
        optional["metrics"] = [score.metric_type for score in scores]
    return ModelCardData(
        library_name="ganzoo",
        # For images whose class is asked for as well: the Hub has no other tag for them.
        pipeline_tag="unconditional-image-generation" if spec.kind == "image" else None,
        tags=[tag for tag in tags if _TAG.fullmatch(tag) or tag.startswith("arxiv:")],
        datasets=[facts.data.hub] if facts.data.hub else None,
        base_model=pinned[1] if pinned else None,
        **optional,
    )


def _licensed(facts: _Facts, given: str | None) -> dict[str, str]:
    """The licence of the weights as entries of the front matter; empty if there is none."""
    if given is None:
        # Weights that came from elsewhere are not free because these data are.
        elsewhere = facts.base is not None or facts.copied
        known = None if elsewhere else _license(facts.data.license)
        return {"license": known} if known else {}
    if known := _license(given):
        return {"license": known}
    name = re.sub(r"[^a-z0-9.]+", "-", given.lower()).strip("-")
    if not name:
        raise ConfigError(f"{given!r} is no licence: give an SPDX identifier, such as MIT.")
    return {"license": "other", "license_name": name}


def _results(facts: _Facts) -> Iterator[EvalResult]:
    from huggingface_hub import EvalResult

    data, image = facts.data, facts.spec.kind == "image"
    for name, score in facts.scores.items():
        called, which, split = data.hub or data.name or "unknown", data.options, ""
        if against := _samples_of(score.reals):
            called, which = against, score.reals
        else:  # it was compared with nothing, or nothing says with what
            split = _word(score.protocol.get("split"))
        yield EvalResult(
            task_type="unconditional-image-generation" if image else "other",
            dataset_type=called,
            dataset_name=called,
            dataset_config=_word(which.get("subset")) or None,
            dataset_split=split or _word(which.get("split")) or None,
            dataset_revision=_word(which.get("revision")) or None,
            metric_type=name,
            metric_value=_whole(score.value),
            metric_args=_arguments(score.protocol),
        )


def _arguments(protocol: Mapping[str, Any]) -> dict[str, Any] | None:
    """A protocol, unless it is too long for a card; ``metrics.json`` has it anyway."""
    short = protocol and len(json.dumps(protocol)) <= _LONGEST_ARGUMENTS
    return dict(protocol) if short else None


def _samples_of(side: Mapping[str, Any]) -> str:
    """What to call the samples of a protocol; plain text, empty where it does not say.

    What is not the same for everybody, such as a folder, is told apart by the hash of its samples.
    """
    name, digest = _word(side.get("dataset")), _word(side.get("sha256"))
    if repo := _on_hub(name, side):
        return repo
    return f"{name}-{digest[:_HASH_SHOWN]}" if name and digest and not _fixed(name) else name


def _fixed(name: str) -> bool:
    """Whether a dataset of this name has the same samples for everybody."""
    component = _component(datasets.registry, {"name": name})
    return component is not None and name not in _OWN and "path" not in component.model_fields


def _on_hub(name: str, options: Mapping[str, Any]) -> str:
    """Name on the Hub of a dataset; empty if it is not from there."""
    repo = _word(options.get("repo")) if name == "huggingface" else ""
    return repo if "/" in repo and _REPO.fullmatch(repo) else ""


# -- the body -------------------------------------------------------------------------------------


def _picture(folder: Path, file: str, text: str) -> str:
    return f"![{text}]({file})" if (folder / file).is_file() else ""


def _introduction(facts: _Facts) -> str:
    config, spec = facts.config, facts.spec
    architecture = config.architecture
    sentences = [f"This generator turns {_latent(config.latent)} into {_sample(spec)}."]
    if spec.classes:
        sentences.append(f"It is told which of {len(spec.classes):,} classes to make.")
    count = "" if facts.parameters is None else f", with {facts.parameters:,} parameters"
    about = _described(architecture.name, _summary(type(architecture)))
    sentences.append(f"Its architecture is {about}{count}.")
    if config.preprocessing is not None and (
        notice := config.preprocessing.notice(architecture.name)
    ):
        sentences.append(_prose(notice))
    if recipe := _recipe(facts):
        summary = recipes.summary(recipe).rstrip(".")
        sentences.append(f"It follows the recipe {_described(recipe, summary)}.")
    name, loss = facts.loss
    if name:
        trained = f"It was trained with the loss {_described(name, _summary(loss))}"
        if facts.steps is not None:
            trained += f" for {_count(facts.steps, 'step')}"
        if facts.record.images is not None:
            trained += f" and saw {facts.record.images:,} real {facts.noun}, counting repeats"
        sentences.append(f"{trained}.")
    decay = facts.training.get("ema_decay")
    if type(decay) is float and 0 < decay < 1:
        sentences.append(f"Its weights are a moving average over the training, decay {decay:g}.")
    elif type(decay) in (int, float) and not decay:
        sentences.append("Its weights are the last ones of the training, not averaged.")
    if facts.base:
        sentences.append(f"It was fine-tuned from the weights of {_model(facts.base)}.")
    if config.origin is not None and facts.copied:
        source = f"{config.origin.repo_id}@{config.origin.revision}"
        sentences.append(f"It is a copy of {_model(source)}.")
    return " ".join(sentences)


def _model(source: str) -> str:
    """A link to a commit on the Hub; what is none stays a name."""
    pinned = _PINNED.fullmatch(source)
    if pinned is None:
        return _code(source)
    return f"[{_prose(pinned[1])}](https://huggingface.co/{pinned[1]}/tree/{pinned[2]})"


def _recipe(facts: _Facts) -> str:
    """The recipe that was followed; empty if none, or if another system came of it."""
    name = _word(facts.training.get("recipe"))
    if name not in recipes.names():
        return ""
    theirs = recipes.get(name).settings
    mine = {
        "arch": facts.config.architecture.name,
        "dataset": facts.data.name,
        "loss": facts.loss[0],
    }
    return name if all(theirs[key]["name"] == mine[key] for key in mine) else ""


def _usage(facts: _Facts, repo_id: str | None, revision: str | None) -> Iterator[str]:
    spec, where = facts.spec, repo_id or "."
    pin = f", revision={_quoted(revision)}" if repo_id and revision else ""
    command = f"{repo_id}@{revision}" if repo_id and revision else where
    use = "samples = generator.sample(64, seed=0)"
    if spec.kind == "image":
        use = 'generator.grid(64, seed=0).save("grid.png")'
    provider = type(facts.config.architecture).provider
    package, _, version = provider.partition(" ")
    needed = [*(["ganzoo"] if _ON_PYPI else []), *([package] if version else [])]
    module = _in_code(facts.config)
    yield "## Use"
    if version:
        yield f"The architecture is part of the plug-in {_code(provider)}, which it needs."
    elif module == "__main__":
        yield (
            "The architecture was defined in a script or notebook and is in no package: only who "
            "has that code can load the generator."
        )
    elif module:
        yield (
            f"The architecture was defined in the Python module {_code(module)} and is in no "
            f"package: import that module first."
        )
    if not _ON_PYPI:
        yield (
            f"It needs ganzoo, whose version {_prose(_public(facts.config.library_version))} wrote "
            f"it. That is not on PyPI yet, where another project has the name: install it from its "
            f"source."
        )
    if needed:
        yield _fence(f"pip install {shlex.join(needed)}", "bash")
    if module != "__main__":
        if repo_id is None:
            yield "In this folder:"
        yield _fence(
            "from ganzoo import Generator\n"
            f"generator = Generator.from_pretrained({_quoted(where)}{pin})\n"
            f"{use}",
            "python",
        )
    if not module:
        yield "Or on the command line:"
        yield _fence(f"ganzoo sample {shlex.quote(command)}", "bash")
    shape = ", ".join(str(axis) for axis in spec.shape)
    sentences = [
        f"`generator.sample(64, seed=0)` returns a float32 tensor of shape (64, {shape})"
        f"{_range(spec)}; the same seed gives the same {facts.noun}."
    ]
    if spec.classes:
        sentences.append(
            "With `labels=` one class is asked for, or one for each sample; without, classes are "
            "drawn at random."
        )
    half = facts.config.half
    if half is not None:
        width = "the samples' own range" if spec.value_range is None else "their value range"
        sentences.append(
            f"Its weights are stored in half precision, which changes samples by "
            f"{_percent(half.mean)} of {width} on average and by {_percent(half.largest)} at most."
        )
    yield " ".join(sentences)
    if bundle.DISCRIMINATOR in facts.config.weights and not module:
        yield (
            "The discriminator is here too, so that training can go on from both, on these or "
            "other data:"
        )
        yield _fence(f"ganzoo train --init-from {shlex.quote(command)} --dataset DATA", "bash")


def _score_section(facts: _Facts) -> Iterator[str]:
    yield "## Scores"
    if not facts.scores:
        yield f"Not scored: how good and how varied its {facts.noun} are has not been measured."
        return
    yield "\n".join(
        [
            "| Score | Value | Measured with |",
            "| --- | --- | --- |",
            *(
                f"| {_prose(name)} | {_value(score)} | {_prose(measured(score.protocol))} |"
                for name, score in facts.scores.items()
            ),
        ]
    )
    told = dict.fromkeys(notice for score in facts.scores.values() for notice in score.notices)
    yield "\n".join(f"- {_prose(notice)}" for notice in list(told)[:_NOTICES_SHOWN])


def _value(score: _Score) -> str:
    error = "" if score.error is None else f" ± {score.error:.2g}"
    return f"{_number(score.value)}{error}"


def measured(protocol: Mapping[str, Any]) -> str:
    """Return a score's protocol in words: plain text, of what decides most first.

    What is not of the form that ``ganzoo.evaluate`` writes is given as it is. What is longer than
    any that it writes is cut.
    """
    parts = {
        key: _mapping(protocol.get(key))
        for key in ("fakes", "reals", "extractor", "options", "measured", "samples", "beside")
    }
    words = []
    if fakes := parts["fakes"]:
        words.append(_generated(fakes))
    if reals := parts["reals"]:
        words.append(f"against {_of_data(reals, 'real')}")
    if extractor := parts["extractor"]:
        words.append(_seen_by(extractor))
    if options := parts["options"]:
        told = (_option(key, value) for key, value in options.items())
        words.append(f"options: {', '.join(told)}")
    words += (_option(key, value) for key, value in parts["measured"].items())
    words += map(_shown, parts["samples"].values())
    if beside := parts["beside"]:  # the score itself does not depend on them
        words.append(f"beside {_of_data(beside, 'real')}")
    words += [
        f"{key.replace('_', ' ')}: {_shown(value)}"
        for key, value in protocol.items()
        if key not in ("metric", "versions") and value != {} and not parts.get(key)
    ]
    text = "; ".join(words) or "protocol not recorded"
    if len(text) > _LONGEST_PROTOCOL:
        return f"{text[:_LONGEST_PROTOCOL]} (cut; {bundle.METRICS} has all of it)"
    return text


def _option(key: str, value: Any) -> str:
    text = str(value) if key == "seed" and type(value) is int else _shown(value)
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{16,64}", value):
        text = value[:_HASH_SHOWN]
    return f"{key.replace('_', ' ')} {text}"


def _generated(fakes: Mapping[str, Any]) -> str:
    if fakes.get("source") != "generator":
        return _of_data(fakes, "given")
    count = fakes.get("count")
    words = [f"{_shown(count)} generated samples" if count is not None else "the generator itself"]
    if (averaged := fakes.get("averaged")) is not None:
        words.append("averaged weights" if averaged is True else "weights not averaged")
    if labels := _word(fakes.get("labels")):
        words.append({"data": "classes as in the data"}.get(labels, f"classes {labels}"))
    if "seed" in fakes:
        words.append(_option("seed", fakes["seed"]))
    return ", ".join(words)


def _of_data(side: Mapping[str, Any], what: str) -> str:
    words = [f"{_shown(side.get('count'))} {what} samples of {_samples_of(side) or 'none'}"]
    for key in ("subset", "revision", "split"):
        if told := _word(side.get(key)):
            words.append(_option(key, told))
    return ", ".join(words)


def _seen_by(extractor: Mapping[str, Any]) -> str:
    inside = []
    if learnt := _word(extractor.get("dataset")):
        inside.append(f"of {learnt}")
    if preset := _word(extractor.get("preset")):
        inside.append(f"preset {preset}")
    if weights := _word(extractor.get("weights")):
        inside.append(_option("weights", weights))
    told = f" ({', '.join(inside)})" if inside else ""
    precision = _word(extractor.get("precision"))
    return (
        f"features of {_shown(extractor.get('extractor'))}{told}"
        f"{f' in {precision}' if precision else ''}"
    )


def _training(facts: _Facts, curves: str) -> Iterator[str]:
    data, training, record = facts.data, facts.training, facts.record
    yield "## Training"
    if not training:
        yield "Nothing is recorded of it."
        return
    if set(training) == {"converted_from"}:
        source = _mapping(training["converted_from"])
        file, digest = (_word(source.get(key)) for key in ("file", "sha256"))
        named = f" {_code(file)}" if file else ""
        hashed = f" (SHA-256 {_code(digest)})" if digest else ""
        yield (
            f"Its weights were converted from the file{named}{hashed} of another program; nothing "
            f"else is recorded of it."
        )
        return
    lines = []
    if data.name:
        about = f". {_prose(data.summary)}" if data.summary else ""
        split = _word(data.options.get("split"))
        lines.append(f"Data: {data.linked}{f', split {_code(split)}' if split else ''}{about}")
    if (recipe := _word(training.get("recipe"))) and not _recipe(facts):
        lines.append(f"Recipe: {_code(recipe)}, with other parts")
    if facts.steps is not None:
        size = training.get("batch_size")
        batches = f", batches of {size:,} {facts.noun}" if type(size) is int else ""
        lines.append(f"Length: {_count(facts.steps, 'step')}{batches}")
    lines += _machine(record.environment, _word(training.get("precision")))
    yield "\n".join(f"- {line}" for line in lines)
    if record.command and _repeats(record.command):
        yield "This command repeats it:"
        yield _fence(_wrapped(record.command), "bash")
        if data.place:
            yield f"{_code(data.place)} stands for the data, which are not part of this repository."
    else:
        yield "No command line repeats it; these are the settings."
    yield curves
    yield "<details>\n<summary>All settings</summary>"
    yield _settings(facts.settings)
    yield "</details>"
    if others := _other_plugins(facts.settings):
        yield f"Training it again needs, besides: {', '.join(map(_code, others))}."


def _machine(environment: Mapping[str, Any], precision: str) -> Iterator[str]:
    device, name = (_word(environment.get(key)) for key in ("device", "device_name"))
    if device:
        called = f" ({_prose(name)})" if name else ""
        precision = _word(environment.get("precision")) or precision
        computed = f", computed in {_prose(precision)}" if precision else ""
        yield f"Device: {_prose(device)}{called}{computed}"
    versions = [
        f"{title} {_prose(version)}"
        for key, title in (("ganzoo", "ganzoo"), ("torch", "PyTorch"), ("python", "Python"))
        if (version := _word(environment.get(key)))
    ]
    if versions:
        yield f"Software: {', '.join(versions)}"


def _settings(settings: Mapping[str, Any]) -> str:
    import yaml

    if len(json.dumps(settings)) > _LONGEST_SETTINGS:
        return (
            f"They are too many to be shown; `{bundle.CONFIG}` and `{bundle.TRAINING}` have them."
        )
    text = yaml.safe_dump(
        settings, sort_keys=False, default_flow_style=None, allow_unicode=True, width=_COMMAND_WIDTH
    )
    return _fence(text.strip(), "yaml")


def _other_plugins(settings: Mapping[str, Any]) -> list[str]:
    """Who provides components of the training, apart from the architecture."""
    parts = [value for key, value in settings.items() if key != "arch" and isinstance(value, dict)]
    return sorted({_word(part.get("provider")) for part in parts} - {""})


def _limits(facts: _Facts, licensed: Mapping[str, str]) -> Iterator[str]:
    data, spec, noun = facts.data, facts.spec, facts.noun
    drawn = hasattr(data.component, "mixture")  # points of a distribution of ours
    lines = []
    if not data.name:
        lines.append("It is not recorded what data it was trained on, nor under which licence.")
    elif data.license:
        lines.append(f"It was trained on {data.linked}, whose licence is {_prose(data.license)}.")
    elif data.hub:
        lines.append(f"It was trained on {data.linked}; the licence of the data is stated there.")
    else:
        lines.append(f"It was trained on {data.linked}. The licence of the data is not known.")
    if licensed:
        name = licensed.get("license_name") or licensed["license"]
        same = ", as those data are" if name == _license(data.license) else ""
        lines.append(f"Its weights are under the licence {_prose(name)}{same}.")
    else:
        lines.append("No licence is stated for its weights.")
    lines.append(
        f"It makes {noun} like those in its data and nothing else. What is rare there is rarer "
        f"here or missing, and what is one-sided there is one-sided here."
    )
    if not spec.classes and spec.kind != "vector":
        lines.append("It was trained without labels and cannot be asked for a certain class.")
    elif spec.classes:
        names = ", ".join(_code(name) for name in spec.classes[:_CLASSES_SHOWN])
        rest = len(spec.classes) - _CLASSES_SHOWN
        more = f" and {rest:,} more" if rest > 0 else ""
        lines.append(f"It knows these classes and no other: {names}{more}.")
    if spec.kind == "image":
        lines.append(
            f"Its images are {spec.size[0]}x{spec.size[1]}; enlarging them adds no detail."
        )
    if drawn:
        lines.append(
            "It is for learning and testing: its data are drawn from a known distribution."
        )
    else:
        lines.append(_repeating(facts))
        lines.append(
            f"Its {noun} record nothing real: they are no evidence, and whoever passes them on "
            f"should say that they are generated."
        )
    yield "## Data and limits"
    yield "\n".join(f"- {line}" for line in lines)


def _repeating(facts: _Facts) -> str:
    """What is known of whether it repeats its data; Markdown."""
    data, noun, score = facts.data, facts.noun, facts.scores.get(_NEIGHBOURS)
    begun = f"Whether it repeats {noun} of its data"
    if score is None or not data.name:
        return f"{begun} was not tested."
    # Those of another split tell nothing of those that it has seen.
    if _which(score.reals, "dataset") != _which(data.options, "name"):
        return f"{begun} was not tested."
    count = score.reals.get("count")
    some = f"{count:,}" if type(count) is int else "some"
    found = (
        f"the median distance from a generated one to the nearest of these is "
        f"{score.value:.3g} times that between neighbours among these (0 would be copies)"
    )
    share = score.extra.get("authenticity")
    if isinstance(share, float) and 0 <= share <= 1:
        found += (
            f", and {share:.0%} of the generated ones are farther from it than it is from its own "
            f"neighbour"
        )
    if data.hub or _fixed(data.name):
        return f"{begun} was tested with {some} of them: {found}."
    return (
        f"{begun} is not known. It was compared with {some} of "
        f"{_prose(_samples_of(score.reals))}, which may be its data or not: {found}."
    )


def _which(options: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Which samples of which dataset something means."""
    return tuple(_word(options.get(key)) for key in (name, *SUBSET_FIELDS))


def _citations(facts: _Facts) -> Iterator[str]:
    parts: dict[str, list[str]] = {}
    sources = (
        ("Architecture", type(facts.config.architecture)),
        ("Loss", facts.loss[1]),
        ("Data", facts.data.component),
    )
    for title, component in sources:
        if component is not None and component.citation:
            parts.setdefault(component.citation, []).append(title)
    if parts:
        yield "## Citation"
        yield "\n".join(
            f"- {' and '.join(titles).capitalize()}: {_cited(text)}"
            for text, titles in parts.items()
        )


def _cited(text: str) -> str:
    """A citation as Markdown, its papers and pages linked."""
    parts = _LINKED.split(_clean(text))
    return "".join(
        _link(part) if index % 2 else _prose(part, stripped=False)
        for index, part in enumerate(parts)
    )


def _link(source: str) -> str:
    kind, _, identifier = source.partition(":")
    places = {"arXiv": "https://arxiv.org/abs/", "doi": "https://doi.org/"}
    return f"[{_prose(source)}]({places[kind]}{identifier})" if kind in places else f"<{source}>"


# -- phrases --------------------------------------------------------------------------------------


def _latent(latent: LatentSpec) -> str:
    if len(latent.shape) > 1:
        what = f"a {'x'.join(map(str, latent.shape))} map of random numbers"
    else:
        what = "one random number" if latent.numel == 1 else f"{latent.numel:,} random numbers"
    if latent.distribution == "uniform":
        return f"{what} from U({latent.low:g}, {latent.high:g})"
    within = f", within ±{latent.truncation:g}" if latent.distribution == "truncated" else ""
    return f"{what} from N(0, 1){within}"


def _sample(spec: SampleSpec) -> str:
    if spec.kind == "image":
        article = "an" if re.match(r"8|1[18]x", str(spec)) else "a"
        return f"{article} {spec}"
    if spec.kind == "audio":
        return f"a clip of {spec.shape[1]:,} audio samples in {_count(spec.shape[0], 'channel')}"
    if spec.kind == "sequence":
        return f"a sequence of {spec.shape[1]:,} symbols out of {spec.shape[0]:,}"
    return "one number" if spec.numel == 1 else f"a point of {spec.numel:,} numbers"


def _range(spec: SampleSpec) -> str:
    ends = spec.value_range
    return "" if ends is None else f" with values in [{ends[0]:g}, {ends[1]:g}]"


def _described(name: str, summary: str) -> str:
    """A component by name with its one line in brackets; Markdown."""
    first = summary.partition(" ")[0]
    if first[1:].islower() and first.lower() not in name:  # else it may be a proper name
        summary = summary[0].lower() + summary[1:]
    return f"{_code(name)} ({_prose(summary)})" if summary else _code(name)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%"


def _whole(value: float) -> int | float:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _number(value: float) -> str:
    whole = value if isinstance(value, int) else _whole(value)
    return f"{whole:,}" if isinstance(whole, int) else f"{whole:.5g}"


def _shown(value: Any) -> str:
    """A value of a protocol as plain text."""
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if type(value) in (int, float):
        return _number(value)
    return {True: "yes", False: "no", None: "none"}.get(value, str(value))


def _repeats(command: str) -> bool:
    """Whether a command from a file is one of ``ganzoo train`` and does nothing besides.

    It is if it is quoted as ``shlex.join`` does, which leaves nothing that a shell would act on.
    """
    if len(command) > _LONGEST_COMMAND or not command.isprintable():
        return False
    try:
        words = shlex.split(command)
    except ValueError:  # quotes without an end
        return False
    return words[:2] == ["ganzoo", "train"] and command == shlex.join(words)


def _wrapped(command: str) -> str:
    """A command over several lines, broken before its options."""
    words = shlex.split(command)
    options: list[list[str]] = [[]]
    for before, word in zip(["", *words], words, strict=False):
        if word.startswith("--"):
            options.append([])
        secret = before.startswith("--") and _SECRET_KEY.fullmatch(before.rpartition(".")[2])
        options[-1].append(shlex.quote(_HIDDEN if secret else _public(word)))
    lines = [" ".join(options[0])]
    for option in map(" ".join, options[1:]):
        if len(lines[-1]) + len(option) < _COMMAND_WIDTH:
            lines[-1] += f" {option}"
        else:
            lines.append(f"  {option}")
    return " \\\n".join(lines)


# -- escaping -------------------------------------------------------------------------------------

_PLACE = re.compile(r"~?[/\\]|~$|[A-Za-z]:[/\\]")
_PLACES = re.compile(r"(?<![\w.:/\\~])(?:~?/|[A-Za-z]:[/\\]|\\\\)(?:[^\s'\"`,;:/\\]+[/\\])+")
_SECRET_KEY = re.compile(r"(?:.*[_-])?(?:token|password|passwd|secret|api_?key|credentials?)", re.I)
_SECRETS = re.compile(r"\bhf_\w{8,}|(?<=://)[^/\s@]+@")
_HIDDEN = "(left out)"
_SPECIAL = re.compile(r"[\\`*\[\]<|~$]|&(?=[#\w]+;)|(?<![^\W_])_|_(?![^\W_])")
_LINKABLE = re.compile(
    r"((?:[A-Za-z][\w+.-]*://|\bwww\.|(?<!\w)@\w)[^\s|`]*|[\w.+-]+@[\w-]+\.[^\s|`]*)"
)
_UNSHOWN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, surrogates, separators of lines
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def _public(value: Any, depth: int = 0) -> Any:
    """A value of a file without places of a machine, secrets, and what cannot be shown."""
    if isinstance(value, str):
        return _without_places(_SECRETS.sub(_HIDDEN, _clean(value)))
    if depth >= _DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        return {
            str(_public(key)): _HIDDEN
            if isinstance(item, str) and _SECRET_KEY.fullmatch(key)
            else _public(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_public(item, depth + 1) for item in value]
    return value


def _without_places(text: str) -> str:
    if not _PLACE.match(text):
        return _PLACES.sub("", text)
    windows = "\\" in text and "/" not in text
    return (PureWindowsPath if windows else PurePosixPath)(text).name


def _clean(text: str) -> str:
    """One line without control characters, and of bearable length."""
    text = text[: 2 * _LONGEST_TEXT]
    if not text.isprintable():
        text = "".join(
            "" if sign in _BIDI else " " if unicodedata.category(sign) in _UNSHOWN else sign
            for sign in text
        )
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_TEXT else f"{line[:_LONGEST_TEXT]}..."


def _word(value: Any) -> str:
    """A string of a file; empty if it is none."""
    return _public(value) if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _prose(text: str, *, stripped: bool = True) -> str:
    """Plain text as Markdown, in which nothing of it has a meaning.

    What many make a link or a mention of without being asked, however it is escaped, is code.
    """
    parts = _LINKABLE.split(_clean(text) if stripped else text)
    return "".join(
        _code(part) if index % 2 else _SPECIAL.sub(r"\\\g<0>", part)
        for index, part in enumerate(parts)
    )


def _code(text: str) -> str:
    """Plain text as Markdown code inside a line."""
    text = _clean(text) or " "
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{room}{text}{room}{ticks}"


def _fence(text: str, language: str) -> str:
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{ticks}{language}\n{text}\n{ticks}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
