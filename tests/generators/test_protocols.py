from __future__ import annotations

from ganzoo.generators.protocols import described


def test_samples_that_were_given_are_called_so() -> None:
    given = {"dataset": "folder", "count": 5, "sha256": "f" * 64}
    assert described({"fake": given}) == "5 given samples of folder-ffffffff"
    named = {**given, "dataset": "mnist", "split": "train"}
    assert described({"fake": named}) == "5 given samples of mnist, split train"


def test_samples_of_the_hub_are_called_as_there() -> None:
    commit = "9876543210" * 4
    side = {"dataset": "huggingface", "repo": "org/faces", "subset": "big", "revision": commit}
    told = described({"real": {**side, "split": "test", "count": 5, "sha256": "f" * 64}})
    assert told == (
        "against 5 real samples of org/faces, subset big, revision 98765432, split test"
    )


def test_a_classifier_is_named_with_the_classes_that_it_knows() -> None:
    seen = {"extractor": "classifier", "dataset": "fashion-mnist", "weights": "a" * 64}
    told = described({"extractor": seen})
    assert told == "features of classifier (of fashion-mnist, weights aaaaaaaa)"


def test_what_a_metric_measured_besides_is_told() -> None:
    told = described({"measured": {"mixture": "0123456789abcdef", "modes": 8}})
    assert told == "mixture 01234567; modes 8"


def test_a_protocol_of_another_form_is_given_as_it_is() -> None:
    odd = {"extractor": "vgg", "options": [1], "real": {}, "real_images": 5000, "x": {"y": None}}
    assert described(odd) == ('extractor: vgg; options: 1; real images: 5,000; x: {"y": null}')
    assert described({"fake": {"count": "many"}}) == "many given samples of none"
