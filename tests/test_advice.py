"""Advice works: whatever a message names exists, and doing what it says helps.

The messages themselves are read from the source here; `advice_followed` meets them in use.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import importlib
import inspect
import io
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import ganzoo
from ganzoo import recipes
from ganzoo.cli import app, main
from ganzoo.config import COMPONENTS, TrainConfig, flag_of
from ganzoo.core.component import Component
from ganzoo.core.model import Model
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import GanzooError
from ganzoo.evaluation.options import Labels
from ganzoo.generators import generator

ROOT = Path(__file__).parents[1]
SOURCE = Path(ganzoo.__file__).parent
HOLE = "\N{OBJECT REPLACEMENT CHARACTER}"  # where an f-string puts a value

KINDS = ("architectures", "datasets", "features", "losses", "metrics", "optimizers", "schedules")
KINDS += ("trackers",)

# Of other programs, which a message may name all the same.
ELSEWHERE = {
    "HF_TOKEN",  # these five are read by the Hub's client
    "HF_HOME",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "TMPDIR",  # by Python
    "img_align_celeba",  # the archive of CelebA
    "image_size",
    "__main__",
    "save_to_disk",  # of the package datasets
    "local_files_only",  # of from_pretrained, handed through
    "force_download",
    "state_dict",
    "deepcopy",
    "model_config",  # of pydantic
    "file_name",  # the column of a metadata.csv, by Hugging Face's convention
    "gradient_penalty",  # an example of a name that an author gives
}


# -- messages ---------------------------------------------------------------------------------


def text_of(node: ast.AST) -> str | None:
    """What a string says, with holes where values are put; None if it is no string."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) else _nested(part) for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [text_of(side) for side in (node.left, node.right)]
        return None if parts == [None, None] else HOLE.join(part or "" for part in parts)
    return None


def _nested(part: ast.expr) -> str:
    """A hole; a choice between strings inside of it is read on its own."""
    return HOLE


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each string of a module that is more than a word, but docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)
    }  # and strings below fields
    inner: set[int] = set()
    for node in ast.walk(tree):
        if id(node) in documentation or id(node) in inner:
            continue
        text = text_of(node)
        if text is None:
            continue
        for below in ast.walk(node):
            if below is not node and not isinstance(below, ast.JoinedStr):
                inner.add(id(below))
        for hole in ast.walk(node):  # what may be put into a hole is a message too
            if isinstance(hole, ast.FormattedValue):
                for below in ast.walk(hole):
                    inner.discard(id(below))
        if " " in text.strip() and "SELECT" not in text:
            yield getattr(node, "lineno", 0), text


EVERY = [
    (path.relative_to(SOURCE), line, text)
    for path in sorted(SOURCE.rglob("*.py"))
    for line, text in messages(path)
]


# -- what there is ----------------------------------------------------------------------------


@functools.cache
def components() -> list[type[Component]]:
    return [
        registry.get(entry.name)
        for kind in KINDS
        for registry in [importlib.import_module(f"ganzoo.{kind}").registry]
        for entry in registry.entries()
        if entry.distribution == "ganzoo"
    ]


@functools.cache
def shown(*tokens: str) -> str:
    """What a command's help says."""
    with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit):
        main([*tokens, "--help"])
        raise SystemExit
    return out.getvalue()


COMMANDS = sorted(name for name in app if not name.startswith("-"))


@functools.cache
def flags(command: str) -> frozenset[str]:
    """The options of a command, with those of all components it may take."""
    lines = [shown(command)]
    found = set(re.findall(r"--[a-z][a-z0-9.-]*", "\n".join(lines)))
    if command in ("train", "convert"):
        found |= {flag_of(name) for name in TrainConfig.model_fields}
        for setting, registry in COMPONENTS.items():
            for name in registry.names():
                for option in registry.get(name).model_fields:
                    found |= {flag_of(setting, option), flag_of(setting, f"no-{option}")}
    return frozenset(found | {"--help"})


@functools.cache
def names() -> frozenset[str]:
    """What may be said in Python: settings, options, and names of the source and of torch."""
    found = set(TrainConfig.model_fields) | set(LatentSpec.model_fields)
    found |= set(SampleSpec.model_fields)
    for component in components():
        found |= set(component.model_fields)
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                arguments = node.args
                every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
                found |= {node.name, *(argument.arg for argument in every)}
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)  # fields of classes, class variables
    import torch

    found |= {*dir(torch), *dir(torch.Tensor), *dir(torch.nn.Module), *dir(builtins)}
    found |= {*dir(torch.nn.utils)}
    return frozenset(found)


@functools.cache
def reading() -> frozenset[str]:
    """Environment variables that the source reads."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    return frozenset(re.findall(r'"(GANZOO_[A-Z0-9_]+)"', text))


@functools.cache
def extras() -> frozenset[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return frozenset(project["optional-dependencies"])


# -- what a message names ---------------------------------------------------------------------


def unknown(text: str) -> list[str]:
    """What a message names and there is not."""
    wrong: list[str] = []
    wrong += [
        f"ganzoo[{x}]" for x in re.findall(r"ganzoo\[([a-z0-9-]+)\]", text) if x not in extras()
    ]
    text = re.sub(r"pip install[^;.]*|hf auth \w+|https?://\S+", "", text)
    wrong += [
        name
        for name in re.findall(r"\b(?:GANZOO|HF)_[A-Z0-9_]+", text)
        if name not in reading() | ELSEWHERE
    ]
    for command, rest in re.findall(r"(?<![\w/])ganzoo ([a-z]+(?:-[a-z]+)*)\b([^'`]*)", text):
        if command in COMMANDS:
            # Holes may be options' values, and the rest of the sentence follows the command.
            said = re.findall(r"(?<![\w-])--[a-z][a-z0-9.-]*[a-z0-9]", rest.partition(". ")[0])
            wrong += [f"ganzoo {command} {flag}" for flag in said if flag not in flags(command)]
        elif re.search(rf"['`]ganzoo {command}|: ganzoo {command}", text):
            wrong.append(f"ganzoo {command}")
    wrong += [
        flag
        for flag in re.findall(rf"(?<![\w{HOLE}-])--[a-z][a-z0-9.-]*[a-z0-9](?![{HOLE}\w])", text)
        if not any(flag in flags(command) for command in COMMANDS) and f"{flag}{HOLE}" not in text
    ]
    wrong += [
        word
        for word in re.findall(
            rf"(?<![\w.{HOLE}/-])[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?![\w{HOLE}.-])", text
        )
        if word not in names() | ELSEWHERE and not (SOURCE / f"{word}.py").exists()
    ]
    wrong += [
        f"{path}" for path in re.findall(r"\bdocs/[\w/.-]+\.md", text) if not (ROOT / path).exists()
    ]
    wrong += list(_calls(text))
    wrong += [f"{name}={value}" for name, value in _values(text) if not accepted(name, value)]
    return wrong


def _calls(text: str) -> Iterator[str]:
    """Calls of ganzoo's own that do not exist or do not take what they are said to take."""
    for dotted, inside in re.findall(r"\b((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)\(([^()]*)\)", text):
        owner = _object(dotted)
        if owner is None:
            first = dotted.partition(".")[0]
            if "." in dotted and (first[0].isupper() or first == "ganzoo") and _object(first):
                yield f"{dotted}()"
            continue
        keywords = re.findall(r"\b([a-z_]+)=", inside)
        with contextlib.suppress(TypeError, ValueError):
            taken = inspect.signature(owner).parameters
            anything = any(each.kind is each.VAR_KEYWORD for each in taken.values())
            yield from (f"{dotted}({k}=)" for k in keywords if k not in taken and not anything)


def _object(dotted: str) -> Any:
    """What a dotted name of ganzoo is; None if there is none, or it is of others."""
    parts = dotted.split(".")
    if parts[0] == "ganzoo":
        for cut in range(len(parts), 0, -1):
            with contextlib.suppress(ImportError, AttributeError):
                module = importlib.import_module(".".join(parts[:cut]))
                return functools.reduce(getattr, parts[cut:], module)
        return None
    from ganzoo import datasets
    from ganzoo.training import trainer

    start = {
        "Trainer": trainer.Trainer,
        "InMemoryDataset": datasets.InMemoryDataset,
        "Generator": generator.Generator,
        "Samples": datasets.Samples,
        "SampleSpec": SampleSpec,
        "save_pretrained": generator.Generator.save_pretrained,
        "from_pretrained": generator.Generator.from_pretrained,
    }.get(parts[0])
    for part in parts[1:]:
        start = getattr(start, part, None)
    return start


def _values(text: str) -> Iterator[tuple[str, Any]]:
    """Settings and options with the values that are advised, as far as they are written out."""
    text = re.sub(r"\w+\([^()]*\)", "", text)  # calls are looked at by themselves
    for name, value in re.findall(r"\b([a-z_]+)=('[^']*'|[\d.]+\b|True|False|None)", text):
        if HOLE not in value:
            yield name, ast.literal_eval(value.rstrip("."))


def accepted(name: str, value: Any) -> bool:
    """Whether a setting or option of this name takes the value, wherever there is one."""
    owners = [
        x for x in (TrainConfig, LatentSpec, SampleSpec, *components()) if name in x.model_fields
    ]
    if name == "labels" and value in get_args(Labels):  # of evaluate
        return True
    return not owners or any(_takes(owner, name, value) for owner in owners)


def _takes(owner: type[Model], name: str, value: Any) -> bool:
    from pydantic import TypeAdapter, ValidationError

    if owner is TrainConfig and name in ("device",):
        from ganzoo.core.device import pick_device

        with contextlib.suppress(GanzooError):
            return pick_device(value) is not None
        return False
    field = owner.model_fields[name]
    try:
        TypeAdapter(field.annotation).validate_python(value)
    except (ValidationError, GanzooError):
        return False
    except Exception:  # an annotation that only its class can build
        return True
    return True


# -- the tests --------------------------------------------------------------------------------


def test_there_are_messages():
    assert len(EVERY) > 900
    assert len({path for path, _, _ in EVERY}) > 80


def test_whatever_messages_name_exists():
    wrong = [
        f"{path}:{line}: {', '.join(found)} in: {text[:160]}"
        for path, line, text in EVERY
        if (found := unknown(text))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("It failed. Say it with --no-such-option.", "--no-such-option"),
        ("Choose another with --arch.no-such.", "--arch.no-such"),
        ("Set no_such_setting, or leave it out.", "no_such_setting"),
        ("'ganzoo frobnicate' does it.", "ganzoo frobnicate"),
        ("Go on with 'ganzoo resume RUN --batch-size 3'.", "ganzoo resume --batch-size"),
        ("Measure them with: ganzoo compare a b --no-flag", "ganzoo compare --no-flag"),
        ("Pass it again: Trainer.restart(run).", "Trainer.restart()"),
        ("Give it: InMemoryDataset.of(data, no_key='x').", "no_key"),
        ("Save it by ganzoo.datasets.nothing(data).", "ganzoo.datasets.nothing()"),
        (
            "Save it with save_pretrained(..., discriminators=...).",
            "save_pretrained(discriminators=)",
        ),
        ('It needs that: pip install "ganzoo[nothing]"', "ganzoo[nothing]"),
        ("Resize it (resize_mode='stretch').", "resize_mode=stretch"),
        ("Use device='tpu'.", "device=tpu"),
        ("Use precision='fp8' instead.", "precision=fp8"),
        ("Set the variable GANZOO_NOTHING to it.", "GANZOO_NOTHING"),
        ("It is told in docs/nothing.md.", "docs/nothing.md"),
    ],
)
def test_what_does_not_exist_is_found(text: str, named: str):
    assert named in unknown(text)


@pytest.mark.parametrize(
    "text",
    [
        f"Choose another --out, or 'ganzoo resume {HOLE}'.",
        "Leave key and labels_key out; InMemoryDataset.of(x, stored_range=(0, 1)) says it.",
        "Set evaluate_every, GANZOO_CACHE or HF_TOKEN.",
        'pip install "ganzoo[plots]" and pip install --upgrade pip',
        "resize_mode='pad' or resize_mode='resize', device='cpu', precision='fp32', splits=1",
        "Trainer.resume(run, dataset=...) goes on; ganzoo.datasets.InMemoryDataset.of(data)",
        "--arch.channels 16, --g-optimizer.lr 1e-4 and --no-conditional",
    ],
)
def test_what_exists_is_not_found_wrong(text: str):
    assert unknown(text) == []


def test_recipes_and_settings_that_are_named_exist():
    for name in recipes.names():
        assert recipes.get(name).settings
