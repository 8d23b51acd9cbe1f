"""The settings of a run that is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ganzoo.config import read_config, saved_config
from ganzoo.datasets import InMemoryDataset, as_dataset
from ganzoo.errors import ConfigError, RunFolderError
from ganzoo.runs import provenance
from ganzoo.runs.writer import RunWriter
from ganzoo.training import preparation
from ganzoo.training.score_settings import check_same

if TYPE_CHECKING:
    import torch

    from ganzoo.core.device import Precision
    from ganzoo.files import checkpoint
    from ganzoo.runs.run import Run
    from ganzoo.training.stage import Stage

__all__ = ["environment_changes", "recover", "restore", "resumed"]


def recover(run: Run) -> tuple[checkpoint.Newest, list[str]]:
    """Find the newest whole checkpoint, and put in order what an unclean end has left."""
    writer = RunWriter(run)
    try:
        return writer.recover()
    finally:
        writer.release()


def resumed(run: Run, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a run's settings and those that replace some of them; None is for one that stays.

    Raises:
        ConfigError: If a setting cannot change, or contradicts the run.
    """
    others = {key: value for key, value in given.items() if key not in preparation.RESUMED}
    if others:
        raise ConfigError(preparation.kept_settings(others, run.path))
    settings = {key: value for key, value in given.items() if value is not None}
    saved = saved_config(run.path / "config.yaml")
    config = read_config(run.path / "config.yaml")
    config["schedules"] = saved.dump()["schedules"]
    if "workers" in settings and config.get("workers") is None:
        raise ConfigError(
            f"The data of {run.path} were read before training, not by workers while it went "
            f"on, and that cannot be changed on the way. Leave workers out."
        )
    if "dataset" in settings:
        before, dataset = saved.dataset, as_dataset(settings["dataset"])
        if isinstance(before, InMemoryDataset) and isinstance(dataset, InMemoryDataset):
            dataset = before.with_data(dataset)
        settings["dataset"] = dataset
    if "metrics" in settings:
        check_same(saved.metrics, settings["metrics"], run.path)
    return config, settings


def restore(run: Run, stage: Stage, found: checkpoint.Newest, before: Mapping[str, Any]) -> None:
    """Go on from a run's newest checkpoint; ``before`` are the settings of the run.

    Raises:
        CheckpointError: If it does not fit these settings.
        ConfigError: If the training is longer already than it shall be.
    """
    assert found.path is not None
    stage.restore(found.tensors, found.state, found.path)
    longer = stage.total_steps != before.get("steps")
    policy = stage.config.nan_policy != before.get("nan_policy")
    scheduled = stage.config.schedule.name != "constant" or stage.config.schedules
    if policy or (longer and scheduled):
        stage.keeper.settings_unchanged = False
    if stage.step > stage.total_steps:
        raise ConfigError(
            f"{run.path} has already been trained for {stage.step} steps, more than "
            f"{stage.total_steps}. Give a larger total."
        )


def environment_changes(run: Run, device: torch.device, precision: Precision) -> list[str]:
    """Return what about this machine may change the last bits of a run that goes on here."""
    now = provenance.environment(device, precision, [])
    try:
        changed = provenance.changes(run.environment, now)
    except RunFolderError:
        return []
    if not changed:
        return []
    return [f"not as where the run was before ({'; '.join(changed)}): last bits may differ"]
