"""The command line, as a person at a terminal meets it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from packaging.requirements import Requirement
from PIL import Image

from ganzoo import recipes, trackers
from ganzoo.cli import main

TINY = [
    "mlp",
    "--arch.hidden",
    "16",
    "--batch-size=16",
    "--steps",
    "3",
    "--dataset",
    "squares.npy",
    "--precision",
    "fp32",
    "--device",
    "cpu",
]


@pytest.fixture(autouse=True)
def _data(pictures: torch.Tensor, _own_folder: None) -> None:
    np.save("squares.npy", pictures.numpy())


def ganzoo(*tokens: str, code: int = 0) -> None:
    """Run one command; it must end with this exit code."""
    if code == 0:
        main(tokens)
        return
    with pytest.raises(SystemExit) as caught:
        main(tokens)
    assert caught.value.code == code


def refused(capsys: pytest.CaptureFixture[str], *tokens: str) -> str:
    """Run a command that must be refused: exit code 2, one line, nothing left behind."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    ganzoo(*tokens, code=2)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before
    return err.removeprefix("error: ").strip()


def form(path: str | Path) -> tuple[str, tuple[int, int]]:
    """Mode and size of a picture file."""
    with Image.open(path) as picture:
        return picture.mode, picture.size


def test_train_sample_resume(capsys: pytest.CaptureFixture[str]) -> None:
    ganzoo("train", *TINY)
    out = capsys.readouterr().out.splitlines()
    assert out == [
        "picture: runs/mlp-array-1/samples/step-00000003.png",
        "generator: runs/mlp-array-1/generator",
    ]
    assert Path(out[0].removeprefix("picture: ")).is_file()
    ganzoo("sample", "runs/mlp-array-1", "-n", "4", "--seed", "1")
    ganzoo("sample", "runs/mlp-array-1/generator", "-n", "4", "--seed", "1")
    assert capsys.readouterr().out.split() == ["samples.png", "samples-1.png"]
    assert Path("samples.png").read_bytes() == Path("samples-1.png").read_bytes()
    assert form("samples.png") == ("L", (2 * (64 + 2) + 2, 2 * (64 + 2) + 2))
    assert "has already been trained for 3 steps" in refused(capsys, "resume", "runs/mlp-array-1")
    comparison = Path("runs/mlp-array-1/comparison.png")
    content = comparison.read_bytes()
    comparison.unlink()  # as if it had been killed after its last checkpoint
    ganzoo("resume", "runs/mlp-array-1", "--quiet")
    assert comparison.read_bytes() == content
    capsys.readouterr()
    ganzoo("resume", "runs/mlp-array-1", "--steps", "5", "--quiet")
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "picture: runs/mlp-array-1/samples/step-00000005.png"
    assert err == ""


def test_samples_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    ganzoo("train", *TINY, "--out", "run", "--quiet")
    for out in ("a.npy", "b.safetensors", "folder", "deep/c.jpg"):
        ganzoo("sample", "run", "--count", "3", "--seed", "0", "--out", out)
    assert np.load("a.npy").shape == (3, 1, 16, 16)
    from safetensors.numpy import load_file

    assert np.array_equal(load_file("b.safetensors")["samples"], np.load("a.npy"))
    assert [form(path) for path in sorted(Path("folder").iterdir())] == [("L", (16, 16))] * 3
    assert form("deep/c.jpg")[0] == "RGB"
    assert refused(capsys, "sample", "run", "--out", "a.npy") == (
        "a.npy already exists. Choose another --out, or add --force."
    )
    ganzoo("sample", "run", "--out", "a.npy", "--force")
    assert "'.xyz' is not a known kind" in refused(capsys, "sample", "run", "--out", "a.xyz")
    assert "trained without labels" in refused(capsys, "sample", "run", "--labels", "1")


def test_components_take_dotted_options(capsys: pytest.CaptureFixture[str]) -> None:
    ganzoo(
        *("train", *TINY, "--quiet", "--out", "run", "--loss", "bce", "--loss.smoothing", "0.1"),
        *("--loss.swapped", "--g-optimizer", "sgd", "--g-optimizer.lr", "0.003"),
        *("--d-optimizer.betas", "0.1", "0.2", "--latent", "5", "--latent.distribution", "uniform"),
        *("--schedule=linear", "--schedule.final", "0.5", "--no-joint-batch", "--seed", "9"),
    )
    saved = yaml.safe_load(Path("run/config.yaml").read_text(encoding="utf-8"))
    assert saved["loss"]["smoothing"] == 0.1
    assert saved["loss"]["swapped"] is True
    assert saved["g_optimizer"]["name"] == "sgd"
    assert saved["g_optimizer"]["lr"] == 0.003
    assert saved["d_optimizer"]["betas"] == [0.1, 0.2]
    assert saved["latent"]["shape"] == [5]
    assert saved["latent"]["distribution"] == "uniform"
    assert saved["schedule"] == {"name": "linear", "warmup": 0, "start": 0.0, "final": 0.5}
    assert saved["seed"] == 9


def test_options_lie_above_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(
        "arch: {name: mlp, hidden: [16]}\nloss: {name: hinge, margin: 0.5}\nseed: 4\nsteps: 2\n"
        "batch_size: 16\ndataset: squares.npy\nprecision: fp32\n",
        encoding="utf-8",
    )
    ganzoo(
        *("train", "--config", "mine.yaml", "--seed", "5", "--out", "run", "--quiet"),
        *("--loss.margin", "0.25"),
    )
    saved = yaml.safe_load(Path("run/config.yaml").read_text(encoding="utf-8"))
    assert (saved["seed"], saved["steps"], saved["loss"]["margin"]) == (5, 2, 0.25)
    ganzoo("train", "--config", "run/config.yaml", "--out", "again", "--quiet")
    first, second = (Path(name) / "generator/model.safetensors" for name in ("run", "again"))
    assert first.read_bytes() == second.read_bytes()


def test_the_architecture_can_stand_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    ganzoo("train", *TINY[1:], "--quiet", "mlp", "--out", "dcgan")
    assert yaml.safe_load(Path("dcgan/config.yaml").read_text())["arch"]["hidden"] == [16]


def test_several_values_of_one_option(capsys: pytest.CaptureFixture[str]) -> None:
    ganzoo(
        *("train", "--arch.hidden", "16", "24", "mlp", "--size", "16", "20", "--latent", "4", "8"),
        *("--dataset", "squares.npy", "--batch-size", "16", "--dry-run"),
    )
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["arch"]["hidden"] == [16, 24]
    assert (config["size"], config["latent"]["shape"]) == ([16, 20], [4, 8])
    text = refused(capsys, "train", "--dataset", "celeba", "--dataset.size", "0")
    assert text.startswith("Dataset 'celeba': size cannot be 0: ")  # one number, not a pair


def test_dry_run_explains_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path().rglob("*"))
    ganzoo("train", "dcgan", "--dataset", "squares.npy", "--batch-size", "16", "--dry-run")
    out, err = capsys.readouterr()
    assert err == ""
    assert sorted(Path().rglob("*")) == before
    arch = {"name": "dcgan", "channels": 64, "max_multiplier": 8, "d_norm_input": False}
    assert arch.items() <= yaml.safe_load(out)["arch"].items()
    assert "# parameters: generator 337,280, discriminator 134,400" in out
    assert "# memory: about " in out
    Path("plan.yaml").write_text(out, encoding="utf-8")
    ganzoo("train", "--config", "plan.yaml", "--dry-run")
    assert capsys.readouterr().out == out


def test_help_shows_the_chosen_components_options(capsys: pytest.CaptureFixture[str]) -> None:
    ganzoo("train", "mlp", "--loss", "hinge", "--help")
    text = capsys.readouterr().out
    for flag in ("--arch.dropout", "--loss.margin", "--g-optimizer.lr", "--latent", "--dry-run"):
        assert flag in text
    assert "--arch.channels" not in text
    assert "runs/<arch>-<dataset>-<number>" in " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["trian"], 'Unknown command "trian". Did you mean "train"?'),
        (["train", "dcgn"], "Unknown architecture 'dcgn'. Did you mean 'dcgan'? Available: dcgan,"),
        (
            ["train", "--loss", "hing"],
            "Unknown loss 'hing'. Did you mean 'hinge'? Available: auxiliary-classifier, bce,",
        ),
        (["train", "--dataset", "minst"], "Unknown dataset 'minst'. Did you mean 'mnist'?"),
        (["train", "--recipe", "mlp-mnst"], "Unknown recipe 'mlp-mnst'. Did you mean 'mlp-mnist'?"),
        (["train", "--recipe", "dcgan-faces"], "The recipe 'dcgan-faces' needs a folder of pictur"),
        (["train", "--sample-every", "day"], "--sample-every"),
        (["train", "--trackers", "tensorbord"], "Unknown tracker 'tensorbord'. Did you mean"),
        (["train", "--g-optimizer", "adm"], "Unknown optimizer 'adm'. Did you mean 'adam'?"),
        (["train", "--stepz", "3"], "Unknown option: --stepz. Did you mean --steps?"),
        (
            ["train", "--loss", "hinge", "--loss.margn", "1"],
            "Loss 'hinge' has no option 'margn'. Did you mean 'margin'? Options: margin.",
        ),
        (
            ["train", "--loss.margin", "1"],
            "Loss 'non-saturating' has no option 'margin'. Options: none.",
        ),
        (
            ["train", "--loss", "hinge", "--loss.margin", "-1"],
            "Loss 'hinge': margin cannot be -1.0: input should be greater than 0.",
        ),
        (["train", "mlp", "--steps", "3", "4"], "Unused Tokens: ['4']."),
        (["train", "--steps", "many"], 'Invalid value for --steps: unable to convert "many"'),
        (["train", "--precision", "fp8"], 'Choose from: "auto", "fp32", "bf16"'),
        (["train", "--steps", "3", "--epochs", "1"], "Give 'steps' or 'epochs', not both."),
        (
            ["train", "dcgan", "--size", "48"],
            "Architecture 'dcgan' cannot do a 48x48 greyscale image: height and width must be "
            "powers of two from 16 to 256; the nearest it can is 64x64.",
        ),
        (
            ["train", "--dataset", "squares.npy", "--conditional"],
            "conditional=True needs labels, and dataset 'array' has none.",
        ),
        (
            ["train", "--dataset", "squares.npy", "--batch-size", "97"],
            "The dataset has 96 samples, fewer than one batch of 97. Use a batch size of at most",
        ),
        (["train", "--dataset", "nowhere.npy"], "There is no such file 'nowhere.npy'"),
        (["train", "--device", "tpu"], "'tpu' is not a device: use 'auto', 'cpu', 'cuda'"),
        (["train", "--config", "nowhere.yaml"], "The configuration nowhere.yaml cannot be read"),
        (["resume", "nowhere"], "There is no folder nowhere. Give the folder of a run."),
        (["sample", "nowhere"], "There is no folder nowhere. Give the folder of a run or of a"),
        (["show", "dcgn"], "Nothing in the zoo is called 'dcgn'. Did you mean 'dcgan'?"),
        (["list", "archs"], "Unknown kind 'archs'."),
    ],
)
def test_refusals(tokens: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert text in refused(capsys, *tokens)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what is asked for")
def test_cuda_asked_for_and_absent(capsys: pytest.CaptureFixture[str]) -> None:
    text = refused(capsys, "train", "--device", "cuda")
    assert text.startswith("Device 'cuda' is not available: ")
    assert text.endswith("Use device='auto' or 'cpu'.")


def test_a_wrong_key_in_a_file_names_file_and_key(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("step: 3\n", encoding="utf-8")
    assert refused(capsys, "train", "--config", "mine.yaml").startswith(
        "mine.yaml: Unknown setting 'step'. Did you mean 'steps'? Settings: accumulate, "
        "adversarial_weight, arch, "
    )
    Path("mine.yaml").write_text("steps: [3\n", encoding="utf-8")
    text = refused(capsys, "train", "--config", "mine.yaml")
    assert "mine.yaml cannot be read (it is not valid YAML: " in text


def test_a_folder_that_holds_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    ganzoo("train", *TINY, "--out", "run", "--quiet")
    assert refused(capsys, "train", *TINY, "--out", "run") == (
        "run already holds a run. Continue it with 'ganzoo resume run' or choose another folder "
        "with --out."
    )


def test_a_folder_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", read_only)
    text = refused(capsys, "train", *TINY, "--out", "locked", "--quiet")
    assert text == (
        "The run folder locked cannot be written (Permission denied). Free some space or use "
        "another folder."
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_while_training(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    from ganzoo.training import stage

    real = stage.write_json

    def with_full_metrics(path: Path, value: object) -> None:
        real(path, value)
        (path.parent / "metrics.jsonl").symlink_to("/dev/full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "write_json", with_full_metrics)
        ganzoo("train", *TINY, "--out", "run", "--quiet", code=2)
    text = capsys.readouterr().err
    assert "The run folder run cannot be written (No space left on device)" in text
    assert text.count("\n") == 1


def test_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    ganzoo("list", "losses")
    text = capsys.readouterr().out
    assert "hinge" in text
    assert "dcgan" not in text
    ganzoo("list", "--check")
    assert "broken" not in capsys.readouterr().out
    ganzoo("show", "hinge")
    text = capsys.readouterr().out
    assert "hinge  loss from ganzoo" in text
    assert "arXiv:1705.02894" in text
    assert "margin" in text


def test_recipes_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    ganzoo("list", "recipes")
    text = capsys.readouterr().out
    assert all(name in text for name in recipes.names())
    assert "hinge" not in text
    ganzoo("show", "upsample-fashion")
    text = " ".join(capsys.readouterr().out.split())
    assert "upsample-fashion recipe from ganzoo" in text
    assert "generator 2,155,137, discriminator 1,113,345" in text
    assert "loss.noise 0.15 0" in text
    assert "d_eval_for_g true false" in text
    assert text.endswith("Train it: ganzoo train --recipe upsample-fashion")
    ganzoo("show", "gaussian-1d")
    text = " ".join(capsys.readouterr().out.split())
    assert "gaussian-1d recipe from ganzoo" in text
    assert "gaussian-1d dataset from ganzoo" in text
    ganzoo("show", "gaussian-1d", "--kind", "datasets")
    assert "recipe" not in capsys.readouterr().out
    ganzoo("show", "dcgan-faces")
    assert "train --recipe dcgan-faces --dataset PATH" in capsys.readouterr().out


def test_a_recipe_trains_with_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    ganzoo(
        *("train", "--recipe", "mirror-mnist", "--dataset", "squares.npy", "--steps", "3"),
        *("--arch.code", "7", "--batch-size", "8", "--out", "run", "--quiet", "--device", "cpu"),
    )
    config = yaml.safe_load(Path("run/config.yaml").read_text(encoding="utf-8"))
    assert config["recipe"] == "mirror-mnist"
    arch = {"name": "mirror", "hidden": [150], "code": 7, "activation": "selu"}
    assert arch.items() <= config["arch"].items()
    assert (config["joint_batch"], config["steps"], config["batch_size"]) == (True, 3, 8)
    assert config["dataset"]["name"] == "array"
    capsys.readouterr()
    ganzoo("resume", "run", "--steps", "4", "--quiet")
    assert "generator: run/generator" in capsys.readouterr().out


def test_the_help_of_a_recipe_shows_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    ganzoo("train", "--recipe", "mirror-mnist", "--help")
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--arch.code" in text and "--arch.max-multiplier" not in text
    assert "[default: 20]" in text  # epochs
    assert "[default: 0.0 1.0]" in text  # value_range


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    ganzoo("doctor")
    out = capsys.readouterr().out
    assert "all is well" in out
    assert "auto picks" in out
    for name in ("torch", "pydantic", "safetensors", "device", "data root"):
        assert f"\n{name}" in out


def test_doctor_of_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    ganzoo("train", *TINY, "--out", "run", "--quiet")
    capsys.readouterr()
    for folder in ("run", "run/generator", "run/checkpoints/step-00000003"):
        ganzoo("doctor", folder)
        out, err = capsys.readouterr()
        assert out.endswith("\nall is well\n")
        assert out.startswith("ok    ") and "\nwrong" not in out
        assert err == ""
    assert "There is no folder nowhere that can be read" in refused(capsys, "doctor", "nowhere")
    path = Path("run/generator/model.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    ganzoo("doctor", "run", code=2)
    out, err = capsys.readouterr()
    (line,) = [line for line in out.splitlines() if line.startswith("wrong ")]
    assert line.startswith("wrong generator: run/generator/model.safetensors, which config.json")
    assert "all is well" not in out
    count = len(out.splitlines())
    assert err == (
        f"error: 1 of {count} things in run is wrong; the lines above say what and what to do.\n"
    )


def test_an_interruption_tells_how_to_go_on(tmp_path: Path) -> None:
    """Ctrl-C in a real process: a checkpoint, the command, and the conventional exit code."""
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from ganzoo.training.callbacks import Callback\n"
        "import ganzoo.training.trainer as t\n"
        "class Now(Callback):\n"
        "    def on_step(self, trainer, step):\n"
        "        if trainer.step == 4: os.kill(os.getpid(), signal.SIGINT)\n"
        "real = t.Trainer.__init__\n"
        "def init(self, *a, **k):\n"
        "    real(self, *a, **{**k, 'callbacks': [Now()]})\n"
        "t.Trainer.__init__ = init\n"
        "from ganzoo.cli import main\n"
        f"main(['train', *{TINY!r}, '--steps', '50', '--out', 'run', '--quiet'])\n"
    )
    if os.name == "nt":
        pytest.skip("signals are POSIX here")
    done = subprocess.run(
        [sys.executable, "-c", code.replace("'--steps', '3', ", "")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.strip() == "interrupted at step 4; continue with: ganzoo resume run"
    assert [path.name for path in Path("run/checkpoints").iterdir()] == ["step-00000004"]


def test_doctor_of_an_installation_that_is_not_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    real = metadata.version

    def version(name: str) -> str:
        if name == "safetensors":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "numpy" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    ganzoo("doctor", code=2)
    told = capsys.readouterr().err
    assert "numpy>=2.0 is needed, and 0.1 is installed" in told
    assert "safetensors" in told
    assert "and nothing is installed" in told
    (advice,) = re.findall("Run: pip install (.*)", told)
    asked = [Requirement(word) for word in shlex.split(advice)]  # not our name
    assert [each.name for each in asked] == ["numpy", "safetensors"]
    assert all(each.specifier for each in asked)


@pytest.mark.parametrize("joined", [False, True])
def test_a_path_alone_names_its_dataset(tmp_path, capsys, joined: bool) -> None:
    path = str(tmp_path / "x.npy")
    np.save(path, np.zeros((120, 64), np.uint8))
    words = [f"--dataset.path={path}"] if joined else ["--dataset.path", path]
    main(["train", "mlp", *words, "--dataset.item-shape", "1", "8", "8", "--dry-run"])
    out = capsys.readouterr().out
    assert "name: array" in out and f"path: {path}" in out


# -- options of several components ----------------------------------------------------------------


def planned(capsys: pytest.CaptureFixture[str], *tokens: str) -> dict:
    """The settings of a training, which is only planned."""
    capsys.readouterr()
    ganzoo("train", *TINY, *tokens, "--dry-run")
    return yaml.safe_load(capsys.readouterr().out)


def test_penalties_take_dotted_options(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(
        capsys,
        *("--penalties.r2.weight", "5", "--penalties", "r1,r2,consistency"),
        *("--penalties.r1.every=4", "--penalties.r2.every", "2"),
        *("--penalties.consistency.latent", "--penalties.consistency.no-flip"),
    )["penalties"]
    assert [each["name"] for each in found] == ["r1", "r2", "consistency"]
    assert (found[0]["weight"], found[0]["every"]) == (1.0, 4)
    assert (found[1]["weight"], found[1]["every"]) == (5.0, 2)
    assert (found[2]["latent"], found[2]["flip"], found[2]["real"]) == (True, False, True)


def test_names_with_dashes_take_dotted_options(capsys: pytest.CaptureFixture[str]) -> None:
    tokens = ("--penalties", "feature-matching", "--penalties.feature-matching.weight", "2")
    assert planned(capsys, *tokens)["penalties"][0]["weight"] == 2.0


def test_metrics_and_the_augmentation_take_dotted_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = planned(
        capsys,
        *("--metrics", "kid,fid", "--metrics.kid.seed", "4", "--evaluate-every", "1"),
        *("--metrics.fid.extractor", "inception"),
        *("--augmentation", "ada", "--augmentation.target=0.5"),
    )
    kid, fid = found["metrics"]
    assert (kid["name"], kid["seed"]) == ("kid", 4)
    assert fid["extractor"]["name"] == "inception"
    assert (found["augmentation"]["name"], found["augmentation"]["target"]) == ("ada", 0.5)


@pytest.fixture
def two_trackers() -> Iterator[None]:
    """Trackers with options, known in these tests only."""

    class One(trackers.Tracker):
        folder: str = "x"

        def open(self, folder, settings, step):
            raise NotImplementedError

    class Two(One):
        pass

    trackers.register("test-one")(One)
    trackers.register("test-two")(Two)
    yield
    trackers.registry.unregister("test-one")
    trackers.registry.unregister("test-two")


@pytest.mark.parametrize("joined", [False, True])
def test_trackers_take_dotted_options(
    joined: bool, capsys: pytest.CaptureFixture[str], two_trackers: None
) -> None:
    both = ("--trackers", "test-one", "--trackers", "test-two")
    if joined:
        both = ("--trackers=test-one", "--trackers=test-two")
    given = ("--trackers.test-one.folder", "a", "--trackers.test-two.folder=b")
    found = planned(capsys, *both, *given)["trackers"]
    assert [(each["name"], each["folder"]) for each in found] == [
        ("test-one", "a"),
        ("test-two", "b"),
    ]
    found = planned(capsys, *both, *given[-1:])["trackers"]
    assert [each["folder"] for each in found] == ["x", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "penalties:\n- {name: r1, weight: 3, every: 2}\n- gp\n",
        "penalties: r1,gp\n",
        "penalties: [r1, {name: gp, weight: 4}]\n",
    ],
)
def test_dotted_options_lie_above_the_penalties_of_a_file(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text(text, encoding="utf-8")
    before = planned(capsys, "--config", "mine.yaml")["penalties"]
    one, other = planned(capsys, "--config", "mine.yaml", "--penalties.gp.weight", "9")["penalties"]
    assert one == before[0]
    assert other == {**before[1], "weight": 9.0}
    tokens = ("--config", "mine.yaml", "--penalties", "lecam,r1", "--penalties.r1.weight", "7")
    found = planned(capsys, *tokens)["penalties"]  # those of the line, and nothing of the file's
    assert [(each["name"], each.get("every")) for each in found] == [("lecam", 1), ("r1", 1)]
    assert found[1]["weight"] == 7.0


def test_dotted_options_lie_above_a_files_only_penalty_and_augmentation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "penalties: {name: r1, weight: 3, every: 2}\naugmentation: {name: ada, limit: 0.4}\n"
    Path("mine.yaml").write_text(text, encoding="utf-8")
    given = ("--penalties.r1.weight", "9", "--augmentation.target", "0.5")
    found = planned(capsys, "--config", "mine.yaml", *given)
    assert found["penalties"] == [{"name": "r1", "weight": 9.0, "every": 2}]
    assert (found["augmentation"]["limit"], found["augmentation"]["target"]) == (0.4, 0.5)
    Path("mine.yaml").write_text("augmentation: ada\n", encoding="utf-8")
    found = planned(capsys, "--config", "mine.yaml", "--augmentation.target", "0.25")
    assert found["augmentation"]["target"] == 0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("penalties: 5\n", "mine.yaml: The training: penalties cannot be 5"),
        ("penalties:\n", "mine.yaml: The training: penalties cannot be None"),
        ("penalties: [5]\n", "A penalty is a name, a mapping with 'name', or a component"),
        ("penalties: [{weight: 3}]\n", "A penalty given as a mapping needs its 'name'"),
        ("penalties: [{name: nope}]\n", "Unknown penalty 'nope'."),
        ("penalties: [{name: r1, wieght: 3}]\n", "Penalty 'r1' has no option 'wieght'. Did you"),
        ("augmentation: 5\n", "An augmentation is a name, a mapping with 'name', or a component"),
        ("augmentation: {name: ada, speed: 3}\n", "Augmentation 'ada' has no option 'speed'."),
    ],
)
def test_a_file_with_wrong_components(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text(text, encoding="utf-8")
    assert message in refused(capsys, "train", *TINY, "--config", "mine.yaml")


def test_wrong_options_of_a_file_are_not_lost_beside_right_ones_of_the_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("mine.yaml").write_text(
        "penalties: [{name: r1, wieght: 3}]\naugmentation: {name: ada}\n", encoding="utf-8"
    )
    tokens = ("train", *TINY, "--config", "mine.yaml", "--penalties.r1.every", "2")
    assert "Penalty 'r1' has no option 'wieght'. Did you mean 'weight'?" in refused(capsys, *tokens)
    Path("mine.yaml").write_text("penalties: [{name: r1, weight: -3}]\n", encoding="utf-8")
    assert "Penalty 'r1': weight cannot be -3" in refused(capsys, *tokens)


def test_help_lists_options_of_penalties_metrics_and_augmentation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("mine.yaml").write_text("penalties: [{name: gp, weight: 3}]\n", encoding="utf-8")
    ganzoo(
        *("train", "mlp", "--penalties", "r1,lecam", "--metrics", "kid,swd"),
        *("--augmentation", "ada", "--help"),
    )
    text = capsys.readouterr().out
    for flag in (
        *("--penalties.r1.weight", "--penalties.r1.every", "--penalties.lecam.decay"),
        *("--metrics.kid.seed", "--metrics.swd.seed", "--augmentation.target"),
    ):
        assert flag in text
    for flag in ("--penalties.r2.weight", "--penalties.gp.weight", "--metrics.fid.extractor"):
        assert flag not in text
    ganzoo("train", "mlp", "--config", "mine.yaml", "--help")
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--penalties.gp.weight" in text and "[default: 3]" in text
    ganzoo("train", "mlp", "--help")
    text = capsys.readouterr().out
    assert "--penalties" in text and "--penalties." not in text and "--augmentation." not in text


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (
            ["--penalties.r2.weight", "5"],
            "'r2' is not among the penalties here, where there is none at all. Say --penalties r2 "
            "too.",
        ),
        (
            ["--penalties", "r1", "--penalties.r2.weight", "5"],
            "'r2' is not among the penalties here, where there is only r1. Say --penalties r1,r2 "
            "too.",
        ),
        (
            ["--penalties", "r1", "--penalties.lecamm.weight", "5"],
            "'lecamm' is not among the penalties here, where there is only r1. Did you mean "
            "'lecam'? Give one of: approximate-r1,",
        ),
        (
            ["--penalties", "r1", "--penalties.r1.wieght", "5"],
            "Penalty 'r1' has no option 'wieght'. Did you mean 'weight'? Options: every, weight.",
        ),
        (
            ["--penalties", "r1", "--penalties.r1", "5"],
            "Penalty 'r1' has no option 'r1'. Options: every, weight.",
        ),
        (["--penalties", "r1", "--penalties.r1.weight.x", "5"], "'r1.weight' is not among the pen"),
        (["--penalties", "r1", "--penalties.r1.weight", "-5"], "Penalty 'r1': weight cannot be -5"),
        (
            ["--penalties", "r1", "--penalties.r1.weight", "much"],
            'Invalid value for --penalties.r1.weight: unable to convert "much" into float.',
        ),
        (["--penalties", "r1,r1", "--penalties.r1.weight", "2"], "The penalty 'r1' is given twice"),
        (["--metrics.fid.seed", "1"], "'fid' is not among the metrics here, where there is none"),
        (
            ["--metrics", "swd", "--metrics.swd.sed", "1"],
            "Metric 'swd' has no option 'sed'. Did yo",
        ),
        (
            ["--trackers", "tensorboard", "--trackers.tensorboard.folder", "x"],
            "Tracker 'tensorboard' has no option 'folder'. Options: none.",
        ),
        (
            ["--augmentation.target", "0.5"],
            "There is no augmentation here, whose option 'target' could be set. Say --augmentation "
            "NAME too (ada, diffaugment, noise).",
        ),
        (
            ["--augmentation", "ada", "--augmentation.targit", "0.5"],
            "Augmentation 'ada' has no option 'targit'. Did you mean 'target'?",
        ),
        (
            ["--augmentation", "ada", "--augmentation.target", "2"],
            "Augmentation 'ada': target cann",
        ),
    ],
)
def test_refusals_of_dotted_options(
    tokens: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert text in refused(capsys, "train", *TINY, *tokens)
