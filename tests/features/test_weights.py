import http.client
import urllib.error
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ganzoo.errors import CheckpointError
from ganzoo.features import inception, vgg16
from ganzoo.features.weights import Published, extractors_root, load
from ganzoo.files.storage import sha256


@pytest.fixture
def offline(monkeypatch, tmp_path):
    def unreachable(request, timeout):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv(inception.ENVIRONMENT, raising=False)


@pytest.fixture
def published(tmp_path, offline):
    origin = tmp_path / "origin.bin"
    origin.write_bytes(b"weights")
    return Published(
        title="the weights of a net",
        address="https://example.org/net.pth",
        digest=sha256(origin),
        size=7,
        names=("net.pth", "other-name.pth"),
        environment="GANZOO_TEST_NET",
    )


def test_a_path_comes_before_the_environment_and_that_before_the_cache(
    published, tmp_path, monkeypatch
):
    cached = extractors_root() / "net.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"weights")
    named, given = tmp_path / "named.pth", tmp_path / "given.pth"
    for path in (named, given):
        path.touch()
    assert published.find(None, True) == cached
    monkeypatch.setenv("GANZOO_TEST_NET", str(named))
    assert published.find(None, True) == named
    assert published.find(given, True) == given


def test_what_other_programs_have_downloaded_is_used_if_it_is_whole(published):
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "net.pth").write_bytes(b"cut off")
    (folder / "other-name.pth").write_bytes(b"weights")
    assert published.find(None, False) == folder / "other-name.pth"


def test_a_download_is_checked(published, monkeypatch):
    sent = b"weights"
    monkeypatch.setattr(
        "urllib.request.urlopen", lambda request, timeout: _Answer(request.full_url, sent)
    )
    path = published.find(None, True)
    assert path.read_bytes() == sent and path == extractors_root() / "net.pth"
    with pytest.raises(CheckpointError, match="was changed or cut off"):
        replace(published, digest="0" * 64).find(None, True)
    assert not [each for each in extractors_root().iterdir() if each.name.startswith(".")]


def test_a_download_that_does_not_end_is_stopped(published, monkeypatch):
    class Endless(_Answer):
        pieces = 0

        def read(self, size=-1):
            Endless.pieces += 1
            assert Endless.pieces < 5
            return b"x" * 5

    monkeypatch.setattr(
        "urllib.request.urlopen", lambda request, timeout: Endless(request.full_url, b"")
    )
    with pytest.raises(CheckpointError, match="is larger than its 7 bytes"):
        published.find(None, True)
    assert not list(extractors_root().iterdir())


@pytest.mark.parametrize(
    "failure", [http.client.IncompleteRead(b"w"), http.client.BadStatusLine("?")]
)
def test_a_server_that_breaks_off_is_like_none(published, monkeypatch, failure):
    def broken(request, timeout):
        raise failure

    monkeypatch.setattr("urllib.request.urlopen", broken)
    with pytest.raises(CheckpointError, match="are not on this machine") as caught:
        published.find(None, True)
    assert "\n" not in str(caught.value)


def test_weights_with_nan_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"good": torch.ones(2), "spoilt": torch.tensor([1.0, torch.nan])}, path)
    with pytest.raises(CheckpointError, match="NaN or infinity in the tensor 'spoilt'"):
        load(path, {"good": (2,), "spoilt": (2,)}, ())


class _Answer:
    def __init__(self, address, content):
        assert address.startswith("https://")
        self._left = content

    def read(self, size=-1):
        found, self._left = self._left, b""
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize("extractor", [inception.Inception, vgg16.VGG16])
@pytest.mark.parametrize(
    ("download", "why"), [(True, "the download failed: no network"), (False, "downloading is off")]
)
def test_what_is_missing_offline_is_named_with_hash_and_place(offline, extractor, download, why):
    weights = vgg16.WEIGHTS if extractor is vgg16.VGG16 else inception.WEIGHTS
    with pytest.raises(CheckpointError) as caught:
        extractor(download=download).build(torch.device("cpu"))
    message = str(caught.value)
    assert why in message and "\n" not in message
    place = str(extractors_root() / weights.names[0])
    for part in (weights.names[0], weights.digest, weights.address, weights.environment, place):
        assert part in message


def test_a_path_to_nothing_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="There is no file .*nothing.pth that was given"):
        inception.Inception(weights=tmp_path / "nothing.pth").weights_hash()
