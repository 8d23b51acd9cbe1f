"""The examples of README and docs run, and what they refer to is there."""

import ast
import json
import re
from pathlib import Path

import pytest
from safetensors import safe_open

import ganzoo
from ganzoo import (
    architectures,
    augmentations,
    averages,
    datasets,
    features,
    losses,
    metrics,
    optimizers,
    penalties,
    schedules,
    trackers,
)

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULE = "docs_example"
FEW = 1  # steps that an example trains, whatever it says

BLOCK = re.compile(
    r"^(?P<skip><!-- no-test -->\n+)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
STEPS = re.compile(r"(?<!\w)steps=(\d[\d_]*)")


def blocks(page: Path) -> list[tuple[int, str, bool]]:
    """Line, code, and whether to run it, of each Python example."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start("code")), found["code"], not found["skip"])
        for found in BLOCK.finditer(text)
    ]


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    for kind in (
        architectures,
        losses,
        datasets,
        optimizers,
        schedules,
        trackers,
        features,
        metrics,
        penalties,
        augmentations,
        averages,
    ):
        for entry in kind.registry.entries():
            if entry.distribution == MODULE:
                kind.registry.unregister(entry.name)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem
)
def test_the_examples_of_a_page_run_in_order(page):
    namespace = {"__name__": MODULE}
    examples = blocks(page)
    # Cut down, but in the same order: a resumed run has a larger total than it had before.
    totals = sorted({int(total) for _, code, _ in examples for total in STEPS.findall(code)})
    for line, code, run in examples:
        code = STEPS.sub(lambda found: f"steps={FEW + totals.index(int(found[1]))}", code)
        code = re.sub(r"evaluate_every=\d+", "evaluate_every=1", code)
        compiled = compile("\n" * line + code, str(page), "exec")
        if run:
            exec(compiled, namespace)


def test_every_public_name_has_an_executed_example():
    used = set()
    for page in PAGES:
        for _, code, run in blocks(page):
            for node in ast.walk(ast.parse(code)) if run else ():
                if isinstance(node, ast.ImportFrom) and node.module == "ganzoo":
                    used |= {alias.name for alias in node.names}
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    used |= {node.attr} if node.value.id == "ganzoo" else set()
    assert set(ganzoo.__all__) - used == set()


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES[1:]:
        assert f" {page.name}\n" in text


def test_relative_links_of_the_readme_lead_somewhere():
    text = FENCE.sub("", (ROOT / "README.md").read_text(encoding="utf-8"))
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert targets
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert missing == []


def test_the_readme_gives_both_commands_literally():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = dict(re.findall(r"<!-- command: (\w+) -->\n```sh\n(.*?)\n```", text, re.DOTALL))
    install = "python3 -m venv .venv && .venv/bin/pip install ."
    assert commands == {
        "train": f"{install} && .venv/bin/ganzoo train dcgan",
        "test": '.venv/bin/pip install -e ".[test]" && .venv/bin/python -m pytest -n auto',
    }


def test_every_key_of_every_file_is_documented():
    run = ganzoo.Trainer({"name": "mlp", "hidden": [4]}, steps=1, progress=False).fit()
    (newest,) = (run.path / "checkpoints").iterdir()
    files = [run.path / "environment.json", run.path / "metrics.jsonl"]
    files += [*newest.glob("*.json"), run.path / "generator" / "config.json"]
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    for file in files:
        assert f"**{file.name}**" in page
        for key in json.loads(file.read_text(encoding="utf-8")):
            assert f"`{key}" in page, f"{key} of {file.name}"
    with safe_open(newest / "state.safetensors", "pt") as tensors:
        for key in tensors.keys():  # noqa: SIM118 - it is no mapping
            assert f"`{key}`" in page or f"`{key.partition('.')[0]}." in page
