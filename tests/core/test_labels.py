"""Labels in the user's words: names and numbers of classes, in Python and on the command line."""

from __future__ import annotations

import ast
import enum
import re
import unicodedata

import numpy as np
import pytest
import torch
from torch import nn

from ganzoo import architectures
from ganzoo.architectures import Architecture
from ganzoo.cli import main
from ganzoo.core.labels import numbers, of_words
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import ConfigError
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator

CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker"),
    *("Bag", "Ankle boot"),
)
LATENT = LatentSpec(shape=(2,))


class Color(enum.IntEnum):
    RED = 1


class Word(enum.StrEnum):
    BAG = "Bag"


class Index:
    """What Python takes for an integer."""

    def __index__(self):
        return 4


class Series:
    """What pandas and others offer: an array, and no list."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype=dtype)


ONE = {
    "a name": ("Sneaker", 7),
    "a name with a blank": ("Ankle boot", 9),
    "a name with a slash": ("T-shirt/top", 0),
    "another case": ("sneaker", 7),
    "blanks around it": (" Bag ", 8),
    "numpy's string": (np.str_("Coat"), 4),
    "an enum's string": (Word.BAG, 8),
    "an int": (3, 3),
    "numpy's int": (np.int32(3), 3),
    "numpy's byte": (np.uint8(9), 9),
    "an array without axes": (np.array(5), 5),
    "an array of a string": (np.array("Dress"), 3),
    "a tensor without axes": (torch.tensor(6), 6),
    "a short tensor": (torch.tensor(2, dtype=torch.uint8), 2),
    "an enum": (Color.RED, 1),
    "an index": (Index(), 4),
}
MANY = {
    "names": (["Sneaker", "Bag"], [7, 8]),
    "names and numbers": (["Sneaker", 3], [7, 3]),
    "a tuple": (("Bag", 0, "bag"), [8, 0, 8]),
    "a range": (range(10), list(range(10))),
    "a range backwards": (range(9, 0, -3), [9, 6, 3]),
    "a generator": ((n % 3 for n in range(5)), [0, 1, 2, 0, 1]),
    "an array": (np.array([3, 7]), [3, 7]),
    "an unsigned array": (np.array([3, 7], np.uint64), [3, 7]),
    "another byte order": (np.array([3, 7], ">i4"), [3, 7]),
    "an array of names": (np.array(["Bag", "Coat"]), [8, 4]),
    "an array of objects": (np.array(["Bag", 2], object), [8, 2]),
    "every second": (np.arange(10)[::2], [0, 2, 4, 6, 8]),
    "a tensor": (torch.tensor([1, 1]), [1, 1]),
    "a short tensor": (torch.tensor([1, 9], dtype=torch.int8), [1, 9]),
    "a list of tensors": ([torch.tensor(1), torch.tensor(9)], [1, 9]),
    "a list of numpy's": ([np.int64(1), np.str_("Bag")], [1, 8]),
    "a series": (Series([1, 2]), [1, 2]),
    "a series of names": (Series(["Bag", "Shirt"]), [8, 6]),
    "one in a list": (["Bag"], [8]),
    "none": ([], []),
}


@pytest.mark.parametrize("case", ONE)
def test_one_label(case) -> None:
    labels, expected = ONE[case]
    found = numbers(labels, CLOTHES, 5)
    assert found.dtype == torch.int64 and found.shape == ()
    assert found == expected


@pytest.mark.parametrize("case", MANY)
def test_many_labels(case) -> None:
    labels, expected = MANY[case]
    found = numbers(labels, CLOTHES)
    assert found.dtype == torch.int64
    assert found.tolist() == expected
    assert torch.equal(numbers(found, CLOTHES, len(expected)), found)


WRONG = {
    "a misspelt name": (
        "Sneker",
        "There is no class 'Sneker'. Did you mean 'Sneaker'? Classes: T-",
    ),
    "another one": (["Bag", "trousers"], "There is no class 'trousers'. Did you mean 'Trouser'?"),
    "an unknown name": ("giraffe", "There is no class 'giraffe'. Classes: T-shirt/top, Trouser, "),
    "no name": ("", "There is no class ''. Classes: "),
    "digits in quotes": (
        "3",
        "There is no class '3'. The number of a class is given without quotes: 3.",
    ),
    "a far number in quotes": ("12", "There is no class '12'. Classes: "),
    "a number too large": (10, "Labels go from 0 to 9 (T-shirt/top, "),
    "one below zero": ([0, -1], "got -1 to 0."),
    "an enormous one": (10**5000, "got a number of 16,610 bits to"),
    "a float": (3.0, "The label 3.0 is a float, and labels are whole numbers or names. Give 3, or"),
    "a broken float": (
        3.5,
        "The label 3.5 is a float, and labels are whole numbers or names. Give the",
    ),
    "not a number": (float("nan"), "The label nan is a float, "),
    "infinity": ([float("inf")], "The label inf is a float, "),
    "numpy's float": (np.float32(2), "The label 2.0 is a float, "),
    "an array of floats": (np.array([1.0, 2.0]), "convert an array by labels.astype(int)"),
    "a tensor of floats": (torch.tensor([1.0]), "and a tensor by labels.long()"),
    "a tensor of bfloat16": (torch.tensor(1, dtype=torch.bfloat16), "The label 1.0 is a float"),
    "True": (True, "The label True is neither the number of a class nor a name."),
    "an array of bools": (np.array([True, False]), "The label True is neither"),
    "a tensor of bools": (torch.tensor([False]), "The label False is neither"),
    "bytes": (b"Bag", "The label b'Bag' is neither the number of a class nor a name."),
    "None in a list": (["Bag", None], "The label None is neither"),
    "a complex number": (1j, "The label 1j is neither"),
    "an object": ([object], "is neither the number of a class nor a name."),
    "a set": ({1, 2}, "Labels in a set have no order. Give a list"),
    "a dict": ({"Bag": 3}, "Labels in a dict have no order. Give a list"),
    "one-hot": (
        np.eye(10)[:3],
        "Labels of shape (3, 10) look one-hot, with a row for each sample.",
    ),
    "one-hot tensor": (
        torch.eye(10, dtype=torch.int64),
        "numbers of the classes instead: labels.arg",
    ),
    "one-hot list": ([[0] * 9 + [1]], "numbers of the classes instead: numpy.argmax(labels, 1)"),
    "one-hot list of tensors": ([torch.eye(10)[0]] * 2, "Labels of shape (2, 10) look one-hot"),
    "one-hot bools": (np.eye(10, dtype=bool), "Labels of shape (10, 10) look one-hot"),
    "a column": (torch.zeros(3, 1, dtype=torch.int64), "one for each sample; got (3, 1)."),
    "rows of unequal lengths": ([[1, 2], [3]], "The label [1, 2] is neither"),
    "a cube": (np.zeros((2, 2, 2), int), "one for each sample; got (2, 2, 2)."),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_sentence_for_what_is_no_label(case) -> None:
    labels, message = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        numbers(labels, CLOTHES)
    assert message in str(caught.value)


@pytest.mark.parametrize("labels", [np.eye(10)[:3], torch.eye(10), np.eye(10).tolist()], ids=type)
def test_the_advice_for_one_hot_rows_works(labels) -> None:
    with pytest.raises(ConfigError) as caught:
        numbers(labels, CLOTHES)
    advice = str(caught.value).partition("instead: ")[2].removesuffix(".")
    found = numbers(eval(advice, {"labels": labels, "numpy": np}), CLOTHES)
    assert found.tolist() == list(range(len(labels)))


@pytest.mark.parametrize("labels", [np.array([1.0, 2.0]), torch.tensor([1.0, 2.0])], ids=type)
def test_the_advice_for_floats_works(labels) -> None:
    advice = "labels.long()" if torch.is_tensor(labels) else "labels.astype(int)"
    with pytest.raises(ConfigError, match=advice.replace("(", r"\(").replace(")", r"\)")):
        numbers(labels, CLOTHES)
    assert numbers(eval(advice), CLOTHES).tolist() == [1, 2]


# Names that are numbers, that differ in case only, that hold commas, of other alphabets.
@pytest.mark.parametrize(
    ("classes", "label", "expected"),
    [
        (("1", "2", "12"), "2", 1),
        (("1", "2", "12"), 2, 2),
        (("1", "2", "12"), "12", 2),
        (("0", "1"), 1, 1),
        (("0", "1"), "1", 1),
        (("3", "5", "7"), "7", 2),
        (("cat", "CAT"), "CAT", 1),
        (("cat", "CAT"), "cat", 0),
        (("Äpfel", "Birnen"), unicodedata.normalize("NFD", "Äpfel"), 0),
        ((unicodedata.normalize("NFD", "Äpfel"), "b"), "äpfel", 0),
        (("猫", "犬"), "犬", 1),
        (("a, b", "c"), "a, b", 0),
        (("-1", "1"), "-1", 0),
        (("True", "False"), "False", 1),
    ],
)
def test_a_string_is_a_name_and_an_int_a_number(classes, label, expected) -> None:
    assert numbers(label, classes) == expected


@pytest.mark.parametrize(
    ("classes", "label", "message"),
    [
        (("3", "5", "7"), 7, "Labels go from 0 to 2 (3, 5, 7); got 7 to 7. A class is called '7':"),
        (("cat", "CAT"), "Cat", "There is no class 'Cat'. It may be 'cat' or 'CAT'."),
        (("1", "2"), "01", "There is no class '01'. The number of a class is given without"),
    ],
)
def test_what_could_be_two_classes_is_refused(classes, label, message) -> None:
    with pytest.raises(ConfigError) as caught:
        numbers(label, classes)
    assert message in str(caught.value)


# -- on the command line --------------------------------------------------------------------------

WORDS = {
    "a name": (CLOTHES, ["Sneaker"], 7),
    "names": (CLOTHES, ["Sneaker,Bag"], [7, 8]),
    "numbers": (CLOTHES, ["3,7"], [3, 7]),
    "a number": (CLOTHES, ["3"], 3),
    "mixed, with blanks": (CLOTHES, ["Sneaker, 3 ,ankle boot"], [7, 3, 9]),
    "the option twice": (CLOTHES, ["Sneaker", "Bag,0"], [7, 8, 0]),
    "the same thrice": (CLOTHES, ["Bag,Bag,Bag"], [8, 8, 8]),
    "a slash": (CLOTHES, ["T-shirt/top,Dress"], [0, 3]),
    "a comma in a name": (("cats, dogs", "birds"), ["cats, dogs,birds"], [0, 1]),
    "a comma in one name": (("cats, dogs", "birds"), ["Cats, Dogs"], 0),
    "the longest name": (("a", "b", "a,b"), ["a,b"], 2),
    "shorter ones by turns": (("a", "b", "a,b"), ["b,a"], [1, 0]),
    "names that are their numbers": (tuple("0123456789"), ["3,7"], [3, 7]),
    "names that are other numbers": (("1", "2", "12"), ["12,1"], [2, 0]),
    "a number that no name is": (("1", "2", "12"), ["0"], 0),
}


@pytest.mark.parametrize("case", WORDS)
def test_words(case) -> None:
    classes, words, expected = WORDS[case]
    assert of_words(words, classes)[0] == expected


def test_a_name_that_could_be_a_number_is_said() -> None:
    classes = ("1", "2", "12")
    labels, notices = of_words(["2,2", "12"], classes)
    assert labels == [1, 1, 2]
    assert notices == ["label 2 is the class called 2, number 1; number 2 is called 12."]
    assert of_words(["3"], tuple("0123456789"))[1] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Sneker,Bag"], "There is no class 'Sneker'. Did you mean 'Sneaker'?"),
        (["Sneaker,,Bag"], "There is no class ''."),
        ([""], "There is no class ''."),
        (["10"], "Labels go from 0 to 9"),
        (["-1"], "got -1 to -1."),
        (["3.0"], "There is no class '3.0'."),
        (["1e1"], "There is no class '1e1'."),
        (["9" * 30], "There is no class '9999"),
        (["Sneaker;Bag"], "There is no class 'Sneaker;Bag'."),
        (["all"], "There is no class 'all'."),
    ],
)
def test_words_that_are_no_labels(words, message) -> None:
    with pytest.raises(ConfigError) as caught:
        of_words(words, CLOTHES)
    assert message in str(caught.value)


class Painter(nn.Module):
    """Paints the number of the class, a tenth each, all over the picture."""

    def __init__(self, spec):
        super().__init__()
        self.shape = spec.shape
        self.unit = nn.Parameter(torch.tensor(0.1))

    def forward(self, z, labels=None):
        grey = labels.float() * self.unit + 0 * z.sum(1)
        return grey.reshape(-1, 1, 1, 1).expand(-1, *self.shape)


@pytest.fixture
def saved():
    @architectures.register("painter")
    class Paint(Architecture):
        """Pictures of one grey for each class."""

        conditional = True

        def generator(self, spec, latent):
            return Painter(spec)

        def discriminator(self, spec):
            return nn.Flatten()

    def save(classes=CLOTHES):
        spec = SampleSpec(shape=(1, 4, 4), classes=classes)
        config = BundleConfig(architecture=Paint(), sample=spec, latent=LATENT)
        generator = Generator(Painter(spec), config)
        generator.save_pretrained("saved")
        return generator

    yield save
    architectures.registry.unregister("painter")


def painted(samples) -> list[int]:
    return (np.asarray(samples)[:, 0, 0, 0] * 10).round().astype(int).tolist()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"labels": "Sneaker"}, [7] * 16),
        ({"labels": 7}, [7] * 16),
        ({"labels": ["Sneaker", 3]}, [7, 3]),
        ({"labels": range(10)}, list(range(10))),
        ({"labels": np.array([1, 2, 3])}, [1, 2, 3]),
        ({"labels": iter(["Bag", "Bag"])}, [8, 8]),
        ({"count": 2, "labels": "Bag"}, [8, 8]),
        ({"count": 2, "labels": ["Bag", 1]}, [8, 1]),
        ({"labels": "Bag", "latents": torch.zeros(3, 2)}, [8, 8, 8]),
        ({"labels": [1, 2], "latents": torch.zeros(2, 2)}, [1, 2]),
        ({"labels": []}, []),
    ],
)
def test_samples_are_as_many_as_labels(saved, options, expected) -> None:
    generator = saved()
    assert painted(generator.sample(**options)) == expected


def test_pictures_and_grids_are_as_many_as_labels(saved) -> None:
    generator = saved()
    assert len(generator.images(labels=["Bag", "Coat", 1])) == 3
    assert len(generator.images(labels="Bag")) == 16
    assert generator.grid(labels=iter(["Bag", "Coat", 1]), columns=3).size == (
        generator.grid(3, labels=[8, 4, 1], columns=3).size
    )
    assert generator.grid(labels=["Bag"] * 4, columns=2).size == generator.grid(4, columns=2).size
    assert generator.grid(latents=torch.zeros(4, 2)).size == generator.grid(4).size
    assert generator.grid(labels="Bag").size == generator.grid(64).size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 3, "labels": ["Bag", 1]}, "one for each of the 3; got (2,)."),
        ({"count": 1, "labels": range(10)}, "one for each of the 1; got (10,)."),
        ({"count": 0, "labels": [1]}, "one for each of the 0; got (1,)."),
        ({"labels": [1, 2], "latents": torch.zeros(3, 2)}, "The latents have shape (3, 2); 2 sam"),
        ({"count": 4, "labels": np.eye(10)[:4]}, "Labels of shape (4, 10) look one-hot"),
    ],
)
def test_a_count_that_contradicts(saved, options, message) -> None:
    generator = saved()
    for draw in (generator.sample, generator.images, generator.grid):
        with pytest.raises(ConfigError) as caught:
            draw(**options)
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["--labels", "Sneaker"], [7] * 64),
        (["--labels", "Sneaker,Bag"], [7, 8]),
        (["--labels", "3,7"], [3, 7]),
        (["--labels=Ankle boot,Bag"], [9, 8]),
        (["--labels", "Sneaker", "--labels", "3"], [7, 3]),
        (["--labels", "sneaker", "-n", "2"], [7, 7]),
        (["--labels", "0,1,2", "-n", "3"], [0, 1, 2]),
    ],
)
def test_the_command(saved, line, expected) -> None:
    saved()
    main(["sample", "saved", *line, "--out", "drawn.npy"])
    assert painted(np.load("drawn.npy")) == expected


@pytest.mark.parametrize("out", ["grid.png", "folder", "drawn.safetensors"])
def test_the_command_writes_all_kinds(saved, out) -> None:
    saved()
    main(["sample", "saved", "--labels", "Sneaker,Bag,3", "--out", out])
    if out == "folder":
        from pathlib import Path

        assert len(list(Path(out).iterdir())) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--labels", "Sneker"], "There is no class 'Sneker'. Did you mean 'Sneaker'?"),
        (["--labels", "3.5"], "There is no class '3.5'."),
        (["--labels", "12"], "Labels go from 0 to 9"),
        (["--labels", "3,7", "-n", "3"], "one for each of the 3; got (2,)."),
    ],
)
def test_the_command_refuses(saved, capsys, line, message) -> None:
    saved()
    with pytest.raises(SystemExit) as caught:
        main(["sample", "saved", *line, "--out", "drawn.npy"])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_says_which_class_a_number_is(saved, capsys) -> None:
    saved(("1", "2", "12"))
    main(["sample", "saved", "--labels", "2", "-n", "1", "--out", "drawn.npy"])
    found = capsys.readouterr()
    assert found.err == "note: label 2 is the class called 2, number 1; number 2 is called 12.\n"
    assert found.out == "drawn.npy\n"
    assert painted(np.load("drawn.npy")) == [1]


@pytest.mark.parametrize("line", ["Bag,Coat", "bag, coat", "Bag,Coat,Bag", " Coat ,Bag"])
def test_names_in_one_string_are_given_in_a_list(line) -> None:
    with pytest.raises(ConfigError, match=r"Several are given in a list: \[") as caught:
        numbers(line, ("Bag", "Coat"))
    given = ast.literal_eval(re.search(r"list: (\[.*?\])", str(caught.value))[1])
    assert numbers(given, ("Bag", "Coat")).shape == (len(given),)
