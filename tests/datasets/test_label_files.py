"""Labels in files beside pictures, and folders that are no classes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import load, refused
from PIL import Image

from ganzoo import datasets
from ganzoo.datasets import label_files
from ganzoo.datasets.samples import Samples
from ganzoo.errors import ConfigError

COUNT = 12


pytestmark = pytest.mark.usefixtures("cache_place")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve pictures, half of them in each of two folders; picture i has the value 20i."""
    path = tmp_path / "tool"
    for index in range(COUNT):
        picture = np.full((8, 8), 20 * index, np.uint8)
        place = path / name(index)
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place)
    return path


def name(index: int) -> str:
    return f"{index // 6:05}/img{index:08}.png"


def class_of(samples: Samples) -> list[str]:
    """The name of the class of each picture, in the order of their values."""
    assert samples.labels is not None and samples.spec.classes is not None
    order = samples.data[:, 0, 0, 0].argsort()
    return [samples.spec.classes[number] for number in samples.labels[order].tolist()]


def pairs(values: list[Any]) -> str:
    return json.dumps({"labels": [[name(index), value] for index, value in enumerate(values)]})


def table(column: str, values: list[Any]) -> str:
    rows = [f"{name(index)},{value}" for index, value in enumerate(values)]
    return "\n".join((f"file_name,{column}", *rows)) + "\n"


def lines(column: str, values: list[Any]) -> str:
    rows = [{"file_name": name(index), column: value} for index, value in enumerate(values)]
    return "\n".join(map(json.dumps, rows))


THREE = [index % 3 for index in range(COUNT)]
WORDS = [("dog", "cat", "a b")[index % 3] for index in range(COUNT)]


@pytest.mark.parametrize(
    ("file", "content", "classes", "found"),
    [
        ("dataset.json", pairs(THREE), ("0", "1", "2"), THREE),
        ("dataset.json", pairs([each + 9 for each in THREE]), ("9", "10", "11"), None),
        ("dataset.json", pairs([3 * each for each in THREE]), ("0", "3", "6"), None),
        ("dataset.json", pairs(WORDS), ("a b", "cat", "dog"), WORDS),
        ("dataset.json", pairs([[each] for each in THREE]), ("0", "1", "2"), THREE),
        (
            "dataset.json",
            pairs([[int(each == k) for k in range(4)] for each in THREE]),
            ("0", "1", "2", "3"),
            THREE,
        ),
        (
            "dataset.json",
            pairs([[float(each == k) for k in range(3)] for each in THREE]),
            ("0", "1", "2"),
            THREE,
        ),
        ("dataset.json", pairs([bool(each) for each in THREE]), ("False", "True"), None),
        ("dataset.json", pairs(THREE).replace("/", "\\\\"), ("0", "1", "2"), THREE),
        ("dataset.json", pairs(THREE).replace('"0', '"./0'), ("0", "1", "2"), THREE),
        (
            "dataset.json",
            json.dumps({"labels": {name(index): each for index, each in enumerate(THREE)}}),
            ("0", "1", "2"),
            THREE,
        ),
        ("dataset.json", "\ufeff" + pairs(THREE), ("0", "1", "2"), THREE),
        ("metadata.csv", table("label", THREE), ("0", "1", "2"), THREE),
        ("metadata.csv", table("label", [each + 9 for each in THREE]), ("9", "10", "11"), None),
        ("metadata.csv", "\ufeff" + table("label", WORDS), ("a b", "cat", "dog"), WORDS),
        ("metadata.csv", table("species", WORDS), ("a b", "cat", "dog"), WORDS),
        ("metadata.csv", table("text,label", [f"hello,{each}" for each in WORDS]), None, WORDS),
        ("metadata.csv", table("Class", WORDS).replace("\n", "\r\n"), None, WORDS),
        ("metadata.csv", table("label", THREE).replace(",", ";"), ("0", "1", "2"), THREE),
        ("metadata.csv", table("label", WORDS).replace(",", "\t"), ("a b", "cat", "dog"), WORDS),
        ("metadata.csv", table("label", WORDS).replace(",", "|"), ("a b", "cat", "dog"), WORDS),
        ("metadata.csv", table("label", WORDS).replace(",", ", "), ("a b", "cat", "dog"), WORDS),
        ("metadata.csv", table("LABEL", WORDS).replace("file_name", "File_Name"), None, WORDS),
        ("metadata.csv", table("label", WORDS).replace("file_name", "Filename"), None, WORDS),
        ("metadata.csv", table("label", [f"{each}.0" for each in THREE]), ("0", "1", "2"), THREE),
        (
            "metadata.csv",
            table("label", [f"{each + 9}.00" for each in THREE]),
            ("9", "10", "11"),
            [each + 9 for each in THREE],
        ),
        ("dataset.json", pairs([float(each) for each in THREE]), ("0", "1", "2"), THREE),
        ("metadata.jsonl", lines("label", [1.0 * each for each in THREE]), None, THREE),
        ("metadata.csv", table("label", THREE) + table("label", THREE), ("0", "1", "2"), THREE),
        ("metadata.jsonl", lines("label", THREE), ("0", "1", "2"), THREE),
        ("metadata.jsonl", lines("label", WORDS) + "\n\n", ("a b", "cat", "dog"), WORDS),
        ("metadata.jsonl", lines("target", WORDS), ("a b", "cat", "dog"), WORDS),
    ],
)
def test_labels_of_files(root: Path, file: str, content: str, classes, found) -> None:
    (root / file).write_text(content, encoding="utf-8")
    for labels in ("auto", "file"):
        samples = load(root, labels=labels)
        assert classes is None or samples.spec.classes == classes
        assert found is None or class_of(samples) == [str(each) for each in found]
        (notice,) = (each for each in samples.notices if file in each)
        assert f"'{file}' in '{root}'" in notice
        assert "labels='folders' (--dataset.labels folders)" in notice and "labels='none'" in notice
    assert load(root, labels="folders").spec.classes == ("00000", "00001")
    nothing = load(root, labels="none")
    assert nothing.labels is None and not any(file in each for each in nothing.notices)


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("dataset.json", '{"labels": null}', "its labels are null"),
        ("dataset.json", pairs([None] * COUNT), "it has a label for none of the pictures"),
        ("dataset.json", pairs([*THREE[:-1], None]), "it has no label for 1 of 12 pictures"),
        ("dataset.json", pairs(THREE[:-2]), "2 of 12 pictures, such as '00001/img0000001"),
        (
            "dataset.json",
            pairs([0.5 * each for each in THREE]),
            "labels are float64 values, which are no",
        ),
        ("dataset.json", pairs([[0.1 * each, 2.0] for each in THREE]), "of shape (2,), which are"),
        (
            "dataset.json",
            pairs([[each] * (1 + each) for each in THREE]),
            "(list), which are not classes",
        ),
        ("dataset.json", pairs([{"x": 1}] * COUNT), "(dict), which are not classes"),
        ("dataset.json", '{"title": "faces"}', "it is not of the form"),
        ("dataset.json", '{"labels": 3}', "its labels are not of the form"),
        ("dataset.json", '{"labels": [1, 2]}', "its labels are not of the form"),
        ("dataset.json", "[1, 2", "it is damaged (JSONDecodeError"),
        ("dataset.json", "[" * 100_000, "it is "),
        ("dataset.json", "", "it is damaged"),
        ("metadata.csv", table("text", [f"a photo of {k}" for k in range(COUNT)]), "too many for"),
        ("metadata.csv", table("label", [f"photo {k}" for k in range(COUNT)]), "captions"),
        ("metadata.csv", table("label", [each / 2 for each in THREE]), "with a fraction"),
        ("metadata.csv", table("a,b", ["1,2"] * COUNT), "(a, b); choose one with label_column='a'"),
        ("metadata.csv", "picture,label\nx,1\n", "it has no column file_name (columns: picture, "),
        ("metadata.csv", "file_name\nx\n", "it has no column besides that of the files"),
        ("metadata.csv", "", "it has no column file_name"),
        ("metadata.jsonl", lines("bbox", [[1, 2, 3, 4]] * COUNT), "of shape (4,), which are no"),
        ("metadata.jsonl", "[1]\n", "its lines are not objects"),
        (
            "metadata.csv",
            table("label", THREE) + table("label", THREE[1:]),
            "several labels (0 and",
        ),
        (
            "metadata.jsonl",
            lines("label", WORDS) + "\n" + lines("label", WORDS[1:]),
            "several labels (",
        ),
        ("dataset.json", pairs(THREE)[:-2] + ", " + pairs(THREE[1:])[12:], "several labels ("),
        ("metadata.csv", table("label", THREE).replace(".png", ""), "not '00000/img00000000'"),
        (
            "dataset.json",
            pairs(THREE).replace("img0", "IMG0"),
            "named like '00000/img00000000.png'",
        ),
        ("metadata.csv", table("label", THREE).replace("\n0", "\n/all/0"), "not 'all/00000/img"),
        ("metadata.jsonl", "{", "it is damaged"),
        ("metadata.parquet", "rubbish", "it is damaged"),
    ],
)
def test_what_is_no_label_is_told(root: Path, file: str, content: str, why: str) -> None:
    (root / file).write_text(content)
    samples = load(root)
    assert samples.labels is None
    (notice,) = (each for each in samples.notices if file in each)
    assert notice.startswith(f"The label file '{file}' in '{root}' is not used: ") and why in notice
    text = refused(root, labels="file")
    assert why in text and text.endswith("correct it, or say labels='folders' or labels='none'.")


def test_a_table_of_labels(root: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    names = [name(index) for index in range(COUNT)]
    rows = pyarrow.table({"file_name": names, "label": WORDS, "text": ["x"] * COUNT})
    parquet.write_table(rows, root / "metadata.parquet")
    assert class_of(load(root)) == WORDS
    # The folder is one of pictures, not one of tables.
    assert datasets.as_dataset(str(root))["name"] == "folder"


def test_which_column(root: Path) -> None:
    rows = [f"{each},{word}" for each, word in zip(THREE, WORDS, strict=True)]
    (root / "metadata.csv").write_text(table("number,word", rows))
    assert load(root).labels is None
    assert class_of(load(root, label_column="word")) == WORDS
    assert class_of(load(root, label_column="number")) == [str(each) for each in THREE]
    assert "no column 'size' (columns: number, word)" in refused(root, label_column="size")
    text = refused(root, ConfigError, label_column="word", labels="none")
    assert "no label file is read" in text


def test_files_that_are_not_there(root: Path) -> None:
    extra = json.loads(pairs(THREE))["labels"] + [["gone.png", 1], ["00000/lost.png", 7]]
    (root / "dataset.json").write_text(json.dumps({"labels": extra}))
    samples = load(root)
    assert samples.spec.classes == ("0", "1", "2")
    told = "The label file names 2 pictures that are not there, such as '00000/lost.png'."
    assert told in samples.notices


def test_a_picture_that_cannot_be_read_is_there(root: Path) -> None:
    (root / name(3)).write_bytes(b"rubbish")
    (root / "dataset.json").write_text(pairs(THREE))
    samples = load(root, max_bad=1)
    assert len(samples) == COUNT - 1 and samples.labels is not None
    assert not any("not there" in each for each in samples.notices)


def test_files_in_the_folders_of_the_pictures(root: Path) -> None:
    for place in (0, 1):
        content = "file_name,label\n" + "".join(
            f"img{index:08}.png,{WORDS[index]}\n" for index in range(6 * place, 6 * place + 6)
        )
        (root / f"{place:05}/metadata.csv").write_text(content)
    assert class_of(load(root)) == WORDS
    (root / "00001/metadata.csv").unlink()
    assert "no label for 6 of 12" in load(root).notices[0]
    assert load(root / "00000").spec.classes == ("a b", "cat", "dog")


def test_of_several_files_one_counts(root: Path) -> None:
    (root / "metadata.csv").write_text(table("label", WORDS))
    (root / "dataset.json").write_text(pairs(THREE))
    samples = load(root)
    assert samples.spec.classes == ("0", "1", "2")
    assert "Of several label files one counts; not used: 'metadata.csv'." in samples.notices
    (root / "dataset.json").write_text('{"labels": null}')
    samples = load(root)
    assert class_of(samples) == WORDS
    assert any("'dataset.json' in" in each and "null" in each for each in samples.notices)


def test_an_accent_may_be_written_in_two_ways(tmp_path: Path) -> None:
    path = tmp_path / "pictures"
    path.mkdir()
    for letter in "abcd":
        Image.new("L", (8, 8), ord(letter)).save(path / f"e\u0301{letter}.png")
    labels = [[f"\u00e9{letter}.png", k % 2] for k, letter in enumerate("abcd")]
    (path / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert class_of(load(path)) == ["0", "1", "0", "1"]


def test_labels_change_without_decoding_again(root: Path, monkeypatch) -> None:
    from ganzoo.datasets import cache

    (root / "dataset.json").write_text(pairs(THREE))
    load(root)
    monkeypatch.setattr(cache, "decode", None)  # whoever decodes again fails
    (root / "dataset.json").write_text(pairs(WORDS))
    assert class_of(load(root)) == WORDS


def test_a_label_file_that_is_too_large(root: Path, monkeypatch) -> None:
    (root / "dataset.json").write_text(pairs(THREE))
    monkeypatch.setattr(label_files, "MOST_BYTES", 10)
    assert "cannot be read (it has" in load(root).notices[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_label_file_that_is_a_pipe(root: Path) -> None:
    os.mkfifo(root / "dataset.json")
    assert "cannot be read (no regular file)" in load(root).notices[0]


def test_no_file_where_one_is_asked_for(root: Path) -> None:
    text = refused(root, labels="file")
    assert "has no label file (dataset.json, metadata.csv, metadata.jsonl, metadata.par" in text


# -- folders ----------------------------------------------------------------------------------


def with_folders(tmp_path: Path, names: list[str]) -> Path:
    path = tmp_path / "pictures"
    for number, each in enumerate(names):
        for index in range(2):
            (path / each).mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), number).save(path / each / f"{index}.png")
    return path


@pytest.mark.parametrize(
    "names",
    [
        [str(number) for number in range(1, 13)],
        ["8", "9", "10"],
        ["01", "2", "10"],
        ["0", "1", "02", "003"],
        ["1", "01"][::-1],
        ["18", "100", "1000"],
        ["2019", "2020", "2021"],
        ["1", "10", "a"],
        ["10", "9b", "a"],
        ["a1", "a10", "a2"],
        ["10001", "20002"],
        ["B", "a", "\u00e9"],
        ["-1", "1"],
        ["1.5", "10.5", "2.5"],
    ],
)
def test_the_order_of_classes(tmp_path: Path, names: list[str]) -> None:
    path = with_folders(tmp_path, names)
    (path / "empty").mkdir()  # what holds no pictures decides nothing
    samples = load(path)
    assert samples.spec.classes == tuple(names) and samples.labels is not None
    assert samples.labels.tolist() == samples.data[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("names", [["1", "2", "10"], ["b", "a", "c"], ["01", "2", "x"], ["7", "5"]])
def test_labels_of_tables_are_in_the_same_order(tmp_path: Path, names: list[str]) -> None:
    hf = pytest.importorskip("datasets")
    path = with_folders(tmp_path, names)
    samples = load(path)
    dataset = datasets.create("folder", path=path)
    files = [dataset.file(index) for index in range(len(samples))]
    rows = {
        "image": [{"bytes": file.read_bytes(), "path": None} for file in files],
        "label": [file.parent.name for file in files],
    }
    made = hf.Dataset.from_dict(rows)
    made.to_parquet(str(tmp_path / "x.parquet"))
    made.save_to_disk(str(tmp_path / "saved"))
    for place in ("x.parquet", "saved"):
        theirs = datasets.create("huggingface", path=tmp_path / place).load()
        assert theirs.spec == samples.spec and theirs.notices == samples.notices
        assert theirs.labels.tolist() == samples.labels.tolist()
        assert theirs.data.tolist() == samples.data.tolist()


@pytest.mark.parametrize(
    "names",
    [
        ["00000", "00001"],
        ["00000", "01000", "02000"],
        ["000000", "000001"],
        [f"{number:05}" for number in range(9)],
    ],
)
def test_shards_are_no_classes(tmp_path: Path, names: list[str]) -> None:
    path = with_folders(tmp_path, names)
    samples = load(path)
    (notice,) = (each for each in samples.notices if "numbered parts of one set" in each)
    assert samples.labels is None and "labels='folders' (--dataset.labels folders)" in notice
    assert load(path, labels="folders").spec.classes == tuple(names)


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (["a/1", "b/1", "x"], "folders (a, b), and a picture lies beside them"),
        (["a/1", "a/2", "b/1", "x", "y"], "folders (a, b), and 2 pictures lie beside them"),
        (["flowers/rose/1", "flowers/tulip/1"], "in the folder 'flowers'"),
        (["train/cat/1", "train/dog/1", "train/emu/1"], "in the folder 'train'"),
        (["trainA/1", "trainB/1", "testA/1"], "look like parts of a dataset"),
        (["train2017/1", "val2017/1"], "look like parts of a dataset"),
        (["Train/1", "Val/1"], "look like parts of a dataset"),
        (["train-clean/1", "test_set/1"], "look like parts of a dataset"),
        (["a/1", "x", "y", "z"], ""),
        (["a/1", "a/2"], ""),
        (["a/b/1", "a/b/2"], ""),
        (["trained/1", "tester/1"], ""),
    ],
)
def test_folders_that_may_be_classes(tmp_path: Path, places: list[str], said: str) -> None:
    for number, place in enumerate(places):
        file = tmp_path / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 60 * number, np.uint8)).save(file)
    samples = load(tmp_path)
    notices = [each for each in samples.notices if "without labels" in each]
    assert [said in each for each in notices] == ([True] if said else [])
    if said:
        assert samples.labels is None
    for notice in notices:  # as it says
        if way := re.search("Give (?:one of them, such as )?'(.*?)'", notice):
            inner = load(Path(way[1]))
            assert "train" in notice.lower() or inner.spec.classes == ("rose", "tulip")
        else:
            for file in tmp_path.glob("*.png"):
                file.unlink()
            assert load(tmp_path).spec.classes == ("a", "b")
