"""``ganzoo evaluate``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganzoo.errors import ConfigError, DataError, GanzooError, plain
from ganzoo.files.storage import expanded

if TYPE_CHECKING:
    from ganzoo.evaluation import Score

__all__ = ["evaluate"]

Switch = Annotated[bool, Parameter(negative=())]


def evaluate(
    source: str,
    /,
    *,
    dataset: str | None = None,
    metrics: str = "fid",
    real_split: str | None = None,
    num_real: int | None = None,
    num_fake: int | None = None,
    labels: Literal["uniform", "data"] | None = None,
    per_class: Switch = False,
    preset: str | None = None,
    seed: int = 0,
    size: int | None = None,
    batch_size: int = 64,
    device: str = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    picture: str | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
    no_write: Switch = False,
    no_cache: Switch = False,
) -> None:
    """Score a generator, or a folder of pictures, against real samples.

    Args:
        source: folder of a run or of a saved generator, or what else 'ganzoo sample' takes; or
            samples: a folder of pictures, a file of arrays, the name of a dataset
        dataset: the real samples: name of a dataset, folder of pictures, file of arrays, or a
            mapping with a name and options as JSON; by default what the generator was trained on
        metrics: names of 'ganzoo list metrics' with commas between, or JSON where they have options
        real_split: part of the dataset to compare with, such as test
        num_real: how many real samples; by default all
        num_fake: how many samples of the source; by default 10,000, or all where it holds samples
        labels: classes that a conditional generator is asked for: uniform, or data, as the real
            samples have them, which is the default where they have the classes that it knows
        per_class: score each class of a conditional generator against the real samples of its name,
            and their mean; num-fake is divided among the classes
        preset: preparation for the Inception network: torch-fidelity, pytorch-fid, clean, studiogan
        seed: decides the generated samples
        size: height and width for metrics on pixels, such as swd, where the pictures have several
        batch_size: samples that are computed together
        device: auto, cpu, cuda or mps
        precision: of the features: auto, fp32 or bf16
        picture: new PNG file for the pairs that nearest-neighbours finds to be closest
        json_: print the scores with their protocols as JSON, and nothing else
        no_write: do not write metrics.json into the folder of the generator
        no_cache: compute everything of the real samples, and keep nothing of it
    """
    values = locals()
    from ganzoo import evaluation
    from ganzoo.evaluation.score import check_savable
    from ganzoo.generators import bundle

    options = {key: values[key] for key in evaluation.EvalOptions.model_fields if key in values}
    folder = None if no_write else evaluation.bundle_folder(source)
    weights = None
    if folder is not None:
        check_savable(folder)
        weights = bundle.config(folder).weights
    evaluator = evaluation.Evaluator(
        _read(source),
        None if dataset is None else _read(dataset),
        _metrics(metrics),
        evaluation.EvalOptions(**options, cache=not no_cache),
    )
    drawn = None if picture is None else expanded(picture)
    if drawn is not None:
        evaluator.check_picture(drawn)
    scores = evaluator.score()
    # What is read from a pipe may be left unread: it is saved before it is shown. What cannot be
    # saved is shown all the same.
    path: Path | None = None
    failure: Exception | None = None
    try:
        if folder is not None:
            if bundle.config(folder).weights != weights:
                raise DataError(
                    f"{folder} holds another generator now than the one that was scored: the "
                    f"training has replaced it. Evaluate again when the training is over."
                )
            path = evaluation.save(scores, folder)
        if drawn is not None:
            evaluator.draw(scores, drawn)
    except (GanzooError, OSError) as error:
        failure = error
    if json_:
        found = {name: evaluation.plain(score) for name, score in scores.items()}
        sys.stdout.write(json.dumps(found, indent=2, allow_nan=False) + "\n")
    else:
        _show(scores)
        if picture is not None and failure is None:
            _say(f"picture: {picture}")
        if path is not None:
            _say(f"scores: {path}")
    if failure is not None:
        raise failure


def _say(text: str) -> None:
    Console(soft_wrap=True, highlight=False).print(plain(text), markup=False)


def _metrics(text: str) -> list[Any]:
    """Metrics as a person writes them."""
    found = _read(text)
    if isinstance(found, str):
        return [name.strip() for name in found.split(",") if name.strip()]
    return [found] if isinstance(found, dict) else found


def _read(text: str) -> Any:
    """What is written as JSON; all else is a name or a path."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(
            f"'{text}' begins as JSON does and is none ({error}). Write it as "
            f'\'{{"name": "kid", "subsets": 50}}\'.'
        ) from None


def _show(scores: Mapping[str, Score]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    table = Table("metric", "value", "error", "", box=None, header_style="bold", pad_edge=False)
    protocols = {
        name: dict(_lines({k: v for k, v in score.protocol.items() if k != "metric"}))
        for name, score in scores.items()
    }
    for name, score in scores.items():
        error = "" if score.error is None else f"{score.error:.4g}"
        extra = (
            f"{key} {value:.5g}"
            for key, value in score.extra.items()
            if type(value) in (int, float)
        )
        table.add_row(Text(name), f"{score.value:.6g}", error, Text(", ".join(extra)))
    console.print(table)
    console.print()
    if by_class := _by_class(scores):
        console.print(by_class)
        console.print()
    first, *others = protocols.values()
    common = {
        key: value
        for key, value in first.items()
        if all(key in each and each[key] == value for each in others)
    }
    for key, value in common.items():
        console.print(f"{key}: {plain(str(value))}", markup=False)
    for name, protocol in protocols.items():
        own = (f"{key}: {value}" for key, value in protocol.items() if key not in common)
        if line := "; ".join(own):
            console.print(f"{name}: {plain(line)}", markup=False)
    notices = dict.fromkeys(notice for score in scores.values() for notice in score.notices)
    for notice in notices:
        console.print(f"note: {plain(notice)}", markup=False, style="yellow")


def _by_class(scores: Mapping[str, Score]) -> Table | None:
    """The values of each class, where scores have them: a row a class."""
    found = {name: score.extra.get("per_class") for name, score in scores.items()}
    tables = {name: values for name, values in found.items() if isinstance(values, Mapping)}
    if not tables:
        return None
    table = Table("class", *tables, box=None, header_style="bold", pad_edge=False)
    for name in next(iter(tables.values())):
        table.add_row(Text(plain(name)), *(f"{values[name]:.6g}" for values in tables.values()))
    return table


def _lines(protocol: Mapping[str, Any], lead: str = "") -> list[tuple[str, Any]]:
    """A protocol line by line."""
    lines: list[tuple[str, Any]] = []
    for key, value in protocol.items():
        if isinstance(value, Mapping):
            lines += _lines(value, f"{lead}{key} ")
        else:
            lines.append((key if lead == f"{key} " else f"{lead}{key}", value))
    return lines
