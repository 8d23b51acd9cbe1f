"""Weights that other programs have saved, read without running anything that a file asks for."""

from __future__ import annotations

import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ganzoo.errors import CheckpointError, ConfigError, did_you_mean, listing
from ganzoo.files import untrusted

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Reading", "StateDict", "check_claims", "natural", "read", "reading", "select"]

_ZIP = b"PK\x03\x04"
_OLDER = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save began so before it wrote zips
_OLDER_PICKLES = 5  # magic number, protocol, system, the object, names of storages
_WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
_DEEPEST = 32
_LONGEST_NAME = 256
_LARGEST_CLAIM = 4  # times the file; weights that share memory are counted each time

# What plain tensors, numbers and containers need. Torch's own list also has what a small file can
# fill the memory with: bytearrays of any length, text that is encoded over and over.
_PLAIN = frozenset(
    {
        "collections.Counter",
        "collections.OrderedDict",
        "builtins.complex",
        "builtins.set",
        "__builtin__.set",
        "torch.nn.parameter.Parameter",
        "torch.storage.UntypedStorage",
        "torch.storage.TypedStorage",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
    }
)
_OWN = ("Size", "device")  # of torch itself, beside its types and storages
# What other programs call the tensors of a layer; the second of them only beside the first.
_NAMES = {
    **dict.fromkeys(("kernel", "gamma", "w", "W"), "weight"),
    "beta": "bias",
    "moving_mean": "running_mean",
    **dict.fromkeys(("moving_variance", "moving_var"), "running_var"),
}
_ALSO = {
    "scale": "weight",
    **dict.fromkeys(("b", "B", "biases", "offset"), "bias"),
    "mean": "running_mean",
    **dict.fromkeys(("var", "variance"), "running_var"),
}
_ODD = ("torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_qtensor")
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
        lead = f"{prefix}."
        found = {n.removeprefix(lead): t for n, t in self.tensors.items() if n.startswith(lead)}
        return StateDict(joined(self.key, prefix), _unwrapped(found), self.ordered)

    def parts(self) -> list[StateDict]:
        """Return the state dicts of the nets that a module holding several of them has.

        They are told apart by the first part of their names in which they differ. What holds a
        single layer is no net.
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


@dataclass(frozen=True)
class Reading:
    """A state dict with the names that torch gives, and its kernels in torch's order of axes.

    Attributes:
        state: The state dict.
        names: Names in the file by names here, of all tensors.
        turned: Whether kernels had their inputs before their outputs, as in Keras.
        note: What was done, in a sentence; empty if nothing.
    """

    state: StateDict
    names: dict[str, str]
    turned: bool
    note: str


def reading(state: StateDict) -> Reading:
    """Read ``kernel``, ``gamma``, ``moving_mean`` and the like as torch's ``weight`` and so on.

    Names that are as torch's stay. Which axis of kernels is which is told by biases.

    Raises:
        ConfigError: If kernels are those of a dense net whose axes cannot be told, in a clause.
    """
    plain = {re.sub(r":[0-9]+$", "", name).replace("/", "."): name for name in state.tensors}
    lasts = {name: name.rpartition(".")[2] for name in plain}
    as_it_is = Reading(state, {name: name for name in state.tensors}, False, "")
    if len(plain) < len(state.tensors) or not any(last in _NAMES for last in lasts.values()):
        return as_it_is
    known = {**_ALSO, **_NAMES}
    names = {
        name.removesuffix(last) + known.get(last, last): plain[name] for name, last in lasts.items()
    }
    if len(names) < len(plain):
        return as_it_is
    tensors = {name: state.tensors[theirs] for name, theirs in names.items()}
    turned = any(last == "kernel" for last in lasts.values()) and _inputs_first(tensors)
    if turned:
        tensors = {name: _turned(value) for name, value in tensors.items()}
    called = [last for last in dict.fromkeys(lasts.values()) if known.get(last, last) != last]
    read_as = ", ".join(f"'{last}' as '{known[last]}'" for last in called)
    note = f"Names are not those of torch: {read_as} was read (--mapping says otherwise)."
    if turned:
        note += (
            " Kernels have their inputs before their outputs, as in Keras, and were turned; there "
            "the eps of norms is 0.001 and the slope of leaky ReLU 0.3 where a net does not say."
        )
    return Reading(StateDict(state.key, tensors, state.ordered), names, turned, note)


def _turned(value: Tensor) -> Tensor:
    """A kernel of Keras, (in, out) or (height, width, in, out), in torch's order of axes."""
    if value.dim() == 2:
        return value.t()
    return value.permute(3, 2, 0, 1) if value.dim() == 4 else value


def _inputs_first(tensors: dict[str, Tensor]) -> bool:
    """Whether kernels are (in, out) and (height, width, in, out)."""
    votes: set[bool] = set()
    dense = []
    for name, value in tensors.items():
        layer, _, last = name.rpartition(".")
        bias = tensors.get(joined(layer, "bias"))
        shape = tuple(value.shape)
        if (
            last == "weight"
            and len(shape) == 4
            and (shape[0] == shape[1]) != (shape[2] == shape[3])
        ):
            votes.add(shape[0] == shape[1])
        if last == "weight" and len(shape) == 2:
            dense.append(shape)
            if bias is not None and shape[0] != shape[1] and bias.numel() in shape:
                votes.add(bias.numel() == shape[1])
    if not votes and dense:
        forwards = all(one[1] == other[0] for one, other in pairwise(dense))
        backwards = all(one[0] == other[1] for one, other in pairwise(dense))
        if forwards != backwards:
            votes.add(forwards)
    if len(votes) == 1:
        return votes.pop()
    if votes or dense:
        raise ConfigError(
            "nothing tells whether its kernels are (inputs, outputs), as in Keras, or (outputs, "
            "inputs), as in torch: save them as torch has them and call them 'weight' (of a dense "
            "layer that is kernel.T)"
        )
    return False


def read(path: Path) -> list[StateDict]:
    """Return every mapping of names to tensors in a file of ``torch.save`` or of safetensors.

    Nothing is unpickled but tensors, numbers and containers. Tensors of a file that torch 1.6 or
    later wrote are memory-mapped.

    Args:
        path: The file.

    Returns:
        At least one, on the CPU, in the order of the file. States of optimizers are left out.

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


def _content(path: Path) -> tuple[Any, bool]:
    """What a file holds, and whether tensors are in the order in which their net defines them."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder. Give the file of weights in it.")
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Give a file of weights.")
    try:
        with path.open("rb") as file:
            head = file.read(512)
        if path.suffix.lower() == ".safetensors" or _looks_like_safetensors(head, path):
            return _safetensors(path), False  # its header says nothing of the net's order
        if head.startswith(_ZIP):
            _check_zip(path)
        elif head.startswith(_OLDER):
            _check_older(path)
        else:
            raise CheckpointError(f"{path} {_what_else(head)}")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}).") from error
    return _torch(path, mapped=head.startswith(_ZIP)), True


def _torch(path: Path, *, mapped: bool) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of storages, meant for those who write such files
            return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged file can make torch raise anything
        reason = (
            str(error).rpartition("WeightsUnpickler error: ")[2].strip() or type(error).__name__
        )
        raise CheckpointError(
            f"{path} cannot be read as PyTorch weights ({reason}). If it is damaged, "
            f"copy it again. {_REMEDY}"
        ) from error


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with untrusted.opened(path.resolve()) as file:
            tensors = untrusted.tensors(file)
    except ValueError as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}). Copy it again, or take it from "
            f"somebody else."
        ) from error
    return {name: tensors[name] for name in sorted(filter(_is_name, tensors), key=natural)}


def _looks_like_safetensors(head: bytes, path: Path) -> bool:
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and length <= path.stat().st_size - 8


def _what_else(head: bytes) -> str:
    if not head:
        return "is empty. Copy it again."
    if head[257:262] == b"ustar":
        return (
            f"is a tar archive, as the first versions of torch wrote, and is not loaded. {_REMEDY}"
        )
    if head[:1] == b"\x80":
        return f"is a pickle that torch.save did not write, and is not loaded. {_REMEDY}"
    return "is neither a file of torch.save nor safetensors. Give a file of PyTorch weights."


def _check_zip(path: Path) -> None:
    """Refuse, before torch reads it, a zip that would grow or that holds more than weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            inner = [entry.filename.partition("/")[2] for entry in entries]
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
    except (CheckpointError, OSError):
        raise
    except Exception as error:  # a damaged archive can make zipfile raise anything
        raise CheckpointError(f"{path} is damaged or cut off ({error}). Copy it again.") from error


def _check_older(path: Path) -> None:
    with path.open("rb") as file:
        for _ in range(_OLDER_PICKLES):
            _check_pickle(path, file)


def _check_pickle(path: Path, file: IO[bytes]) -> None:
    """Refuse a pickle that names anything but what plain weights need; it is only looked at."""
    names: dict[str, None] = {}
    try:
        for operation, argument, _ in pickletools.genops(file):
            if operation.name == "GLOBAL":
                names[str(argument).replace(" ", ".")] = None
    except Exception as error:  # of whatever kind, it is no pickle
        raise CheckpointError(f"{path} is damaged or cut off ({error}). Copy it again.") from error
    odd = [name for name in names if not _is_plain(name)]
    if set(odd) & set(_ODD):
        raise CheckpointError(
            f"{path} holds sparse or quantized tensors, which no generator here has. Save dense "
            f"ones: tensor.to_dense(), tensor.dequantize()."
        )
    if odd:
        wanted = [name if name.isprintable() else ascii(name) for name in odd]
        more = f" and {len(wanted) - 3} more" if wanted[3:] else ""
        raise CheckpointError(
            f"{path} holds more than weights: loading it would run {listing(wanted[:3])}{more}. "
            f"Only plain tensors are loaded. {_REMEDY}"
        )


def _is_plain(name: str) -> bool:
    import torch

    home, _, last = name.rpartition(".")
    if home != "torch":
        return name in _PLAIN
    return (
        last.endswith("Storage") or isinstance(vars(torch).get(last), torch.dtype) or last in _OWN
    )


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


def joined(key: str, name: str) -> str:
    """Return a name below a key, which may be empty."""
    return f"{key}.{name}" if key else name


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the prefixes of wrappers that all of their names have."""
    while tensors:
        for prefix in _WRAPPERS:
            if all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
                break
        else:
            break
    return tensors
