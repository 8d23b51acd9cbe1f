"""Make the folders by which later versions of ganzoo prove that they still read this one's.

Below ``tests/golden/format-N`` there are ``run`` (a tiny run on points, with checkpoints, a
generator and snapshots), ``bundle`` (both nets of a tiny training on padded images) and
``expected.json`` (what comes out of them, and out of the run trained on). They are made once for
each format, with the version that introduced it, and never again.

Usage:
    python tools/make_golden.py
    python tools/make_golden.py --output FOLDER
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

import ganzoo
from ganzoo import config
from ganzoo.files import checkpoint
from ganzoo.files.lock import LOCK
from ganzoo.files.storage import write_json
from ganzoo.generators import bundle
from ganzoo.showing import plots

OUTPUT = Path(__file__).parents[1] / "tests/golden"
STEPS, MORE = 4, 2
LIMIT = 100_000  # bytes of one format, since the repository keeps all of them
SETTINGS: dict[str, Any] = {
    "arch": {"name": "mlp", "hidden": [4], "dropout": 0.3},
    "latent": 2,
    "batch_size": 8,
    "steps": STEPS,
    "log_every": 1,
    "checkpoint_every": 2,
    "snapshot_every": 4,
    "precision": "fp32",
    "device": "cpu",
    "progress": False,
}


def make(folder: Path) -> None:
    """Train, and write ``run``, ``bundle`` and ``expected.json`` into a folder.

    Args:
        folder: Where to; it must not exist.
    """
    folder.mkdir(parents=True)
    plots.available = lambda: False  # pictures would be most of the bytes
    points = {"name": "three-gaussians", "count": 64}
    ganzoo.Trainer(dataset=points, out=folder / "run", **SETTINGS).fit()
    (folder / "run" / LOCK).unlink(missing_ok=True)
    environment = folder / "run" / "environment.json"
    facts = json.loads(environment.read_text(encoding="utf-8"))
    write_json(environment, {**facts, "platform": "any", "device_name": "any"})
    for empty in (path for path in (folder / "run").iterdir() if path.is_dir()):
        if not any(empty.iterdir()):
            empty.rmdir()  # git keeps no empty folders
    images = torch.linspace(0, 255, 16 * 12).reshape(16, 1, 3, 4).to(torch.uint8)
    trainer = ganzoo.Trainer(dataset=images, size=(4, 4), **SETTINGS)
    for _ in trainer.iterations():
        pass
    both = folder / "bundle"
    trainer.generator.save_pretrained(both, discriminator=trainer.game.discriminator)
    write_json(folder / "expected.json", expected(folder))


def expected(folder: Path) -> dict[str, Any]:
    """Return what comes out of the folders, to be compared with a tolerance.

    Processors differ in the last bits, so that hashes of results would be too strict.
    """
    judge = bundle.discriminator(folder / "bundle").eval()
    with torch.no_grad():
        scores = judge(torch.linspace(-1, 1, 32).reshape(2, 1, 4, 4))
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(shutil.copytree(folder / "run", Path(scratch) / "run"))
        longer = ganzoo.Trainer.resume(copy, steps=STEPS + MORE, progress=False).fit()
        resumed = {"history": longer.history, "samples": drawn(longer.path)}
    return {
        "ganzoo": ganzoo.__version__,
        "torch": torch.__version__,
        "run": {
            "history": ganzoo.Run(folder / "run").history,
            "samples": drawn(folder / "run"),
            "snapshot": drawn(folder / "run" / "snapshots" / f"step-{STEPS:08d}"),
        },
        "resumed": resumed,
        "bundle": {"samples": drawn(folder / "bundle"), "scores": scores.tolist()},
    }


def drawn(folder: Path) -> list[Any]:
    """Return two samples as nested lists."""
    samples: list[Any] = ganzoo.Generator.from_pretrained(folder).sample(2, seed=0).tolist()
    return samples


def main() -> None:
    """Write the folder of the present format and say how large it is."""
    parser = argparse.ArgumentParser(description="Make the golden folders of this format.")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder to write below")
    options = parser.parse_args()

    versions = (bundle.FORMAT_VERSION, checkpoint.FORMAT_VERSION, config.FORMAT_VERSION)
    folder = options.output / f"format-{max(versions)}"
    if folder.exists():
        raise SystemExit(f"{folder} is there: what is golden is not made again.")
    make(folder)
    # Line ends are part of what is hashed.
    (options.output / ".gitattributes").write_text("* -text\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size:,} bytes. Add '{folder.name}' to WRITTEN in tests/test_golden.py.")
    if size >= LIMIT:
        raise SystemExit(f"It has {size:,} bytes; it must stay below {LIMIT:,}.")


if __name__ == "__main__":
    main()
