"""Generators are pushed to the Hub, and pulled on another machine."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, constants
from PIL import Image

from ganzoo.architectures.mlp import MLP
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import BundleError, ConfigError, HubError
from ganzoo.files.storage import write_json
from ganzoo.generators import bundle, card, hub, pretrained
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator
from hub.server import HubServer

ARCH = MLP(hidden=(4,))
SQUARES = SampleSpec(shape=(1, 4, 6))
TRAINING = {"dataset": {"name": "fashion-mnist"}, "data_license": "MIT", "steps": 3}


def make(seed: int = 0, spec: SampleSpec = SQUARES, training: Any = None) -> Generator:
    latent = LatentSpec(shape=(3,))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ARCH.generator(spec, latent)
    config = BundleConfig(
        architecture=ARCH, sample=spec, latent=latent, training=training or TRAINING
    )
    return Generator(net, config)


def opponent() -> torch.nn.Module:
    return ARCH.discriminator(SQUARES)


@pytest.fixture(autouse=True)
def _logged_in(hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine is ann's."""
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server(hub: HubServer) -> HubServer:
    """The Hub, where `hub` is the module."""
    return hub


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A bundle in a folder with all that may lie beside it."""
    folder = make().save_pretrained(tmp_path / "kept", discriminator=opponent())
    write_json(folder / bundle.TRAINING, {"config": {}, "steps": 3, "images": 12, "command": None})
    write_json(folder / bundle.METRICS, {"fid": {"value": 12.5, "protocol": {"features": "x"}}})
    make().grid(4, seed=1).save(folder / bundle.CURVES)
    make().grid(4, seed=2).save(folder / bundle.SAMPLES)
    (folder / bundle.CARD).write_text("of here")
    (folder / "notes.txt").write_text("mine")
    return folder


def said(call: Callable[[], Any]) -> str:
    """The one line of the HubError that a call raises."""
    with pytest.raises(HubError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(server: HubServer, revision: str = "main") -> set[str]:
    return set(server.files("zoo/a", revision)) - {".gitattributes"}


def readme(server: HubServer, revision: str = "main") -> str:
    return server.files("zoo/a", revision)["README.md"].decode()


# There and back


def test_a_push(server: HubServer) -> None:
    done = make().push_to_hub("zoo/a")
    commit = server.commits("zoo/a")[0]
    assert len(server.commits("zoo/a")) == 2  # with that of .gitattributes
    assert set(commit.files) == {
        *(".gitattributes", "README.md", "config.json", "model.safetensors", "samples.png")
    }
    assert commit.title == f"Generator of ganzoo {hub.__version__}"
    assert (done.repo_id, done.revision, done.changed) == ("zoo/a", commit.oid, True)
    assert done.url == f"{server.endpoint}/zoo/a" and done.pull_request is None
    assert not server.repo("zoo/a").private
    assert done.files == {
        name: len(content)
        for name, content in server.files("zoo/a").items()
        if name != ".gitattributes"
    }
    assert done.card == readme(server) and not card.edited(done.card)
    assert "zoo/a" in done.card
    assert ModelCard(done.card).data.library_name == "ganzoo"
    assert done.notices == (card.data_notice(make().config),)
    assert [each.repo_id for each in hub.published()] == ["zoo/a"]
    for request in server.requests:
        if "lfs" not in request.path and request.path != "/":
            assert request.headers["user-agent"].startswith("ganzoo/")


COMMANDS = """
import json, sys
from ganzoo.cli import main
for tokens in json.loads(sys.argv[1]):
    main(tokens)
"""


def elsewhere(server: HubServer, home: Path, *commands: list[str], **options: Any) -> str:
    """Run commands on another machine, with a home and a cache of its own; what they print."""
    home.mkdir(exist_ok=True)
    environment = server.environment(home, **options) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_train_push_pull_and_sample_on_another_machine(server: HubServer, tmp_path: Path) -> None:
    import ganzoo
    from ganzoo.cli import main

    run = ganzoo.Trainer(
        arch={"name": "mlp", "hidden": [4]},
        dataset=torch.randint(0, 256, (8, 1, 4, 6), dtype=torch.uint8),
        batch_size=4,
        steps=2,
        device="cpu",
        precision="fp32",
        out=tmp_path / "run",
    ).fit()
    expected = run.generator.sample(5, seed=7)
    main(["push", str(run.path), "zoo/a"])
    server.tag("zoo/a", "v1")
    head = server.commits("zoo/a")[0].oid

    other = tmp_path / "other"
    pulled = elsewhere(server, other, ["pull", "zoo/a@v1"])
    assert pulled == f"mlp: 4x6 greyscale image, from zoo/a@{head}\ngenerator: a\n"
    assert {path.name for path in (other / "a").iterdir()} == names(server)
    origin = Generator.from_pretrained(other / "a").config.origin
    assert origin is not None and (origin.repo_id, origin.revision) == ("zoo/a", head)

    sources = ["zoo/a@v1", f"zoo/a@{head}", "a"]
    options = ["-n", "5", "--seed", "7", "--device", "cpu", "--out"]
    sampled = [
        ["sample", source, *options, f"{number}.npy"] for number, source in enumerate(sources)
    ]
    with server.offline():
        elsewhere(server, other, *sampled)
    for number in range(len(sources)):
        assert np.array_equal(np.load(other / f"{number}.npy"), expected.numpy())


def test_a_private_repository(server: HubServer, tmp_path: Path) -> None:
    make().push_to_hub("zoo/a", private=True)
    assert server.repo("zoo/a").private
    cache = tmp_path / "cache"  # as on another machine
    assert "or it is private" in said(
        lambda: Generator.from_pretrained("zoo/a", token=False, cache_dir=cache)
    )
    loaded = Generator.from_pretrained("zoo/a", token="hf_ann", cache_dir=cache)
    assert torch.equal(loaded.sample(3, seed=1), make().sample(3, seed=1))
    done = make(1).push_to_hub("zoo/a", private=True)
    assert done.changed and server.repo("zoo/a").private


def test_what_lies_beside_goes_with_it(server: HubServer, kept: Path) -> None:
    loaded = Generator.from_pretrained(kept)
    loaded.push_to_hub("zoo/a", discriminator=True, license="mit")
    found = server.files("zoo/a")
    wanted = {*bundle.EXTRAS, bundle.CONFIG, bundle.WEIGHTS, bundle.DISCRIMINATOR}
    assert names(server) == wanted
    for name in wanted - {bundle.CARD}:
        assert found[name] == (kept / name).read_bytes()
    assert found[bundle.CARD] != b"of here"
    assert ModelCard(readme(server)).data.license == "mit"
    assert (kept / bundle.CARD).read_text() == "of here"  # the folder is left as it is
    # And on from there, through the Hub's cache.
    Generator.from_pretrained("zoo/a").push_to_hub("ann/b", discriminator=True)
    again = server.files("ann/b")
    for name in wanted - {bundle.CARD, bundle.CONFIG}:
        assert again[name] == found[name]
    origin = json.loads(again[bundle.CONFIG])["origin"]
    assert origin == {"repo_id": "zoo/a", "revision": server.commits("zoo/a")[0].oid}


@pytest.mark.parametrize("content", [b"{", b'{"fid": {}}'])
def test_a_file_that_is_no_use_for_the_card_is_named_where_it_lies(
    kept: Path, content: bytes
) -> None:
    (kept / bundle.METRICS).write_bytes(content)
    with pytest.raises(BundleError) as caught:
        Generator.from_pretrained(kept).push_to_hub("zoo/a", dry_run=True)
    assert str(caught.value).startswith(f"{kept / bundle.METRICS} cannot be used for the card (")


def test_what_is_of_other_weights_does_not(server: HubServer, kept: Path) -> None:
    loaded = Generator.from_pretrained(kept)
    with torch.no_grad():
        next(loaded.module.parameters()).add_(0.5)
    loaded.push_to_hub("zoo/a")
    assert names(server) == {bundle.CONFIG, bundle.WEIGHTS, bundle.SAMPLES, bundle.CARD}
    assert server.files("zoo/a")[bundle.SAMPLES] != (kept / bundle.SAMPLES).read_bytes()


def test_a_link_out_of_the_bundle_is_not_sent(
    server: HubServer, kept: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    (kept / bundle.METRICS).unlink()
    (kept / bundle.METRICS).symlink_to(secret)
    Generator.from_pretrained(kept).push_to_hub("zoo/a")
    assert bundle.METRICS not in names(server)
    assert len(server.commits("zoo/a")) == 2


def test_what_a_shared_cache_leads_to_is_neither_pulled_nor_sent(
    server: HubServer, kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ganzoo.cli import main

    Generator.from_pretrained(kept).push_to_hub("zoo/a", discriminator=True)
    generator = Generator.from_pretrained("zoo/a")
    cached = hub.fetch("zoo/a", revision=generator.config.origin.revision, extras=True).folder
    private = tmp_path / "private"
    private.write_text("PRIVATE")
    inside = cached.parent.parent / "private"
    inside.write_text("PRIVATE")
    for name, target in [
        (bundle.METRICS, private),  # out of the cache
        (bundle.CURVES, inside),  # in it, and no picture
    ]:
        (cached / name).unlink()
        (cached / name).symlink_to(target)
    capsys.readouterr()
    main(["pull", "zoo/a", "-o", "mine"])
    assert capsys.readouterr().err == (
        "note: curves.png, metrics.json of zoo/a is left out: too large or malformed\n"
    )
    for name in ("mine", "zoo/a"):
        Generator.from_pretrained(name).push_to_hub("ann/b")
        found = server.files("ann/b")
        assert bundle.SAMPLES in found and not {bundle.METRICS, bundle.CURVES} & {*found}
        assert not any(b"PRIVATE" in content for content in found.values())
    assert {path.name for path in Path("mine").iterdir()} == {
        *(bundle.CONFIG, bundle.WEIGHTS, bundle.DISCRIMINATOR, bundle.SAMPLES, bundle.CARD),
        bundle.TRAINING,
    }


def test_what_is_too_large_to_lie_beside_is_not_pulled(
    server: HubServer, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganzoo.cli import main

    Generator.from_pretrained(kept).push_to_hub("zoo/a")
    server.commit("zoo/a", {bundle.METRICS: b" " * (hub.LARGEST + 1)})
    main(["pull", "zoo/a", "-o", "mine"])
    assert {path.name for path in Path("mine").iterdir()} == names(server) - {bundle.METRICS}
    assert not server.sent(f"GET .*/{bundle.METRICS}")


@pytest.mark.parametrize("what", ["write_bytes", "mkdtemp", "save"])
def test_a_full_disk(
    server: HubServer, kept: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def full(*given: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (kept / bundle.SAMPLES).unlink()
    generator = Generator.from_pretrained(kept)
    owner = {"write_bytes": Path, "mkdtemp": tempfile, "save": Image.Image}[what]
    monkeypatch.setattr(owner, what, full)
    assert said(lambda: generator.push_to_hub("zoo/a")) == (
        "The push to zoo/a cannot be prepared in the temporary folder (No space left on device). "
        "Free some space, or choose another folder with TMPDIR."
    )
    assert server.requests == []


def test_no_picture_of_what_is_none(server: HubServer) -> None:
    make(spec=SampleSpec(kind="vector", shape=(2,), value_range=None)).push_to_hub("zoo/a")
    assert names(server) == {bundle.CONFIG, bundle.WEIGHTS, bundle.CARD}


# Again


def test_nothing_changed(server: HubServer, kept: Path) -> None:
    first = Generator.from_pretrained(kept).push_to_hub("zoo/a")
    head = server.commits("zoo/a")[0].oid
    sources: list[Any] = [kept, "zoo/a", f"zoo/a@{first.revision}"]
    for source in sources:
        again = Generator.from_pretrained(source).push_to_hub("zoo/a")
        assert server.commits("zoo/a")[0].oid == head
        assert (again.changed, again.revision) == (False, first.revision)
        assert again.card == first.card
    assert len(server.sent("POST .*/commit/")) == 1
    proposed = Generator.from_pretrained(kept).push_to_hub("zoo/a", create_pr=True)
    assert proposed.pull_request is None and server.repo("zoo/a").pull_requests == {}


def test_what_is_stale_goes_and_other_files_stay(server: HubServer, kept: Path) -> None:
    Generator.from_pretrained(kept).push_to_hub("zoo/a", discriminator=True)
    others = {"notes.md": "mine", "lora.safetensors": b"x", "f/config.json": "{}"}
    server.commit("zoo/a", others)
    done = make(1).push_to_hub("zoo/a")
    first = server.commits("zoo/a")[0]
    owned = {bundle.CONFIG, bundle.WEIGHTS, bundle.SAMPLES, bundle.CARD}
    assert names(server) == owned | set(others)
    assert set(first.files) == owned | set(others) | {".gitattributes"}  # in one commit
    assert done.revision == first.oid
    loaded = Generator.from_pretrained("zoo/a", revision=done.revision)
    assert torch.equal(loaded.sample(3, seed=1), make(1).sample(3, seed=1))


def test_an_edited_card_is_kept_unless_asked(server: HubServer) -> None:
    make().push_to_hub("zoo/a")
    text = readme(server).replace("# ", "# My own ", 1)
    server.commit("zoo/a", {"README.md": text})
    done = make(1).push_to_hub("zoo/a")
    assert readme(server) == done.card == text
    assert done.changed and done.notices[1:] == (
        "The README.md of zoo/a was edited, so it stays as it is: overwrite_card replaces it.",
    )
    assert len(server.commits("zoo/a")) == 4
    forced = make(1).push_to_hub("zoo/a", overwrite_card=True)
    assert readme(server) == forced.card != text
    assert forced.changed and len(forced.notices) == 1


def test_a_card_of_ours_is_replaced(server: HubServer) -> None:
    make().push_to_hub("zoo/a")
    again = make().push_to_hub("zoo/a", license="apache-2.0")
    assert again.changed and readme(server) == again.card and "apache-2.0" in again.card
    assert set(server.commits("zoo/a")[0].files) == {*names(server), ".gitattributes"}


# To where


def test_a_branch(server: HubServer) -> None:
    make().push_to_hub("zoo/a")
    head = server.commits("zoo/a")[0].oid
    done = make(1).push_to_hub("zoo/a", revision="next", commit_message="better")
    assert server.commits("zoo/a")[0].oid == head
    assert server.commits("zoo/a", "next")[0].oid == done.revision
    assert server.commits("zoo/a", "next")[0].title == "better"
    assert server.commits("zoo/a", "next")[1].oid == head
    loaded = Generator.from_pretrained("zoo/a@next")
    assert torch.equal(loaded.sample(2, seed=0), make(1).sample(2, seed=0))
    make(2).push_to_hub("zoo/a", revision="next")
    assert len(server.commits("zoo/a", "next")) == 4
    server.tag("zoo/a", "v1")
    assert said(lambda: make(3).push_to_hub("zoo/a", revision="v1")) == (
        "Cannot push to zoo/a@v1: it has no branch 'v1'. It has these branches and tags: main, "
        "next, v1."
    )
    with pytest.raises(ConfigError, match="is a commit, which does not change"):
        make(3).push_to_hub("zoo/a", revision=head)


def test_a_pull_request(server: HubServer) -> None:
    make().push_to_hub("zoo/a")
    head = server.commits("zoo/a")[0].oid
    done = make(1).push_to_hub("zoo/a", create_pr=True, token="hf_bob")
    assert server.commits("zoo/a")[0].oid == head
    assert (done.pull_request, done.url) == ("refs/pr/1", f"{server.endpoint}/zoo/a/discussions/1")
    commit, base, *_ = server.commits("zoo/a", "refs/pr/1")
    assert (commit.oid, base.oid, commit.author) == (done.revision, head, "bob")
    loaded = Generator.from_pretrained("zoo/a", revision="refs/pr/1")
    assert torch.equal(loaded.sample(2, seed=0), make(1).sample(2, seed=0))
    assert loaded.config.origin is not None and loaded.config.origin.revision == commit.oid
    make(2).push_to_hub("zoo/a", revision="refs/pr/1")
    assert len(server.commits("zoo/a", "refs/pr/1")) == 4
    assert list(server.repo("zoo/a").pull_requests) == ["refs/pr/1"]
    with pytest.raises(ConfigError, match="A pull request goes to the main branch"):
        make().push_to_hub("zoo/a", create_pr=True, revision="next")
    assert said(lambda: make().push_to_hub("zoo/a", revision="refs/pr/9")).startswith(
        "Cannot push to zoo/a@refs/pr/9: it has no branch 'refs/pr/9'."
    )
    assert "there is no such repository on the Hub, or it is private" in said(
        lambda: make().push_to_hub("zoo/none", create_pr=True)
    )


def test_a_public_one_does_not_become_private(server: HubServer) -> None:
    make().push_to_hub("zoo/a")
    assert said(lambda: make(1).push_to_hub("zoo/a", private=True)) == (
        f"zoo/a is public, which a push does not change. Make it private at "
        f"{server.endpoint}/zoo/a/settings, or choose another name."
    )
    assert len(server.commits("zoo/a")) == 2


@pytest.mark.parametrize(
    "files",
    [
        {"config.json": '{"model_type": "bert"}'},
        {"model.safetensors": b"x"},
        {"config.json": "["},
        {"config.json": '{"deps": [{"library": "ganzoo"}]}'},
    ],
)
def test_the_model_of_another_library_is_not_replaced(
    server: HubServer, files: dict[str, bytes | str | None]
) -> None:
    head = server.commit("zoo/a", files)
    assert said(lambda: make().push_to_hub("zoo/a")) == (
        "zoo/a holds a model of another library, which a push would replace. Choose another "
        "repository."
    )
    assert server.commits("zoo/a")[0].oid == head


def test_a_repository_with_a_readme_only(server: HubServer) -> None:
    server.commit("zoo/a", {"README.md": "---\nlicense: mit\n---\n"})
    done = make().push_to_hub("zoo/a")
    assert names(server) == {bundle.CONFIG, bundle.WEIGHTS, bundle.SAMPLES, bundle.CARD}
    assert readme(server).startswith("---\nlicense: mit") and "was edited" in done.notices[1]


# What goes wrong

LOG_IN = "log in with 'hf auth login' or set HF_TOKEN"


def test_no_token(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert said(lambda: make().push_to_hub("zoo/a")) == (
        f"Pushing needs a token with write access: {LOG_IN}."
    )
    assert server.requests == []


def test_a_bad_token(server: HubServer) -> None:
    assert "the token is not valid, or may not do this" in said(
        lambda: make().push_to_hub("zoo/a", token="hf_wrong")
    )


@pytest.mark.parametrize("there", [False, True])
def test_no_right_to_write(server: HubServer, there: bool) -> None:
    server.add_user("ann", token="hf_look", role="read", orgs=["zoo"])
    if there:
        server.create_repo("zoo/a")
    for token in "hf_bob", "hf_look":
        assert said(lambda: make().push_to_hub("zoo/a", token=token)) == (  # noqa: B023
            f"Cannot push to zoo/a: the token is not valid, or may not do this. Create one that "
            f"may write at {server.endpoint}/settings/tokens and {LOG_IN}, or send a pull "
            f"request (create_pr)."
        )
    assert server.repos() == ["zoo/a"] * there


def test_somebody_else_pushed_meanwhile(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    make().push_to_hub("zoo/a")
    real = hub._refuse_other_models

    def slow(*given: Any) -> None:
        server.commit("zoo/a", {"news.txt": "x"})
        real(*given)

    monkeypatch.setattr(hub, "_refuse_other_models", slow)
    assert said(lambda: make(1).push_to_hub("zoo/a")) == (
        "Cannot push to zoo/a: someone else pushed at the same time. Nothing was replaced: push "
        "again."
    )
    assert names(server) >= {"news.txt"}


def test_no_network(server: HubServer) -> None:
    with server.offline():
        assert said(lambda: make().push_to_hub("zoo/a")) == (
            f"Cannot push to zoo/a: the connection to {server.endpoint} failed (ConnectError). "
            f"Check the network and the proxy, then try again: no file is transferred twice."
        )


def test_offline_on_purpose(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert said(lambda: make().push_to_hub("zoo/a")) == (
        "Cannot push to zoo/a: HF_HUB_OFFLINE is set. Unset it."
    )


def test_an_interrupted_upload(server: HubServer) -> None:
    server.fail("POST .*/verify", status=404, message="No such object", times=None)
    assert "the Hub refuses (404: No such object)" in said(lambda: make().push_to_hub("zoo/a"))
    assert names(server) == set()
    server.heal()
    assert make().push_to_hub("zoo/a").changed
    assert len(server.commits("zoo/a")) == 2


def test_a_lost_answer(server: HubServer) -> None:
    """The commit is there, though the client does not know."""
    make().push_to_hub("zoo/a")
    server.fail("POST .*/commit/", cut=-1)
    assert "then try again" in said(lambda: make(1).push_to_hub("zoo/a"))
    assert len(server.commits("zoo/a")) == 3
    assert not make(1).push_to_hub("zoo/a").changed


def test_a_commit_that_did_not_arrive(server: HubServer) -> None:
    make().push_to_hub("zoo/a")
    server.fail("POST .*/commit/", status=503)
    assert "the Hub is busy or down (503)" in said(lambda: make(1).push_to_hub("zoo/a"))
    assert len(server.commits("zoo/a")) == 2
    assert make(1).push_to_hub("zoo/a").changed
    assert len(server.commits("zoo/a")) == 3


@pytest.mark.parametrize("how", ["push", "again", "dry_run", "pull_request", "branch"])
def test_a_push_reads_weights_once_to_hash_them(
    server: HubServer, kept: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    (kept / bundle.CARD).write_text("---\nlicense: mit\n---\n")
    if how == "again":
        hub.push(kept, "zoo/a")
    if how == "pull_request":
        server.create_repo("zoo/a")
    opened: list[str] = []
    open_ = Path.open

    def noted(path: Path, *args: Any, **options: Any) -> Any:
        opened.append(path.name)
        return open_(path, *args, **options)

    monkeypatch.setattr(Path, "open", noted)
    monkeypatch.setattr(bundle, "read", lambda *args, **options: pytest.fail("reads the weights"))
    options: dict[str, Any] = {
        "dry_run": {"dry_run": True},
        "pull_request": {"create_pr": True},
        "branch": {"revision": "half-trained"},
    }.get(how, {})
    hashed: list[str] = []
    from huggingface_hub import lfs

    by_path = lfs.UploadInfo.from_path.__func__

    def counted(cls: Any, path: str) -> Any:
        hashed.append(Path(path).name)
        return by_path(cls, path)

    monkeypatch.setattr(lfs.UploadInfo, "from_path", classmethod(counted))
    hub.push(kept, "zoo/a", hub.HubOptions(**options))
    weights = [bundle.DISCRIMINATOR, bundle.WEIGHTS]
    assert sorted({*hashed} & {*weights}) == weights
    assert all(hashed.count(name) == 1 for name in weights)
    sent = 0 if how in ("again", "dry_run") else 1
    assert [opened.count(name) for name in weights] == [sent, sent]


@pytest.mark.parametrize("name", [bundle.WEIGHTS, bundle.DISCRIMINATOR])
@pytest.mark.parametrize("how", ["longer", "empty", "gone", "another"])
def test_what_is_pushed_is_what_was_hashed(
    server: HubServer, kept: Path, name: str, how: str
) -> None:
    path = kept / name
    content = path.read_bytes()
    path.unlink()
    if how != "gone":
        path.write_bytes({"longer": content + b"!", "empty": b""}.get(how, content[::-1]))
    with pytest.raises(BundleError, match=name):
        hub.push(kept, "zoo/a")
    assert server.requests == []


def test_a_token_is_in_no_file_message_or_log(
    server: HubServer, kept: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = "hf_very_secret_token"
    server.add_user("eve", token=token)
    generator = Generator.from_pretrained(kept)
    with caplog.at_level(logging.DEBUG):
        done = generator.push_to_hub("eve/a", token=token)
    assert any(request.token == token for request in server.requests)
    assert token not in caplog.text + repr(done) + repr(vars(generator))
    for content in server.files("eve/a").values():
        assert token.encode() not in content
    server.fail("POST .*/commit/", status=500, message=f"no, {token}", times=None)
    assert token not in said(lambda: make(1).push_to_hub("eve/a", token=token))
    for path in tmp_path.rglob("*"):
        assert token.encode() not in (path.read_bytes() if path.is_file() else b"")


def test_what_the_card_leaves_out_is_in_no_other_file(server: HubServer, tmp_path: Path) -> None:
    private = {"name": "acme:shop", "api_key": "s3cr3t", "folder": Path("/home/jane/private")}
    generator = make(training={**TRAINING, "dataset": private, "note": "two  lines\n" * 300})
    folder = generator.save_pretrained(tmp_path / "kept")
    command = "ganzoo train mlp --dataset.token s3cr3t --dataset.path '/home/jane/my data'"
    record = {"config": {"dataset": {"authToken": "s3cr3t"}}, "steps": 3, "command": command}
    write_json(folder / bundle.TRAINING, record)
    score = {
        "value": 12.5,
        "protocol": {"real": {"path": "/home/jane/private", "token": ["s3cr3t"]}},
    }
    write_json(folder / bundle.METRICS, {"fid": score})
    for source in (generator, Generator.from_pretrained(folder)):
        source.push_to_hub("zoo/a")
        for name, content in server.files("zoo/a").items():
            assert not re.search(rb"s3cr3t|jane", content), name
    found = {
        name: json.loads(server.files("zoo/a")[name]) for name in names(server) if "json" in name
    }
    assert found[bundle.CONFIG]["training"] == {
        **generator.config.training,
        "dataset": {"name": "acme:shop", "api_key": "(left out)", "folder": "private"},
    }
    assert found[bundle.TRAINING]["command"] == (
        "ganzoo train mlp --dataset.token '(left out)' --dataset.path 'my data'"
    )
    assert found[bundle.METRICS]["fid"]["protocol"]["real"]["path"] == "private"
    pulled = Generator.from_pretrained("zoo/a")
    assert torch.equal(pulled.sample(2, seed=0), generator.sample(2, seed=0))
    for source in (Generator.from_pretrained(folder), pulled):
        assert not source.push_to_hub("zoo/a").changed
    assert b"s3cr3t" in (folder / bundle.CONFIG).read_bytes()  # the folder is left as it is


@pytest.mark.parametrize("name", pretrained.bundled())
def test_records_without_secrets_are_sent_as_they_are(server: HubServer, name: str) -> None:
    folder = pretrained.get(name).folder
    assert folder is not None
    Generator.from_pretrained(folder).push_to_hub("zoo/a")
    for file in ({path.name for path in folder.iterdir()} & names(server)) - {bundle.CARD}:
        assert server.files("zoo/a")[file] == (folder / file).read_bytes(), file


# Without sending


def test_a_dry_run(server: HubServer, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with server.offline():
        done = Generator.from_pretrained(kept).push_to_hub("zoo/a", dry_run=True)
    assert server.requests == []
    assert (done.url, done.revision, done.changed) == (None, None, False)
    assert set(done.files) == {bundle.CONFIG, bundle.WEIGHTS, *bundle.EXTRAS}
    assert done.files[bundle.WEIGHTS] == (kept / bundle.WEIGHTS).stat().st_size
    assert done.files[bundle.CARD] == len(done.card.encode()) and "zoo/a" in done.card
    assert done.notices == (card.data_notice(make().config),)
    with pytest.raises(HubError, match="is not the name of a repository"):
        make().push_to_hub("nothing", dry_run=True)


def test_the_size_on_a_dry_run_is_that_of_the_push(server: HubServer) -> None:
    planned, done = make().push_to_hub("zoo/a", dry_run=True), make().push_to_hub("zoo/a")
    less_card = {name: size for name, size in done.files.items() if name != bundle.CARD}
    assert planned.files | {bundle.CARD: 0} == less_card | {bundle.CARD: 0}


# In half precision


def test_half_precision(server: HubServer, tmp_path: Path) -> None:
    full = make()
    full.push_to_hub("zoo/a", half=True)
    loaded = Generator.from_pretrained("zoo/a")
    half = loaded.config.half
    assert half is not None
    error = (loaded.sample(64, seed=0) - full.sample(64, seed=0)).abs() / 2  # of [-1, 1]
    assert half.largest == pytest.approx(float(error.max())) and half.largest > 0
    assert half.mean == pytest.approx(float(error.mean())) and half.mean < half.largest
    assert full.config.half is None
    whole = full.save_pretrained(tmp_path / "full")
    size = len(server.files("zoo/a")[bundle.WEIGHTS])
    assert size < (whole / bundle.WEIGHTS).stat().st_size
    for asked in False, True:  # it stays so, and its error is still that against the full one
        again = Generator.from_pretrained(loaded.save_pretrained(tmp_path / "again", half=asked))
        assert again.config.half == half
        assert torch.equal(again.sample(3, seed=1), loaded.sample(3, seed=1))
    with torch.no_grad():
        next(loaded.module.parameters()).add_(1e-5)
    changed = Generator.from_pretrained(loaded.save_pretrained(tmp_path / "changed"))
    assert changed.config.half is None
    assert torch.equal(changed.sample(3, seed=1), loaded.sample(3, seed=1))


def test_half_precision_of_what_has_no_range(tmp_path: Path) -> None:
    full = make(spec=SampleSpec(kind="vector", shape=(2,), value_range=None))
    folder = full.save_pretrained(tmp_path / "half", half=True)
    loaded = Generator.from_pretrained(folder)
    exact = full.sample(64, seed=0)
    error = (loaded.sample(64, seed=0) - exact).abs() / (exact.max() - exact.min())
    assert loaded.config.half is not None
    assert loaded.config.half.largest == pytest.approx(float(error.max()))


def test_too_large_for_half_precision(tmp_path: Path) -> None:
    full = make()
    with torch.no_grad():
        next(full.module.parameters())[0] = 1e5
    with pytest.raises(BundleError, match=r"exceeds 65,504\. Save it without half"):
        full.save_pretrained(tmp_path / "half", half=True)
    assert not (tmp_path / "half").exists()


# The other player


def test_the_discriminator_of_the_bundle(server: HubServer, kept: Path, tmp_path: Path) -> None:
    loaded = Generator.from_pretrained(kept)
    copied = loaded.save_pretrained(tmp_path / "copy", discriminator=True)
    name = bundle.DISCRIMINATOR
    assert (copied / name).read_bytes() == (kept / name).read_bytes()
    net = loaded.discriminator()
    assert net is not None and net(torch.zeros(2, *SQUARES.shape)).shape == (2,)
    without = Generator.from_pretrained(loaded.save_pretrained(tmp_path / "without"))
    assert not (tmp_path / "without" / name).exists()
    for generator in without, make():
        assert generator.discriminator() is None
        with pytest.raises(BundleError) as caught:
            generator.save_pretrained(tmp_path / "x", discriminator=True)
        assert str(caught.value) == (
            "There is no discriminator to save: this generator was not loaded from a bundle that "
            "has one. Give the net itself, or leave it out."
        )


# The command line


def test_push_on_the_command_line(
    server: HubServer, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ganzoo.cli import main

    main(["push", str(kept), "zoo/a", "--dry-run"])
    out, err = capsys.readouterr()
    assert server.requests == []
    assert out.startswith("Nothing was sent. zoo/a would hold:\n")
    assert re.search(rf"^model.safetensors +{(kept / bundle.WEIGHTS).stat().st_size:,}$", out, re.M)
    assert "library_name: ganzoo" in out and "fashion-mnist" in out
    assert err == f"note: {card.data_notice(make().config)}\n"
    main(["push", str(kept), "zoo/a", "--private", "--half", "--discriminator", "--license=mit"])
    out, err = capsys.readouterr()
    commit = server.commits("zoo/a")[0].oid
    assert out == (
        f"published: {server.endpoint}/zoo/a\nload it with: ganzoo sample zoo/a@{commit}\n"
    )
    assert server.repo("zoo/a").private and bundle.DISCRIMINATOR in names(server)
    assert json.loads(server.files("zoo/a")[bundle.CONFIG])["half"]
    main(["push", str(kept), "zoo/a", "--half", "--discriminator", "--license=mit"])
    assert capsys.readouterr().out.startswith("nothing has changed since the last push\n")
    server.commit("zoo/a", {"README.md": "mine"})
    main(["push", str(kept), "zoo/a", "--message", "plain"])
    out, err = capsys.readouterr()
    assert "was edited, so it stays as it is" in err and readme(server) == "mine"
    assert server.commits("zoo/a")[0].title == "plain"
    main(["push", str(kept), "zoo/a", "--create-pr", "--overwrite-card"])
    assert f"{server.endpoint}/zoo/a/discussions/1\n" in capsys.readouterr().out
    main(["push", str(kept), "zoo/a", "--revision", "next"])
    assert "next" in server.repo("zoo/a").branches


def test_pull_on_the_command_line(
    server: HubServer, kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ganzoo.cli import main

    first = Generator.from_pretrained(kept).push_to_hub("zoo/a", discriminator=True)
    main(["pull", "zoo/a", "-o", "mine"])
    assert {path.name for path in Path("mine").iterdir()} == names(server)
    assert Path("mine", bundle.CARD).read_text() == first.card
    assert Path("mine", bundle.METRICS).read_bytes() == (kept / bundle.METRICS).read_bytes()
    head = server.commits("zoo/a")[0].oid
    assert capsys.readouterr().out.splitlines() == [
        f"mlp: 4x6 greyscale image, from zoo/a@{head}",
        "generator: mine",
    ]
    make(1).push_to_hub("zoo/a")
    make(2).save_pretrained("zoo/a")  # a folder of that name is not meant
    Path("mine", "notes.txt").write_text("x")
    main(["pull", "zoo/a", "-o", "mine"])
    assert {path.name for path in Path("mine").iterdir()} == {*names(server), "notes.txt"}
    loaded = Generator.from_pretrained("mine")
    assert torch.equal(loaded.sample(2, seed=0), make(1).sample(2, seed=0))
    Path("taken").mkdir()
    Path("taken", "x").touch()
    Path("empty").mkdir()
    main(["pull", "zoo/a", "-o", "empty"])
    capsys.readouterr()
    for tokens, message in [
        (["zoo/a", "-o", "taken"], "taken holds something that was not pulled from zoo/a"),
        (["nothing"], "'nothing' is not the name of a repository on the Hub"),
        (["zoo/none"], "Cannot load zoo/none: there is no such repository"),
        (["zoo/a@v9"], "it has no revision 'v9'"),
    ]:
        with pytest.raises(SystemExit) as caught:
            main(["pull", *tokens])
        assert caught.value.code == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in Path("taken").iterdir()] == ["x"]


def test_pull_replaces_nothing_of_ones_own(
    server: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    from ganzoo.cli import main

    make().push_to_hub("zoo/a")
    make().push_to_hub("zoo/b")
    own = make(1).save_pretrained("a")
    (own / bundle.CARD).write_text("mine")
    main(["pull", "zoo/b"])
    changed = Generator.from_pretrained("b")
    with torch.no_grad():
        next(changed.module.parameters()).add_(0.5)
    changed.save_pretrained("tuned")
    before = len(server.requests)
    capsys.readouterr()
    for folder in "a", "b", "tuned":
        held = {path: path.read_bytes() for path in Path(folder).iterdir()}
        with pytest.raises(SystemExit):
            main(["pull", "zoo/a", "-o", folder])
        message = f"{folder} holds something that was not pulled from zoo/a, or was changed since"
        assert message in capsys.readouterr().err
        assert {path: path.read_bytes() for path in Path(folder).iterdir()} == held
    with pytest.raises(SystemExit):
        main(["pull", "zoo/a"])
    assert "--out" in capsys.readouterr().err and len(server.requests) == before


def test_pull_keeps_an_edited_card(server: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    from ganzoo.cli import main

    make().push_to_hub("zoo/a")
    main(["pull", "zoo/a"])
    make(1).push_to_hub("zoo/a")
    main(["pull", "zoo/a"])
    readme_here = Path("a", bundle.CARD)
    assert readme_here.read_text() == readme(server)  # one of ours is replaced
    readme_here.write_text("mine")
    capsys.readouterr()
    main(["pull", "zoo/a"])
    assert readme_here.read_text() == "mine"
    assert "note: a/README.md was edited and stays as it is" in capsys.readouterr().err
    server.commit("zoo/a", {bundle.CARD: "mine"})
    main(["pull", "zoo/a"])  # which is theirs too
    assert capsys.readouterr().err == ""


def test_pull_takes_the_branch_that_the_repository_has(server: HubServer) -> None:
    from ganzoo.cli import main

    done = make().push_to_hub("zoo/a")
    make(1).save_pretrained("zoo/a")  # a folder of that name is not meant
    before = len(server.requests)
    main(["pull", "zoo/a"])
    paths = [request.path for request in server.requests[before:]]
    assert paths and not any("/main" in path for path in paths)
    loaded = Generator.from_pretrained("a")
    assert torch.equal(loaded.sample(2, seed=0), make().sample(2, seed=0))
    assert loaded.config.origin is not None and loaded.config.origin.repo_id == "zoo/a"
    assert done.changed


def test_an_architecture_of_a_script_is_warned_of(
    server: HubServer, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = Generator.from_pretrained(kept)
    monkeypatch.setattr(card, "_code_notice", lambda config: "It is defined in a script.")
    done = generator.push_to_hub("zoo/a", dry_run=True)
    assert done.notices == (card.data_notice(generator.config), "It is defined in a script.")
    assert "It is defined in a script." in done.card
