"""The Hub for tests, as the real client sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelCard,
    hf_hub_download,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hub.server import HubServer, configure_client

CARD = """---
library_name: ganzoo
pipeline_tag: unconditional-image-generation
license: mit
tags: [gan, dcgan]
datasets: [zalando-datasets/fashion_mnist]
---
# A generator
"""


def safetensors(values: int = 3) -> bytes:
    """A file in that format with one tensor of so many floats."""
    tensor = {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}
    header = json.dumps({"weight": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(range(256)) * values


def client(hub: HubServer, token: str | bool = "hf_ann") -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=token)


def push(api: HfApi, repo: str, files: dict[str, bytes], **options: Any) -> Any:
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit(repo, operations, commit_message="add", **options)


# Accounts and repositories


def test_create(hub: HubServer) -> None:
    api = client(hub)
    assert api.create_repo("zoo/a").repo_id == "zoo/a"
    assert api.create_repo("b", private=True).repo_id == "ann/b"
    assert hub.repos() == ["zoo/a", "ann/b"]
    assert (hub.repo("zoo/a").private, hub.repo("ann/b").private) == (False, True)
    with pytest.raises(HfHubHTTPError, match="already created"):
        api.create_repo("zoo/a")
    assert api.create_repo("zoo/a", exist_ok=True).repo_id == "zoo/a"


def test_who_may_create_and_write(hub: HubServer) -> None:
    hub.add_user("ann", token="hf_look", role="read", orgs=["zoo"])
    for api in client(hub, "hf_bob"), client(hub, "hf_look"):
        with pytest.raises(HfHubHTTPError, match="don't have the rights to create") as error:
            api.create_repo("zoo/a")
        assert error.value.response.status_code == 403
    hub.create_repo("zoo/a")
    for api in client(hub, "hf_bob"), client(hub, "hf_look"):
        with pytest.raises(HfHubHTTPError, match="403 Forbidden: Authorization error"):
            push(api, "zoo/a", {"a.txt": b"a"})
    with pytest.raises(HfHubHTTPError, match="Invalid username or password") as error:
        push(client(hub, False), "zoo/a", {"a.txt": b"a"})
    assert error.value.response.status_code == 401
    with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header"):
        push(client(hub, "hf_wrong"), "zoo/a", {"a.txt": b"a"})
    with pytest.raises(RepositoryNotFoundError, match="assumes that the repo already exists"):
        push(client(hub), "zoo/none", {"a.txt": b"a"})
    assert len(hub.commits("zoo/a")) == 1


# Commits


def test_one_commit_of_small_and_large_files(hub: HubServer, tmp_path: Path) -> None:
    hub.lfs_threshold = 2000
    api = client(hub)
    api.create_repo("zoo/a")
    on_disk = tmp_path / "model.safetensors"
    on_disk.write_bytes(safetensors())
    operations = [
        CommitOperationAdd("README.md", CARD.encode()),
        CommitOperationAdd("model.safetensors", on_disk),
        CommitOperationAdd("long.txt", b"x" * 2000),
        CommitOperationAdd("short.txt", b"x" * 1999),
        CommitOperationAdd("samples.png", b"\x89PNG\r\n\0\0"),
        CommitOperationAdd("deep/down/empty.json", b""),
    ]
    done = api.create_commit(
        "zoo/a", operations, commit_message="six files", commit_description="in one"
    )
    head = hub.commits("zoo/a")[0]
    assert (head.oid, head.title, head.description) == (done.oid, "six files", "in one")
    assert head.author == "ann"
    contents = hub.files("zoo/a")
    assert contents["model.safetensors"] == safetensors()
    assert contents["long.txt"] == b"x" * 2000
    assert contents["deep/down/empty.json"] == b""
    large = {path for path, blob in head.files.items() if blob.lfs}
    assert large == {"model.safetensors", "long.txt", "samples.png"}
    assert len(hub.sent("PUT /lfs/")) == 3
    assert len(hub.sent("POST .*/verify")) == 3
    assert len(hub.sent("/commit/")) == 1


def test_a_large_file_is_sent_once(hub: HubServer) -> None:
    api = client(hub)
    api.create_repo("zoo/a")
    push(api, "zoo/a", {"model.safetensors": safetensors()})
    push(api, "zoo/a", {"copy.safetensors": safetensors()})
    assert len(hub.sent("PUT /lfs/")) == 1
    assert hub.files("zoo/a")["copy.safetensors"] == safetensors()


def test_what_has_not_changed_is_no_commit(hub: HubServer) -> None:
    api = client(hub)
    api.create_repo("zoo/a")
    files = {"model.safetensors": safetensors(), "a.txt": b"a"}
    first = push(api, "zoo/a", files)
    again = push(api, "zoo/a", files)
    assert again.oid == first.oid
    assert len(hub.commits("zoo/a")) == 2


def test_deleting(hub: HubServer) -> None:
    api = client(hub)
    hub.commit("zoo/a", {"a.txt": "a", "b.txt": "b", "f/1": "1", "f/g/2": "2", "fa": "3"})
    operations = [CommitOperationDelete("a.txt"), CommitOperationDelete("f/")]
    api.create_commit("zoo/a", operations, commit_message="away")
    assert set(hub.files("zoo/a")) == {".gitattributes", "b.txt", "fa"}
    for path in "a.txt", "f/":
        with pytest.raises(RemoteEntryNotFoundError, match="A file with this name doesn't exist"):
            api.create_commit("zoo/a", [CommitOperationDelete(path)], commit_message="away")


def test_the_parent_commit_must_be_the_last_one(hub: HubServer) -> None:
    api = client(hub)
    first = hub.commit("zoo/a", {"a.txt": "a"})
    second = push(api, "zoo/a", {"a.txt": b"b"}, parent_commit=first).oid
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
        push(api, "zoo/a", {"a.txt": b"c"}, parent_commit=first)
    assert error.value.response.status_code == 412
    push(api, "zoo/a", {"a.txt": b"d"}, parent_commit=second[:7])
    assert hub.files("zoo/a")["a.txt"] == b"d"


def test_an_upload_of_other_bytes_is_refused(hub: HubServer) -> None:
    api = client(hub)
    api.create_repo("zoo/a")
    hub.fail("POST .*/verify", status=404, message="No such object")
    with pytest.raises(RuntimeError, match="Error while uploading 'model.safetensors'"):
        push(api, "zoo/a", {"model.safetensors": safetensors()})
    assert set(hub.files("zoo/a")) == {".gitattributes"}


def test_branches_and_tags(hub: HubServer) -> None:
    api = client(hub)
    first = hub.commit("zoo/a", {"a.txt": "1"})
    hub.tag("zoo/a", "v1.0")
    api.create_branch("zoo/a", branch="next")
    second = push(api, "zoo/a", {"a.txt": b"2"}, revision="next").oid
    refs = api.list_repo_refs("zoo/a", include_pull_requests=True)
    found = {ref.ref: ref.target_commit for ref in [*refs.branches, *refs.tags]}
    wanted = {"refs/heads/main": first, "refs/heads/next": second, "refs/tags/v1.0": first}
    assert found == wanted and refs.pull_requests == []
    with pytest.raises(HfHubHTTPError, match="already exists"):
        api.create_branch("zoo/a", branch="next")
    for revision in "none", "v1.0":  # tags do not move
        with pytest.raises(RevisionNotFoundError):
            push(api, "zoo/a", {"a.txt": b"3"}, revision=revision)


def test_a_pull_request(hub: HubServer) -> None:
    first = hub.commit("zoo/a", {"a.txt": "1"})
    bob = client(hub, "hf_bob")  # who may not write there
    done = push(bob, "zoo/a", {"a.txt": b"2", "model.safetensors": safetensors()}, create_pr=True)
    assert (done.pr_num, done.pr_revision) == (1, "refs/pr/1")
    assert hub.commits("zoo/a")[0].oid == first
    assert hub.files("zoo/a", "refs/pr/1")["a.txt"] == b"2"
    assert bob.model_info("zoo/a", revision="refs/pr/1").sha == done.oid
    refs = bob.list_repo_refs("zoo/a", include_pull_requests=True).pull_requests
    assert [(ref.ref, ref.target_commit) for ref in refs or []] == [("refs/pr/1", done.oid)]
    push(client(hub), "zoo/a", {"a.txt": b"3"}, revision="refs/pr/1")
    assert hub.files("zoo/a", "refs/pr/1")["a.txt"] == b"3"
    hub.commit("zoo/a", {"b.txt": "b"})
    push(bob, "zoo/a", {"c.txt": b"c"}, create_pr=True, parent_commit=first)
    assert set(hub.files("zoo/a", "refs/pr/2")) == {".gitattributes", "a.txt", "c.txt"}


# Cards


def test_a_card(hub: HubServer) -> None:
    api = client(hub)
    api.create_repo("zoo/a")
    push(api, "zoo/a", {"README.md": CARD.encode(), "model.safetensors": safetensors(5)})
    info = api.model_info("zoo/a", files_metadata=True)
    assert info.card_data is not None and info.card_data.license == "mit"
    assert info.library_name == "ganzoo"
    assert info.pipeline_tag == "unconditional-image-generation"
    assert {"dcgan", "license:mit", "dataset:zalando-datasets/fashion_mnist"} <= set(info.tags)
    assert info.safetensors is not None and info.safetensors.parameters == {"F32": 5}
    files = {each.rfilename: each for each in info.siblings or []}
    assert set(files) == {".gitattributes", "README.md", "model.safetensors"}
    assert files["README.md"].size == len(CARD)
    assert files["README.md"].lfs is None
    assert files["model.safetensors"].lfs is not None
    assert files["model.safetensors"].lfs.size == len(safetensors(5))
    assert ModelCard.load("zoo/a").data.license == "mit"


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ("license: [", "Bad YAML"),
        ("- a list", "must be an object"),
        ("tags: {a: b}", '"tags" must be'),
        ("library_name: 3", '"library_name" must be a string'),
        ("base_model: not a name", "not valid"),
        ("model-index: [{name: a, results: [{task: {type: t}, metrics: []}]}]", "dataset.name"),
        (
            "model-index: [{name: a, results: [{task: {type: t}, dataset: {type: d, name: d}, "
            "metrics: [{type: fid}]}]}]",
            r"metrics\[0\].value",
        ),
    ],
)
def test_a_wrong_card_is_refused(hub: HubServer, metadata: str, said: str) -> None:
    hub.create_repo("zoo/a")
    with pytest.raises(ValueError, match=f"(?s)Invalid metadata in README.md.*{said}"):
        push(client(hub), "zoo/a", {"README.md": f"---\n{metadata}\n---\n".encode()})
    assert set(hub.files("zoo/a")) == {".gitattributes"}


def test_a_card_without_metadata_is_warned_of(hub: HubServer) -> None:
    hub.create_repo("zoo/a")
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        push(client(hub), "zoo/a", {"README.md": b"# Nothing\n"})
    assert "README.md" in hub.files("zoo/a")


# Looking


def test_list_models(hub: HubServer) -> None:
    hub.page_size = 2
    for name in "zoo/a", "zoo/b", "bob/c", "bob/d", "bob/dcgan":
        hub.commit(name, {"README.md": CARD, "model.safetensors": safetensors(4)})
    hub.commit("bob/other", {"README.md": CARD.replace("ganzoo", "another")})
    hub.commit("bob/broken", {"README.md": "---\n: [\n---\n"})
    hub.create_repo("bob/bare")
    hub.repo("zoo/b").private = True
    nobody = client(hub, False)
    assert [model.id for model in nobody.list_models(filter="ganzoo")] == [
        "bob/dcgan",
        "bob/d",
        "bob/c",
        "zoo/a",
    ]
    assert len(hub.sent("GET /api/models$")) == 2
    assert {model.id for model in client(hub).list_models(filter="ganzoo", author="zoo")} == {
        "zoo/a",
        "zoo/b",
    }
    assert [m.id for m in nobody.list_models(filter=["ganzoo", "dcgan"], search="DCG")] == [
        "bob/dcgan"
    ]
    assert list(nobody.list_models(filter=["ganzoo", "stylegan"])) == []
    assert len(list(nobody.list_models(limit=3))) == 3
    plain = next(iter(nobody.list_models(filter="ganzoo")))
    assert plain.card_data is None
    full = next(iter(nobody.list_models(filter="ganzoo", full=True, cardData=True)))
    assert full.card_data is not None and full.card_data.license == "mit"
    assert full.sha == hub.commits("bob/dcgan")[0].oid
    wanted = ["safetensors", "cardData"]
    some = next(iter(nobody.list_models(filter="ganzoo", expand=wanted)))  # type: ignore[arg-type]
    assert some.safetensors is not None and some.safetensors.total == 4


# Downloading


@pytest.mark.parametrize("separate", [False, True], ids=["one host", "two hosts"])
def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separate: bool) -> None:
    with HubServer(separate_storage=separate) as hub:
        hub.add_user("ann", token="hf_ann", orgs=["zoo"])
        configure_client(monkeypatch, hub, tmp_path / "home")
        oid = hub.commit("zoo/a", {"config.json": "{}", "f/model.safetensors": safetensors()})
        options: dict[str, Any] = {"token": "hf_ann"}
        small = Path(hf_hub_download("zoo/a", "config.json", **options))
        assert small.read_bytes() == b"{}"
        assert small.parent.name == oid
        large = Path(hf_hub_download("zoo/a", "f/model.safetensors", **options))
        assert large.read_bytes() == safetensors()
        assert (
            large.resolve().name
            == hub.repo("zoo/a").commits[oid].files["f/model.safetensors"].sha256
        )
        stored = hub.sent("GET /lfs/")
        assert [request.token for request in stored] == [None if separate else "hf_ann"]
        before = len(hub.sent("GET"))
        hf_hub_download("zoo/a", "f/model.safetensors", **options)
        assert len(hub.sent("GET")) == before  # it is in the cache


def test_a_commit_in_the_cache_needs_no_request(hub: HubServer) -> None:
    oid = hub.commit("zoo/a", {"config.json": "{}"})
    first = hf_hub_download("zoo/a", "config.json")
    hub.requests.clear()
    assert hf_hub_download("zoo/a", "config.json", revision=oid) == first
    assert hub.requests == []


def test_a_token_of_this_machine_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with HubServer() as hub:
        configure_client(monkeypatch, hub, tmp_path / "home")
        hub.commit("zoo/a", {"a.txt": "a"})
        hf_hub_download("zoo/a", "a.txt")
        assert {request.token for request in hub.requests} == {None}


# Refusals

Ask = Callable[[str | bool, str, str, str], object]
ASKING: dict[str, Ask] = {
    "file": lambda token, repo, file, revision: hf_hub_download(
        repo, file, revision=revision, token=token
    ),
    "info": lambda token, repo, file, revision: HfApi().model_info(
        repo, revision=revision, token=token
    ),
}


@pytest.mark.parametrize("how", list(ASKING))
def test_private(hub: HubServer, how: str) -> None:
    hub.commit("zoo/a", {"a.txt": "a"})
    hub.repo("zoo/a").private = True
    ask = ASKING[how]
    for token, status in (False, 401), ("hf_bob", 404):
        errors = []
        for name in "zoo/a", "zoo/none":
            with pytest.raises(RepositoryNotFoundError) as error:
                ask(token, name, "a.txt", "main")
            assert not isinstance(error.value, GatedRepoError)
            assert error.value.response.status_code == status
            errors.append(error.value.server_message)
        assert errors[0] == errors[1]  # a private one looks as if it were not there
    ask("hf_ann", "zoo/a", "a.txt", "main")
    if how != "info":
        ask(False, "zoo/a", "a.txt", "main")  # what is in the cache is given out all the same


def test_private_on_another_machine(hub: HubServer, tmp_path: Path) -> None:
    hub.commit("zoo/a", {"a.txt": "a"})
    hub.repo("zoo/a").private = True
    found = download_elsewhere(hub, tmp_path / "other", token="hf_ann")
    assert (found.returncode, found.stdout) == (0, "a")
    found = download_elsewhere(hub, tmp_path / "another")
    assert "RepositoryNotFoundError" in found.stderr


def test_gated(hub: HubServer) -> None:
    hub.commit("zoo/a", {"a.txt": "a"})
    hub.repo("zoo/a").gated = True
    ask = ASKING["file"]
    for token, status, said in (False, 401, "Please log in"), ("hf_bob", 403, "ask for access"):
        with pytest.raises(GatedRepoError, match=said) as error:
            ask(token, "zoo/a", "a.txt", "main")
        assert error.value.response.status_code == status
        assert client(hub, token).model_info("zoo/a").gated == "manual"  # anyone may see that
    hub.grant("zoo/a", "bob")
    ask("hf_bob", "zoo/a", "a.txt", "main")


@pytest.mark.parametrize("how", list(ASKING))
def test_a_wrong_token(hub: HubServer, how: str) -> None:
    hub.commit("zoo/a", {"a.txt": "a"})
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as error:
        ASKING[how]("hf_wrong", "zoo/a", "a.txt", "main")
    assert error.value.response.status_code == 401
    assert not isinstance(error.value, RepositoryNotFoundError)


@pytest.mark.parametrize("how", list(ASKING))
def test_a_missing_revision(hub: HubServer, how: str) -> None:
    hub.commit("zoo/a", {"a.txt": "a"})
    for revision in "none", "refs/pr/1", "0" * 40:
        if (how, revision) == ("file", "0" * 40):
            continue
        with pytest.raises(RevisionNotFoundError):
            ASKING[how](False, "zoo/a", "a.txt", revision)


# Without a network


def download_elsewhere(
    hub: HubServer, home: Path, **environment: Any
) -> subprocess.CompletedProcess[str]:
    """Read zoo/a's a.txt in another process, which imports the client anew."""
    program = (
        "import pathlib, huggingface_hub as h\n"
        "print(pathlib.Path(h.hf_hub_download('zoo/a', 'a.txt')).read_text(), end='')"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        env=hub.environment(home, **environment),
        capture_output=True,
        text=True,
        check=False,
    )


def test_offline_after_one_download(hub: HubServer) -> None:
    hub.commit("zoo/a", {"a.txt": "a"})
    hub.tag("zoo/a", "v1")
    first = hf_hub_download("zoo/a", "a.txt", revision="v1")
    with hub.offline():
        with pytest.raises(Exception, match="(?i)refused"):
            client(hub).model_info("zoo/a")
        assert hf_hub_download("zoo/a", "a.txt", revision="v1") == first
        local = {"revision": "v1", "local_files_only": True}
        assert hf_hub_download("zoo/a", "a.txt", **local) == first
        with pytest.raises(LocalEntryNotFoundError):
            hf_hub_download("zoo/a", "b.txt", **local)
    hub.commit("zoo/a", {"a.txt": "b"})
    assert Path(hf_hub_download("zoo/a", "a.txt")).read_text() == "b"  # and back


def test_told_to_be_offline(hub: HubServer, tmp_path: Path) -> None:
    hub.commit("zoo/a", {"a.txt": "a"})
    assert download_elsewhere(hub, tmp_path / "other").stdout == "a"
    hub.requests.clear()
    assert download_elsewhere(hub, tmp_path / "other", offline=True).stdout == "a"
    found = download_elsewhere(hub, tmp_path / "fresh", offline=True)
    assert "LocalEntryNotFoundError" in found.stderr
    assert hub.requests == []


# Faults


def test_a_cut_download_is_resumed(hub: HubServer) -> None:
    # The client keeps what it received in steps of 10 MiB.
    content = safetensors() + bytes(11 << 20)
    hub.commit("zoo/a", {"model.safetensors": content})
    hub.fail(r"GET .*model\.safetensors", cut=(10 << 20) + 50)
    assert Path(hf_hub_download("zoo/a", "model.safetensors")).read_bytes() == content
    first, second = hub.sent("GET /lfs/")
    assert "range" not in first.headers
    assert second.headers["range"] == f"bytes={10 << 20}-"


def test_a_lost_answer(hub: HubServer) -> None:
    hub.create_repo("zoo/a")
    hub.fail("PUT /lfs/", cut=-1)
    hub.fail("POST .*/commit/", cut=-1)
    with pytest.raises(Exception, match="without sending a response"):
        push(client(hub), "zoo/a", {"model.safetensors": safetensors()})
    assert len(hub.sent("PUT /lfs/")) == 2  # tried again, a commit is not
    assert len(hub.sent("POST .*/commit/")) == 1
    assert hub.files("zoo/a")["model.safetensors"] == safetensors()


def test_a_part_of_a_file(hub: HubServer) -> None:
    from huggingface_hub.utils import get_session

    hub.commit("zoo/a", {"a.txt": "0123456789"})
    url = f"{hub.endpoint}/zoo/a/resolve/main/a.txt"
    for wanted, status, part in [
        ("bytes=7-", 206, b"789"),
        ("bytes=2-4", 206, b"234"),
        ("bytes=-3", 206, b"789"),
        ("bytes=8-99", 206, b"89"),
        ("bytes=10-", 416, b""),
        ("lines=1-2", 200, b"0123456789"),
    ]:
        found = get_session().get(url, headers={"Range": wanted})
        assert (found.status_code, found.content) == (status, part)
    assert get_session().get(url, headers={"Range": "bytes=2-4"}).headers["content-range"] == (
        "bytes 2-4/10"
    )


def test_status_faults(hub: HubServer) -> None:
    hub.commit("zoo/a", {"a.txt": "a"})
    api = client(hub)
    for status, said in (500, "so sorry"), (429, "Too Many Requests"):
        hub.fail("GET /api/models/zoo/a", status=status, message="so sorry")
        with pytest.raises(HfHubHTTPError, match=said) as error:
            api.model_info("zoo/a")
        assert error.value.response.status_code == status
        assert api.model_info("zoo/a").id == "zoo/a"  # once only
    hub.fail("GET /api/models/zoo/a", status=503, times=None)
    for _ in range(3):
        with pytest.raises(HfHubHTTPError):
            api.model_info("zoo/a")
    hub.heal()
    assert api.model_info("zoo/a").id == "zoo/a"


def test_a_download_survives_a_moment_of_trouble(hub: HubServer) -> None:
    hub.commit("zoo/a", {"a.txt": "a"})
    hub.fail("HEAD .*a.txt", status=500)
    hub.fail("GET .*a.txt", status=429, headers={"Retry-After": "0"})
    assert Path(hf_hub_download("zoo/a", "a.txt")).read_text() == "a"
    assert [request.method for request in hub.sent("a.txt")] == ["HEAD", "HEAD", "GET", "GET"]


def test_wrong_content(hub: HubServer) -> None:
    hub.commit("zoo/a", {"a.txt": "true", "b.txt": "true"})
    hub.fail("GET .*a.txt", content=b"truncated" * 9)
    with pytest.raises(OSError, match="Consistency check failed"):
        hf_hub_download("zoo/a", "a.txt")
    hub.fail("GET .*b.txt", content=b"lies")
    # Of the same size, it is not noticed: the client checks no hash.
    assert Path(hf_hub_download("zoo/a", "b.txt")).read_text() == "lies"


def test_wrong_headers(hub: HubServer) -> None:
    hub.commit("zoo/a", {"a.txt": "a"})
    hub.fail("HEAD .*a.txt", headers={"ETag": '"another"'})
    assert Path(hf_hub_download("zoo/a", "a.txt")).resolve().name == "another"


def test_a_slow_hub(hub: HubServer) -> None:
    hub.commit("zoo/a", {"a.txt": "a"})
    cached = hf_hub_download("zoo/a", "a.txt")
    hub.fail("HEAD .*a.txt", delay=60)  # until the Hub closes
    assert hf_hub_download("zoo/a", "a.txt", etag_timeout=0.2) == cached
    hub.fail("GET /api/models/zoo/a", delay=60)
    with pytest.raises(Exception, match="(?i)timed out"):
        client(hub).model_info("zoo/a", timeout=0.2)


def test_what_it_does_not_speak_is_said(hub: HubServer) -> None:
    with pytest.raises(HfHubHTTPError, match="HubServer does not speak GET /api/datasets/zoo/a"):
        client(hub).dataset_info("zoo/a")
