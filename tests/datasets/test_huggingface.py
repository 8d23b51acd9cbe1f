from __future__ import annotations

import io
import json
import sys
from functools import partial
from pathlib import Path

import folders
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from folders import notices
from PIL import Image as Pillow

from ganzoo import datasets
from ganzoo.datasets import as_dataset, cache, progress
from ganzoo.datasets.samples import Samples
from ganzoo.errors import ConfigError, DataError

hf = pytest.importorskip("datasets")
Features, Image, ClassLabel = hf.Features, hf.Image, hf.ClassLabel


@pytest.fixture(autouse=True)
def own_caches(cache_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hf"))
    hf.disable_progress_bars()
    yield
    hf.enable_progress_bars()


def png(value: int, size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Pillow.new("L", (size, size), value).save(buffer, "PNG")
    return buffer.getvalue()


def table(count: int = 12, names: tuple[str, ...] = ("a", "b", "c"), **more: object):
    columns = {
        "image": [{"bytes": png(index), "path": None} for index in range(count)],
        "label": [index % len(names) for index in range(count)],
        **{name: [value] * count for name, value in more.items()},
    }
    kinds = {"image": Image(), "label": ClassLabel(names=list(names))}
    for name, value in more.items():
        kinds[name] = hf.Value("int64" if isinstance(value, int) else "string")
    return hf.Dataset.from_dict(columns, features=Features(kinds))


def plain(path: Path, **columns: list) -> Path:
    """A Parquet file that the package ``datasets`` has not written."""
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


load = partial(folders.load, dataset="huggingface")
refused = partial(folders.refused, dataset="huggingface")


def check(samples: Samples, count: int = 12) -> None:
    assert samples.data[:, 0, 0, 0].tolist() == list(range(count))
    assert samples.data.dtype == torch.uint8 and samples.spec.shape == (1, 8, 8)
    assert samples.spec.classes == ("a", "b", "c") and samples.labels is not None
    assert samples.labels.tolist() == [index % 3 for index in range(count)]
    assert notices(samples) == ()


# -- local files ------------------------------------------------------------------------------


def test_a_saved_dataset(tmp_path: Path) -> None:
    table().save_to_disk(str(tmp_path / "saved"))
    check(load(tmp_path / "saved"))
    assert as_dataset(str(tmp_path / "saved"))["name"] == "huggingface"
    check(datasets.create(as_dataset(tmp_path / "saved")).load())


def test_a_saved_dataset_of_several_parts(tmp_path: Path) -> None:
    parts = hf.DatasetDict({"train": table(12), "test": table(6)})
    parts.save_to_disk(str(tmp_path / "saved"))
    check(load(tmp_path / "saved"))
    check(load(tmp_path / "saved", split="test"), 6)
    text = refused(tmp_path / "saved", ConfigError, split="tset")
    assert text.endswith("has no split 'tset'. Did you mean 'test'? Splits: train, test.")


def test_a_filtered_dataset(tmp_path: Path) -> None:
    table(24).select(range(12)).save_to_disk(str(tmp_path / "saved"))
    check(load(tmp_path / "saved"))


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_single_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pictures{suffix}"
    if suffix == ".parquet":
        table().to_parquet(str(path))
    else:
        table().save_to_disk(str(tmp_path / "saved"))
        next((tmp_path / "saved").glob("*.arrow")).rename(path)
    check(load(path))
    assert as_dataset(path) == {"name": "huggingface", "path": str(path)}


@pytest.mark.parametrize("place", [".", "data"])
def test_a_folder_of_files(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "repo" / place
    folder.mkdir(parents=True)
    table(12).to_parquet(str(folder / "train-00000-of-00001.parquet"))
    table(6).to_parquet(str(folder / "test-00000-of-00001.parquet"))
    check(load(tmp_path / "repo"))
    check(load(tmp_path / "repo", split="test"), 6)
    check(load(tmp_path / "repo", split="train[:9]"), 9)
    text = refused(tmp_path / "repo", DataError, split="val")
    assert "Unknown split" in text and text.endswith("choose one with the option split.")
    text = refused(tmp_path / "repo", DataError, subset="other")
    assert "'other' not found" in text and text.endswith("choose one with the option subset.")
    assert as_dataset(tmp_path / "repo")["name"] == "huggingface"


def test_files_that_another_program_wrote(tmp_path: Path) -> None:
    path = plain(tmp_path / "x.parquet", img=[png(4), png(5), png(6)], target=["u", "v", "u"])
    samples = load(path)
    assert samples.data[:, 0, 0, 0].tolist() == [4, 5, 6]
    assert samples.spec.classes == ("u", "v") and samples.labels.tolist() == [0, 1, 0]
    path = plain(tmp_path / "y.parquet", pixels=[{"bytes": png(7), "path": "a.png"}], y=[5])
    samples = load(path)
    assert samples.data[:, 0, 0, 0].tolist() == [7] and samples.spec.classes == ("5",)


def test_pictures_in_files_beside(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(3))
    column = [{"bytes": None, "path": str(tmp_path / "a.png")}]
    assert load(plain(tmp_path / "x.parquet", image=column)).data[0, 0, 0, 0] == 3
    column = [*column, {"bytes": None, "path": str(tmp_path / "b.png")}, None]
    column += [{"bytes": None, "path": name} for name in (str(tmp_path), "a\nb", "a\0b")]
    path = plain(tmp_path / "y.parquet", image=column)
    text = refused(path, DataError)
    assert f"'row 1' ({tmp_path / 'b.png'}: No such file" in text
    assert "'row 2' (an empty cell)" in text
    assert len(load(path, max_bad=5)) == 1
    files = tmp_path.glob("cache/decoded/*/cache.json")
    records = [json.loads(file.read_text()) for file in files]
    reasons = [reason for record in records for _, _, reason in record["skipped"][2:]]
    assert reasons[0] == f"{tmp_path}: no regular file"
    assert reasons[1].startswith(r"a\nb: No such file") and reasons[2].startswith(r"a\x00b: ")


def test_pictures_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.parquet"
    table().to_parquet(str(path))
    load(path)
    with monkeypatch.context() as patch:
        patch.setattr(cache, "decode", None)
        check(load(path, flip=True))
    table(6).to_parquet(str(path))
    check(load(path), 6)


def test_options_reach_the_decoding(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    table().to_parquet(str(path))
    samples = load(path, size=14, mode="rgb", crop="random", flip=True)
    assert samples.data.shape == (12, 3, 16, 16) and samples.spec.shape == (3, 14, 14)
    assert samples.flip


def test_bars_of_the_libraries_are_silenced_too(tmp_path: Path, capfd) -> None:
    hf.enable_progress_bars()
    path = tmp_path / "x.parquet"
    table().to_parquet(str(path))
    capfd.readouterr()
    with progress.showing(False):
        check(load(path))
    assert capfd.readouterr() == ("", "")
    assert not hf.are_progress_bars_disabled()
    table(6).to_parquet(str(path))
    capfd.readouterr()
    load(path)
    assert "Generating train split" in capfd.readouterr().err


def test_damaged_pictures(tmp_path: Path) -> None:
    path = plain(tmp_path / "x.parquet", image=[png(1), png(2)[:30], b"text"])
    text = refused(path, DataError)
    assert "2 pictures are unreadable among 3" in text and "'row 2' (no picture" in text
    samples = load(path, max_bad=2)
    assert len(samples) == 1 and "'row 1'" in notices(samples)[0]


# -- columns ----------------------------------------------------------------------------------


def test_columns_that_are_not_clear(tmp_path: Path) -> None:
    path = plain(tmp_path / "x.parquet", front=[png(1)], back=[png(2)], kind=["u"])
    text = refused(path, ConfigError)
    assert "has several columns of pictures; say which one to take with image_column='" in text
    assert text.endswith("Columns: front, back, kind.")
    samples = load(path, image_column="back", label_column="kind")
    assert samples.data[0, 0, 0, 0] == 2 and samples.spec.classes == ("u",)
    assert "Did you mean 'back'?" in refused(path, ConfigError, image_column="bakc")
    assert "no column 'x'" in refused(path, ConfigError, image_column="back", label_column="x")
    path = plain(tmp_path / "y.parquet", image=[png(1)], mask=[png(2)])
    assert load(path).data[0, 0, 0, 0] == 1  # the one that is named like a picture
    path = plain(tmp_path / "z.parquet", text=["a"])
    assert "has no column of pictures" in refused(path, ConfigError)


def test_labels_that_are_not_clear(tmp_path: Path) -> None:
    rows = table().add_column("fine", [0] * 12).cast_column("fine", ClassLabel(names=["z"]))
    rows = rows.rename_column("label", "coarse")
    rows.to_parquet(str(tmp_path / "x.parquet"))
    samples = load(tmp_path / "x.parquet")
    assert (
        samples.labels is None and "several columns of labels (coarse, fine)" in notices(samples)[0]
    )
    assert load(tmp_path / "x.parquet", label_column="fine").spec.classes == ("z",)
    assert notices(load(tmp_path / "x.parquet", labels="none")) == ()


@pytest.mark.parametrize("values", [[None, 1, 0], ["a", None, "b"]])
def test_labels_that_are_missing(tmp_path: Path, values: list) -> None:
    path = plain(tmp_path / "x.parquet", image=[png(1)] * 3, label=values)
    samples = load(path)
    assert samples.labels is None and "has no label for 1 of 3 rows" in notices(samples)[0]
    assert "labels='none'" in notices(samples)[0]
    assert "1 of 3 rows" in refused(path, DataError, label_column="label")
    assert notices(load(path, labels="none")) == ()


def test_labels_that_are_all_missing(tmp_path: Path) -> None:
    rows = hf.Dataset.from_dict(
        {"image": [{"bytes": png(1), "path": None}] * 2, "label": [-1, -1]},
        features=Features({"image": Image(), "label": ClassLabel(names=["a", "b"])}),
    )
    rows.to_parquet(str(tmp_path / "x.parquet"))
    samples = load(tmp_path / "x.parquet")
    assert samples.labels is None
    assert notices(samples)[0].startswith("The column 'label' of '")


@pytest.mark.parametrize("wrong", [3, -2])
def test_classes_without_a_name(tmp_path: Path, wrong: int) -> None:
    path = tmp_path / "x.parquet"
    table(3).to_parquet(str(path))
    rows = pyarrow.parquet.read_table(path)
    changed = rows.set_column(1, rows.field("label"), pyarrow.array([0, 1, wrong]))
    pyarrow.parquet.write_table(changed, path)
    text = refused(path, DataError, label_column="label")
    assert notices(load(path))[0].startswith(text.partition(";")[0])
    assert f"classes from {min(0, wrong)} to {max(1, wrong)}, and 3 have names" in text
    assert len(load(path, labels="none")) == 3


def test_labels_that_are_no_labels(tmp_path: Path) -> None:
    path = plain(tmp_path / "x.parquet", image=[png(1)], score=[0.5])
    assert load(path).labels is None
    assert "holds float64 values" in refused(path, DataError, label_column="score")


@pytest.mark.parametrize("names", [["1", "2", "10"], ["b", "c"], ["01", "2", "11"]])
def test_folders_of_pictures_have_classes_in_order(tmp_path: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        (tmp_path / "x" / name).mkdir(parents=True)
        for index in range(2):
            (tmp_path / "x" / name / f"{index}.png").write_bytes(png(number))
    samples = load(tmp_path / "x")
    assert samples.spec.classes == tuple(names) and samples.labels is not None
    assert samples.labels.tolist() == samples.data[:, 0, 0, 0].tolist()
    known = datasets.create("folder", path=tmp_path / "x").load()
    assert known.spec == samples.spec and known.notices == samples.notices
    # Saved, it says itself what its classes are.
    hf.load_dataset(str(tmp_path / "x"), split="train").save_to_disk(str(tmp_path / "saved"))
    assert load(tmp_path / "saved").spec.classes == tuple(sorted(names))


@pytest.mark.parametrize(
    ("values", "classes", "numbers"),
    [
        ([0, 2, 1], ("0", "1", "2"), [0, 2, 1]),
        ([10, 9, 9], ("9", "10"), [1, 0, 0]),
        (["10", "9", "9"], ("9", "10"), [1, 0, 0]),
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
        ([[0, 1], [1, 0], [0, 1]], ("0", "1"), [1, 0, 1]),
        ([[3], [5], [3]], ("3", "5"), [0, 1, 0]),
        (["01", "2", "1"], ("01", "1", "2"), [0, 2, 1]),
        ([-5, 5, 5], ("-5", "5"), [0, 1, 1]),
        (["1", "b", "10"], ("1", "10", "b"), [0, 2, 1]),
    ],
)
def test_classes_of_columns(tmp_path: Path, values: list, classes, numbers: list[int]) -> None:
    samples = load(plain(tmp_path / "x.parquet", image=[png(1)] * 3, label=values))
    assert samples.spec.classes == classes and samples.labels is not None
    assert samples.labels.tolist() == numbers


@pytest.mark.parametrize(
    "values",
    [
        [0.5, 1.0, 2.0],
        [0.0, 1.0, 0.0],
        [[0.1, 0.9], [1.0, 0.0], [0.0, 1.0]],
        [[1, 1], [0, 1], [1, 0]],
        [{"x": 1}] * 3,
        [b"\xff", b"2", b"\xff"],
        [[1, 2, 3], [1], []],
        [[1, 2, 3, 4]] * 3,
        [[["a"]], [["b"]], [["c"]]],
        [1, None, 2],
    ],
)
def test_columns_that_hold_no_classes_are_left_out(tmp_path: Path, values: list) -> None:
    path = plain(tmp_path / "x.parquet", image=[png(1)] * 3, label=values)
    samples = load(path)
    assert samples.labels is None
    assert notices(samples)[0].startswith(f"The column 'label' of '{path}' h")
    assert "column 'label'" in refused(path, DataError, label_column="label")


# -- the Hub ----------------------------------------------------------------------------------


def test_what_the_hub_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        hf, "load_dataset", lambda *args, **options: (asked.append((args, options)), table())[1]
    )
    data = datasets.create(
        "huggingface", repo="org/name", subset="full", split="test", revision="v2"
    )
    check(data.load())
    assert asked == [(("org/name", "full"), {"split": "test", "revision": "v2"})]
    assert datasets.create(data.model_dump(mode="json")) == data


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (hf.exceptions.DatasetNotFoundError("Dataset 'a/b' doesn't exist"), "set HF_TOKEN or run"),
        (ConnectionError("Couldn't reach\n'a/b'"), "connect to the network, or give downloaded"),
        (ValueError("Config name is missing. Please pick one"), "with the option subset"),
        (ValueError("Unknown split 'train'"), "with the option split"),
        (OSError(28, "No space left on device"), "set HF_HOME to a folder"),
        (RuntimeError("Dataset scripts are no longer supported"), "that its files are whole"),
    ],
)
def test_what_the_hub_answers(monkeypatch: pytest.MonkeyPatch, error: Exception, fix: str) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(hf, "load_dataset", fail)
    with pytest.raises(DataError, match=rf"^'a/b' cannot be loaded \({type(error).__name__}") as e:
        datasets.create("huggingface", repo="a/b").load()
    assert fix in str(e.value) and "\n" not in str(e.value)


# -- what may be wrong ------------------------------------------------------------------------


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    text = refused(tmp_path, DataError)
    assert text.startswith("The dataset 'huggingface' needs the package datasets (")
    assert text.endswith('; install it: pip install "ganzoo[datasets]"')


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "give either repo, such as"),
        ({"repo": "a/b", "path": "x"}, "give either repo, such as"),
        ({"path": "x", "revision": "v1"}, "A local path has no revision"),
        ({"repo": "a/b", "labels": "none", "label_column": "y"}, "there is no label_column"),
    ],
)
def test_options_that_contradict(options: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        datasets.create("huggingface", **options)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    assert "There is no file or folder" in refused(tmp_path / "x.parquet", DataError)
    (tmp_path / "x.csv").touch()
    assert "is not a table of pictures; give a .parquet" in refused(tmp_path / "x.csv", DataError)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    assert "x.parquet' cannot be loaded (" in refused(tmp_path / "x.parquet", DataError)
    (tmp_path / "empty").mkdir()
    assert "empty' cannot be loaded (" in refused(tmp_path / "empty", DataError)


def test_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "load_dataset", lambda *args, **options: table().select([]))
    with pytest.raises(DataError, match="'a/b' has no rows; choose another split or file"):
        datasets.create("huggingface", repo="a/b").load()


def test_importing_ganzoo_needs_no_package() -> None:
    import subprocess

    script = "import sys, ganzoo.datasets.huggingface as h; print('datasets' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_pixels_are_those_of_the_folder(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    (tmp_path / "p").mkdir()
    Pillow.fromarray(noise).save(tmp_path / "p/a.jpg")
    path = plain(tmp_path / "x.parquet", image=[(tmp_path / "p/a.jpg").read_bytes()])
    one = datasets.create("folder", path=tmp_path / "p", size=5).load()
    assert torch.equal(one.data, load(path, size=5).data)
