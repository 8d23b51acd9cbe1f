"""What is fetched from the Hub, and what is said when it cannot be."""

from __future__ import annotations

import errno
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from ganzoo.architectures.mlp import MLP
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import BundleError, ConfigError, GanzooError, HubError
from ganzoo.files import artifact, bounded_json
from ganzoo.generators import bundle, hub
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator
from hub.server import HubServer

CARD = """---
library_name: ganzoo
license: mit
tags: [gan, mlp]
model-index:
- name: a
  results:
  - task: {type: unconditional-image-generation}
    dataset: {type: squares, name: Squares}
    metrics: [{type: fid, name: FID, value: 12.5}]
---
"""


def make(seed: int = 0) -> Generator:
    arch, spec, latent = MLP(hidden=(4,)), SampleSpec(shape=(1, 4, 6)), LatentSpec(shape=(3,))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = arch.generator(spec, latent)
    return Generator(net, BundleConfig(architecture=arch, sample=spec, latent=latent))


def files_of(folder: Path) -> dict[str, bytes | str | None]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes | str | None]:
    """What a bundle of a generator consists of, and a card."""
    return {**files_of(make().save_pretrained(tmp_path / "made")), "README.md": CARD}


@pytest.fixture
def whole(hub_: HubServer, files: dict[str, bytes | str | None]) -> str:
    """The commit of zoo/a at which that bundle is there."""
    return hub_.commit("zoo/a", files)


@pytest.fixture
def hub_(hub: HubServer) -> HubServer:
    """The Hub, where `hub` is the module."""
    return hub


def said(call: Callable[[], Any]) -> str:
    """The one line of the HubError that a call raises."""
    with pytest.raises(HubError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def downloads(server: HubServer) -> list[str]:
    """The files that were downloaded, small and large."""
    found = [request.path for request in server.sent(r"GET /(lfs/|zoo/\w+/resolve/)")]
    return sorted({path.rsplit("/", 1)[-1] for path in found if "/lfs/" in path or "json" in path})


# Names


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("zoo/a", ("zoo/a", None)),
        ("Zoo-1/a_b.c", ("Zoo-1/a_b.c", None)),
        ("zoo/a@v1.0", ("zoo/a", "v1.0")),
        ("zoo/a@refs/pr/1", ("zoo/a", "refs/pr/1")),
        ("zoo/a@some/branch", ("zoo/a", "some/branch")),
        ("zoo/a@" + "0f" * 20, ("zoo/a", "0f" * 20)),
    ],
)
def test_names(source: str, expected: tuple[str, str | None]) -> None:
    assert hub.parse(source) == expected


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("", "'owner/name' or 'owner/name@revision'"),
        ("a", "'owner/name'"),
        ("zoo/", "'owner/name'"),
        ("zoo/a/b", "'owner/name'"),
        ("zoo/a b", "'owner/name'"),
        ("zoo/../a", "'owner/name'"),
        ("../a", "'owner/name'"),
        ("zoo/-a", "'owner/name'"),
        ("zoo/a.", "'owner/name'"),
        ("zoo/\u00e4", "'owner/name'"),
        ("zoo/" + "a" * 93, "'owner/name'"),
        ("zoo/a--b", "'owner/name'"),
        ("zoo/a..b", "'owner/name'"),
        ("zoo/a.git", "'owner/name'"),
        ("https://huggingface.co/zoo/a", "it as 'zoo/a'"),
        ("hf://zoo/a", "it as 'zoo/a'"),
    ],
)
def test_what_is_no_name(source: str, remedy: str) -> None:
    assert said(lambda: hub.parse(source)).startswith(
        f"'{source}' is not the name of a repository on the Hub. Give {remedy}"
    )


@pytest.mark.parametrize("revision", ["", "..", "a/../b", "/a", "a/", "-a", "a b", "a\n", "a\x00"])
def test_what_is_no_revision(revision: str, hub_: HubServer) -> None:
    for call in (
        lambda: hub.parse(f"zoo/a@{revision}"),
        lambda: hub.fetch("zoo/a", revision=revision),
    ):
        assert "is not the name of a revision. Give a branch, a tag, a pull request as" in said(
            call
        )
    assert hub_.requests == []


def test_a_token_in_an_address_is_not_repeated() -> None:
    assert "hf_secret" not in said(lambda: hub.parse("https://ann:hf_secret123@hf.co/zoo/a"))


# Fetching


def test_all_of_it_comes_from_one_commit(
    hub_: HubServer, files: dict[str, bytes | str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = hub_.commit("zoo/a", files)
    real = bundle.config

    def slow(*args: Any, **options: Any) -> BundleConfig:  # while somebody pushes
        hub_.commit("zoo/a", {bundle.WEIGHTS: b"other", bundle.CONFIG: "{}"})
        return real(*args, **options)

    monkeypatch.setattr(bundle, "config", slow)
    found = hub.fetch("zoo/a")
    assert found.revision == first
    for name in bundle.CONFIG, bundle.WEIGHTS:
        assert (found.folder / name).read_bytes() == files[name]
        assert (found.folder / name).resolve().is_relative_to(found.root)
    assert found.folder.name == first


def test_only_what_a_bundle_holds_is_fetched(
    hub_: HubServer, files: dict[str, bytes | str | None]
) -> None:
    extra = {"training.json": "{}", "model.py": "raise SystemExit", "other.safetensors": b"x" * 99}
    hub_.commit("zoo/a", files | extra | {"pytorch_model.bin": b"\0" * 99, "f/config.json": "{}"})
    folder = hub.fetch("zoo/a").folder
    assert {path.name for path in folder.iterdir()} == {bundle.CONFIG, bundle.WEIGHTS}
    assert hub.fetch("zoo/a", extras=True).folder == folder
    assert {path.name for path in folder.iterdir()} == {
        bundle.CONFIG,
        bundle.WEIGHTS,
        bundle.CARD,
        bundle.TRAINING,
    }


def test_what_is_there_is_not_asked_for_again(hub_: HubServer, whole: str) -> None:
    hub.fetch("zoo/a", extras=True)
    hub_.requests.clear()
    hub.fetch("zoo/a")
    assert [request.line for request in hub_.requests] == ["GET /api/models/zoo/a"]
    hub_.requests.clear()
    hub.fetch("zoo/a", revision=whole)
    assert hub_.requests == []
    hub.fetch("zoo/a", revision=whole, force_download=True)
    assert downloads(hub_) == [bundle.CONFIG, bundle.WEIGHTS]


def test_the_library_says_its_name(hub_: HubServer, whole: str) -> None:
    hub.fetch("zoo/a")
    for request in hub_.requests:
        assert request.headers["user-agent"].startswith("ganzoo/")


def test_a_cache_of_ones_own(hub_: HubServer, whole: str, tmp_path: Path) -> None:
    found = hub.fetch("zoo/a", cache_dir=tmp_path / "mine")
    assert found.folder.is_relative_to(tmp_path / "mine")
    assert found.root == tmp_path / "mine"
    assert not Path(constants.HF_HUB_CACHE).exists()
    with hub_.offline():
        assert hub.fetch("zoo/a", cache_dir=str(tmp_path / "mine")).folder == found.folder


REVISIONS = ("v1", "some/branch", "refs/pr/1", "main", None)


def commits(server: HubServer, files: dict[str, bytes | str | None]) -> dict[str | None, str]:
    """Four commits of zoo/a by every kind of name."""
    found: dict[str | None, str] = {"v1": server.commit("zoo/a", files | {"n": "1"})}
    server.tag("zoo/a", "v1")
    server.repo("zoo/a").branches["some/branch"] = str(found["v1"])
    found["some/branch"] = server.commit("zoo/a", {"n": "2"}, revision="some/branch")
    found["refs/pr/1"] = server.commit("zoo/a", {"n": "3"}, pull_request=True)
    found["main"] = found[None] = server.commit("zoo/a", {"n": "4"})
    return found


def test_every_kind_of_revision_and_then_offline(
    hub_: HubServer, files: dict[str, bytes | str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = commits(hub_, files)
    for revision, commit in expected.items():
        assert hub.fetch("zoo/a", revision=revision).revision == commit
    short = expected["v1"][:8]
    assert hub.fetch("zoo/a", revision=short).revision == expected["v1"]

    def all_the_same(**options: Any) -> None:
        for revision, commit in {**expected, short: expected["v1"]}.items():
            assert hub.fetch("zoo/a", revision=revision, **options).revision == commit
            assert hub.fetch("zoo/a", revision=commit, **options).revision == commit
            assert hub.fetch("zoo/a", revision=commit, extras=True, **options).revision == commit

    with hub_.offline():
        all_the_same()
        all_the_same(local_files_only=True)
    hub_.requests.clear()
    all_the_same(local_files_only=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    all_the_same()
    assert hub_.requests == []


def test_a_hub_in_trouble_is_no_trouble_for_what_is_here(hub_: HubServer, whole: str) -> None:
    hub.fetch("zoo/a")
    hub_.fail(".", status=503, times=None)
    assert hub.fetch("zoo/a").revision == whole


# What goes wrong

LOG_IN = "log in with 'hf auth login' or set HF_TOKEN"


def refused(call: Callable[[], Any], cause: str, remedy: str, where: str = "zoo/a") -> None:
    """A call raises one line with fact, cause and remedy."""
    found = said(call)
    assert found.startswith(f"Cannot load {where}: {cause}")
    assert remedy in found and found.endswith(".")


def test_gated(hub_: HubServer, whole: str) -> None:
    hub_.repo("zoo/a").gated = True
    for token in None, "hf_bob":
        refused(
            lambda: hub.fetch("zoo/a", token=token),  # noqa: B023
            "it is gated, and you have no access. ",
            f"Ask its owner for access at {hub_.endpoint}/zoo/a and {LOG_IN}",
            where="config.json of zoo/a",
        )
    hub_.grant("zoo/a", "bob")
    assert hub.fetch("zoo/a", token="hf_bob").revision == whole


@pytest.mark.parametrize("name", ["zoo/none", "zoo/a"])
@pytest.mark.parametrize("token", [None, "hf_bob"])
def test_missing_or_private(hub_: HubServer, whole: str, name: str, token: str | None) -> None:
    hub_.repo("zoo/a").private = True
    refused(
        lambda: hub.fetch(name, token=token),
        "there is no such repository on the Hub, nor is it a folder here, or it is private. ",
        f"Check the name; if it is private, {LOG_IN}",
        where=name,
    )


def test_private_with_a_token(
    hub_: HubServer, whole: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub_.repo("zoo/a").private = True
    assert hub.fetch("zoo/a", token="hf_ann").revision == whole
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    assert hub.fetch("zoo/a", cache_dir=tmp_path / "other").revision == whole
    assert "or it is private. Check" in said(lambda: hub.fetch("zoo/a", token=False))


def test_a_missing_revision(hub_: HubServer, whole: str) -> None:
    hub_.tag("zoo/a", "v1.0")
    assert said(lambda: hub.fetch("zoo/a", revision="v1.1")) == (
        "Cannot load zoo/a@v1.1: it has no revision 'v1.1'. Did you mean 'v1.0'? It has these "
        "branches and tags: main, v1.0."
    )
    absent = "0" * 40  # of which nothing is known before a file is asked for
    assert f"it has no revision '{absent}'. It has" in said(
        lambda: hub.fetch("zoo/a", revision=absent)
    )


@pytest.mark.parametrize("name", [bundle.CONFIG, bundle.WEIGHTS])
def test_a_missing_file(hub_: HubServer, whole: str, name: str) -> None:
    hub_.commit("zoo/a", {name: None})
    assert said(lambda: hub.fetch("zoo/a", revision="main")) == (
        f"zoo/a@main is not a whole generator of ganzoo: it has no {name}. Check the name and the "
        f"revision."
    )


@pytest.mark.parametrize(
    "config", ['{"model_type": "bert"}', '{"model_type": "bert", "deps": [{"library": "ganzoo"}]}']
)
def test_a_repository_of_another_library(hub_: HubServer, config: str) -> None:
    files: dict[str, bytes | str | None] = {"model.safetensors": b"x"}
    hub_.commit("zoo/b", files | {"config.json": config})
    for load in hub.fetch, Generator.from_pretrained:
        assert said(lambda: load("zoo/b")) == (  # noqa: B023
            "zoo/b is not a generator of ganzoo: its config.json is of another library. Check the "
            "name and the revision."
        )
    assert "model.safetensors" not in downloads(hub_)


@pytest.mark.parametrize("revision", [None, "v1", "0" * 40])
def test_no_network(hub_: HubServer, revision: str | None) -> None:
    with hub_.offline():
        refused(
            lambda: hub.fetch("zoo/a", revision=revision),
            f"the connection to {hub_.endpoint} failed (ConnectError), and it is not in the cache",
            "Check the network and the proxy",
            where=f"zoo/a@{revision}" if revision else "zoo/a",
        )


def test_offline_on_purpose(hub_: HubServer, whole: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cause = "{} is set, and not all of it is in the cache, nor is it a folder here. "
    remedy = "Load it once without that"
    for revision in None, whole:
        where = f"config.json of zoo/a@{whole}" if revision else "zoo/a"
        refused(
            lambda: hub.fetch("zoo/a", revision=revision, local_files_only=True),  # noqa: B023
            *(cause.format("local_files_only"), remedy, where),
        )
        where = f"zoo/a@{whole}" if revision else "zoo/a"
        with monkeypatch.context() as patch:
            patch.setattr(constants, "HF_HUB_OFFLINE", True)
            refused(
                lambda: hub.fetch("zoo/a", revision=revision),  # noqa: B023
                *(cause.format("HF_HUB_OFFLINE"), remedy, where),
            )
    assert hub_.requests == []


def test_a_bad_token(hub_: HubServer, whole: str) -> None:
    refused(
        lambda: hub.fetch("zoo/a", token="hf_wrong"),
        "the token is not valid, or may not do this. ",
        f"Create one that may read at {hub_.endpoint}/settings/tokens and {LOG_IN}",
    )
    for token in "", "hf_a\n", "hf_\u00e4", "hf_a b":
        assert said(lambda: hub.fetch("zoo/a", token=token)) == (  # noqa: B023
            f"The token is empty or contains spaces or line ends. Copy it again, or leave it out "
            f"and {LOG_IN}."
        )
    assert said(lambda: hub.fetch("zoo/a", token=True)) == (
        f"There is no token on this machine: {LOG_IN}."
    )


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "Is a directory"), (b"\xff", "it is no text")]
)
def test_a_token_file_that_cannot_be_read(
    hub_: HubServer, whole: str, content: bytes | None, reason: str
) -> None:
    file = Path(constants.HF_TOKEN_PATH)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.mkdir() if content is None else file.write_bytes(content)
    with pytest.raises(HubError) as caught:
        hub.fetch("zoo/a")
    assert str(caught.value) == (
        f"The token file {file} cannot be read ({reason}). Move it away, then {LOG_IN}."
    )
    assert caught.value.__context__ is None
    assert hub.fetch("zoo/a", token=False).revision == whole


@pytest.mark.parametrize("how", [{"cut": 20, "times": None}, {"content": b"much too short"}])
def test_an_interrupted_download(hub_: HubServer, whole: str, how: dict[str, Any]) -> None:
    hub_.fail(f"GET /lfs/.*{bundle.WEIGHTS}", **how)
    refused(
        lambda: hub.fetch("zoo/a"),
        f"the connection to {hub_.endpoint} failed (",
        "then try again: no file is transferred twice",
        where=f"{bundle.WEIGHTS} of zoo/a",
    )
    hub_.heal()
    assert hub.fetch("zoo/a").revision == whole


def test_wrong_sizes_are_seen_before_the_download(
    hub_: HubServer, files: dict[str, bytes | str | None]
) -> None:
    size = len(files[bundle.WEIGHTS] or b"")
    hub_.commit("zoo/a", files | {bundle.WEIGHTS: b"\0" * 1_000_000})
    assert said(lambda: hub.fetch("zoo/a")) == (
        f"model.safetensors of zoo/a has 1,000,000 bytes instead of {size:,}: it was replaced, or "
        f"its upload was not finished. Load another revision."
    )
    assert downloads(hub_) == [bundle.CONFIG]


def test_weights_that_no_net_needs_are_not_fetched(
    hub_: HubServer, files: dict[str, bytes | str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository that is true to itself, and has a gigabyte for a net of a hundred numbers."""
    config = json.loads(files[bundle.CONFIG] or "")
    del config[artifact.CHECKSUM]
    huge = b"\0" * 300_000
    config["weights"][bundle.WEIGHTS] |= {"size": len(huge)}
    text = json.dumps(artifact.with_checksum(config), indent=2) + "\n"
    hub_.commit("zoo/a", files | {bundle.CONFIG: text, bundle.WEIGHTS: huge})
    with pytest.raises(BundleError) as caught:
        hub.fetch("zoo/a")
    assert str(caught.value).startswith(
        "model.safetensors of zoo/a has 300,000 bytes, but the net that its configuration "
        "describes needs"
    )
    monkeypatch.setenv("GANZOO_MAX_BYTES", "200000")
    with pytest.raises(BundleError, match="more than the 200,000 that are allowed"):
        hub.fetch("zoo/a")
    assert downloads(hub_) == [bundle.CONFIG]


def test_a_config_too_large_is_not_fetched(
    hub_: HubServer, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes | str | None]
) -> None:
    hub_.commit("zoo/a", files | {bundle.CONFIG: b"{" + b" " * 50_000 + b"}"})
    monkeypatch.setattr(hub, "LARGEST", 40_000)
    assert "config.json of zoo/a has 50,002 bytes instead of at most 40,000" in said(
        lambda: hub.fetch("zoo/a")
    )
    assert downloads(hub_) == []


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_hub_in_trouble(hub_: HubServer, whole: str, status: int) -> None:
    hub_.fail("GET /api/models/zoo/a", status=status, times=None)
    refused(lambda: hub.fetch("zoo/a"), f"the Hub is busy or down ({status})", "Try again in some")


def test_any_other_refusal(hub_: HubServer, whole: str) -> None:
    hub_.fail("paths-info", status=418, message="a teapot")
    refused(lambda: hub.fetch("zoo/a"), "the Hub refuses (418: a teapot)", "Check the name")


def test_a_login_page_in_its_place(hub_: HubServer, whole: str) -> None:
    hub_.fail("GET /api/models/zoo/a", content=b"<html>Welcome to our hotel</html>")
    refused(
        lambda: hub.fetch("zoo/a"),
        f"{hub_.endpoint} does not answer as a Hub does (",
        "a proxy or a log-in page answers instead",
    )


def test_a_full_disk(hub_: HubServer, whole: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import file_download

    def full(*_: Any, **__: Any) -> None:  # the disk's part, not the client's
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_download, "_create_symlink", full)
    assert said(lambda: hub.fetch("zoo/a")) == (
        "Cannot load config.json of zoo/a: the file cannot be written (No space left on device). "
        "Free some space, or choose another folder with cache_dir or HF_HOME."
    )


def test_a_cache_that_cannot_be_written(hub_: HubServer, whole: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    found = said(lambda: hub.fetch("zoo/a", cache_dir=tmp_path / "taken"))
    assert "taken" in found and found.endswith("choose another folder with cache_dir or HF_HOME.")


def test_forcing_without_asking(hub_: HubServer) -> None:
    with pytest.raises(ConfigError, match="leave one out"):
        hub.fetch("zoo/a", force_download=True, local_files_only=True)


# Loading


def test_loading(hub_: HubServer, whole: str, tmp_path: Path) -> None:
    loaded = Generator.from_pretrained("zoo/a")
    assert torch.equal(loaded.sample(5, seed=0), make().sample(5, seed=0))
    origin = loaded.config.origin
    assert origin is not None and (origin.repo_id, origin.revision) == ("zoo/a", whole)
    saved = loaded.save_pretrained(tmp_path / "saved")
    written = json.loads((saved / bundle.CONFIG).read_text())["origin"]
    assert written == {"repo_id": "zoo/a", "revision": whole}
    assert Generator.from_pretrained(saved).config.origin == origin
    with pytest.raises(ConfigError, match="Two revisions are given, 'v1' in 'zoo/a@v1' and 'v2'"):
        Generator.from_pretrained("zoo/a@v1", revision="v2")
    same = Generator.from_pretrained(f"zoo/a@{whole}", revision=whole)
    assert same.config == loaded.config


def test_a_folder_wins(hub_: HubServer, whole: str, tmp_path: Path) -> None:
    here = make(1).save_pretrained(tmp_path / "zoo/a")
    expected = make(1).sample(2, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        for source in "zoo/a", "./zoo/a", "zoo/a/", here:
            assert torch.equal(Generator.from_pretrained(source).sample(2, seed=0), expected)
        for source in "./zoo/b", "../zoo", "zoo/a/b", Path("zoo/b"), str(tmp_path / "x"), "~/x":
            with pytest.raises(BundleError) as caught:
                Generator.from_pretrained(source)
            assert str(caught.value) == (
                f"There is no folder {Path(source)}. Give the folder of a run or of a saved "
                f"generator."
            )
        with pytest.raises(ConfigError) as refused:
            Generator.from_pretrained("zoo/a", revision="v1")
    assert str(refused.value) == (
        "zoo/a is a folder, which has no revision 'v1'. Leave the revision out, or give a "
        "repository on the Hub as 'owner/name'."
    )
    assert hub_.requests == []


def test_damage_in_the_cache_is_fetched_again(hub_: HubServer, whole: str) -> None:
    folder = hub.fetch("zoo/a").folder
    for name in bundle.CONFIG, bundle.WEIGHTS:
        path = (folder / name).resolve()
        content = path.read_bytes()
        path.write_bytes(content[:-9] + b"\0" + content[-8:])
        with pytest.raises(BundleError):
            Generator.from_pretrained("zoo/a", local_files_only=True)
        with hub_.offline():
            found = said(lambda: Generator.from_pretrained("zoo/a"))
            assert "Fetching it again failed: " in found and "the connection to" in found
        hub_.requests.clear()
        loaded = Generator.from_pretrained("zoo/a")
        assert torch.equal(loaded.sample(2, seed=0), make().sample(2, seed=0))
        assert downloads(hub_) == [bundle.CONFIG, bundle.WEIGHTS]
        assert path.read_bytes() == content


def test_damage_in_the_repository_is_said(
    hub_: HubServer, files: dict[str, bytes | str | None]
) -> None:
    content = files[bundle.WEIGHTS]
    assert isinstance(content, bytes)
    hub_.commit("zoo/a", files | {bundle.WEIGHTS: content[:-1] + bytes([content[-1] ^ 1])})
    with pytest.raises(BundleError) as caught:
        Generator.from_pretrained("zoo/a")
    assert str(caught.value).endswith("Fetching it from zoo/a once more changed nothing.")
    assert len(hub_.sent(f"GET /lfs/.*{bundle.WEIGHTS}")) == 2


def test_wrong_bytes_that_came_once(hub_: HubServer, whole: str, files: dict[str, Any]) -> None:
    hub_.fail(f"GET /lfs/.*{bundle.WEIGHTS}", content=b"\0" * len(files[bundle.WEIGHTS]))
    loaded = Generator.from_pretrained("zoo/a")
    assert torch.equal(loaded.sample(2, seed=0), make().sample(2, seed=0))


@pytest.mark.parametrize("size", [None, "12", -1, [], True])
def test_a_size_that_is_none(hub_: HubServer, whole: str, size: Any) -> None:
    listed = [{"type": "file", "path": bundle.CONFIG, "oid": "0", "size": size}]
    hub_.fail("POST .*paths-info", times=None, content=json.dumps(listed).encode())
    assert "does not answer as a Hub does" in said(lambda: Generator.from_pretrained("zoo/a"))


def test_a_config_of_the_cache_that_leads_out_of_it_is_not_read(
    hub_: HubServer, whole: str, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    fetched = hub.fetch("zoo/a", cache_dir=cache)
    path = fetched.folder / bundle.CONFIG
    path.unlink()
    (tmp_path / "private").write_text('{"library": "private"}')
    path.symlink_to(tmp_path / "private")
    with pytest.raises(BundleError, match="leads out of"):
        hub.fetch("zoo/a", cache_dir=cache, local_files_only=True)


# Secrets


def everything_wrong(server: HubServer) -> Iterator[str]:
    """The regular expressions of requests, and a status with which each goes wrong."""
    for where in "GET /api/models/zoo/a", "paths-info", "HEAD .*config", "GET .*/resolve/":
        for status in 401, 403, 404, 418, *([] if "HEAD" in where else [500]):
            server.heal()
            server.fail(where, status=status, times=9, message="not you, hf_very_secret_token")
            yield where


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """All that an error leads to, which tools that report errors show."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def test_a_token_is_in_no_message_file_or_log(
    hub_: HubServer, whole: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = "hf_very_secret_token"
    hub_.add_user("eve", token=token)
    with caplog.at_level(logging.DEBUG):
        loaded = Generator.from_pretrained("zoo/a", token=token, cache_dir=tmp_path / "cache")
        loaded.save_pretrained(tmp_path / "saved")
        with hub_.offline():
            said(lambda: Generator.from_pretrained("zoo/b", token=token))
    assert any(request.token == token for request in hub_.requests)
    assert "zoo/a" in caplog.text and token not in caplog.text
    failed = 0
    for number, _ in enumerate(everything_wrong(hub_)):
        try:
            hub.fetch("zoo/a", token=token, cache_dir=tmp_path / f"cache-{number}")
        except GanzooError as error:
            failed += 1
            assert token not in str(error)
            assert token not in "".join(traceback.format_exception(error))
            assert not any(token in str(each) for each in chain(error))
    assert failed > 10
    for path in tmp_path.rglob("*"):
        assert token.encode() not in (path.read_bytes() if path.is_file() else b"")
    assert token not in repr(loaded) + repr(vars(loaded))


# What there is


def test_published(hub_: HubServer, whole: str) -> None:
    hub_.commit("bob/b", {"README.md": "---\nlibrary_name: ganzoo\nlicense: [a, b]\n---\n"})
    hub_.commit("bob/c", {"README.md": "---\nlibrary_name: other\ntags: [ganzoo]\n---\n"})
    hub_.commit("bob/d", {"README.md": '---\nlibrary_name: ganzoo\nlicense: "\\e[31mred"\n---\n'})
    hub_.commit("bob/e", {"README.md": CARD})
    hub_.repo("bob/e").private = True
    found = {each.repo_id: each for each in hub.published()}
    assert list(found) == ["bob/d", "bob/b", "zoo/a"]
    assert found["zoo/a"].revision == whole
    assert {"gan", "mlp"} <= set(found["zoo/a"].tags)
    assert found["zoo/a"].license == "mit"
    assert found["zoo/a"].size == 4 * sum(value.numel() for value in make().module.parameters())
    assert found["bob/b"] == hub.Published("bob/b", found["bob/b"].revision, found["bob/b"].tags)
    assert found["bob/d"].license == "?[31mred"
    assert "bob/e" in [each.repo_id for each in hub.published(token="hf_bob")]
    assert len(hub.published(limit=1)) == 1
    with hub_.offline():
        assert "the connection to" in said(hub.published)


@pytest.mark.parametrize(
    "card",
    [
        "eval_results: 5\nmodel_name: x",
        "eval_results: [5]",
        "model-index: 5",
        "model-index: [{name: a, results: 5}]",
        "self: 5",
        "to_dict: 5\ntags: 5",
    ],
)
def test_no_card_hides_the_others(hub_: HubServer, whole: str, card: str) -> None:
    hub_.commit("bob/b", {"README.md": f"---\nlibrary_name: ganzoo\n{card}\n---\n"})
    assert {"zoo/a", "bob/b"} == {each.repo_id for each in hub.published()}


def test_no_odd_entry_hides_the_others(hub_: HubServer) -> None:
    good = {"id": "zoo/a", "tags": ["ganzoo", "license:mit"], "library_name": "ganzoo"}
    bad = [{"id": "../x"}, {"id": 5}, {"id": "bob/b", "tags": 5}, {"id": "bob/c", "sha": None}]
    where = "GET /api/models$"
    models = [{**good, **change} for change in (*bad, {})]
    hub_.fail(where, content=json.dumps(models).encode())
    assert hub.published() == [
        hub.Published(name, "", tuple(good["tags"]), "mit") for name in ("bob/c", "zoo/a")
    ]
    for content in b"[5]", b'[{"id": "a/b", "safetensors": 5}]', b"{", b"[" * 100_000:
        hub_.fail(where, content=content)
        assert "does not answer as a Hub does" in said(hub.published)


def test_nothing_of_the_client_is_imported_before_it_is_needed() -> None:
    import subprocess

    program = (
        "import sys, ganzoo.generators.hub; "
        "print([m for m in sys.modules if m.startswith(('hug', 'tor'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_sealed_files_are_what_the_limit_is_for() -> None:
    assert hub.LARGEST == bounded_json.LARGEST
