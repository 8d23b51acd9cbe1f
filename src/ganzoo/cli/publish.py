"""``ganzoo publish-zoo``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from ganzoo.cli.hub import file_table
from ganzoo.errors import ConfigError
from ganzoo.generators import pretrained

if TYPE_CHECKING:
    from ganzoo.generators.hub import Push

__all__ = ["publish_zoo"]


def publish_zoo(
    *names: str,
    org: str = "ganzoo",
    really: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Publish the generators of this package, for the owner of the organisation.

    Without --really nothing is sent, and no network is needed. Publishing the same again changes
    nothing.

    Args:
        names: which; all of them by default
        org: organisation or user on the Hugging Face Hub
        really: send them; it needs a token with write access (hf auth login, or HF_TOKEN)
    """
    chosen = [pretrained.get(name) for name in dict.fromkeys(names) or pretrained.bundled()]
    for one in chosen:
        if one.folder is None:
            raise ConfigError(
                f"'{one.name}' is not in this package but at {one.place}. "
                f"Bundled are: {', '.join(pretrained.bundled())}."
            )
    from ganzoo.generators.generator import Generator

    console = Console(soft_wrap=True, highlight=False)
    aside = Console(stderr=True, soft_wrap=True, highlight=False)
    lines = []
    for one in chosen:
        repo_id = f"{org}/{one.name}"
        # By folder, so that what is published is what is loaded by name without a network.
        done = Generator.from_pretrained(str(one.folder)).push_to_hub(
            repo_id, license=one.license, dry_run=not really
        )
        for notice in done.notices:
            aside.print(f"note: {one.name}: {notice}", markup=False, style="yellow")
        _report(console, one, done)
        lines.append(_entry(one.name, repo_id, done.revision))
    if really:
        console.print("\nFor pretrained.yaml, under each name:")
    else:
        console.print("\nNothing was sent; --really sends it. Then pretrained.yaml gets:")
    console.print("\n".join(lines), markup=False)


def _report(console: Console, one: pretrained.Pretrained, done: Push) -> None:
    """What was sent, or would be."""
    if done.url is None:
        console.print(Text.assemble((done.repo_id, "bold"), f" would hold, under {one.license}:"))
        console.print(file_table(done))
    else:
        state = "published" if done.changed else "nothing has changed"
        console.print(f"{one.name}: {state}: {done.url}", markup=False)


def _entry(name: str, repo_id: str, revision: str | None) -> str:
    return f"{name}:\n  repo_id: {repo_id}\n  revision: {revision or '(the commit)'}"
