"""Whatever happens to a checkpoint or bundle on a disk or on its way: it is named, never used."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ganzoo import Generator, Trainer
from ganzoo.errors import BundleError, CheckpointError
from ganzoo.files import checkpoint
from ganzoo.generators import bundle

IMAGES = torch.randint(0, 256, (16, 1, 4, 4), generator=torch.Generator().manual_seed(0)).byte()
RUNS: dict[str, dict[str, Any]] = {
    "vectors": {"dataset": {"name": "three-gaussians", "count": 64}, "seed": 0},
    "more vectors": {"dataset": {"name": "three-gaussians", "count": 64}, "seed": 1},
    "images": {"dataset": IMAGES, "optimizer": "sgd"},
    "other images": {"dataset": IMAGES, "arch": {"name": "mlp", "hidden": (3, 2)}},
}
COUNTS = {  # 300 in all
    "a byte changed": 120,
    "truncated": 60,
    "emptied": 24,
    "removed": 24,
    "two files swapped": 24,
    "swapped between runs": 48,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Checkpoints and bundles of tiny trainings, by kind."""
    root = tmp_path_factory.mktemp("whole")
    found: dict[str, list[Path]] = {"checkpoint": [], "bundle": [], "both nets": []}
    for number, settings in enumerate(RUNS.values()):
        optimizer = settings.get("optimizer", "adam")
        chosen = {
            "arch": {"name": "mlp", "hidden": (3,)},
            **{key: value for key, value in settings.items() if key != "optimizer"},
        }
        trainer = Trainer(
            **chosen,
            g_optimizer=optimizer,
            d_optimizer=optimizer,
            latent=2,
            batch_size=8,
            steps=2,
            precision="fp32",
            device="cpu",
            progress=False,
        )
        for _ in trainer.iterations():
            pass
        found["checkpoint"].append(trainer.save_checkpoint(root / f"run {number}"))
        found["bundle"].append(trainer.generator.save_pretrained(root / f"bundle {number}"))
        both = root / f"both nets {number}"
        judge = trainer.game.discriminator
        found["both nets"].append(trainer.generator.save_pretrained(both, discriminator=judge))
    return found


def refused(folder: Path) -> None:
    """The folder must be found out, and named."""
    ways: list[tuple[Callable[[Path], object], type[Exception]]] = [
        (Generator.from_pretrained, BundleError),
        (bundle.read, BundleError),
    ]
    if "both nets" in folder.name:
        ways.append((bundle.discriminator, BundleError))
    if "step-" in folder.name:
        ways = [(checkpoint.load, CheckpointError)]
    for load, error in ways:
        with pytest.raises(error) as caught:
            load(folder)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def damage(kind: str, copies: list[Path], draw: random.Random) -> list[Path]:
    """Damage one or two folders, and return which."""
    folder, other = draw.sample(copies, 2)
    files = sorted(folder.iterdir())
    file = draw.choice(files)
    content = file.read_bytes()
    if kind == "a byte changed":
        while file.read_bytes().split() == content.split():  # white space for white space is none
            place = draw.randrange(len(content))
            changed = bytes([content[place] ^ draw.randrange(1, 256)])
            file.write_bytes(content[:place] + changed + content[place + 1 :])
    elif kind == "truncated":
        file.write_bytes(content[: draw.randrange(len(content))])
    elif kind == "emptied":
        file.write_bytes(b"")
    elif kind == "removed":
        file.unlink()
    elif kind == "two files swapped":
        swap(*draw.sample(files, 2))
    elif kind == "swapped between runs":
        # Runs with like settings may have a like state.json: to swap those is no damage.
        unlike = [file for file in files if file.read_bytes() != (other / file.name).read_bytes()]
        file = draw.choice(unlike)
        swap(file, other / file.name)
        return [folder, other]
    return [folder]


@pytest.mark.parametrize("kind", COUNTS)
def test_no_damage_goes_unnoticed(kind: str, whole: dict[str, list[Path]], tmp_path: Path) -> None:
    draw = random.Random(kind)
    for number in range(COUNTS[kind]):
        group = draw.choice(sorted(whole))
        originals = draw.sample(whole[group], 2)
        # A folder's own name is part of what is tested, so copies go below numbered ones.
        copies = [tmp_path / f"{number}-{i}" / path.name for i, path in enumerate(originals)]
        for original, copy in zip(originals, copies, strict=True):
            shutil.copytree(original, copy)
        for folder in damage(kind, copies, draw):
            refused(folder)
        for copy in copies:
            shutil.rmtree(copy.parent)


def test_what_is_not_damaged_loads(whole: dict[str, list[Path]]) -> None:
    """Else the test above would show nothing."""
    assert sum(COUNTS.values()) == 300
    for folder in whole["checkpoint"]:
        assert checkpoint.load(folder)[1]["step"] == 2
    for folder in (*whole["bundle"], *whole["both nets"]):
        assert Generator.from_pretrained(folder).sample(2, seed=0).isfinite().all()
    for folder in whole["both nets"]:
        assert isinstance(bundle.discriminator(folder), torch.nn.Module)


def test_other_line_ends_are_no_damage(whole: dict[str, list[Path]], tmp_path: Path) -> None:
    """Git and mail convert them in text files, and only there."""
    for original, file in (
        (whole["bundle"][0], "config.json"),
        (whole["checkpoint"][0], "state.json"),
    ):
        folder = tmp_path / original.name
        shutil.copytree(original, folder)
        path = folder / file
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        bundle.read(folder) if file == "config.json" else checkpoint.load(folder)


def test_strange_files_beside_are_no_damage(whole: dict[str, list[Path]], tmp_path: Path) -> None:
    """File managers and synchronisers leave things everywhere."""
    for original in (whole["checkpoint"][0], whole["bundle"][0]):
        folder = tmp_path / original.name
        shutil.copytree(original, folder)
        (folder / ".DS_Store").write_bytes(b"\0\1")
        (folder / "Thumbs.db").mkdir()
        checkpoint.load(folder) if "step-" in folder.name else bundle.read(folder)
