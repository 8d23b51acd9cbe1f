import pytest
import torch
from safetensors import SafetensorError

from ganzoo import features
from ganzoo.core.spec import SampleSpec
from ganzoo.datasets.samples import Samples
from ganzoo.errors import CheckpointError, DataError, UnsupportedSampleError
from ganzoo.features import classifier, tensor_cache
from ganzoo.features.classifier import Classifier, ClassifierNet, accuracy, train
from ganzoo.files.storage import own_copies

CPU = torch.device("cpu")


def bars(count=400):
    """Pictures with a bright bar in one of ten places, and the place."""
    labels = torch.arange(count) % 10
    data = torch.zeros(count, 1, 28, 28, dtype=torch.uint8)
    for picture, place in zip(data, labels.tolist(), strict=True):
        picture[0, 4:24, 2 + 2 * place : 6 + 2 * place] = 255
    spec = SampleSpec(kind="image", shape=(1, 28, 28), classes=tuple("0123456789"))
    return Samples(data=data, spec=spec, labels=labels)


@pytest.fixture
def trained(monkeypatch):
    """Classifiers are trained on bars; the list says how often."""
    runs = []

    def quick(self):
        runs.append(self.dataset)
        torch.manual_seed(len(runs))
        tensors = own_copies(ClassifierNet().state_dict())
        return classifier.Trained(tensors, 0.995, classifier.fingerprint(tensors))

    monkeypatch.setattr(Classifier, "_train", quick)
    return runs


def test_training_learns_and_is_the_same_each_time(monkeypatch):
    monkeypatch.setattr(classifier, "_BATCH", 20)
    samples = bars(200)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first, second = (train(samples, "training", epochs=8) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state()) and torch.get_num_threads() == threads
    assert accuracy(first, samples) > 0.95
    assert accuracy(dict(ClassifierNet().state_dict()), samples) < 0.5
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_is_trained_once_and_kept(trained):
    extractor = features.create("classifier")
    first = extractor.protocol()
    assert first["accuracy"] == 0.995 and first["dataset"] == "mnist"
    assert extractor.protocol() == first and trained == ["mnist"]
    assert first["weights"] == extractor.weights_hash()
    found = extractor.build(CPU)(bars(12).data)
    assert found.pool.shape == (12, extractor.dimensions)
    assert found.logits.shape == (12, extractor.classes)


@pytest.mark.parametrize("file", ["weights.safetensors", "record.json"])
def test_what_is_damaged_is_trained_again(file, trained):
    first = features.create("classifier").weights_hash()
    (path,) = classifier.extractors_root().glob(f"classifier-mnist-*/{file}")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert features.create("classifier").weights_hash() != first
    assert len(trained) == 2


def test_each_data_root_has_its_own(trained, tmp_path, monkeypatch):
    hashes = {Classifier(root=tmp_path / root).weights_hash() for root in ("a", "b", "a")}
    assert len(hashes) == len(trained) == 2
    monkeypatch.setenv("GANZOO_DATA", str(tmp_path / "a"))
    assert Classifier().weights_hash() in hashes and len(trained) == 2


def test_a_cache_that_cannot_be_written_is_told(trained, monkeypatch):
    def full(*_, **__):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(CheckpointError, match="cannot be cached .*No space left on device"):
        Classifier().weights_hash()


def test_kept_tensors_are_whole_or_not_there(tmp_path):
    tensors = {"a": torch.arange(6.0)}
    tensor_cache.write(tmp_path / "it", tensors, count=6)
    tensor_cache.write(tmp_path / "it", {"a": tensors["a"] + 1}, count=6)
    found, facts = tensor_cache.read(tmp_path / "it")
    assert torch.equal(found["a"], tensors["a"] + 1) and facts["count"] == 6
    assert tensor_cache.read(tmp_path / "other") is None
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_one_that_learns_too_little_is_not_kept(monkeypatch):
    monkeypatch.setattr(Classifier, "_samples", lambda self, split: bars(40))
    monkeypatch.setattr(classifier, "train", lambda *told: ClassifierNet().state_dict())
    with pytest.raises(CheckpointError, match="needs more than 99.2%"):
        features.create("classifier").build(CPU)
    assert not list(classifier.extractors_root().glob("classifier-*"))


def test_padded_pictures_are_cropped_and_others_resized():
    net = ClassifierNet().eval()
    pictures = bars(4).data
    padded = torch.nn.functional.pad(pictures, [2] * 4)
    with torch.no_grad():
        assert torch.equal(net(padded).logits, net(pictures).logits)
        assert net(pictures.repeat_interleave(2, 2).repeat_interleave(2, 3)).logits.shape == (4, 10)


def test_what_is_not_grey_or_not_labelled_is_refused():
    with pytest.raises(UnsupportedSampleError, match="sees greyscale pictures"):
        ClassifierNet()(torch.zeros(2, 3, 28, 28, dtype=torch.uint8))
    samples = bars(10)
    with pytest.raises(DataError, match="There are no labels"):
        train(Samples(data=samples.data, spec=samples.spec), "training", epochs=1)


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "share"), [("mnist", 0.994), ("fashion-mnist", 0.914)])
def test_real_pictures_are_told_apart(torchvision_root, dataset, share):
    """With a margin to what is needed, for machines that compute a little differently."""
    found = Classifier(dataset=dataset, root=torchvision_root).trained()
    assert found.accuracy > share
