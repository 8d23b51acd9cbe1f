"""The Hub's client: names of repositories, and one ``HubError`` for each class of failure."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ganzoo._version import __version__
from ganzoo.errors import GanzooError, HubError, did_you_mean, listing

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

__all__ = ["COMMIT", "Client", "check_revision", "parse", "printable"]

COMMIT = re.compile(r"[0-9a-f]{40}")

_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_REPO = re.compile(rf"(?=.{{1,96}}$)(?!.*(?:--|\.\.))(?!.*\.git$){_NAME}/{_NAME}")
_REVISION = re.compile(r"(?=.{1,250}$)(?!.*(?:\.\.|//))\w(?:[\w./+#-]*[\w+#-])?")
_LOG_IN = "log in with 'hf auth login' or set HF_TOKEN"


def parse(source: str) -> tuple[str, str | None]:
    """Split ``org/repo`` or ``org/repo@revision``; None where there is no revision.

    Raises:
        HubError: If it is not the name of a repository.
    """
    repo_id, at, revision = source.partition("@")
    if not _REPO.fullmatch(repo_id):
        address = re.fullmatch(rf"(?:hf://|https?://[^/]+/)({_NAME}/{_NAME})/?", repo_id)
        raise HubError(
            f"'{printable(source)}' is not the name of a repository on the Hub. Give "
            + (f"it as '{address[1]}'." if address else "'owner/name' or 'owner/name@revision'.")
        )
    if at:
        check_revision(revision)
    return repo_id, revision if at else None


def check_revision(revision: str) -> None:
    """Raise ``HubError`` if this is not the name of a revision."""
    if not _REVISION.fullmatch(revision):
        raise HubError(
            f"'{printable(revision)}' is not the name of a revision. Give a branch, a tag, a pull "
            f"request as 'refs/pr/1', or a commit."
        )


def printable(text: object) -> str:
    """Return text from outside as one short line, without what may be a token."""
    line = " ".join(re.sub(r"hf_\w{6,}", "hf_...", str(text)).split())
    line = "".join(each if each.isprintable() else "?" for each in line)
    return line if len(line) <= 200 else f"{line[:200]}..."


def _token_of_this_machine() -> str | None:
    """The token that the Hub's client would send, if there is one."""
    from huggingface_hub import constants, get_token

    try:
        return get_token()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        _raise_alone(
            HubError(
                f"The token file {constants.HF_TOKEN_PATH} cannot be read ({reason}). Move it "
                f"away, then {_LOG_IN}."
            )
        )


def _raise_alone(failure: HubError) -> NoReturn:
    """Raise an error that does not lead to the one being handled, which may hold the token."""
    try:
        raise failure
    finally:
        failure.__context__ = None


class Client:
    """The Hub's client for one repository, whose errors become ``HubError``."""

    def __init__(
        self,
        repo_id: str,
        token: str | bool | None = None,
        revision: str | None = None,
        *,
        pushing: bool = False,
    ) -> None:
        from huggingface_hub import HfApi, constants

        if isinstance(token, str) and not re.fullmatch(r"[\x21-\x7e]+", token):
            # In a header it would lead to an error that quotes it.
            raise HubError(
                f"The token is empty or contains spaces or line ends. Copy it again, or leave it "
                f"out and {_LOG_IN}."
            )
        # As the client decides, which sends it: HF_HUB_DISABLE_IMPLICIT_TOKEN forbids the default.
        implicit = token is None and not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN
        self._secret = token if isinstance(token, str) else None
        if token is True or implicit:
            self._secret = _token_of_this_machine()
        if token is True and self._secret is None:
            raise HubError(f"There is no token on this machine: {_LOG_IN}.")
        if pushing and not self._secret:
            raise HubError(f"Pushing needs a token with write access: {_LOG_IN}.")
        self.api = HfApi(library_name="ganzoo", library_version=__version__, token=token)
        self.repo_id, self.revision, self.pushing = repo_id, revision, pushing
        self.url = f"{self.api.endpoint}/{repo_id}"
        self.where = f"{repo_id}@{revision}" if revision else repo_id

    @contextlib.contextmanager
    def errors(self, file: str = "") -> Iterator[None]:
        """Raise errors of the client, say on downloading a file, as ``HubError`` with no token."""
        try:
            yield
        except (GanzooError, MemoryError):
            raise
        except Exception as error:
            cause, remedy = self._reason(error, file)
            action = "push to" if self.pushing else f"load {file} of" if file else "load"
            message = f"Cannot {action} {self.where}: {cause}. {remedy}."
            if self._secret and self._secret in "".join(traceback.format_exception(error)):
                _raise_alone(HubError(message.replace(self._secret, "hf_...")))
            raise HubError(message) from error

    def _reason(self, error: BaseException, file: str) -> tuple[str, str]:
        """The cause of an error, and what to do."""
        from huggingface_hub import errors

        while (
            isinstance(error, (errors.RevisionResolutionError, OSError, ValueError, RuntimeError))
            and not isinstance(error, errors.HfHubHTTPError)
            and error.__cause__ is not None
        ):
            error = error.__cause__  # which tells more
        if isinstance(error, errors.HfHubHTTPError):
            return self._refusal(error)
        offline = isinstance(error, errors.OfflineModeIsEnabled)
        if offline or isinstance(
            error, errors.LocalEntryNotFoundError | errors.RevisionResolutionError
        ):
            option = "HF_HUB_OFFLINE" if offline else "local_files_only"
            if self.pushing:
                return f"{option} is set", "Unset it"
            return (
                f"{option} is set, and not all of it is in the cache{self._nor}",
                "Load it once without that; afterwards it is in the cache",
            )
        # The base of all errors of its HTTP client, whichever that is.
        network = errors.HfHubHTTPError.__bases__[0] | ConnectionError | TimeoutError
        if (
            isinstance(error, network)
            or (isinstance(error, RuntimeError) and file)
            or "onsistency check" in str(error)  # a download of another size
        ):
            cached = "" if self.pushing or file else f", and it is not in the cache{self._nor}"
            return (
                f"the connection to {self.api.endpoint} failed ({type(error).__name__}){cached}",
                "Check the network and the proxy, then try again: no file is transferred twice",
            )
        if isinstance(error, OSError) and error.errno is not None:
            place = "TMPDIR" if self.pushing else "cache_dir or HF_HOME"
            return (
                f"{error.filename or 'the file'} cannot be written ({error.strerror})",
                f"Free some space, or choose another folder with {place}",
            )
        return (
            f"{self.api.endpoint} does not answer as a Hub does ({type(error).__name__}: "
            f"{printable(error)})"
        ), "Check HF_ENDPOINT, and whether a proxy or a log-in page answers instead"

    def _refusal(self, error: Any) -> tuple[str, str]:
        """Why the Hub refuses a request, and what to do."""
        from huggingface_hub import errors

        status = error.response.status_code
        if isinstance(error, errors.GatedRepoError):
            return (
                "it is gated, and you have no access",
                f"Ask its owner for access at {self.url} and {_LOG_IN}",
            )
        if isinstance(error, errors.RepositoryNotFoundError):
            return (
                f"there is no such repository on the Hub{self._nor}, or it is private",
                f"Check the name; if it is private, {_LOG_IN} of an account that may see it",
            )
        if isinstance(error, errors.RevisionNotFoundError):
            names: list[str] = []
            with contextlib.suppress(Exception):  # it is only a hint
                refs = self.api.list_repo_refs(self.repo_id)
                names = [ref.name for ref in (*refs.branches, *refs.tags)]
            kind, wanted = "branch" if self.pushing else "revision", self.revision or "main"
            near = "" if wanted in names else did_you_mean(wanted, names)  # a tag takes no push
            return (
                f"it has no {kind} '{printable(wanted)}'",
                f"{near} It has these branches and tags: {listing(names[:20])}".strip(),
            )
        if status == 401 or (status == 403 and self.pushing):
            return "the token is not valid, or may not do this", (
                f"Create one that may {'write' if self.pushing else 'read'} at "
                f"{self.api.endpoint}/settings/tokens and {_LOG_IN}"
                f"{', or send a pull request (create_pr)' if self.pushing else ''}"
            )
        if status == 412:
            return "someone else pushed at the same time", "Nothing was replaced: push again"
        if status == 429 or status >= 500:
            return (
                f"the Hub is busy or down ({status})",
                "Try again in some minutes; https://status.huggingface.co has its state",
            )
        return (
            f"the Hub refuses ({status}: {printable(error.server_message or error)})",
            "Check the name and the access of your account",
        )

    @property
    def _nor(self) -> str:
        """What else a name may have meant."""
        return "" if self.pushing or Path(self.repo_id).exists() else ", nor is it a folder here"

    def files(self, names: Collection[str], revision: str) -> dict[str, RepoFile]:
        """Return which of these files a revision holds, by name."""
        from huggingface_hub.hf_api import RepoFile

        with self.errors():
            found = self.api.get_paths_info(self.repo_id, list(names), revision=revision)
            there = {each.path: each for each in found if isinstance(each, RepoFile)}
            for name, each in there.items():
                if type(each.size) is not int or each.size < 0:
                    raise TypeError(f"{name} has {each.size} bytes")
        return there
