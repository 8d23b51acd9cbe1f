"""YAML from files of any origin: bounded in size and depth, without aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ganzoo.files import bounded_json, untrusted

__all__ = ["read"]

_LARGEST = 2**17  # bytes: a configuration has some thousand


class _Loader(yaml.SafeLoader):
    """Leaves aliases out, with which a few bytes stand for values without number."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()  # type: ignore[no-untyped-call]
            raise ValueError(
                f"line {alias.start_mark.line + 1} uses the alias *{alias.anchor}; write out "
                f"what it stands for"
            )
        return super().compose_node(parent, index)


def read(path: Path, *, root: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Args:
        path: The file.
        root: A link may lead anywhere below it.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it has more than 128 KiB, is not YAML, uses aliases, is not a mapping, or
            has too many values or too deep ones.
    """
    with untrusted.opened(path, root) as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST:,} bytes")
    try:
        value = yaml.load(content.decode("utf-8"), Loader=_Loader)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"it is not valid YAML: {error}") from None
    if problem := bounded_json.excess(value):
        raise ValueError(problem)
    if not isinstance(value, dict):
        raise ValueError("it must be a mapping of settings to values")
    return value
