"""TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ganzoo.errors import ConfigError
from ganzoo.trackers.base import Log, Tracker

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

__all__ = ["TensorBoard"]

_CHARTS = {
    "d_loss": "loss/discriminator",
    "g_loss": "loss/generator",
    "d_real": "score/real",
    "d_fake": "score/generated",
    "d_lr": "lr/discriminator",
    "g_lr": "lr/generator",
    "epoch": "progress/epoch",
    "images": "progress/images",
    "modes": "coverage/modes",
    "modes_due": "coverage/modes_due",
    "high_quality": "coverage/high_quality",
    "rarest_mode": "coverage/rarest_mode",
}
"""Column of ``metrics.jsonl`` -> name in TensorBoard, which shows what shares a prefix together.

Other columns keep their names.
"""


class TensorBoard(Tracker):
    """Charts and pictures for ``tensorboard --logdir runs``, in the run's folder ``tensorboard``.

    Charts are grouped: ``loss`` and ``score`` of both players, ``lr``, ``progress``, ``metric``.
    Pictures are under Images, settings under Text. Needs ``pip install "ganzoo[tensorboard]"``.
    """

    citation: ClassVar[str] = "https://www.tensorflow.org/tensorboard"

    def check(self) -> None:
        """Import what writes event files.

        Raises:
            ConfigError: If the package tensorboard is absent or cannot be imported.
        """
        try:
            import tensorboard  # noqa: F401
            import torch.utils.tensorboard  # noqa: F401
        except Exception as error:  # packages that do not fit together raise anything
            raise ConfigError(
                f"The tracker 'tensorboard' needs the package tensorboard, which cannot be "
                f"imported ({type(error).__name__}: {' '.join(str(error).split())}): "
                f'pip install "ganzoo[tensorboard]"'
            ) from error

    def open(self, folder: Path, settings: Mapping[str, Any], step: int) -> Log:
        """Begin another event file in ``folder/tensorboard``; earlier ones stay as they are."""
        self.check()
        return _EventFile(folder / "tensorboard", settings, step)


class _EventFile(Log):
    """One event file. Each call waits until it is written, so that it raises its own errors."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        import yaml
        from torch.utils.tensorboard import SummaryWriter

        # TensorBoard then ignores points from this step on that are in earlier files. The settings
        # are of this step too, so that those of an attempt without a row are ignored later.
        first = step + 1
        self._writer: Any = SummaryWriter(folder, purge_step=first)
        text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
        self._writer.add_text("settings", f"```yaml\n{text}```", first)
        self._writer.flush()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(_CHARTS.get(name, name), value, step)
        self._writer.flush()

    def scores(self, step: int, values: Mapping[str, float]) -> None:
        self.scalars(step, {f"metric/{name}": value for name, value in values.items()})

    def images(self, step: int, name: str, image: Image) -> None:
        import numpy as np

        pixels = np.asarray(image.convert("RGB") if image.mode == "L" else image)
        self._writer.add_image(name, pixels, step, dataformats="HWC")
        self._writer.flush()

    def finish(self) -> None:
        self._writer.close()
