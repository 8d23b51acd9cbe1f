"""``ganzoo push`` and ``ganzoo pull``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganzoo.errors import BundleError
from ganzoo.files.storage import expanded

if TYPE_CHECKING:
    from ganzoo.generators.hub import Push

__all__ = ["file_table", "pull", "push"]

Switch = Annotated[bool, Parameter(negative=())]


def push(
    source: str,
    repo_id: str,
    /,
    *,
    private: Switch = False,
    revision: str | None = None,
    create_pr: Switch = False,
    message: str | None = None,
    license: str | None = None,  # noqa: A002 - the Hub's word
    half: Switch = False,
    discriminator: Switch = False,
    overwrite_card: Switch = False,
    dry_run: Switch = False,
) -> None:
    """Publish a generator on the Hugging Face Hub.

    It needs a token with write access: log in with 'hf auth login', or set HF_TOKEN.

    Args:
        source: folder of a run or of a saved generator, or another source of 'ganzoo sample'
        repo_id: the repository as org/name; created if it does not exist
        private: create the repository as private
        revision: the branch, created if it does not exist, or refs/pr/1
        create_pr: open a pull request instead of changing the main branch
        message: first line of the commit
        license: of the weights, as the Hub names it, such as mit
        half: store weights in half precision
        discriminator: include the discriminator of the bundle or of the run's newest checkpoint
        overwrite_card: replace a README.md even if someone has edited it
        dry_run: show what would be sent, without a network
    """
    from ganzoo.generators import card
    from ganzoo.generators.generator import Generator

    generator = Generator.from_pretrained(source)
    before = card.notices(generator.config)
    _note(*before)  # sending may take long
    done = generator.push_to_hub(
        repo_id,
        private=True if private else None,
        revision=revision,
        create_pr=create_pr,
        commit_message=message,
        license=license,
        half=half,
        discriminator=True if discriminator else None,
        overwrite_card=overwrite_card,
        dry_run=dry_run,
    )
    _note(*(each for each in done.notices if each not in before))
    _report(done, dry_run)


def _report(done: Push, dry_run: bool) -> None:
    console = Console(soft_wrap=True, highlight=False)
    if dry_run:
        console.print(f"Nothing was sent. {done.repo_id} would hold:", markup=False)
        console.print(file_table(done))
        console.print(f"\n{done.card}", markup=False)
        return
    if not done.changed:
        console.print("nothing has changed since the last push", markup=False)
    where = f"{done.repo_id}@{done.revision}"
    console.print(f"published: {done.url}\nload it with: ganzoo sample {where}", markup=False)


def file_table(push: Push) -> Table:
    """Return a table of the files that a push sends, and their sizes."""
    table = Table("file", "bytes", box=None, header_style="bold", pad_edge=False)
    table.columns[1].justify = "right"
    for name, size in push.files.items():
        table.add_row(Text(name), f"{size:,}")
    return table


def pull(
    source: str,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
) -> None:
    """Copy a generator from the Hugging Face Hub into a folder.

    It replaces only a generator that was pulled from the same repository, and keeps a README.md
    that you have edited.

    Args:
        source: org/name or org/name@revision
        out: the folder; by default one here with the name of the repository
    """
    from ganzoo.generators import bundle, card, hub
    from ganzoo.generators.generator import of_repository

    repo_id, revision = hub.parse(source)
    folder = Path(repo_id.split("/")[1]) if out is None else expanded(out)
    taken = folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))
    if taken and _pulled_from(folder / bundle.CONFIG) != repo_id:
        raise BundleError(
            f"{folder} holds something that was not pulled from {repo_id}, or was changed since, "
            f"and pulling would replace it. Choose another folder with --out."
        )
    generator = of_repository(repo_id, revision=revision)
    origin = generator.config.origin
    assert origin is not None
    fetched = hub.fetch(repo_id, revision=origin.revision, extras=True)
    found = bundle.extras(fetched.folder, root=fetched.root)
    generator.save_pretrained(
        folder, discriminator=bundle.DISCRIMINATOR in generator.config.weights
    )
    readme, theirs = folder / bundle.CARD, found.get(bundle.CARD)
    mine = readme.read_bytes() if readme.exists() else theirs
    if mine is not None and mine != theirs and card.edited(mine.decode(errors="replace")):
        _note(
            f"{readme} was edited and stays as it is; remove it and pull again for that of the "
            f"repository"
        )
    else:
        readme.unlink(missing_ok=True)  # it may be a link
        if theirs is not None:
            readme.write_bytes(theirs)
    if missing := [name for name in fetched.extras if name not in found]:
        _note(f"{', '.join(missing)} of {repo_id} is left out: too large or malformed")
    Console(soft_wrap=True, highlight=False).print(
        f"{generator.config.architecture.name}: {generator.spec}, from {repo_id}@{origin.revision}"
        f"\ngenerator: {folder}",
        markup=False,
    )


def _pulled_from(config: Path) -> str | None:
    """The repository that a ``config.json`` was pulled from, even if its bundle is damaged."""
    from ganzoo.files import bounded_json

    try:
        return str(bounded_json.read(config)["origin"]["repo_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note(*texts: str) -> None:
    for text in texts:
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"note: {text}", markup=False, style="yellow"
        )
