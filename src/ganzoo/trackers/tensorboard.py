"""TensorBoard."""

from __future__ import annotations

import io
import time
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
    "high_quality": "coverage/high_quality",
    "rarest_mode": "coverage/rarest_mode",
}
"""Column of ``metrics.jsonl`` -> name in TensorBoard, which shows what shares a prefix together.

Other columns keep their names.
"""


class TensorBoard(Tracker):
    """Charts and pictures for ``tensorboard --logdir runs``, in the run's folder ``tensorboard``.

    Charts are grouped: ``loss`` and ``score`` of both players, ``lr``, ``progress``,
    ``metric``. The pictures
    are under Images, the settings under Text. Needs ``pip install "ganzoo[tensorboard]"``.
    """

    citation: ClassVar[str] = "https://www.tensorflow.org/tensorboard"

    def check(self) -> None:
        """Import what writes event files.

        Raises:
            ConfigError: If the package tensorboard is absent or cannot be imported.
        """
        try:
            import tensorboard.compat.proto.event_pb2
            import tensorboard.summary.writer.record_writer  # noqa: F401
        except Exception as error:  # packages that do not fit together raise anything
            cause = (
                "which is not installed"
                if isinstance(error, ModuleNotFoundError) and error.name == "tensorboard"
                else f"which cannot be imported ({type(error).__name__}: {_line(error)})"
            )
            raise ConfigError(
                f"The tracker 'tensorboard' needs the package tensorboard, {cause}: "
                f'pip install "ganzoo[tensorboard]"'
            ) from error

    def open(self, folder: Path, settings: Mapping[str, Any], step: int) -> Log:
        """Begin another event file in ``folder/tensorboard``; earlier ones stay as they are.

        Raises:
            ConfigError: If the package tensorboard is absent or cannot be imported.
            OSError: If the file cannot be written.
        """
        self.check()
        return _EventFile(folder / "tensorboard", settings, step)


class _EventFile(Log):
    """One event file: length-prefixed ``Event`` protocol buffers.

    torch's ``SummaryWriter`` would write the same from a thread, whose failure is a traceback on
    the screen and reaches the caller late.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        import yaml
        from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event: Any = event_pb2.Event
        self._summary: Any = summary_pb2.Summary
        folder.mkdir(exist_ok=True)
        self._file = _next_file(folder).open("xb")
        self._records: Any = RecordWriter(self._file)
        # From here on TensorBoard forgets what earlier files hold of these steps. The settings
        # count from the first of them, so that those of an attempt without a row are forgotten.
        first = step + 1
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(file_version="brain.Event:2")
        self._write(step=first, session_log=start)
        markdown = (
            f"```yaml\n{yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)}```"
        )
        text = tensor_pb2.TensorProto(
            dtype="DT_STRING",
            string_val=[markdown.encode()],
            tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=[{"size": 1}]),
        )
        shown_as = summary_pb2.SummaryMetadata(plugin_data={"plugin_name": "text"})
        self._add(first, [{"tag": "settings", "metadata": shown_as, "tensor": text}])

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each chart."""
        self._add(
            step,
            [
                {"tag": _CHARTS.get(name, name), "simple_value": value}
                for name, value in values.items()
            ],
        )

    def scores(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each chart of the group ``metric``."""
        self.scalars(step, {f"metric/{name}": value for name, value in values.items()})

    def images(self, step: int, name: str, image: Image) -> None:
        """Add a picture, as PNG."""
        file = io.BytesIO()
        image.save(file, format="PNG")
        picture = self._summary.Image(
            width=image.width,
            height=image.height,
            colorspace=len(image.getbands()),
            encoded_image_string=file.getvalue(),
        )
        self._add(step, [{"tag": name, "image": picture}])

    def finish(self) -> None:
        """Close the file."""
        self._file.close()

    def _add(self, step: int, values: list[dict[str, Any]]) -> None:
        summary = self._summary(value=[self._summary.Value(**value) for value in values])
        self._write(step=step, summary=summary)

    def _write(self, **content: Any) -> None:
        self._records.write(self._event(wall_time=time.time(), **content).SerializeToString())
        self._file.flush()  # rows are seconds apart, and someone may be watching


def _next_file(folder: Path) -> Path:
    """The next of ``events.out.tfevents.000000``, ...: TensorBoard reads them by their names."""
    numbers = [path.suffix[1:] for path in folder.glob("events.out.tfevents.*")]
    number = max((int(text) + 1 for text in numbers if text.isdecimal()), default=0)
    return folder / f"events.out.tfevents.{number:06d}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
