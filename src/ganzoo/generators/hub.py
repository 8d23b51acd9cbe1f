"""The Hugging Face Hub: bundles are fetched from it and pushed to it here, and nowhere else.

Whatever goes wrong there is one ``HubError`` that says what, why and what to do. Nothing of a
repository is executed: only the files that a bundle may hold are fetched, none larger than its
``config.json`` says, and all of one load from one commit.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo._version import __version__
from ganzoo.errors import BundleError, ConfigError, GanzooError, HubError, did_you_mean, listing
from ganzoo.files import bounded_json
from ganzoo.files.bounded_json import LARGEST
from ganzoo.files.storage import sha256
from ganzoo.generators import bundle
from ganzoo.generators.assembly import check_sizes
from ganzoo.generators.card import edited, notices

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.hf_api import RepoFile

__all__ = ["Fetched", "Published", "Push", "fetch", "parse", "published", "push", "workplace"]

_WEIGHTS = (bundle.WEIGHTS, bundle.DISCRIMINATOR)
_OURS = (bundle.CONFIG, *_WEIGHTS, *bundle.EXTRAS)
"""All that a bundle may hold; nothing else of a repository is fetched, replaced or deleted."""

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NO_REVISION = re.compile(r"^[/-]|[\s\x00-\x1f\x7f~^:?*\[\\]|\.\.|//|@\{|[/.]$|^$")  # as git has it
_LOG_IN = "log in with 'hf auth login' or set HF_TOKEN"


@dataclass(frozen=True)
class Fetched:
    """A bundle in the cache of the Hub's client.

    Attributes:
        folder: Where its files are.
        root: The folder that links among them may lead into.
        repo_id: The repository.
        revision: The commit that all of them come from.
        extras: What lies beside config and weights there, where it was asked for; a file that is
            too large for one of these is not fetched.
    """

    folder: Path
    root: Path
    repo_id: str
    revision: str
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class Push:
    """What a push has sent, or would send.

    Attributes:
        repo_id: The repository.
        files: Bytes of each file that the generator consists of there, by name.
        card: The text of its ``README.md``.
        notices: What to know about it, a sentence each: data and licence first.
        url: Where to look at it; None for a dry run.
        revision: The commit that the card's snippet loads; None for a dry run.
        pull_request: The revision of the pull request, such as ``refs/pr/1``.
        changed: Whether anything there is now different.
    """

    repo_id: str
    files: Mapping[str, int]
    card: str
    notices: tuple[str, ...]
    url: str | None = None
    revision: str | None = None
    pull_request: str | None = None
    changed: bool = False


@dataclass(frozen=True)
class Published:
    """A generator on the Hub, as its listing describes it.

    Attributes:
        repo_id: The repository.
        revision: Its latest commit.
        tags: What its card says in single words, the architecture's name among them.
        license: Identifier of the licence, if it says one.
        size: Bytes of the generator's weights, if the Hub knows.
    """

    repo_id: str
    revision: str
    tags: tuple[str, ...] = ()
    license: str | None = None
    size: int | None = None


# Names


def parse(source: str) -> tuple[str, str | None]:
    """Split ``org/repo`` or ``org/repo@revision``.

    Returns:
        The repository, and the revision or None.

    Raises:
        HubError: If it is no name of a repository.
    """
    repo_id, at, revision = source.partition("@")
    address = re.fullmatch(r"(?:hf://|https?://[^/]+/)(?:models/)?([^/]+/[^/]+)/?", repo_id)
    names = repo_id.split("/")
    fault = ""
    if address and "//" not in address[1]:
        fault = f"give it without the rest of the address, as '{address[1]}'"
    elif len(names) != 2 or not all(names):
        fault = "it reads 'owner/name' or 'owner/name@revision'"
    elif not all(_NAME.fullmatch(name) for name in names) or len(repo_id) > 96:
        fault = (
            "owner and name are letters, digits, '-', '_' and '.', begin and end with neither '-' "
            "nor '.', and have 96 characters at most"
        )
    elif "--" in repo_id or ".." in repo_id or repo_id.endswith(".git"):
        fault = "a name holds neither '--' nor '..', and does not end in '.git'"
    if fault:
        raise HubError(f"{_quoted(source)} is no name of a repository on the Hub: {fault}.")
    if at:
        _check_revision(revision)
    return repo_id, revision if at else None


def _check_revision(revision: str) -> None:
    if _NO_REVISION.search(revision) or len(revision) > 250:
        raise HubError(
            f"{_quoted(revision)} is no name of a revision: give a branch, a tag, a pull request "
            f"as 'refs/pr/1', or a commit."
        )


def _quoted(text: str) -> str:
    """A text from outside for a message: short, printable, and without what may be a token."""
    text = re.sub(r"hf_\w{6,}", "hf_...", "".join(c if c.isprintable() else "?" for c in text))
    return f"'{text if len(text) <= 120 else text[:120] + '...'}'"


# Speaking with the Hub


@dataclass
class _Hub:
    """One conversation about one repository, in which every failure is a ``HubError``."""

    repo_id: str
    token: str | bool | None = field(default=None, repr=False)
    revision: str | None = None
    pushing: bool = False
    local: bool = False
    cache_dir: str | Path | None = None
    secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.token, str) and not re.fullmatch(r"[\x21-\x7e]+", self.token):
            # Its way into a header would end in an error that quotes it.
            raise HubError(
                "The token is empty or has spaces or line ends in it: copy it once more, "
                f"or leave it out and {_LOG_IN}."
            )
        with self.asking():
            self.secret = _secret(self.token)

    @property
    def api(self) -> HfApi:
        from huggingface_hub import HfApi

        return HfApi(library_name="ganzoo", library_version=__version__, token=self.token)

    @property
    def address(self) -> str:
        from huggingface_hub import constants

        return constants.ENDPOINT

    @property
    def url(self) -> str:
        return f"{self.address}/{self.repo_id}"

    @property
    def where(self) -> str:
        return f"{self.repo_id} at {_quoted(self.revision)}" if self.revision else self.repo_id

    @property
    def nor(self) -> str:
        """What a user may have meant instead."""
        return "" if self.pushing or Path(self.repo_id).exists() else ", nor a folder here"

    @contextlib.contextmanager
    def asking(self, file: str | None = None) -> Iterator[None]:
        """What the client raises within becomes a ``HubError``; so it is all that is within.

        Args:
            file: What is being downloaded.
        """
        try:
            yield
        except (GanzooError, MemoryError):
            raise
        except Exception as error:
            told, secret = self.explain(error, file), self.secret
            if secret and secret in told:
                told = told.replace(secret, "hf_...")
            failure = HubError(told)
            if secret is None or not _reveals(error, secret):
                raise failure from error
            try:
                raise failure from None
            except HubError:  # logs and debuggers show the context all the same
                failure.__context__ = None
                raise

    def explain(self, error: BaseException, file: str | None = None) -> str:
        """One sentence or two on what went wrong, and what to do."""
        from huggingface_hub import errors

        cause = error.__cause__
        if isinstance(error, errors.HfHubHTTPError):
            return self._answer(error, file)
        if isinstance(error, ValueError) and "metadata in README.md" in str(error):
            return f"The Hub does not take the card of {self.repo_id}: {_short(error)}"
        if isinstance(error, errors.RevisionResolutionError) or (
            isinstance(error, errors.LocalEntryNotFoundError | ValueError | RuntimeError)
            and cause is not None
        ):
            # What is behind it counts; and then no part of a file has come.
            return self._absent("local_files_only is set") if cause is None else self.explain(cause)
        if isinstance(error, errors.LocalEntryNotFoundError):
            return self._absent("local_files_only is set")
        if isinstance(error, errors.OfflineModeIsEnabled):
            if self.pushing:
                return (
                    f"Nothing can be pushed to {self.where} while HF_HUB_OFFLINE is set: unset it."
                )
            return self._absent("HF_HUB_OFFLINE is set")
        if isinstance(error, errors.LocalTokenNotFoundError):
            return f"There is no token on this machine: {_LOG_IN}."
        if isinstance(error, errors.HFValidationError):
            return f"{_quoted(self.repo_id)} is no name of a repository on the Hub ({error})."
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            place = "temporary folder" if self.pushing else "cache"
            how = "TMPDIR" if self.pushing else "cache_dir or HF_HOME"
            return (
                f"The disk is full, so that {self.where} does not fit into the {place}. Free some "
                f"space, or choose another place for it with {how}."
            )
        # The base of all that its HTTP client raises, whichever that is.
        if isinstance(error, errors.HfHubHTTPError.__bases__[0] | ConnectionError | TimeoutError):
            return self._broken(error, file)
        if isinstance(error, OSError) and error.errno is not None:
            return (
                f"{self.where} cannot be stored: {error.filename or 'the cache'}: "
                f"{error.strerror}. Choose another place for the cache with cache_dir or HF_HOME."
            )
        if isinstance(error, OSError) and "onsistency check" in str(error):
            return f"What came of {file or 'a file'} from {self.where} is not whole. Try again."
        if isinstance(error, RuntimeError) and (self.pushing or file):
            return self._broken(error, file)
        return (
            f"{self.address} does not answer as a Hub does ({type(error).__name__}: "
            f"{_short(error)}). Check HF_ENDPOINT and whether a proxy or a log-in page of the "
            f"network answers in its place."
        )

    def _absent(self, why: str) -> str:
        return (
            f"{self.where} is not in the cache, or not all of it{self.nor}, and cannot be asked "
            f"for because {why}. Load it once without that; afterwards it is there."
        )

    def _broken(self, error: BaseException, file: str | None) -> str:
        """What to say when there is no connection, or none any more."""
        if self.pushing:
            return (
                f"The connection to {self.address} failed while pushing to {self.repo_id} "
                f"({type(error).__name__}). Push again: it goes on from there, and files that have "
                f"arrived are not sent twice."
            )
        if file is not None:
            return (
                f"The download of {file} from {self.where} was interrupted "
                f"({type(error).__name__}). Load it again: files that are here are not fetched "
                f"twice."
            )
        return (
            f"{self.address} cannot be reached ({type(error).__name__}), and {self.where} is not "
            f"in the cache{self.nor}. Check the network and the proxy; what was loaded once loads "
            f"without."
        )

    def _answer(self, error: Any, file: str | None) -> str:
        """What to say when the Hub has said no."""
        from huggingface_hub import errors

        status = error.response.status_code
        if isinstance(error, errors.GatedRepoError):
            how = "" if self.secret else f", then {_LOG_IN}"
            who = "your account has none yet" if self.secret else "you are not logged in"
            return (
                f"{self.repo_id} is gated: its owner gives access on request, and {who}. "
                f"Ask for it at {self.url}{how}."
            )
        if isinstance(error, errors.RepositoryNotFoundError):
            if self.secret:
                return (
                    f"There is no repository {self.repo_id} on the Hub{self.nor}, or it is private "
                    f"and your token may not see it. Check the name, and with 'hf auth whoami' the "
                    f"account."
                )
            return (
                f"There is no repository {self.repo_id} on the Hub{self.nor}, or it is private. "
                f"Check the name; if it is private, {_LOG_IN}."
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return self._no_revision()
        if isinstance(error, errors.EntryNotFoundError):
            return f"{self.where} has no {file or 'such file'}. Load another revision."
        if isinstance(error, errors.DisabledRepoError):
            return f"{self.repo_id} has been disabled on the Hub. Load another repository."
        if status == 401:
            return (
                f"The Hub does not take the token: it is wrong, expired or revoked. Make one at "
                f"{self.address}/settings/tokens, then {_LOG_IN}."
            )
        if status == 403 and self.pushing:
            owner = self.repo_id.split("/")[0]
            return (
                f"Your token may not write to {self.repo_id}: it may only read, or your account "
                f"does not belong to '{owner}'. Make one that may write at {self.address}/settings"
                f"/tokens, push to a name of your own, or send a pull request (create_pr)."
            )
        if status == 412:
            return (
                f"Somebody else pushed to {self.where} meanwhile, and nothing of that was "
                f"replaced. Push again."
            )
        if status == 429:
            return (
                f"The Hub wants fewer requests from here for now (429). Wait some minutes"
                f"{'' if self.secret else f', or {_LOG_IN}, which allows for more'}."
            )
        if status >= 500:
            cached = "" if self.pushing else f" and {self.where} is not in the cache"
            return (
                f"The Hub has trouble of its own ({status}){cached}. Try again in some minutes; "
                f"https://status.huggingface.co tells more."
            )
        said = _short(error.server_message or error).rstrip(".")
        if self.pushing:
            return (
                f"The Hub refuses what is pushed to {self.where} ({status}: {said}). Do what "
                f"it asks for, then push again."
            )
        return (
            f"The Hub refuses {file or 'a look'} at {self.where} ({status}: {said}). Check the "
            f"name, and whether your account may see it."
        )

    def _no_revision(self) -> str:
        names: list[str] = []
        with contextlib.suppress(Exception):  # it is only a hint
            refs = self.api.list_repo_refs(self.repo_id)
            names = [ref.name for ref in (*refs.branches, *refs.tags)]
        if self.pushing:
            return (
                f"{self.repo_id} has no branch {_quoted(self.revision or 'main')} to push to; "
                f"tags and commits do not move. Branches and tags: {listing(names[:20])}."
            )
        return (
            f"{self.repo_id} has no revision {_quoted(self.revision or 'main')}."
            f"{did_you_mean(self.revision or '', names)} Give a commit, 'refs/pr/1' for a pull "
            f"request, or one of its branches and tags: {listing(names[:20])}."
        )

    def files(self, revision: str) -> dict[str, RepoFile]:
        """What of a bundle's files a revision holds."""
        from huggingface_hub.hf_api import RepoFile

        with self.asking():
            found = self.api.get_paths_info(self.repo_id, list(_OURS), revision=revision)
            there = {each.path: each for each in found if isinstance(each, RepoFile)}
            for name, each in there.items():
                if type(each.size) is not int or each.size < 0:
                    raise TypeError(f"{name} has {_quoted(str(each.size))} bytes")
        return there

    def text(self, name: str, revision: str, there: Mapping[str, RepoFile], place: Path) -> Path:
        """Download one small file out of the cache's way."""
        if there[name].size > LARGEST:
            raise HubError(
                f"{name} of {self.repo_id} has {there[name].size:,} bytes, which is not what "
                f"ganzoo writes. Push to another repository."
            )
        with self.asking(name):
            path = self.api.hf_hub_download(
                self.repo_id, name, revision=revision, local_dir=place, force_download=True
            )
        return Path(path)


@contextlib.contextmanager
def workplace(repo_id: str) -> Iterator[Path]:
    """Give a temporary folder in which a push is prepared.

    Raises:
        HubError: If there is none, or what is written within does not fit into it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="ganzoo-") as place:
            yield Path(place)
    except OSError as error:
        raise HubError(
            f"What is pushed to {repo_id} cannot be prepared in the temporary folder "
            f"({error.strerror or error}). Free some space there, or choose another with the "
            f"environment variable TMPDIR."
        ) from error


def _secret(token: str | bool | None) -> str | None:
    """The token that will be sent, if any."""
    from huggingface_hub import constants, get_token

    if isinstance(token, str):
        return token
    implicit = token is None and not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN
    return get_token() if token or implicit else None


def _reveals(error: BaseException | None, secret: str) -> bool:
    """Whether an error or what is behind it holds the token."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            if secret in str(one) + repr(one):
                return True
            waiting += [one.__cause__, one.__context__]
    return False


def _short(text: object) -> str:
    line = " ".join(str(text).split())
    line = line if len(line) <= 200 else f"{line[:200]}..."
    return line if line.endswith((".", "...")) else f"{line}."


# From the Hub


def fetch(
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    extras: bool = False,
) -> Fetched:
    """Bring a bundle into the cache, all of it from one commit.

    What is there already is not asked for again, and without a network the branch or tag is the
    commit that it was last time.

    Args:
        repo_id: ``org/repo``.
        revision: Branch, tag, ``refs/pr/1`` or commit; the main branch by default.
        token: To use instead of the machine's; False for none.
        cache_dir: Instead of the client's own cache.
        local_files_only: Ask the Hub for nothing.
        force_download: Fetch what is there once more, because it is damaged.
        extras: Fetch what lies beside config and weights too: card, pictures, scores; what is too
            large for one of them is left out.

    Raises:
        HubError: If the Hub refuses, cannot be reached, or has not what was asked for.
        BundleError: If ``config.json`` is damaged, hostile or from a newer ganzoo.
        PluginError: If its architecture comes from a plug-in that is not installed.
    """
    parse(repo_id)
    if revision is not None:
        _check_revision(revision)
    if force_download and local_files_only:
        raise ConfigError(
            "force_download asks for the network and local_files_only forbids it: leave one out."
        )
    hub = _Hub(repo_id, token, revision, local=local_files_only, cache_dir=cache_dir)
    with hub.asking():
        commit = hub.api.resolve_revision(
            repo_id, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only
        ).resolved
    if not _COMMIT.fullmatch(commit):
        raise HubError(
            f"{hub.address} does not answer as a Hub does: {_quoted(commit)} is no commit."
        )
    download = _Download(hub, commit, force_download)
    path = download(bundle.CONFIG, LARGEST)
    folder = path.parent
    # The cache may share files among repositories, so that links lead there.
    fetched = Fetched(folder, folder.parents[2], repo_id, commit)
    try:
        config = bundle.config(folder, root=fetched.root)
    except BundleError:
        if _of_others(path, fetched.root):
            raise HubError(download.no_generator(f"its {bundle.CONFIG} is of others")) from None
        raise
    check_sizes(config, hub.where)
    sizes = {name: config.weights[name].size for name in _WEIGHTS if name in config.weights}
    for name, size in sizes.items():
        download.check(name, size)
    for name in sizes:
        download(name)
    return replace(fetched, extras=download.extras()) if extras else fetched


@dataclass
class _Download:
    """Fetches files of one commit, each once, after a look at its size."""

    hub: _Hub
    commit: str
    force: bool
    _there: dict[str, RepoFile] | None = None

    def __call__(self, name: str, limit: int | None = None) -> Path:
        if (path := self.cached(name)) is not None:
            return path
        if name not in self.there:
            raise HubError(self._missing(name))
        size = self.there[name].size
        if limit is not None and size > limit:
            raise HubError(
                f"{name} of {self.hub.where} has {size:,} bytes, more than the {limit:,} that are "
                f"fetched: it is not what ganzoo writes. Load another revision or repository."
            )
        return self._fetch(name)

    def check(self, name: str, size: int) -> None:
        """Refuse a weight file that has not the size that ``config.json`` gives."""
        if self.cached(name) is None and name in self.there and self.there[name].size != size:
            raise HubError(
                f"{name} of {self.hub.where} has {self.there[name].size:,} bytes, but its "
                f"{bundle.CONFIG} says {size:,}: one of them was exchanged, or a push by other "
                f"means was not finished. Load another revision, or tell its owner."
            )

    def extras(self) -> tuple[str, ...]:
        """Fetch what lies beside, as far as it can be had, and name all of it."""
        try:
            there = self.there
        except HubError:  # without a network, what is cached has to do
            return tuple(name for name in bundle.EXTRAS if self.cached(name) is not None)
        for name in bundle.EXTRAS:
            if name in there and there[name].size <= LARGEST:
                self(name)
        return tuple(name for name in bundle.EXTRAS if name in there)

    @property
    def there(self) -> dict[str, RepoFile]:
        if self._there is None:
            if self.hub.local:
                raise HubError(self.hub._absent("local_files_only is set"))
            self._there = self.hub.files(self.commit)
        return self._there

    def cached(self, name: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        if self.force:
            return None
        with self.hub.asking():
            found = try_to_load_from_cache(
                self.hub.repo_id, name, cache_dir=self.hub.cache_dir, revision=self.commit
            )
        return Path(found) if isinstance(found, str) else None

    def _fetch(self, name: str) -> Path:
        with self.hub.asking(name):
            path = self.hub.api.hf_hub_download(
                self.hub.repo_id,
                name,
                revision=self.commit,
                cache_dir=self.hub.cache_dir,
                force_download=self.force,
            )
        return Path(path)

    def _missing(self, name: str) -> str:
        where = self.hub.where
        if name != bundle.CONFIG:
            return (
                f"{where} lacks {name}, which its {bundle.CONFIG} lists: it was deleted, or a push "
                f"by other means was not finished. Load another revision, or tell its owner."
            )
        return self.no_generator(f"it has no {bundle.CONFIG}")

    def no_generator(self, why: str) -> str:
        """What to say of a repository that holds something else."""
        library = None
        with contextlib.suppress(Exception):  # it is only a hint
            library = self.hub.api.model_info(self.hub.repo_id, revision=self.commit).library_name
        what = f"says that it is for {_quoted(library)}" if library else "does not say what it is"
        return (
            f"{self.hub.where} is no generator of ganzoo: {why}, and the Hub {what}. Check the "
            f"name and the revision."
        )


def _of_others(path: Path, root: Path) -> bool:
    """Whether a configuration is whole, and of another library."""
    try:
        config = bounded_json.read(path, root=root)
    except (OSError, ValueError):
        return False
    return not isinstance(config, dict) or config.get("library") != "ganzoo"


def published(*, token: str | bool | None = None, limit: int = 100) -> list[Published]:
    """Ask the Hub which generators of ganzoo it has, the newest first.

    What cards say is whatever their authors wrote, reduced to printable text.

    Args:
        token: To use instead of the machine's; False for none.
        limit: How many at most.

    Raises:
        HubError: If the Hub refuses or cannot be reached.
    """
    from huggingface_hub import get_session

    hub = _Hub("The list of generators", token)
    # Without cards, which the client would parse: one that it cannot would hide all others.
    wanted: list[Any] = ["sha", "safetensors", "tags", "library_name"]
    with hub.asking():
        # Asked once: without a network, the listing itself would try again for half a minute.
        get_session().head(hub.address)
        found = list(
            hub.api.list_models(filter="ganzoo", sort="created_at", limit=limit, expand=wanted)
        )
    listed = []
    for model in found:
        with contextlib.suppress(Exception):  # one that is not what a listing has hides no other
            if model.library_name == "ganzoo":
                listed.append(_published(model))
    return listed


def _bits(kind: str) -> int:
    """Bits of one number of a type of safetensors: its first number, as in F8_E4M3; BOOL is a byte.

    Raises:
        ValueError: If it is no such type.
    """
    if kind.upper() == "BOOL":
        return 8
    found = re.match(r"[A-Z]+(\d+)(?:_|$)", kind.upper())
    if found is None:
        raise ValueError(f"'{kind}' is no type of numbers")
    return int(found[1])


def _published(model: Any) -> Published:
    parse(model.id)
    size = None
    with contextlib.suppress(AttributeError, TypeError, ValueError, KeyError):
        parameters = model.safetensors.parameters
        size = -(-sum(count * _bits(kind) for kind, count in parameters.items()) // 8)
    tags = tuple(_quoted(str(tag))[1:-1] for tag in model.tags or ())
    terms = [tag.removeprefix("license:") for tag in tags if tag.startswith("license:")]
    return Published(
        repo_id=model.id,
        revision=model.sha or "",
        tags=tags,
        license=terms[0] if len(terms) == 1 else None,
        size=size,
    )


# To the Hub


def push(
    folder: Path,
    repo_id: str,
    *,
    card: Callable[[str | None], str],
    private: bool | None = None,
    token: str | bool | None = None,
    commit_message: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    dry_run: bool = False,
    overwrite_card: bool = False,
) -> Push:
    """Push a bundle to the Hub; doing it again is safe, and nothing happens if nothing changed.

    One commit has everything but the card, a second one the card alone, because that names the
    commit that it loads. What a bundle holds and this one does not is deleted; other files of the
    repository are left alone, and so is a card that somebody has edited.

    Args:
        folder: The bundle, with what else belongs to it.
        repo_id: ``org/repo``; made if it is not there.
        card: Gives the text of ``README.md`` for a commit, or for none yet.
        private: Whether a repository that is made is seen by its owner only.
        token: To use instead of the machine's.
        commit_message: The first line of the commit.
        revision: The branch, made if it is not there, or ``refs/pr/1``.
        create_pr: Send a pull request instead of changing the branch.
        dry_run: Say what would be sent, without asking the Hub for anything.
        overwrite_card: Replace an edited card too.

    Raises:
        BundleError: If the bundle is damaged.
        HubError: If the Hub refuses or cannot be reached, or the repository holds something else.
    """
    parse(repo_id)
    if revision is not None:
        _check_revision(revision)
        if create_pr:
            raise ConfigError(
                "A pull request goes to the main branch: leave out the revision, or give the one "
                "of a pull request without create_pr."
            )
        if _COMMIT.fullmatch(revision):
            raise ConfigError(
                f"'{revision}' is a commit, which does not change: give a branch, or 'refs/pr/1'."
            )
    config = bundle.config(folder)
    files = _contents(folder)
    weights = _verified(folder, config)
    text = card(None)
    said = notices(config)
    sizes = {name: path.stat().st_size for name, path in files.items()}
    sizes[bundle.CARD] = len(text.encode())
    if dry_run:
        return Push(repo_id, sizes, text, said)
    hub = _Hub(repo_id, token, revision, pushing=True)
    if hub.secret is None:
        raise HubError(f"Pushing needs a token that may write, and there is none: {_LOG_IN}.")
    message = commit_message or f"Generator of ganzoo {__version__}: {config.architecture.name}"
    pushing = _Pushing(hub, files, weights, card, message, create_pr, overwrite_card)
    with workplace(repo_id) as place:
        pushing.run(private, place)
    sizes[bundle.CARD] = len(pushing.text.encode())
    return Push(
        repo_id,
        sizes,
        pushing.text,
        (*said, *pushing.notices),
        url=pushing.url,
        revision=pushing.pinned,
        pull_request=pushing.pull_request,
        changed=pushing.changed,
    )


def _contents(folder: Path) -> dict[str, Path]:
    """The files of a bundle other than the card; a link out of it is no file of it."""
    inside = folder.resolve()
    found = {
        name: folder / name for name in _OURS if name != bundle.CARD and (folder / name).exists()
    }
    for path in found.values():
        if not path.is_file() or path.resolve().parent != inside:
            raise HubError(
                f"{path} is no file of the bundle but a link or a folder, and is not sent. "
                f"Replace it by what it leads to, or remove it."
            )
    return {name: found[name] for name in sorted(found)}


def _verified(folder: Path, config: bundle.BundleConfig) -> dict[str, CommitOperationAdd]:
    """The weight files as they are sent, which the client hashes: they are read here alone."""
    from huggingface_hub import CommitOperationAdd

    found = {}
    for name, facts in config.weights.items():
        path = folder / name
        try:
            found[name] = CommitOperationAdd(name, str(path))
        except (OSError, ValueError) as error:  # it says ValueError of a file that is not there
            raise BundleError(
                f"{path} is missing or cannot be read ({error}). Copy the whole folder again."
            ) from error
        if found[name].upload_info.sha256.hex() != facts.sha256:
            raise BundleError(
                f"{path} is not the file that {bundle.CONFIG} describes (SHA-256 differs): it was "
                f"damaged or exchanged. Copy the whole folder again."
            )
    return found


class _Pushing:
    """One push under way."""

    def __init__(
        self,
        hub: _Hub,
        files: Mapping[str, Path],
        weights: Mapping[str, CommitOperationAdd],
        card: Callable[[str | None], str],
        message: str,
        create_pr: bool,
        overwrite_card: bool,
    ) -> None:
        self.hub = hub
        self.files = files
        self.weights = weights
        self.card = card
        self.message = message
        self.create_pr = create_pr
        self.overwrite_card = overwrite_card
        self.branch = hub.revision or "main"
        self.notices: list[str] = []
        self.changed = False
        self.pull_request: str | None = None
        self.url = hub.url
        self.text = ""
        self.pinned = ""

    def run(self, private: bool | None, place: Path) -> None:
        """Make the repository if need be, then the commits."""
        head = self.head(private)
        there = self.hub.files(head)
        self.refuse_others(head, there, place)
        new = [name for name in self.files if not self.same(name, there.get(name))]
        stale = [name for name in _OURS if name in there and name not in (*self.files, bundle.CARD)]
        self.pinned = self.commit(new, stale, head, self.message) if new or stale else head
        older = None
        if bundle.CARD in there:
            path = self.hub.text(bundle.CARD, head, there, place)
            older = path.read_bytes().decode("utf-8", errors="replace")
        self.write_card(older, there)

    def head(self, private: bool | None) -> str:
        """The commit to build on; the repository and the branch are made if they are not there."""
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        hub, api = self.hub, self.hub.api
        with hub.asking():
            try:
                info = api.model_info(hub.repo_id)
            except RepositoryNotFoundError:
                if self.create_pr:
                    raise
                api.create_repo(hub.repo_id, private=private, exist_ok=True)
                info = api.model_info(hub.repo_id)
            else:
                if private and info.private is False:
                    raise HubError(
                        f"{hub.repo_id} is there already and public, which a push does not change. "
                        f"Make it private at {hub.url}/settings, or choose another name."
                    )
        if self.branch != "main":
            with hub.asking():
                try:
                    info = api.model_info(hub.repo_id, revision=self.branch)
                except RevisionNotFoundError:
                    if self.branch.startswith("refs/"):
                        raise
                    api.create_branch(hub.repo_id, branch=self.branch, exist_ok=True)
                    info = api.model_info(hub.repo_id, revision=self.branch)
        return str(info.sha)

    def refuse_others(self, head: str, there: Mapping[str, RepoFile], place: Path) -> None:
        """Do not replace the model of another library, whose files have the same names."""
        if bundle.CONFIG in there:
            self.hub.text(bundle.CONFIG, head, there, place)
        if not bundle.replaceable(place) or (bundle.CONFIG not in there and {*there} & {*_WEIGHTS}):
            raise HubError(
                f"{self.hub.where} holds a model that is not of ganzoo, which a push would "
                f"replace. Choose another repository."
            )

    def commit(self, new: Sequence[str], stale: Sequence[str], parent: str, message: str) -> str:
        """Make one commit, and return it."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        hub = self.hub
        operations: list[CommitOperationAdd | CommitOperationDelete] = []
        for name in new:
            content = self.text.encode() if name == bundle.CARD else str(self.files[name])
            operations.append(self.weights.get(name) or CommitOperationAdd(name, content))
        operations += [CommitOperationDelete(name) for name in stale]
        into_new = self.create_pr and self.pull_request is None
        with hub.asking():
            try:
                done = hub.api.create_commit(
                    hub.repo_id,
                    operations,
                    commit_message=message,
                    revision=None if into_new else self.pull_request or self.branch,
                    create_pr=into_new,
                    parent_commit=parent,
                )
            except Exception as error:
                if _refused(error) or not (found := self.landed(new, stale, parent, into_new)):
                    raise
                commit, pull_request = found
            else:
                commit, pull_request = done.oid, done.pr_revision
        self.changed = True
        if pull_request is not None:
            self.pull_request = pull_request
            self.url = f"{hub.url}/discussions/{pull_request.rsplit('/', 1)[-1]}"
        return commit

    def landed(
        self, new: Sequence[str], stale: Sequence[str], parent: str, into_new: bool
    ) -> tuple[str, str | None] | None:
        """Whether a commit is there, of which no answer came: itself, and its pull request."""
        api, repo_id = self.hub.api, self.hub.repo_id
        with contextlib.suppress(Exception):  # then the first error says why
            places: list[str] = [self.pull_request or self.branch]
            if into_new:
                refs = api.list_repo_refs(repo_id, include_pull_requests=True).pull_requests or []
                numbers = sorted(int(ref.ref.rsplit("/", 1)[-1]) for ref in refs)
                places = [f"refs/pr/{number}" for number in numbers[:-4:-1]]
            for revision in places:
                commit = str(api.model_info(repo_id, revision=revision).sha)
                there = self.hub.files(commit)
                whole = all(self.arrived(name, there.get(name)) for name in new)
                if commit != parent and whole and not {*stale} & {*there}:
                    return commit, revision if into_new else None
        return None

    def arrived(self, name: str, there: RepoFile | None) -> bool:
        if name == bundle.CARD:
            return there is not None and there.blob_id == _git_oid(self.text.encode())
        return self.same(name, there)

    def same(self, name: str, there: RepoFile | None) -> bool:
        """Whether a file on the Hub has the content of the bundle's; weights were hashed before."""
        path, hashed = self.files[name], self.weights.get(name)
        if there is None or there.size != path.stat().st_size:
            return False
        if there.lfs is not None:
            found = sha256(path) if hashed is None else hashed.upload_info.sha256.hex()
            return there.lfs.sha256 == found
        return there.blob_id == _git_oid(path.read_bytes())

    def write_card(self, older: str | None, there: Mapping[str, RepoFile]) -> None:
        """Put the card beside, unless it is there or somebody has edited it."""
        checksummed = older is not None and not edited(older)
        if older is not None and not checksummed and not self.overwrite_card:
            self.text = older
            self.notices.append(
                f"The {bundle.CARD} of {self.hub.repo_id} was edited, so it is left as it is "
                f"and may load an older commit: overwrite_card replaces it."
            )
            return
        if (
            older is not None
            and checksummed
            and not self.changed
            and (pin := self.pin(older, there))
        ):
            self.text, self.pinned = older, pin
            return
        self.text = self.card(self.pinned)
        if self.text != older:
            pinned = self.pinned
            self.commit([bundle.CARD], [], pinned, f"Card that loads {pinned[:7]}")

    def pin(self, older: str, there: Mapping[str, RepoFile]) -> str | None:
        """The commit that a card loads, if it is the card that these files have."""
        named: list[str] = _COMMIT.findall(older)
        for commit in dict.fromkeys(named):
            if self.card(commit) != older:
                continue
            with contextlib.suppress(HubError):  # a commit of another repository, or gone
                then = self.hub.files(commit)
                names = set(_OURS) - {bundle.CARD}
                if all(_oid(then.get(name)) == _oid(there.get(name)) for name in names):
                    return commit
        return None


def _refused(error: Exception) -> bool:
    """Whether the Hub has said no, so that nothing was done."""
    from huggingface_hub.errors import HfHubHTTPError

    return isinstance(error, HfHubHTTPError) and error.response.status_code < 500


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _oid(there: RepoFile | None) -> str | None:
    return str(there.blob_id) if there is not None else None
