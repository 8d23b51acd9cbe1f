"""Published weights of extractors: found on this machine, or downloaded and checked."""

from __future__ import annotations

import functools
import hashlib
import http.client
import os
import urllib.request
import weakref
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ganzoo.core.state_dicts import not_finite
from ganzoo.datasets.cache import cache_root
from ganzoo.errors import CheckpointError, listing
from ganzoo.files import statedicts
from ganzoo.files.storage import expanded, make, new_file, sha256

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Published", "Reading", "extractors_root", "faults", "load", "stamp"]

T = TypeVar("T")
F = TypeVar("F")

_TIMEOUT = 30  # seconds without a byte
_PIECE = 2**20  # bytes
_REMEMBERED = 32  # files


def extractors_root() -> Path:
    """Return the folder of extractors' weights in ganzoo's cache; it need not exist yet."""
    return cache_root().parent / "features"


@dataclass(frozen=True)
class Published:
    """A file of weights that its authors have published.

    Attributes:
        title: What it holds, for messages.
        address: Where it is.
        digest: SHA-256 of the file.
        size: Its bytes.
        names: Names that programs keep it under, its own first.
        environment: Variable that may name another file with these weights.
    """

    title: str
    address: str
    digest: str
    size: int
    names: tuple[str, ...]
    environment: str

    def find(self, path: Path | None, download: bool) -> Path:
        """Return where the weights lie: ``path``, the environment variable's, cached, downloaded.

        The caches are ganzoo's and that of torch.hub, where other programs may have put the file;
        what lies there is used if it has the right SHA-256.

        Raises:
            CheckpointError: If they are nowhere, with where to put them.
        """
        if path is not None:
            return self._existing(path, "that was given")
        if named := os.environ.get(self.environment):
            return self._existing(expanded(named), f"that {self.environment} names")
        found = next((place for place in self._places() if self._is_it(place)), None)
        if found:
            return found
        target = extractors_root() / self.names[0]
        if not download:
            raise self._missing(target, "downloading is off")
        try:
            self._download(target)
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            reason = " ".join(str(reason).split()) or type(error).__name__
            raise self._missing(target, f"the download failed: {reason}") from error
        return target

    def _existing(self, path: Path, origin: str) -> Path:
        if path.is_file():
            return path
        raise CheckpointError(
            f"There is no file {path} {origin} as {self.title}. Correct the path, or leave it out "
            f"to have {self.names[0]} downloaded."
        )

    def _places(self) -> Iterable[Path]:
        import torch

        yield extractors_root() / self.names[0]
        yield from (Path(torch.hub.get_dir()) / "checkpoints" / name for name in self.names)

    def _is_it(self, path: Path) -> bool:
        if not path.is_file():
            return False
        return _file_hash(path, stamp(path)) == self.digest

    def _download(self, target: Path) -> None:
        make(target.parent)
        with new_file(target) as fresh:
            request = urllib.request.Request(self.address, headers={"User-Agent": "ganzoo"})
            answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
            received, digest = 0, hashlib.sha256()
            with answer, fresh.open("wb") as file:
                while received <= self.size and (piece := answer.read(_PIECE)):
                    received += len(piece)
                    digest.update(piece)
                    file.write(piece)
            if received > self.size:
                raise self._changed(target, f"is larger than its {self.size:,} bytes")
            if (found := digest.hexdigest()) != self.digest:
                raise self._changed(target, f"has SHA-256 {found} and not {self.digest}")

    def _changed(self, target: Path, how: str) -> CheckpointError:
        return CheckpointError(
            f"{self.address} {how}: it was changed or cut off. Try again, or get {self.names[0]} "
            f"from somewhere else and put it at {target}."
        )

    def _missing(self, target: Path, why: str) -> CheckpointError:
        return CheckpointError(
            f"{self.title[0].upper()}{self.title[1:]} are not on this machine ({why}). Get "
            f"{self.names[0]} (SHA-256 {self.digest}) from {self.address} and put it at {target}, "
            f"or set {self.environment} to where it lies."
        )


def load(
    path: Path, expected: dict[str, tuple[int, ...]], optional: Iterable[str]
) -> dict[str, Tensor]:
    """Return the tensors of a file of ``torch.save`` or safetensors, and exactly those expected.

    Args:
        path: The file. Nothing in it is run.
        expected: Shapes by name.
        optional: Of these, the names that may all be absent together.

    Raises:
        CheckpointError: If it is no such file, or holds other tensors, or NaN.
    """
    state = statedicts.read(path)[0]
    statedicts.check_claims(state, path)
    found = {n: v for n, v in state.tensors.items() if not n.endswith(".num_batches_tracked")}
    optional = set(optional)
    needed = expected.keys() - optional if optional.isdisjoint(found) else expected.keys()
    wrong = [n for n in needed & found.keys() if tuple(found[n].shape) != expected[n]]
    fault = faults(
        {
            "lacks": needed - found.keys(),
            "also has": found.keys() - needed,
            "has other shapes of": wrong,
        }
    )
    if fault:
        raise CheckpointError(
            f"{path} holds the weights of another net: it {fault}. Give the file that was "
            f"published, or one with the same names."
        )
    weights = {name: found[name] for name in sorted(needed)}
    if spoilt := not_finite(weights):
        raise CheckpointError(
            f"{path} holds NaN or infinity in the tensor '{spoilt}', so that nothing can be "
            f"computed with it. Get the file again."
        )
    return weights


def faults(names: Mapping[str, Collection[str]]) -> str:
    """Say which tensors are other ones than expected, by what is wrong; empty if none are."""
    return " and ".join(
        f"{what} {len(those)} tensors ({listing(sorted(those)[:3])})"
        for what, those in names.items()
        if those
    )


class Reading(Generic[T, F]):
    """Reads weights once for their hash and their use, so that what is used is what was hashed.

    What was read to be hashed is held for its component until that takes it, or is gone. Hashes
    are remembered as long as the files stay the same.

    Args:
        tell: What is remembered of weights: their hashes.
    """

    def __init__(self, tell: Callable[[T], F]) -> None:
        self._tell = tell
        self._held: dict[int, T] = {}
        self._digests: dict[Hashable, F] = {}

    def digest(self, owner: Any, files: Callable[[], Hashable], read: Callable[[], T]) -> F:
        """Return the hashes of the weights, reading them if these are not known.

        Args:
            owner: The component whose weights they are.
            files: Gives what stands for the files as they are now.
            read: Reads them.
        """
        now = files()
        if now in self._digests:
            return self._digests[now]
        value = read()
        found = self._tell(value)
        if id(owner) not in self._held:
            weakref.finalize(owner, self._held.pop, id(owner), None)
        self._held[id(owner)] = value
        if files() == now:  # else they were exchanged meanwhile
            while len(self._digests) >= _REMEMBERED:
                self._digests.pop(next(iter(self._digests)))
            self._digests[now] = found
        return found

    def take(self, owner: Any, read: Callable[[], T]) -> T:
        """Return the weights for good: those that were hashed, else what is read now."""
        held = self._held.pop(id(owner), None)
        return read() if held is None else held


def stamp(path: Path) -> tuple[str, int, int, int]:
    """Return what stands for a file's content: its place, size, time of change and inode."""
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns, found.st_ino


@functools.lru_cache(maxsize=_REMEMBERED)
def _file_hash(path: Path, as_it_is: tuple[str, int, int, int]) -> str:
    """SHA-256 of a file, computed once as long as its stamp is the same."""
    return sha256(path)
