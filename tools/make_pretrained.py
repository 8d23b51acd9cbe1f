"""Train the generators that lie inside the package, and put them there.

    python tools/make_pretrained.py train dcgan.fashion RUN      trains (half an hour on one core)
    python tools/make_pretrained.py keep dcgan.fashion RUN       puts it into the package
    python tools/make_pretrained.py train dcgan.fashion RUN --steps 20      to see that it works

Look at RUN/samples before keeping one. The data are downloaded, or found where GANZOO_DATA says.
``keep`` stores the weights in half precision, with the pictures and facts that the run has of
them. It prints the size for ``src/ganzoo/generators/pretrained/pretrained.yaml``, and what is
expected of them for ``tests/generators/test_pretrained.py``; the grid for the documentation it
writes itself. The same machine, versions and number of threads (OMP_NUM_THREADS=1) train the same
bits.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import ganzoo
from ganzoo.generators import bundle

PACKAGE = Path(ganzoo.__file__).parent / "generators" / "pretrained"
PICTURES = Path(__file__).resolve().parents[1] / "docs" / "images"
LIMIT = 6_000_000  # bytes of all of them

SETTINGS: dict[str, dict[str, Any]] = {
    "dcgan.fashion": {
        "arch": {"name": "dcgan", "channels": 48},
        "dataset": "fashion-mnist",
        "epochs": 6,
        "schedule": {"name": "linear", "start": 0.5},
    },
    "mlp.mnist": {
        "arch": {"name": "mlp", "hidden": [256, 512]},
        "dataset": "mnist",
        "steps": 27_000,
        # A constant rate: as it falls, the moving average smooths less, and specks come back.
        "g_optimizer": {"betas": [0.5, 0.999]},
        "d_optimizer": {"betas": [0.5, 0.999]},
    },
}


def main() -> None:
    """Train or keep what the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("action", choices=["train", "keep"])
    parser.add_argument("name", choices=sorted(SETTINGS))
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--steps", type=int, help="fewer iterations than it is made with")
    given = parser.parse_args()
    if given.action == "train":
        train(given.name, given.run, given.steps)
    else:
        keep(given.name, given.run)


def train(name: str, run: Path, steps: int | None = None) -> None:
    """Train one from its settings; a run that is there is continued.

    Args:
        name: Of the generator.
        run: Folder of the run.
        steps: Iterations, instead of those of its settings.
    """
    settings = dict(SETTINGS[name])
    if steps is not None:
        settings.pop("epochs", None)
        settings["steps"] = steps
    new = not run.exists()
    trainer = ganzoo.Trainer(out=run, **settings) if new else ganzoo.Trainer.resume(run)
    trainer.fit()


def keep(name: str, run: Path) -> None:
    """Put the generator of a run into the package.

    Args:
        name: Which it is.
        run: Folder of the run.
    """
    folder = PACKAGE / name
    generator = ganzoo.Generator.from_pretrained(run)  # before the older one goes
    shutil.rmtree(folder, ignore_errors=True)
    generator.save_pretrained(folder, half=True)
    generator = ganzoo.Generator.from_pretrained(folder)
    cost = generator.config.half
    print(f"{folder}: half precision costs {cost.mean:.1e} on average, {cost.largest:.1e} at most")
    means = generator.sample(4, seed=0).mean((1, 2, 3))
    print(f"  size: {(folder / bundle.WEIGHTS).stat().st_size}")
    print(f"  expected: {[round(float(mean), 4) for mean in means]}")
    generator.grid(64, seed=0).save(PICTURES / f"{name}.png")
    total = sum(path.stat().st_size for path in PACKAGE.glob("*.*/*"))
    print(f"all of them: {total:,} bytes of {LIMIT:,}")


if __name__ == "__main__":
    main()
