"""The Hub for tests, as the real client sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError

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


# Commits and cards


def test_a_large_file_is_sent_once(hub: HubServer) -> None:
    api = client(hub)
    api.create_repo("zoo/a")
    push(api, "zoo/a", {"model.safetensors": safetensors()})
    push(api, "zoo/a", {"copy.safetensors": safetensors()})
    assert len(hub.sent("PUT /lfs/")) == 1
    assert hub.files("zoo/a")["copy.safetensors"] == safetensors()


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


# Looking and downloading


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


def test_a_token_of_this_machine_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with HubServer() as hub:
        configure_client(monkeypatch, hub, tmp_path / "home")
        hub.commit("zoo/a", {"a.txt": "a"})
        hf_hub_download("zoo/a", "a.txt")
        assert {request.token for request in hub.requests} == {None}


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


def test_a_download_survives_a_moment_of_trouble(hub: HubServer) -> None:
    hub.commit("zoo/a", {"a.txt": "a"})
    hub.fail("HEAD .*a.txt", status=500)
    hub.fail("GET .*a.txt", status=429)
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


def test_what_it_does_not_speak_is_said(hub: HubServer) -> None:
    with pytest.raises(HfHubHTTPError, match="HubServer does not speak GET /api/datasets/zoo/a"):
        client(hub).dataset_info("zoo/a")
