"""A Hugging Face Hub in this process, in memory, that the real client speaks to over HTTP.

    with HubServer() as hub:
        hub.add_user("ann", token="hf_ann", orgs=["zoo"])
        api = HfApi(endpoint=hub.endpoint, token="hf_ann")
        api.create_repo("zoo/dcgan")
        ...
        assert hub.files("zoo/dcgan")["README.md"].startswith(b"---")

It is a git forge reduced to what a client can see of one: a repository has commits (each a whole
mapping of paths to contents), branches, tags and pull requests that point at commits, and large
files beside them. What is asked of it follows the requests that huggingface_hub 1.32 to 2.4 makes
for models, and so do the errors: their status, ``X-Error-Code`` and message are what the client
tells apart. It does not speak Xet, the successor of LFS, so `configure_client` and `environment`
turn that off in the client.

Anything can be made to go wrong, on request: see `HubServer.fail`.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import hashlib
import json
import os
import re
import socket
import socketserver
import struct
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import pytest
import yaml

__all__ = ["Blob", "Commit", "HubServer", "Repo", "Request", "configure_client"]

HOST = "127.0.0.1"
GIT_ATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n"
    for pattern in ("*.bin", "*.ckpt", "*.npz", "*.pkl", "*.pt", "*.pth", "*.safetensors", "*.zip")
).encode()
FRONT_MATTER = re.compile(r"\A\s*---[\r\n]+(.*?)[\r\n]+---(?:\r?\n|\Z)", re.DOTALL)


# What is stored


@dataclass(frozen=True)
class Blob:
    """The content of one file; ``lfs`` when it lies beside the repository."""

    content: bytes
    lfs: bool = False

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git holds of a large file."""
        spec = "version https://git-lfs.github.com/spec/v1"
        return f"{spec}\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @property
    def oid(self) -> str:
        """The name that git gives it."""
        held = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(held) + held).hexdigest()

    @property
    def etag(self) -> str:
        """What tells it from any other content; the client's cache names its file so."""
        return self.sha256 if self.lfs else self.oid


@dataclass(frozen=True)
class Commit:
    """One state of a repository, whole."""

    oid: str
    title: str
    description: str
    author: str
    date: datetime
    parent: Commit | None
    files: Mapping[str, Blob]

    def history(self) -> list[Commit]:
        """This commit and those before it, newest first."""
        found: list[Commit] = []
        commit: Commit | None = self
        while commit is not None:
            found.append(commit)
            commit = commit.parent
        return found


@dataclass
class Repo:
    """A model repository: commits, and names that point at them."""

    name: str
    private: bool
    gated: bool
    created: datetime
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pull_requests: dict[str, str] = field(default_factory=dict)  # "refs/pr/1" and so on
    large: dict[str, bytes] = field(default_factory=dict)  # uploaded, perhaps not yet committed
    granted: set[str] = field(default_factory=set)  # who may read it though it is gated

    @property
    def owner(self) -> str:
        return self.name.split("/")[0]

    def find(self, revision: str) -> Commit | None:
        """The commit behind a branch, a tag, a pull request or (the beginning of) an oid."""
        for names in (self.branches, self.tags, self.pull_requests):
            if revision in names:
                return self.commits[names[revision]]
        if re.fullmatch("[0-9a-f]{7,40}", revision):
            found = [commit for oid, commit in self.commits.items() if oid.startswith(revision)]
            return found[0] if len(found) == 1 else None
        return None

    def moving(self, revision: str) -> dict[str, str] | None:
        """The names among which one is that a commit can move."""
        names = (self.branches, self.pull_requests)
        return next((each for each in names if revision in each), None)


@dataclass(frozen=True)
class Account:
    """Who a token belongs to, and what it allows: "read" or "write"."""

    name: str
    role: str
    orgs: tuple[str, ...]


# What is asked and answered


@dataclass(frozen=True)
class Request:
    """One request as it came in; its ``path`` is unquoted and without the query."""

    method: str
    target: str
    headers: Mapping[str, str]  # lower-case names
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None

    @property
    def line(self) -> str:
        """What `HubServer.sent` and `HubServer.fail` search: ``GET /zoo/dcgan/resolve/main/a``."""
        return f"{self.method} {self.path}"

    def values(self, name: str) -> list[str]:
        return parse_qs(urlsplit(self.target).query).get(name, [])

    def flag(self, name: str) -> bool:
        return self.values(name)[-1:] in (["1"], ["true"], ["True"])

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass(frozen=True)
class Answer:
    """What goes back; ``ranged`` when a part of it may be asked for."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    ranged: bool = False
    cut: int | None = None  # the connection ends after so many bytes of the body

    def part(self, wanted: str | None) -> Answer:
        """The bytes that a Range header asks for."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
        if not (self.ranged and match and any(match.groups())):
            return self
        first, last = match.groups()
        size = len(self.body)
        start = int(first) if first else max(size - int(last), 0)
        stop = min(int(last) + 1, size) if first and last else size
        if start >= stop:
            return Answer(416, headers={"Content-Range": f"bytes */{size}"})
        headers = {**self.headers, "Content-Range": f"bytes {start}-{stop - 1}/{size}"}
        return replace(self, status=206, body=self.body[start:stop], headers=headers)


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A JSON answer."""
    body = json.dumps(value, default=str).encode()
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return Answer(status, body, kind | dict(headers or {}))


def refused(
    status: int, code: str | None, message: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """An answer that says no, in the two headers and the body where the client looks for it."""
    said = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return as_json({"error": message}, status, said | dict(headers or {}))


class Refusal(Exception):  # noqa: N818  (an answer, not an error of the server)
    """Raised to answer with `refused`."""

    def __init__(self, *said: Any) -> None:
        super().__init__(*said)
        self.answer = refused(*said)


@dataclass
class Fault:
    """What goes wrong with requests whose line matches, so many times."""

    where: re.Pattern[str]
    times: int | None
    answer: Answer | None
    content: bytes | None
    cut: int | None

    def strikes(self, request: Request) -> bool:
        if self.times == 0 or not self.where.search(request.line):
            return False
        if self.times is not None:
            self.times -= 1
        return True


# The server

Handler = Callable[..., Answer]
ROUTES: list[tuple[str, re.Pattern[str], Handler]] = []
PLACES = {"repo": "[^/]+/[^/]+", "revision": "[^/]+", "name": "[^/]+", "path": ".+"}


def route(method: str, pattern: str) -> Callable[[Handler], Handler]:
    """A handler of `HubServer` answers what matches, the named places being its arguments.

    Matched before unquoting: a revision such as ``refs/pr/1`` comes quoted, as one segment.
    """
    expression = re.sub(r"\{(\w+)\}", lambda m: f"(?P<{m[1]}>{PLACES[m[1]]})", pattern)

    def add(handler: Handler) -> Handler:
        ROUTES.append((method, re.compile(expression), handler))
        return handler

    return add


class HubServer:
    """A Hub on a free port of this machine, up while the context is entered.

    Args:
        lfs_threshold: Size in bytes from which any file is a large file. Smaller ones are when
            they are binary or when .gitattributes says so, which it does of ``*.safetensors``.
        page_size: Entries in a page of a listing.
        separate_storage: Serve large files from another host name, as the true Hub does. The
            client then reads what it wants to know from the redirect, and sends no token there.
    """

    def __init__(
        self,
        *,
        lfs_threshold: int = 10_000_000,
        page_size: int = 1000,
        separate_storage: bool = False,
    ) -> None:
        self.lfs_threshold = lfs_threshold
        self.page_size = page_size
        self.requests: list[Request] = []
        self.errors: list[str] = []
        self._separate_storage = separate_storage
        self._accounts: dict[str, Account] = {}
        self._repos: dict[str, Repo] = {}
        self._faults: list[Fault] = []
        self._now = datetime(2026, 1, 1, tzinfo=UTC)
        self._lock = threading.RLock()
        self._listener: Listener | None = None
        self.port = 0

    # In a test: what there is

    @property
    def endpoint(self) -> str:
        """Where it listens: ``http://127.0.0.1:port``."""
        return f"http://{HOST}:{self.port}"

    @property
    def storage(self) -> str:
        """Where large files are."""
        return f"http://localhost:{self.port}" if self._separate_storage else self.endpoint

    def add_user(
        self, name: str, token: str, role: str = "write", orgs: Iterable[str] = ()
    ) -> None:
        """A user, or another token of one; writes to their own name and those of ``orgs``."""
        self._accounts[token] = Account(name, role, tuple(orgs))

    def create_repo(self, name: str, *, private: bool = False, gated: bool = False) -> Repo:
        """A repository as the Hub makes it: with a first commit that holds .gitattributes."""
        with self._lock:
            repo = self._repos[name] = Repo(name, private, gated, self._tick())
            files = {".gitattributes": Blob(GIT_ATTRIBUTES)}
            repo.branches["main"] = self._add_commit(repo, None, "initial commit", files).oid
            return repo

    def commit(
        self,
        name: str,
        files: Mapping[str, bytes | str | None],
        *,
        message: str = "a commit",
        revision: str = "main",
        pull_request: bool = False,
    ) -> str:
        """Commit without a client and without its checks; a None deletes. Returns the oid.

        The repository is made if there is none. Names of files can be what no client would send.
        """
        with self._lock:
            repo = self._repos.get(name) or self.create_repo(name)
            parent = repo.find(revision)
            assert parent is not None, f"no revision {revision}"
            new = dict(parent.files)
            for path, content in files.items():
                new.pop(path, None)
                if content is not None:
                    data = content.encode() if isinstance(content, str) else content
                    new[path] = Blob(data, lfs=self._is_large(repo, path, len(data), data[:512]))
            commit = self._add_commit(repo, parent, message, new)
            self._move(repo, revision, commit, pull_request)
            return commit.oid

    def tag(self, name: str, tag: str, revision: str = "main") -> None:
        """Point a tag at a revision."""
        commit = self.repo(name).find(revision)
        assert commit is not None, f"no revision {revision}"
        self.repo(name).tags[tag] = commit.oid

    def grant(self, name: str, user: str) -> None:
        """Let a user read a gated repository."""
        self.repo(name).granted.add(user)

    def repo(self, name: str) -> Repo:
        """The repository of that name."""
        return self._repos[name]

    def repos(self) -> list[str]:
        """The names of all repositories."""
        return list(self._repos)

    def commits(self, name: str, revision: str = "main") -> list[Commit]:
        """The commits up to a revision, newest first."""
        commit = self.repo(name).find(revision)
        return commit.history() if commit else []

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """The contents of a revision by path."""
        commit = self.commits(name, revision)[0]
        return {path: blob.content for path, blob in sorted(commit.files.items())}

    def sent(self, where: str) -> list[Request]:
        """The requests so far whose line (``GET /path``) the regular expression finds."""
        return [request for request in self.requests if re.search(where, request.line)]

    # In a test: what goes wrong

    def fail(
        self,
        where: str,
        *,
        times: int | None = 1,
        status: int | None = None,
        message: str = "Internal Error, we are sorry",
        cut: int | None = None,
        content: bytes | None = None,
    ) -> None:
        """Let the next requests go wrong whose line (``GET /path``) the regular expression finds.

        Args:
            where: A regular expression. The path of a large file ends with its name too.
            times: How often; None for always.
            status: Answer this instead, with ``message``.
            message: What that answer says.
            cut: End the connection after so many bytes of the body, all of which was promised; -1
                answers nothing at all. What was asked is done nevertheless.
            content: Send this body instead of the true one, under the true ETag.
        """
        answer = None if status is None else refused(status, None, message)
        fault = Fault(re.compile(where), times, answer, content, cut)
        with self._lock:
            self._faults.append(fault)

    def heal(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    @contextlib.contextmanager
    def offline(self) -> Iterator[None]:
        """Refuse connections meanwhile, on the same port; nothing stored is lost."""
        self._stop()
        # Bound and not listening: connections are refused, and nobody else gets the port.
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((HOST, self.port))
        try:
            yield
        finally:
            self._start(held)

    def environment(
        self, home: Path, *, token: str | None = None, offline: bool = False
    ) -> dict[str, str]:
        """The environment of a process on another machine: a home of its own, and this Hub."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.upper().startswith(("GANZOO_", "HF_", "HUGGING", "TRANSFORMERS_", "XDG_"))
        }
        given = {
            "HOME": str(home),
            "USERPROFILE": str(home),
            "HF_HOME": str(home / "huggingface"),
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": f"{HOST},localhost",
            "no_proxy": f"{HOST},localhost",
        }
        if token:
            given["HF_TOKEN"] = token
        if offline:
            given["HF_HUB_OFFLINE"] = "1"
        return kept | given

    # Up and down

    def __enter__(self) -> HubServer:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        assert not self.errors, "\n".join(self.errors)  # of this server, not of who asked

    def _start(self, bound: socket.socket | None = None) -> None:
        self._listener = Listener(self, bound)
        self.port = self._listener.server_address[1]
        run = self._listener.serve_forever
        threading.Thread(target=run, args=(0.02,), name="hub", daemon=True).start()

    def _stop(self) -> None:
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener.hang_up()
            self._listener = None

    # A request comes in

    def respond(self, request: Request) -> Answer:
        """Answer a request, or fail to as a fault says."""
        with self._lock:
            self.requests.append(request)
            fault = next((each for each in self._faults if each.strikes(request)), None)
        if fault is not None and fault.answer is not None:
            return fault.answer
        try:
            with self._lock:
                answer = self._dispatch(request)
        except Refusal as refusal:
            answer = refusal.answer
        except Exception:
            self.errors.append(f"{request.line}\n{traceback.format_exc()}")
            return as_json({"error": "HubServer has a bug"}, 501)  # 500 would be tried again
        if fault is not None:
            if fault.content is not None:
                answer = replace(answer, body=fault.content)
            answer = replace(answer, cut=fault.cut)
        return answer.part(request.headers.get("range"))

    def _dispatch(self, request: Request) -> Answer:
        self._account(request)  # a wrong token is refused wherever it is shown
        raw = urlsplit(request.target).path
        method = "GET" if request.method == "HEAD" else request.method
        for wanted, pattern, handler in ROUTES:
            match = pattern.fullmatch(raw)
            if match and wanted == method:
                places = {name: unquote(value) for name, value in match.groupdict().items()}
                return handler(self, request, **places)
        raise Refusal(501, None, f"HubServer does not speak {request.line}")

    # Who may do what

    def _account(self, request: Request) -> Account | None:
        if request.token is None:
            return None
        if request.token not in self._accounts:
            raise Refusal(401, None, "Invalid credentials in Authorization header")
        return self._accounts[request.token]

    def _known(self, request: Request) -> Account:
        account = self._account(request)
        if account is None:
            raise Refusal(401, None, "Invalid username or password.")
        return account

    @staticmethod
    def _owns(account: Account | None, namespace: str) -> bool:
        return account is not None and namespace in (account.name, *account.orgs)

    def _repo(
        self, request: Request, name: str, *, write: bool = False, contents: bool = False
    ) -> Repo:
        """The repository, if who asks may do that.

        Without a token a private repository and one that does not exist get the same answer, 401;
        with one of somebody else 404. Anyone may see what is in a gated one, but not download it.
        """
        repo, account = self._repos.get(name), self._account(request)
        owns = self._owns(account, name.split("/")[0])
        if repo is None or (repo.private and not owns):
            if account is None:
                raise Refusal(401, "RepoNotFound", "Invalid username or password.")
            raise Refusal(404, "RepoNotFound", "Repository not found")
        if contents and repo.gated and not owns:
            if account is None:
                said = "You must have access to it and be authenticated to access it."
                said = f"Access to model {name} is restricted. {said} Please log in."
                raise Refusal(401, "GatedRepo", said)
            if account.name not in repo.granted:
                said = f"Access to model {name} is restricted and you are not in the authorized "
                said += f"list. Visit {self.endpoint}/{name} to ask for access."
                raise Refusal(403, "GatedRepo", said)
        if write:
            if account is None:
                raise Refusal(401, "RepoNotFound", "Invalid username or password.")
            if account.role != "write" or not owns:
                raise Refusal(403, None, "Authorization error.")
        return repo

    def _contributor(self, request: Request, name: str) -> Repo:
        """The repository, if who asks may open a pull request: anyone who reads and may write."""
        repo = self._repo(request, name)
        if self._known(request).role != "write":
            raise Refusal(403, None, "Authorization error.")
        return repo

    def _writable(self, request: Request, name: str, revision: str) -> Repo:
        """The repository, if who asks may commit there: contributors may to pull requests."""
        if request.flag("create_pr") or revision.startswith("refs/pr/"):
            return self._contributor(request, name)
        return self._repo(request, name, write=True)

    @staticmethod
    def _no_revision(revision: str) -> NoReturn:
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def _revision(self, repo: Repo, revision: str) -> Commit:
        return repo.find(revision) or self._no_revision(revision)

    # Storing

    def _tick(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now

    def _add_commit(
        self,
        repo: Repo,
        parent: Commit | None,
        title: str,
        files: Mapping[str, Blob],
        description: str = "",
        author: str = "somebody",
    ) -> Commit:
        date = self._tick()
        contents = [(path, blob.oid) for path, blob in sorted(files.items())]
        what = repr((repo.name, parent and parent.oid, title, description, author, date, contents))
        oid = hashlib.sha1(what.encode()).hexdigest()
        commit = Commit(oid, title, description, author, date, parent, dict(files))
        repo.commits[oid] = commit
        repo.large.update((b.sha256, b.content) for b in files.values() if b.lfs)
        return commit

    def _move(self, repo: Repo, revision: str, commit: Commit, pull_request: bool) -> str | None:
        """Let a name point at a new commit; for a pull request a new name, which is returned."""
        if pull_request:
            name = f"refs/pr/{len(repo.pull_requests) + 1}"
            repo.pull_requests[name] = commit.oid
            return name
        names = repo.moving(revision)
        if names is None:
            self._no_revision(revision)
        names[revision] = commit.oid
        return None

    def _is_large(self, repo: Repo, path: str, size: int, sample: bytes) -> bool:
        head = repo.find("main")
        attributes = head.files.get(".gitattributes", Blob(b"")) if head else Blob(b"")
        patterns = re.findall(r"^(\S+) .*\bfilter=lfs\b", attributes.content.decode(), re.MULTILINE)
        if size >= self.lfs_threshold or b"\0" in sample:
            return True
        name = path.rsplit("/", 1)[-1]
        return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)

    # Accounts and repositories

    @route("POST", "/api/repos/create")
    def _create(self, request: Request) -> Answer:
        account, wanted = self._known(request), request.json()
        if wanted.get("type", "model") != "model":
            raise Refusal(501, None, f"HubServer does not speak of a {wanted['type']}")
        namespace = wanted.get("organization") or account.name
        name = f"{namespace}/{wanted['name']}"
        if account.role != "write" or not self._owns(account, namespace):
            said = "You don't have the rights to create a model under the namespace"
            raise Refusal(403, None, f'{said} "{namespace}"')
        url = f"{self.endpoint}/{name}"
        if name in self._repos:
            said = "You already created this model repo"
            return as_json({"error": said, "url": url}, 409, {"X-Error-Message": said})
        private = wanted.get("visibility") == "private" or wanted.get("private") is True
        self.create_repo(name, private=private)
        return as_json({"url": url, "name": name})

    # Looking

    @route("GET", "/api/models")
    def _list(self, request: Request) -> Answer:
        def one(name: str) -> str:
            return (request.values(name) or [""])[-1]

        account = self._account(request)
        found = []
        for repo in self._repos.values():
            if repo.private and not self._owns(account, repo.owner):
                continue
            info = self._describe(repo, repo.commits[repo.branches["main"]])
            if (
                set(request.values("filter")) <= set(info["tags"])
                and one("search").lower() in repo.name.lower()
                and one("author") in ("", repo.owner)
                and one("pipeline_tag") in ("", info["pipeline_tag"])
            ):
                found.append(info)
        key = "lastModified" if one("sort") == "lastModified" else "createdAt"
        found.sort(key=lambda info: (info[key], info["id"]), reverse=True)
        start, limit = int(one("cursor") or 0), int(one("limit") or self.page_size)
        stop = start + min(limit, self.page_size)
        fields = {"_id", "id", "modelId", "likes", "downloads", "private", "tags", "createdAt"}
        fields |= {"pipeline_tag", "library_name"}
        if request.flag("full"):
            fields |= {"author", "sha", "lastModified", "gated", "disabled", "siblings"}
        if request.flag("cardData"):
            fields.add("cardData")
        if request.values("expand"):
            fields = {"_id", "id", *request.values("expand")}
        page = [{k: v for k, v in info.items() if k in fields} for info in found[start:stop]]
        return as_json(page, headers=self._next_page(request, stop, len(found)))

    def _next_page(self, request: Request, stop: int, total: int) -> dict[str, str]:
        """The Link header that leads to the rest, if there is one."""
        if stop >= total:
            return {}
        url = urlsplit(request.target)
        query = parse_qs(url.query) | {"cursor": [str(stop)]}
        return {"Link": f'<{self.endpoint}{url.path}?{urlencode(query, doseq=True)}>; rel="next"'}

    @route("GET", "/api/models/{repo}")
    def _info(self, request: Request, repo: str) -> Answer:
        return self._info_at(request, repo, "main")

    @route("GET", "/api/models/{repo}/revision/{revision}")
    def _info_at(self, request: Request, repo: str, revision: str) -> Answer:
        found = self._repo(request, repo)
        commit = self._revision(found, revision)
        info = self._describe(found, commit, blobs=request.flag("blobs"))
        if request.values("expand"):
            wanted = {"_id", "id", *request.values("expand")}
            info = {key: value for key, value in info.items() if key in wanted}
        return as_json(info)

    def _describe(self, repo: Repo, commit: Commit, *, blobs: bool = False) -> dict[str, Any]:
        """Everything that the Hub tells of a model."""
        siblings: list[dict[str, Any]] = []
        for path, blob in sorted(commit.files.items()):
            siblings.append({"rfilename": path})
            if blobs:
                siblings[-1] |= {"size": blob.size, "blobId": blob.oid}
            if blobs and blob.lfs:
                pointer = {"size": blob.size, "sha256": blob.sha256}
                siblings[-1]["lfs"] = pointer | {"pointerSize": len(blob.pointer)}
        readme = commit.files.get("README.md", Blob(b"")).content.decode(errors="replace")
        card: Any = None
        with contextlib.suppress(yaml.YAMLError):
            card = front_matter(readme)
        card = card if isinstance(card, dict) else {}
        weights = safetensors_sizes(commit.files)
        tags = [*as_list(card.get("tags"))]
        tags += [card[key] for key in ("library_name", "pipeline_tag") if card.get(key)]
        tags += ["safetensors"] * bool(weights)
        for key, prefix in (("license", "license"), ("datasets", "dataset")):
            tags += [f"{prefix}:{value}" for value in as_list(card.get(key))]
        tags += [f"base_model:{value}" for value in as_list(card.get("base_model"))]
        return {
            "_id": hashlib.sha1(repo.name.encode()).hexdigest()[:24],
            "id": repo.name,
            "modelId": repo.name,
            "author": repo.owner,
            "sha": commit.oid,
            "createdAt": stamp(repo.created),
            "lastModified": stamp(commit.date),
            "private": repo.private,
            "gated": "manual" if repo.gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": list(dict.fromkeys(map(str, tags))),
            "pipeline_tag": card.get("pipeline_tag"),
            "library_name": card.get("library_name"),
            "cardData": card,
            "model-index": card.get("model-index"),
            "safetensors": weights,
            "siblings": siblings,
            "spaces": [],
            "usedStorage": sum(map(len, repo.large.values())),
        }

    @route("POST", "/api/models/{repo}/paths-info/{revision}")
    def _paths_info(self, request: Request, repo: str, revision: str) -> Answer:
        commit = self._revision(self._repo(request, repo), revision)
        wanted = parse_qs(request.body.decode()).get("paths", [])
        found = [listed(path, commit.files[path]) for path in wanted if path in commit.files]
        return as_json(found)

    # Names of commits

    @route("GET", "/api/models/{repo}/refs")
    def _refs(self, request: Request, repo: str) -> Answer:
        found = self._repo(request, repo)

        def refs(names: Mapping[str, str], prefix: str) -> list[dict[str, str]]:
            return [
                {"name": name, "ref": prefix + name, "targetCommit": oid}
                for name, oid in names.items()
            ]

        answer = {
            "branches": refs(found.branches, "refs/heads/"),
            "tags": refs(found.tags, "refs/tags/"),
            "converts": [],
        }
        if request.flag("include_prs"):
            answer["pullRequests"] = refs(found.pull_requests, "")
        return as_json(answer)

    @route("POST", "/api/models/{repo}/branch/{revision}")
    def _create_branch(self, request: Request, repo: str, revision: str) -> Answer:
        found = self._repo(request, repo, write=True)
        start = self._revision(found, request.json().get("startingPoint", "main"))
        if revision in found.branches:
            raise Refusal(409, None, f"Reference already exists: refs/heads/{revision}")
        found.branches[revision] = start.oid
        return as_json({})

    # Uploading: is the card right, which files are large, those, and then the commit

    @route("POST", "/api/validate-yaml")
    def _validate(self, request: Request) -> Answer:
        errors, warnings = check_card(request.json()["content"])
        said = {
            "errors": [{"message": each} for each in errors],
            "warnings": [{"message": each} for each in warnings],
        }
        return as_json(said, 400 if errors else 200)

    @route("POST", "/api/models/{repo}/preupload/{revision}")
    def _preupload(self, request: Request, repo: str, revision: str) -> Answer:
        found = self._writable(request, repo, revision)
        commit = self._revision(found, revision)
        answers = []
        for file in request.json()["files"]:
            path, sample = file["path"], base64.b64decode(file["sample"])
            large = self._is_large(found, path, file["size"], sample)
            there = commit.files.get(path)
            answers.append(
                {
                    "path": path,
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    "oid": there.etag if there else None,
                }
            )
        return as_json({"files": answers})

    @route("POST", "/{repo}.git/info/lfs/objects/batch")
    def _lfs_batch(self, request: Request, repo: str) -> Answer:
        found, wanted = self._contributor(request, repo), request.json()
        if wanted["operation"] != "upload":
            raise Refusal(501, None, f"HubServer does not speak of {wanted['operation']} by LFS")
        objects = []
        for each in wanted["objects"]:
            objects.append({"oid": each["oid"], "size": each["size"]})
            if each["oid"] not in found.large:
                href = f"{self.storage}/lfs/{repo}/{each['oid']}"
                verify = f"{self.endpoint}/lfs/{repo}/{each['oid']}/verify"
                actions = {"upload": {"href": href}, "verify": {"href": verify}}
                objects[-1]["actions"] = actions
        return as_json({"transfer": "basic", "objects": objects})

    @route("PUT", "/lfs/{repo}/{name}")
    def _lfs_put(self, request: Request, repo: str, name: str) -> Answer:
        if hashlib.sha256(request.body).hexdigest() != name:
            raise Refusal(400, None, "The content does not have the SHA-256 of its name")
        self._repos[repo].large[name] = request.body
        return Answer()

    @route("POST", "/lfs/{repo}/{name}/verify")
    def _lfs_verify(self, request: Request, repo: str, name: str) -> Answer:
        found = self._contributor(request, repo)
        if len(found.large.get(name, b"")) != request.json()["size"]:
            raise Refusal(404, None, f"No such object: {name}")
        return as_json({})

    @route("POST", "/api/models/{repo}/commit/{revision}")
    def _commit(self, request: Request, repo: str, revision: str) -> Answer:
        pull_request = request.flag("create_pr")
        found = self._writable(request, repo, revision)
        lines = [json.loads(line) for line in request.body.split(b"\n") if line]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if found.moving(revision) is None:
            self._no_revision(revision)
        parent = self._revision(found, revision)
        expected = header.get("parentCommit")
        if expected and pull_request:
            parent = self._revision(found, expected)
        elif expected and not parent.oid.startswith(expected):
            raise Refusal(412, None, "A commit has happened since. Please refresh and try again.")
        files = dict(parent.files)
        for line in lines:
            self._apply(found, files, line["key"], line["value"])
        card = files.get("README.md")
        if card and check_card(card.content.decode(errors="replace"))[0]:
            raise Refusal(400, None, "Invalid metadata in README.md")
        commit = self._add_commit(
            found,
            parent,
            header["summary"],
            files,
            header.get("description", ""),
            self._known(request).name,
        )
        name = self._move(found, revision, commit, pull_request)
        url = f"{self.endpoint}/{repo}"
        answer = {"success": True, "commitOid": commit.oid, "hookOutput": ""}
        answer["commitUrl"] = f"{url}/commit/{commit.oid}"
        if name is not None:
            answer["pullRequestUrl"] = f"{url}/discussions/{name.rsplit('/', 1)[-1]}"
        return as_json(answer)

    def _apply(self, repo: Repo, files: dict[str, Blob], key: str, value: Any) -> None:
        """One line of a commit."""
        path = value.get("path", "")
        if key == "deletedFolder":
            path = path.removesuffix("/")
        if key != "header" and {"", ".", ".."} & set(path.split("/")):
            raise Refusal(400, None, f"Invalid path: {path!r}")
        if key == "file":
            content = base64.b64decode(value["content"])
            if len(content) >= self.lfs_threshold:
                raise Refusal(400, None, f"{path} is too large for a regular file")
            files[path] = Blob(content)
        elif key == "lfsFile":
            if value["oid"] not in repo.large:
                raise Refusal(400, None, "LFS pointer pointed to a file that does not exist")
            files[path] = Blob(repo.large[value["oid"]], lfs=True)
        elif key == "deletedFile":
            if files.pop(path, None) is None:
                raise Refusal(404, "EntryNotFound", "A file with this name doesn't exist")
        elif key == "deletedFolder":
            below = [name for name in files if name.startswith(f"{path}/")]
            if not below:
                raise Refusal(404, "EntryNotFound", "A file with this name doesn't exist")
            for name in below:
                del files[name]
        elif key != "header":
            raise Refusal(501, None, f"HubServer does not speak of {key} in a commit")

    # Downloading

    @route("GET", "/{repo}/resolve/{revision}/{path}")
    def _resolve(self, request: Request, repo: str, revision: str, path: str) -> Answer:
        found = self._repo(request, repo, contents=True)
        commit = self._revision(found, revision)
        blob = commit.files.get(path)
        if blob is None:
            raise Refusal(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit.oid})
        if not blob.lfs:
            return self._content(blob, commit.oid)
        headers = {
            "Location": f"{self.storage}/lfs/{repo}/{blob.sha256}/{quote(path)}?at={commit.oid}",
            "X-Repo-Commit": commit.oid,
            "X-Linked-Etag": f'"{blob.etag}"',
            "X-Linked-Size": str(blob.size),
        }
        return Answer(302, b"Found", headers)

    @route("GET", "/lfs/{repo}/{name}/{path}")
    def _lfs_get(self, request: Request, repo: str, name: str, path: str) -> Answer:
        """A large file; the true Hub signs such addresses, so that no token is needed."""
        blob = Blob(self._repos[repo].large[name], lfs=True)
        return self._content(blob, request.values("at")[0])

    @staticmethod
    def _content(blob: Blob, commit: str) -> Answer:
        headers = {
            "Content-Type": "application/octet-stream",
            "ETag": f'"{blob.etag}"',
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
        }
        return Answer(200, blob.content, headers, ranged=True)


# The parts of answers


def stamp(date: datetime) -> str:
    """A date as the Hub writes it."""
    return date.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def as_list(value: Any) -> list[Any]:
    """What a card gives as one or as several."""
    return value if isinstance(value, list) else [value] if value else []


def listed(path: str, blob: Blob | None) -> dict[str, Any]:
    """An entry of a tree: a file, or without a blob a folder."""
    if blob is None:
        oid = hashlib.sha1(f"tree {path}".encode()).hexdigest()
        return {"type": "directory", "oid": oid, "size": 0, "path": path}
    entry: dict[str, Any] = {"type": "file", "oid": blob.oid, "size": blob.size, "path": path}
    if blob.lfs:
        pointer = {"oid": blob.sha256, "size": blob.size}
        entry["lfs"] = pointer | {"pointerSize": len(blob.pointer)}
    return entry


def safetensors_sizes(files: Mapping[str, Blob]) -> dict[str, Any] | None:
    """The number of parameters by type that the Hub reads from model.safetensors."""
    content = files.get("model.safetensors", Blob(b"")).content
    try:
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        counts: dict[str, int] = {}
        for name, tensor in header.items():
            if name != "__metadata__":
                size = 1
                for n in tensor["shape"]:
                    size *= n
                counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + size
    except (struct.error, ValueError, KeyError, TypeError, AttributeError):
        return None
    return {"parameters": counts, "total": sum(counts.values())}


def front_matter(readme: str) -> Any:
    """The metadata at the head of a card, None without any."""
    match = FRONT_MATTER.match(readme)
    return yaml.safe_load(match[1]) if match else None


def check_card(readme: str) -> tuple[list[str], list[str]]:
    """Errors and warnings about the metadata of a card, of those that the Hub gives."""
    try:
        data = front_matter(readme)
    except yaml.YAMLError as error:
        return [f"Bad YAML: {error}"], []
    if data is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(data, dict):
        return ["The metadata must be an object"], []
    errors = []
    for key in ("library_name", "pipeline_tag", "model_name"):
        if not isinstance(data.get(key, ""), str):
            errors.append(f'"{key}" must be a string')
    for key in ("license", "tags", "datasets", "metrics", "base_model", "language"):
        if not all(isinstance(value, str) for value in as_list(data.get(key))):
            errors.append(f'"{key}" must be a string or an array of strings')
    for name in as_list(data.get("base_model")):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(name)):
            errors.append(f'"base_model" with value "{name}" is not valid. Use a model id')
    for n, entry in enumerate(as_list(data.get("model-index"))):
        if not isinstance(entry, dict) or not {"name", "results"} <= set(entry):
            errors.append(f'"model-index[{n}]" needs "name" and "results"')
            continue
        for r, result in enumerate(as_list(entry["results"])):
            where = f"model-index[{n}].results[{r}]"
            needed = {"task": {"type"}, "dataset": {"type", "name"}}
            for key, names in needed.items():
                missing = names - set(result.get(key) or {})
                errors += [f'"{where}.{key}.{name}" is required' for name in sorted(missing)]
            for m, metric in enumerate(as_list(result.get("metrics"))):
                missing = {"type", "value"} - set(metric)
                errors += [f'"{where}.metrics[{m}].{name}" is required' for name in sorted(missing)]
    return errors, []


# HTTP


class Listener(ThreadingHTTPServer):
    """Accepts connections, one thread for each, and can hang up on all of them."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, hub: HubServer, bound: socket.socket | None) -> None:
        super().__init__((HOST, 0), Connection, bind_and_activate=False)
        self.hub = hub
        self.connections: set[Any] = set()
        if bound is None:
            # Not HTTPServer's, which asks the name service for our name.
            socketserver.TCPServer.server_bind(self)
        else:
            self.socket.close()
            self.socket = bound
            self.server_address = bound.getsockname()
        self.server_activate()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: who asked has gone away; what `HubServer` does wrong it notes itself."""

    def hang_up(self) -> None:
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Connection(BaseHTTPRequestHandler):
    """Reads requests off a connection and writes their answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: Listener

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self._body())
        answer = self.server.hub.respond(request)
        cut = answer.cut is not None and self.command != "HEAD"
        if answer.cut == -1:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        if cut:
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: answer.cut] if cut else answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(chunks)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its name there)
        """Nothing: `HubServer.requests` has them."""


# The client


def configure_client(patch: pytest.MonkeyPatch, hub: HubServer, home: Path) -> None:
    """Let the client of this process speak to a hub only, with no token and a cache of its own.

    It reads its environment when it is imported, which may have been long ago, but the settings
    that it made of it at each call. So both are set: the settings, and the environment for the
    processes that a test starts. Nothing of the client is replaced. Functions of the package that
    are methods of its one HfApi (``huggingface_hub.create_repo``) keep the old endpoint: use an
    HfApi of your own.

    The client's own warning about how it sends large files is ignored until the test ends.
    """
    import huggingface_hub
    from huggingface_hub import constants

    environment = hub.environment(home)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        patch.delenv(name, raising=False)
    for name, value in environment.items():
        if name.startswith("HF_") or name.upper() == "NO_PROXY":
            patch.setenv(name, value)
    folder = Path(environment["HF_HOME"])
    settings: dict[str, Any] = {
        "ENDPOINT": hub.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HOME": str(folder),
        "HF_HUB_CACHE": str(folder / "hub"),
        "HF_TOKEN_PATH": str(folder / "token"),
        "HF_STORED_TOKENS_PATH": str(folder / "stored_tokens"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
    }
    for name, value in settings.items():
        patch.setattr(constants, name, value)
    warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
    huggingface_hub.close_session()  # the next one knows the environment above
