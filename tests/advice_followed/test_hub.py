"""Advice on loading from the Hub and publishing there."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from advice_followed.helpers import Line, cases, found, load, maker, said
from ganzoo.core.spec import SampleSpec
from ganzoo.errors import GanzooError
from ganzoo.files import artifact
from ganzoo.generators import bundle, card, hub
from ganzoo.generators.generator import Generator
from hub.server import HubServer


def other() -> Generator:
    """Another generator than that of the repository 'zoo/a'."""
    return maker(SampleSpec(shape=(1, 4, 4)))


@cases("https://huggingface.co/zoo/a", "hf.co/zoo/a")
def test_an_address_instead_of_a_name(address: str, server: HubServer):
    name = re.search(r"as '([^']+)'", said(lambda: Generator.from_pretrained(address)))
    assert len(Generator.from_pretrained(name.group(1) if name else "zoo/a").sample(1)) == 1


def test_two_revisions(server: HubServer):
    text = said(lambda: Generator.from_pretrained("zoo/a@main", revision="other"))
    assert "leave one out" in text
    Generator.from_pretrained("zoo/a@main")


@cases("mian", "v1")
def test_a_revision_that_is_not_there(revision: str, server: HubServer):
    text = said(lambda: Generator.from_pretrained("zoo/a", revision=revision))
    for each in found(r"branches and tags: (.+)\.$", text).split(", "):
        Generator.from_pretrained("zoo/a", revision=each)


def test_no_token(server: HubServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_TOKEN")
    variable = found(r"set (HF_\w+)", said(lambda: maker().push_to_hub("zoo/b")))
    monkeypatch.setenv(variable, "hf_ann")
    maker().push_to_hub("zoo/b")


def test_a_push_to_a_commit(server: HubServer):
    commit = server.commits("zoo/a")[-1]
    assert "give a branch" in said(lambda: maker().push_to_hub("zoo/a", revision=_hash(commit)))
    maker().push_to_hub("zoo/a", revision="another")


def _hash(commit: Any) -> str:
    return next(v for v in vars(commit).values() if re.fullmatch(r"[0-9a-f]{40}", str(v)))


def test_a_pull_request_to_a_branch(server: HubServer):
    text = said(lambda: maker().push_to_hub("zoo/a", create_pr=True, revision="refs/pr/1"))
    assert "leave out the revision" in text
    maker().push_to_hub("zoo/a", create_pr=True)


def test_an_edited_card(server: HubServer):
    server.commit("zoo/a", {"README.md": b"---\nlicense: mit\n---\nMine.\n"})
    done = other().push_to_hub("zoo/a")
    option = found(r"(\w+) replaces it", " ".join(done.notices))
    again = other().push_to_hub("zoo/a", **{option: True})
    assert not again.notices or "was edited" not in " ".join(again.notices)


def test_a_public_repository_that_should_be_private(server: HubServer):
    assert "choose another name" in said(lambda: maker().push_to_hub("zoo/a", private=True))
    maker().push_to_hub("zoo/other", private=True)


@cases("no name", "a/b/c", "-a/b")
def test_what_is_no_name_of_a_repository(name: str, server: HubServer):
    assert re.search(r"owner/name|letters, digits", said(lambda: hub.parse(name)))
    hub.parse("owner/name@revision")


def test_another_model_there(server: HubServer):
    server.create_repo("zoo/theirs")
    server.commit("zoo/theirs", {"model.safetensors": b"x", "config.json": b"{}"})
    assert "Choose another repository" in said(lambda: maker().push_to_hub("zoo/theirs"))
    maker().push_to_hub("zoo/ours")


@cases("mitt", "apache")
def test_a_licence_that_is_none(name: str, server: HubServer):
    with contextlib.suppress(GanzooError):
        maker().push_to_hub("zoo/a", license=name, dry_run=True)
        return
    text = said(lambda: maker().push_to_hub("zoo/a", license=name, dry_run=True))
    maker().push_to_hub("zoo/a", license=found(r"such as (\w+)", text).lower(), dry_run=True)


@cases(("repo_id", "one two/three"), ("license", "!!!"))
def test_what_a_card_cannot_say(name: str, value: str):
    maker().save_pretrained("made")
    text = said(lambda: card.render(Path("made"), **{name: value}))
    better = {"repo_id": r"give (org/name)", "license": r"such as ([\w.-]+\w)"}[name]
    card.render(Path("made"), **{name: found(better, text)})


BESIDE = {
    "training.json": ("[", "[]"),
    "metrics.json": ("[", "[]", '{"fid": 3}', '{"a/b": {}}', '{"fid": {"value": "x"}}'),
}


@cases(*[(name, text) for name, texts in BESIDE.items() for text in texts])
def test_what_lies_beside_and_is_of_no_use(name: str, content: str):
    maker().save_pretrained("made")
    Path("made", name).write_text(content)
    text = said(lambda: card.render(Path("made")))
    assert "Remove it" in text
    Path(found(r"^(\S+) cannot be used", text)).unlink()
    card.render(Path("made"))


# -- loading from the Hub ---------------------------------------------------------------------


def fetched(name: str = "zoo/a", **options: Any) -> Generator:
    made = Generator.from_pretrained(name, **options)
    assert len(made.sample(1)) == 1
    return made


def logged_in(text: str, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """Set the variable that a message names for a token."""
    monkeypatch.setenv(found(r"set (HF_\w+)", text), token)


@cases("gated", "private")
def test_a_repository_that_not_all_see(
    kind: str, server: HubServer, monkeypatch: pytest.MonkeyPatch
):
    setattr(server.repo("zoo/a"), kind, True)
    monkeypatch.delenv("HF_TOKEN")
    text = said(fetched)
    logged_in(text, monkeypatch, "hf_bob")
    text = said(fetched)
    if kind == "gated":
        assert found(r"Ask its owner for access at (\S+)", text) == f"{server.endpoint}/zoo/a"
        server.grant("zoo/a", "bob")
    else:
        assert "of an account that may see it" in text
        monkeypatch.setenv("HF_TOKEN", "hf_ann")
    fetched()


def test_a_repository_that_is_not_there(server: HubServer):
    assert "Check the name" in said(lambda: fetched("zoo/aa"))
    fetched()


@cases("hf_wrong", "", "hf_a b", "hf_a\n", True)
def test_a_token_that_is_none(
    token: str | bool, server: HubServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("HF_TOKEN")
    text = said(lambda: fetched(token=token))
    logged_in(text, monkeypatch, "hf_ann")
    fetched()
    if place := re.search(r"Create one that may read at (\S+)", text):
        assert place.group(1) == f"{server.endpoint}/settings/tokens"


@cases("local_files_only", "HF_HUB_OFFLINE", "network")
def test_what_is_not_in_the_cache(kind: str, server: HubServer, monkeypatch: pytest.MonkeyPatch):
    options = {"local_files_only": True} if kind == "local_files_only" else {}

    def offline() -> Any:
        if kind == "network":
            return server.offline()
        return monkeypatch.context()

    @contextlib.contextmanager
    def without() -> Any:
        with offline() as patch:
            if kind == "HF_HUB_OFFLINE":
                patch.setattr(constants, kind, True)
            yield

    with without():
        text = said(lambda: fetched(**options))
    if kind != "network":
        assert found(r"(\w+) is set", text) == kind
        assert "Load it once without that; afterwards it is in the cache" in text
    else:
        assert "Check the network" in text
    fetched()
    with without():
        fetched(**options)


def test_fetching_again_without_asking(server: HubServer):
    both = {"force_download": True, "local_files_only": True}
    text = said(lambda: fetched(**both))
    assert "leave one out" in text
    fetched()
    for name in re.findall(r"\b(force_download|local_files_only)\b", text):
        fetched(**{name: True})


FAULTS = {
    "cut": ({"where": "GET /lfs/.*model", "cut": 20, "times": None}, "then try again"),
    "too short": ({"where": "GET /lfs/.*model", "content": b"short"}, "then try again"),
    "trouble": ({"where": "GET /api/models", "status": 503, "times": None}, "Try again"),
    "too often": ({"where": "paths-info", "status": 429, "times": None}, "Try again in some"),
    "a teapot": ({"where": "paths-info", "status": 418}, "Check the name"),
    "a log-in page": (
        {"where": "GET /api/models/zoo/a", "content": b"<html>hotel</html>"}, "a log-in page"
    ),
}  # fmt: skip


@cases(*FAULTS)
def test_a_hub_in_trouble(kind: str, server: HubServer):
    fault, advice = FAULTS[kind]
    server.fail(**fault)
    assert advice in said(fetched)
    server.heal()
    fetched()


def test_a_page_that_answers_in_its_place(server: HubServer, monkeypatch: pytest.MonkeyPatch):
    server.fail("GET /api/models/zoo/a", content=b"<html>hotel</html>", times=None)
    name = found(r"Check (HF_\w+)", said(fetched))
    assert getattr(constants, name.removeprefix("HF_")) == server.endpoint


@cases("cache_dir", "HF_HOME")
def test_a_cache_that_cannot_be_written(
    way: str, server: HubServer, monkeypatch: pytest.MonkeyPatch
):
    Path("taken").touch()
    text = said(lambda: fetched(cache_dir="taken"))
    assert way in found(r"another folder with (.+)\.$", text).split(" or ")
    if way == "cache_dir":
        fetched(cache_dir="other")
    else:  # which is read when the client is imported
        fetched()


def test_a_full_disk(server: HubServer, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:

        def full(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr("huggingface_hub.file_download._create_symlink", full)
        text = said(fetched)
    assert "Free some space" in text
    fetched()
    fetched(**{found(r"another folder with (\w+)", text): "other"})


def broken(server: HubServer, kind: str) -> None:
    """Make the newest commit of a repository one that cannot be loaded."""
    files = server.files("zoo/a")
    config = json.loads(files[bundle.CONFIG])
    config.pop(artifact.CHECKSUM)
    if kind == "lacks weights":
        changes: dict[str, Any] = {bundle.WEIGHTS: None}
    elif kind == "other weights":
        changes = {bundle.WEIGHTS: b"\0" * 100_000}
    elif kind == "huge weights":
        config["weights"][bundle.WEIGHTS]["size"] = 300_000
        text = json.dumps(artifact.with_checksum(config), indent=2) + "\n"
        changes = {bundle.WEIGHTS: b"\0" * 300_000, bundle.CONFIG: text}
    elif kind == "huge config":
        changes = {bundle.CONFIG: b"{" + b" " * 2**25 + b"}"}
    elif kind == "no config":
        changes = {bundle.CONFIG: None}
    elif kind == "config of others":
        changes = {bundle.CONFIG: b'{"model_type": "bert"}'}
    else:
        changes = {bundle.CONFIG: files[bundle.CONFIG][:-9]}
    server.commit("zoo/a", changes)


@cases("lacks weights", "other weights", "huge weights", "huge config", "no config",
    "config of others",
)  # fmt: skip
def test_a_revision_that_cannot_be_loaded(kind: str, server: HubServer):
    before = server.commits("zoo/a")[0].oid
    broken(server, kind)
    assert re.search(r"Load another (revision|one)|Check the name and the revision", said(fetched))
    fetched(revision=before)
    maker().push_to_hub("zoo/other")
    fetched("zoo/other")


def test_damage_in_the_repository(server: HubServer):
    broken(server, "cut config")
    text = said(fetched)
    assert "Copy the whole folder again" in text and "once more changed nothing" in text
    maker().push_to_hub("zoo/whole")
    fetched("zoo/whole")


def test_damage_in_the_cache_without_a_network(server: HubServer):
    made = fetched()
    weights = next(Path(constants.HF_HUB_CACHE).rglob(f"snapshots/*/{bundle.WEIGHTS}")).resolve()
    weights.chmod(0o644)
    os.truncate(weights, 30)
    with server.offline():
        text = said(fetched)
        assert "Fetching it again failed" in text and "Check the network" in text
    fetched()
    assert made.config.origin == fetched().config.origin


# -- publishing -------------------------------------------------------------------------------


@cases(("main", "a b"), ("v1", "x..y"))
def test_what_is_no_revision(right: str, wrong: str, server: HubServer):
    text = said(lambda: fetched(revision=wrong))
    server.tag("zoo/a", "v1")
    assert "Give a branch, a tag" in text
    fetched(revision=right)


@cases("own name", "pull request", "token")
def test_no_right_to_write(way: str, server: HubServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    made = other()
    text = said(lambda: made.push_to_hub("zoo/a"))
    if way == "own name":
        assert "the token is not valid, or may not do this" in text
        made.push_to_hub("bob/a")
    elif way == "pull request":
        assert made.push_to_hub("zoo/a", **{found(r"\((create_pr)\)", text): True}).pull_request
    else:
        assert found(r"may write at (\S+)", text) == f"{server.endpoint}/settings/tokens"
        monkeypatch.setenv("HF_TOKEN", "hf_ann")
        made.push_to_hub("zoo/a")


@cases("network", "trouble", "refused", "too often", "meanwhile")
def test_a_push_that_fails(kind: str, server: HubServer, monkeypatch: pytest.MonkeyPatch):
    made = other()
    real = hub._refuse_other_models

    def slow(*given: Any) -> None:
        server.commit("zoo/a", {"news.txt": "x"})
        real(*given)

    with contextlib.ExitStack() as stack:
        if kind == "network":
            stack.enter_context(server.offline())
        elif kind == "meanwhile":
            stack.enter_context(monkeypatch.context()).setattr(hub, "_refuse_other_models", slow)
        else:
            status = {"trouble": 503, "refused": 404, "too often": 429}[kind]
            server.fail("POST .*/(verify|commit/)", status=status, times=None)
        text = said(lambda: made.push_to_hub("zoo/a"))
    server.heal()
    assert re.search(r"[Pp]ush again|[Tt]ry again|Check the name", text)
    assert made.push_to_hub("zoo/a").changed


def test_a_push_without_a_network_on_purpose(server: HubServer, monkeypatch: pytest.MonkeyPatch):
    made = other()
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        name = found(r"(\w+) is set. Unset it", said(lambda: made.push_to_hub("zoo/a")))
        assert name == "HF_HUB_OFFLINE"
    assert made.push_to_hub("zoo/a").changed


def test_a_branch_that_is_none(server: HubServer):
    made = other()
    text = said(lambda: made.push_to_hub("zoo/a", revision="refs/pr/9"))
    assert "has no branch" in text
    for name in found(r"branches and tags: (.+)\.$", text).split(", "):
        made.push_to_hub("zoo/a", revision=name)


def test_a_card_that_is_too_large_to_be_ours(server: HubServer):
    server.commit("zoo/a", {bundle.CARD: b"x" * (hub.LARGEST + 1)})
    text = said(lambda: other().push_to_hub("zoo/a"))
    assert "Choose another repository" in text
    maker().push_to_hub("zoo/other")


def test_no_place_to_prepare_a_push(server: HubServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    Path("file").touch()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "gettempdir", lambda: str(Path("file").resolve()))
        text = said(lambda: maker().push_to_hub("zoo/b"))
    Path("tmp").mkdir()
    monkeypatch.setenv(found(r"another folder with (\w+)\.", text), str(Path("tmp").resolve()))
    maker().push_to_hub("zoo/b")


@cases("damaged", "missing")
def test_a_bundle_that_cannot_be_pushed(kind: str, server: HubServer):
    folder = maker().save_pretrained("made")
    shutil.copytree("made", "whole")
    if kind == "damaged":
        (folder / bundle.WEIGHTS).write_bytes(b"x" * 99)
    else:
        (folder / bundle.WEIGHTS).unlink()

    (folder / bundle.CARD).write_text("---\nlicense: mit\n---\n")
    shutil.copy(folder / bundle.CARD, "whole")
    assert "Copy the whole folder again" in said(lambda: hub.push(folder, "zoo/b"))
    shutil.rmtree(folder)
    shutil.copytree("whole", folder)
    assert hub.push(folder, "zoo/b").changed


@cases("something else", "a generator of one's own")
def test_a_folder_that_pulling_would_replace(kind: str, server: HubServer, line: Line):
    if kind == "something else":
        Path("a").mkdir()
        Path("a/letter.txt").touch()
    else:
        other().save_pretrained("a")
    text = line.refused("pull", "zoo/a")
    line.runs("pull", "zoo/a", found(r"another folder with (--out)", text), "b")
    load("b")
