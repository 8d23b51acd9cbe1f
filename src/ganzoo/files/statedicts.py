"""Weights that other programs have saved, read without running anything that a file asks for."""

from __future__ import annotations

import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ganzoo.core.state_dicts import below
from ganzoo.errors import CheckpointError, ConfigError, did_you_mean, listing
from ganzoo.files import untrusted

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["StateDict", "check_claims", "joined", "natural", "read", "select"]

_ZIP = b"PK\x03\x04"
_OLDER = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save began so before it wrote zips
_OLDER_PICKLES = 5  # magic number, protocol, system, the object, names of storages
_WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
_DEEPEST = 32
_LONGEST_NAME = 256
_LARGEST_CLAIM = 4  # times the file; weights that share memory are counted each time

# What plain tensors, numbers and containers need. Torch's own allow-list also has what a small file
# can fill the memory with: bytearrays of any length, tensors of any size, text encoded repeatedly.
_PLAIN = re.compile(
    r"collections\.(Counter|OrderedDict)|builtins\.complex|(__builtin__|builtins)\.set"
    r"|torch\.nn\.parameter\.Parameter|torch\.storage\.(Un)?[tT]ypedStorage"
    r"|torch\._utils\._rebuild_(tensor(_v[23])?|parameter(_with_state)?)"
    r"|torch\.(\w+Storage|Size|device|(b?float|u?int|complex)\w*|double|half|long|short|bool)"
)
_ODD = re.compile(r"torch\._utils\._rebuild_(sparse_tensor|qtensor)")
_REMEDY = (
    "In the program that made it, save the weights alone: "
    "torch.save(generator.state_dict(), 'weights.pt')."
)


@dataclass(frozen=True)
class StateDict:
    """Tensors by name, as they lie somewhere in a file.

    Attributes:
        key: Where: the keys that lead there, joined by dots; empty for the file itself.
        tensors: By name, without the prefixes that wrappers put before all of them.
        ordered: Whether their order is that in which the net defines them. It is unknown in
            safetensors files, which sort by name: there, numbers in names are counted up.
    """

    key: str
    tensors: dict[str, Tensor]
    ordered: bool

    @property
    def place(self) -> str:
        """The key, or ``.`` for the file itself."""
        return self.key or "."

    def below(self, prefix: str) -> StateDict:
        """Return what has names that begin with ``prefix`` and a dot, by what follows it."""
        found = _unwrapped(below(self.tensors, prefix))
        return StateDict(joined(self.key, prefix), found, self.ordered)

    def parts(self) -> list[StateDict]:
        """Return the state dicts of the nets that a module holding several of them has.

        The first part of their names that differs separates them. A single layer is not a net.
        """
        lead, names = "", list(self.tensors)
        while len({name.partition(".")[0] for name in names}) == 1 and "." in names[0]:
            lead = joined(lead, names[0].partition(".")[0])
            names = [name.partition(".")[2] for name in names]
        groups = dict.fromkeys(name.partition(".")[0] for name in names if "." in name)
        parts = [self.below(joined(lead, group)) for group in groups]
        return [
            part for part in parts if len({name.rpartition(".")[0] for name in part.tensors}) > 1
        ]


def read(path: Path) -> list[StateDict]:
    """Return every mapping of names to tensors in a file of ``torch.save`` or of safetensors.

    Nothing is unpickled but tensors, numbers and containers. Tensors of a file that torch 1.6 or
    later wrote are memory-mapped. There is at least one mapping; all are on the CPU, in the order
    of the file. States of optimizers are left out.

    Raises:
        CheckpointError: If the file is absent, damaged, of another kind, or would run code.
    """
    value, ordered = _content(path)
    found = [StateDict(key, _unwrapped(tensors), ordered) for key, tensors in _mappings(value)]
    if not found:
        raise CheckpointError(
            f"{path} holds no state dict, which maps names to tensors, at any depth. {_REMEDY}"
        )
    return found


def select(found: list[StateDict], key: str, path: Path) -> StateDict:
    """Return the state dict that lies under ``key``; ``.`` is the file itself.

    Raises:
        ConfigError: If there is none, with what there is.
    """
    key = "" if key in (".", "..") else key  # two where it was copied with a full stop
    for state in found:
        if state.key == key:
            return state
    for state in found:
        lead = f"{state.key}." if state.key else ""
        if key.startswith(lead) and (part := state.below(key.removeprefix(lead))).tensors:
            return part
    places = [place for state in found for place in (state, *state.parts())]
    names = list(dict.fromkeys(place.place for place in places))
    raise ConfigError(
        f"{path} has no state dict under '{key or '.'}'.{did_you_mean(key, names)} "
        f"There is: {listing(names[:20])}."
    )


def check_claims(state: StateDict, path: Path) -> None:
    """Refuse tensors that would be far larger in memory than in the file.

    Raises:
        CheckpointError: With the first tensor that is.
    """
    claimed, size = 0, path.stat().st_size
    for name, value in state.tensors.items():
        own = value.numel() * value.element_size()
        claimed += own
        if own > value.untyped_storage().nbytes() or claimed > _LARGEST_CLAIM * size:
            raise CheckpointError(
                f"{path} claims more values than it holds: '{name}' of shape {tuple(value.shape)} "
                f"in a file of {size:,} bytes. Save plain copies: tensor.clone()."
            )


def natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts names as people do: ``main.9`` before ``main.10``."""
    pieces = re.split(r"([0-9]+)", name)
    return [(int(piece), "") if i % 2 else (-1, piece) for i, piece in enumerate(pieces)]


def joined(key: str, name: str) -> str:
    """Return a name below a key, which may be empty."""
    return f"{key}.{name}" if key else name


# -- opening files --------------------------------------------------------------------------------


def _content(path: Path) -> tuple[Any, bool]:
    """What a file holds, and whether tensors are in the order in which their net defines them."""
    try:
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder. Give the file of weights in it.")
        if not path.is_file():
            raise CheckpointError(f"There is no file {path}. Give a file of weights.")
        with path.open("rb") as file:
            head = file.read(512)
        length = int.from_bytes(head[:8], "little")
        is_safetensors = head[8:9] == b"{" and length <= path.stat().st_size - 8
        if is_safetensors or path.suffix.lower() == ".safetensors":
            return _safetensors(path), False  # its header says nothing of the net's order
        if head.startswith(_ZIP):
            _check_zip(path)
        elif head.startswith(_OLDER):
            with path.open("rb") as file:
                for _ in range(_OLDER_PICKLES):
                    _check_pickle(path, file)
        else:
            raise CheckpointError(f"{path} {_what_else(head)}")
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}).") from error
    except Exception as error:  # a damaged file can make zipfile and pickletools raise anything
        raise CheckpointError(f"{path} is damaged or cut off ({error}). Copy it again.") from error
    return _torch(path, mapped=head.startswith(_ZIP)), True


def _torch(path: Path, *, mapped: bool) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of storages, meant for those who write such files
            return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged file can make torch raise anything
        reason = str(error).rpartition("WeightsUnpickler error: ")[2].strip()
        raise CheckpointError(
            f"{path} cannot be read as PyTorch weights ({reason or type(error).__name__}). If it "
            f"is damaged, copy it again. {_REMEDY}"
        ) from error


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with untrusted.opened(path.resolve()) as file:
            tensors = untrusted.tensors(file.read())
    except ValueError as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}). Copy it again."
        ) from error
    return {name: tensors[name] for name in sorted(filter(_is_name, tensors), key=natural)}


def _what_else(head: bytes) -> str:
    if not head:
        return "is empty. Copy it again."
    if head[257:262] == b"ustar":
        return f"is a tar archive, as torch first wrote, and is not loaded. {_REMEDY}"
    if head[:1] == b"\x80":
        return f"is a pickle that torch.save did not write, and is not loaded. {_REMEDY}"
    return "is neither a file of torch.save nor safetensors. Give a file of PyTorch weights."


def _check_zip(path: Path) -> None:
    """Refuse, before torch reads it, a zip that would grow or that holds more than weights."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename.casefold() for entry in entries]  # as torch looks them up
        inner = [name.partition("/")[2] for name in names]
        if len({*names}) < len(names):
            raise CheckpointError(
                f"{path} holds two files whose names differ in nothing or only in case, which "
                f"no file of torch.save does. Get it from somewhere else."
            )
        if "constants.pkl" in inner:
            raise CheckpointError(
                f"{path} is a TorchScript program, not weights, and is not loaded. {_REMEDY}"
            )
        if inner.count("data.pkl") != 1:
            raise CheckpointError(
                f"{path} is a zip archive, but not one of torch.save. Give the file of weights."
            )
        packed = any(entry.compress_size != entry.file_size for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise CheckpointError(
                f"{path} claims to hold more bytes than it has, which no file of torch.save "
                f"does. Get it from somewhere else."
            )
        with archive.open(entries[inner.index("data.pkl")]) as file:
            _check_pickle(path, file)


def _check_pickle(path: Path, file: IO[bytes]) -> None:
    """Refuse a pickle that names anything but what plain weights need; it is only looked at."""
    names = {
        str(argument).replace(" ", "."): None
        for operation, argument, _ in pickletools.genops(file)
        if operation.name == "GLOBAL"
    }
    odd = [ascii(name)[1:-1] for name in names if not _PLAIN.fullmatch(name)]
    if any(map(_ODD.fullmatch, odd)):
        raise CheckpointError(
            f"{path} holds sparse or quantized tensors, which no generator here has. Save dense "
            f"ones: tensor.to_dense(), tensor.dequantize()."
        )
    if odd:
        more = f" and {len(odd) - 3} more" if odd[3:] else ""
        raise CheckpointError(
            f"{path} holds more than weights: loading it would run {listing(odd[:3])}{more}. "
            f"Only plain tensors are loaded. {_REMEDY}"
        )


# -- looking for state dicts ----------------------------------------------------------------------


def _mappings(value: Any) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping of names to tensors, with its key; each container is looked at once."""
    from torch import Tensor

    seen: set[int] = set()
    waiting = [("", value, 0)]
    while waiting:
        key, item, depth = waiting.pop()
        if id(item) in seen or depth > _DEEPEST:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            if item.keys() >= {"state", "param_groups"}:
                continue  # an optimizer
            children = [(k, v) for k, v in item.items() if isinstance(k, (str, int))]
            tensors = {
                k: v
                for k, v in children
                if isinstance(k, str) and isinstance(v, Tensor) and _is_name(k)
            }
            if tensors:
                yield key, tensors
        elif isinstance(item, (list, tuple)):
            children = list(enumerate(item))
        else:
            continue
        waiting += [
            (joined(key, str(k)), v, depth + 1)
            for k, v in reversed(children)
            if isinstance(v, (dict, list, tuple)) and _is_name(str(k))
        ]


def _is_name(key: str) -> bool:
    return key.isprintable() and 0 < len(key) <= _LONGEST_NAME


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the prefixes of wrappers that all of their names have."""
    while tensors:
        lead = next((w for w in _WRAPPERS if all(name.startswith(w) for name in tensors)), "")
        if not lead:
            break
        tensors = {name.removeprefix(lead): value for name, value in tensors.items()}
    return tensors
