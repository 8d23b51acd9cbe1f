"""The Hugging Face Hub: generators are fetched from it and pushed to it.

Nothing of a repository is executed: only the files of a bundle are downloaded, each after a check
of its size, all from one commit.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo._version import __version__
from ganzoo.errors import BundleError, ConfigError, HubError
from ganzoo.files.bounded_json import LARGEST
from ganzoo.generators import bundle
from ganzoo.generators.assembly import check_sizes
from ganzoo.generators.card import edited, notices
from ganzoo.generators.hub_client import COMMIT, Client, check_revision, parse, printable

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

__all__ = ["Fetched", "HubOptions", "Published", "Push", "fetch", "parse", "published", "push"]

_WEIGHTS = (bundle.WEIGHTS, bundle.DISCRIMINATOR)
_FILES = (bundle.CONFIG, *_WEIGHTS, *bundle.EXTRAS)
"""The files of a bundle: no other file is downloaded, replaced or deleted."""


@dataclass(frozen=True)
class HubOptions:
    """How to push a generator: the arguments of ``Generator.push_to_hub`` by the same names."""

    private: bool | None = None
    token: str | bool | None = field(default=None, repr=False)
    commit_message: str | None = None
    revision: str | None = None
    create_pr: bool = False
    dry_run: bool = False
    license: str | None = None
    overwrite_card: bool = False

    def __post_init__(self) -> None:
        if self.revision is None:
            return
        check_revision(self.revision)
        if self.create_pr:
            raise ConfigError(
                "A pull request goes to the main branch: leave out the revision, or give the "
                "revision of a pull request without create_pr."
            )
        if COMMIT.fullmatch(self.revision):
            raise ConfigError(
                f"'{self.revision}' is a commit, which does not change: give a branch, or "
                f"'refs/pr/1'."
            )


@dataclass(frozen=True)
class Fetched:
    """A bundle in the cache of the Hub's client, all of it from the commit ``revision``.

    The ``extras`` are the names of its other files, if they were asked for; one that is too large
    is listed but not downloaded.
    """

    folder: Path
    revision: str
    extras: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """The folder that links among the files may lead into: repositories may share files."""
        return self.folder.parents[2]


@dataclass(frozen=True)
class Push:
    """What a push has sent, or would send.

    Attributes:
        repo_id: The repository.
        files: Size of each file of the generator in bytes, by name.
        card: The text of its ``README.md``.
        notices: Sentences on data, licence and code that the publisher should know.
        url: Its page on the Hub; None for a dry run.
        revision: The commit of these files; None for a dry run.
        pull_request: The revision of the pull request, such as ``refs/pr/1``.
        changed: Whether the push changed anything on the Hub.
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
    """A generator on the Hub, as its listing describes it: latest commit and tags of the card.

    The licence is None where there is not one; the size is that of the generator's weights in
    bytes, if the Hub knows it.
    """

    repo_id: str
    revision: str
    tags: tuple[str, ...] = ()
    license: str | None = None
    size: int | None = None


# -- from the Hub ---------------------------------------------------------------------------------


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
    """Download a bundle into the cache, all of it from one commit.

    Arguments are those of ``Generator.from_pretrained``; with ``extras``, card, pictures and
    scores are downloaded too, except files that are too large. Files in the cache are not
    downloaded again. Without a network, a branch or tag is the commit that it was last time.

    Raises:
        HubError: If the Hub refuses, cannot be reached, or does not have it.
        BundleError: If ``config.json`` is damaged, hostile or from a newer ganzoo.
        PluginError: If its architecture comes from a plug-in that is not installed.
    """
    parse(repo_id)
    if revision is not None:
        check_revision(revision)
    if force_download and local_files_only:
        raise ConfigError(
            "force_download needs the network and local_files_only forbids it: leave one out."
        )
    client = Client(repo_id, token, revision)
    with client.errors():
        commit = client.api.resolve_revision(
            repo_id, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only
        ).resolved
        if not COMMIT.fullmatch(commit):  # which names a folder of the cache
            raise ValueError(f"{commit} is not a commit")
    download = _Download(client, commit, cache_dir, local_files_only, force_download)
    found = Fetched(download(bundle.CONFIG, LARGEST).parent, commit)
    try:
        config = bundle.config(found.folder, root=found.root)
    except BundleError:
        if not _is_ours(found):
            raise HubError(
                f"{client.where} is not a generator of ganzoo: its {bundle.CONFIG} is of another "
                f"library. Check the name and the revision."
            ) from None
        raise
    check_sizes(config, client.where)
    for name, facts in config.weights.items():
        download(name, facts.size, facts.size)
    return replace(found, extras=download.extras()) if extras else found


@dataclass
class _Download:
    """Downloads files of one commit into the cache."""

    client: Client
    commit: str
    cache_dir: str | Path | None = None
    local: bool = False
    force: bool = False

    def __call__(self, name: str, most: int, least: int = 0) -> Path:
        """Return the path of a file of ``least`` to ``most`` bytes, downloaded unless cached."""
        if not (self.local or self.cached(name)):
            size, where = self.sizes.get(name), self.client.where
            if size is None:
                raise HubError(
                    f"{where} is not a whole generator of ganzoo: it has no {name}. Check the name "
                    f"and the revision."
                )
            if not least <= size <= most:
                limit = f"{'' if least else 'at most '}{most:,}"
                other = (
                    "Choose another repository" if self.client.pushing else "Load another revision"
                )
                raise HubError(
                    f"{name} of {where} has {size:,} bytes instead of {limit}: it was replaced, or "
                    f"its upload was not finished. {other}."
                )
        with self.client.errors(name):
            return Path(
                self.client.api.hf_hub_download(
                    self.client.repo_id,
                    name,
                    revision=self.commit,
                    cache_dir=self.cache_dir,
                    local_files_only=self.local,
                    force_download=self.force,
                )
            )

    def extras(self) -> tuple[str, ...]:
        """Download the other files of a bundle except those too large, and name all of them."""
        sizes: Mapping[str, int] = {}
        if not self.local:
            with contextlib.suppress(HubError):  # no network
                sizes = self.sizes
        if not sizes:
            return tuple(filter(self.cached, bundle.EXTRAS))
        found = tuple(name for name in bundle.EXTRAS if name in sizes)
        for name in found:
            if sizes[name] <= LARGEST:
                self(name, LARGEST)
        return found

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Bytes of the files on the Hub."""
        return {name: each.size for name, each in self.client.files(_FILES, self.commit).items()}

    def cached(self, name: str) -> bool:
        from huggingface_hub import try_to_load_from_cache

        if self.force:
            return False
        with self.client.errors():
            found = try_to_load_from_cache(
                self.client.repo_id, name, cache_dir=self.cache_dir, revision=self.commit
            )
        return isinstance(found, str)


def _is_ours(found: Fetched) -> bool:
    """Whether a ``config.json`` is ganzoo's, even a damaged one; an unreadable one may be."""
    try:
        return bundle.is_ours(found.folder / bundle.CONFIG, found.root)
    except (OSError, ValueError):
        return True


def published(*, token: str | bool | None = None, limit: int = 100) -> list[Published]:
    """List at most so many generators of ganzoo on the Hub, the newest first.

    Tags are what authors of cards wrote, reduced to printable text.

    Raises:
        HubError: If the Hub refuses or cannot be reached.
    """
    from huggingface_hub import get_session

    client = Client("the list of generators", token)
    # Without cards, which the client would parse: one that it cannot would hide all others.
    wanted: list[Any] = ["sha", "safetensors", "tags", "library_name"]
    with client.errors():
        # Asked once: without a network, the listing itself would try again for half a minute.
        get_session().head(client.api.endpoint)
        found = list(
            client.api.list_models(filter="ganzoo", sort="created_at", limit=limit, expand=wanted)
        )
    listed = []
    for model in found:
        with contextlib.suppress(Exception):  # a malformed one hides no other
            if model.library_name == "ganzoo":
                listed.append(_published(model))
    return listed


def _published(model: Any) -> Published:
    parse(model.id)
    tags = tuple(printable(tag) for tag in model.tags or ())
    terms = [tag.removeprefix("license:") for tag in tags if tag.startswith("license:")]
    size = None
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        bits = sum(count * _bits(kind) for kind, count in model.safetensors.parameters.items())
        size = -(-bits // 8)
    return Published(
        repo_id=model.id,
        revision=model.sha or "",
        tags=tags,
        license=terms[0] if len(terms) == 1 else None,
        size=size,
    )


def _bits(kind: str) -> int:
    """Bits of a safetensors dtype such as F16 or F8_E4M3; BOOL takes a byte."""
    found = re.match(r"[A-Z]+(\d+)(?:_|$)", "U8" if kind.upper() == "BOOL" else kind.upper())
    if found is None:
        raise ValueError(f"'{kind}' is not a dtype")
    return int(found[1])


# -- to the Hub -----------------------------------------------------------------------------------


@contextlib.contextmanager
def workplace(repo_id: str) -> Iterator[Path]:
    """Give a temporary folder to prepare a push in; no room there is a ``HubError``."""
    try:
        with tempfile.TemporaryDirectory(prefix="ganzoo-") as place:
            yield Path(place)
    except OSError as error:
        raise HubError(
            f"The push to {repo_id} cannot be prepared in the temporary folder "
            f"({error.strerror or error}). Free some space, or choose another folder with TMPDIR."
        ) from error


def push(folder: Path, repo_id: str, options: HubOptions | None = None) -> Push:
    """Push a bundle with its card to the Hub in one commit; the same again changes nothing.

    Files of an older bundle that this one lacks are deleted. Other files of the repository stay,
    and so does a card that someone has edited.

    Raises:
        BundleError: If the bundle is damaged.
        HubError: If the Hub refuses or cannot be reached, or the repository holds another model.
    """
    from huggingface_hub import CommitOperationDelete

    options = options or HubOptions()
    parse(repo_id)
    config = bundle.config(folder)
    additions = _additions(folder, config)
    card = (folder / bundle.CARD).read_text(encoding="utf-8")
    sizes = {name: each.upload_info.size for name, each in additions.items()}
    done = Push(repo_id, sizes, card, notices(config))
    if options.dry_run:
        return done
    client = Client(repo_id, options.token, options.revision, pushing=True)
    head = _head(client, options)
    there = client.files(_FILES, head)
    download = _Download(client, head)
    _refuse_other_models(download, there)
    theirs = None if options.overwrite_card else _edited_card(download, there)
    if theirs is not None:
        del additions[bundle.CARD]
        notice = f"The {bundle.CARD} of {repo_id} was edited, so it stays as it is: overwrite_card "
        done = replace(
            done,
            card=theirs,
            files={**sizes, bundle.CARD: len(theirs.encode())},
            notices=(*done.notices, f"{notice}replaces it."),
        )
    stale = {*there} - {*additions, bundle.CARD}
    with client.errors():
        commit = client.api.create_commit(
            repo_id,  # which leaves out files that have not changed, and makes no empty commit
            [*additions.values(), *map(CommitOperationDelete, sorted(stale))],
            commit_message=options.commit_message or f"Generator of ganzoo {__version__}",
            revision=options.revision,
            create_pr=options.create_pr,
            parent_commit=head,
        )
    return replace(
        done,
        url=commit.pr_url or client.url,
        revision=commit.oid,
        pull_request=commit.pr_revision,
        changed=commit.oid != head,
    )


def _additions(folder: Path, config: bundle.BundleConfig) -> dict[str, CommitOperationAdd]:
    """The files of a bundle, whose weights are verified.

    The client hashes each file for the upload, so weights are read once.
    """
    from huggingface_hub import CommitOperationAdd

    found = {}
    for name in (bundle.CONFIG, *config.weights, *bundle.EXTRAS):
        path, facts = folder / name, config.weights.get(name)
        if facts is None and (not path.is_file() or path.is_symlink()):
            continue
        try:
            found[name] = CommitOperationAdd(name, str(path))
            if facts is not None and found[name].upload_info.sha256.hex() != facts.sha256:
                raise ValueError("checksum mismatch")
        except (OSError, ValueError) as error:
            raise BundleError(
                f"{path} cannot be sent ({error}). Copy the whole folder again."
            ) from error
    return found


def _head(client: Client, options: HubOptions) -> str:
    """The commit to build on; repository and branch are created if they do not exist."""
    from huggingface_hub.errors import RevisionNotFoundError

    api, repo_id, branch = client.api, client.repo_id, options.revision
    with client.errors():
        if not options.create_pr:
            api.create_repo(repo_id, private=options.private, exist_ok=True)
        info = api.model_info(repo_id)
        if options.private and info.private is False:
            raise HubError(
                f"{repo_id} is public, which a push does not change. Make it private at "
                f"{client.url}/settings, or choose another name."
            )
        if branch is not None:
            try:
                info = api.model_info(repo_id, revision=branch)
            except RevisionNotFoundError:
                if branch.startswith("refs/"):
                    raise
                api.create_branch(repo_id, branch=branch, exist_ok=True)
                info = api.model_info(repo_id, revision=branch)
    return str(info.sha)


def _edited_card(download: _Download, there: Collection[str]) -> str | None:
    """The card in the repository, if someone has edited it."""
    if bundle.CARD not in there:
        return None
    text = download(bundle.CARD, LARGEST).read_bytes().decode("utf-8", errors="replace")
    return text if edited(text) else None


def _refuse_other_models(download: _Download, there: Collection[str]) -> None:
    """Do not replace the model of another library, whose files have the same names."""
    ours = not {*there} & {*_WEIGHTS}
    if bundle.CONFIG in there:
        ours = _is_ours(Fetched(download(bundle.CONFIG, LARGEST).parent, download.commit))
    if not ours:
        raise HubError(
            f"{download.client.where} holds a model of another library, which a push would "
            f"replace. Choose another repository."
        )
