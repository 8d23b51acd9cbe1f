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

__all__ = ["pull", "push"]

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

    It needs a token that may write: log in with 'hf auth login', or set HF_TOKEN.

    Args:
        source: folder of a run or of a saved generator, or what else 'ganzoo sample' takes
        repo_id: the repository as org/name; made if it is not there
        private: seen by its owner only, if it is made
        revision: the branch, made if it is not there, or refs/pr/1
        create_pr: send a pull request instead of changing the main branch
        message: first line of the commit
        license: of the weights, as the Hub names it, such as mit
        half: store weights in half precision
        discriminator: with the discriminator that was saved beside it or is in the run's newest
            checkpoint
        overwrite_card: replace a README.md too that somebody has edited there
        dry_run: show what would be sent, without a network
    """
    from ganzoo.generators import card
    from ganzoo.generators.generator import Generator

    aside = Console(stderr=True, soft_wrap=True, highlight=False)
    generator = Generator.from_pretrained(source)
    before = card.notices(generator.config)
    for notice in before:
        aside.print(f"note: {notice}", markup=False, style="yellow")
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
    for other in done.notices:
        if other not in before:
            aside.print(f"note: {other}", markup=False, style="yellow")
    _report(done, dry_run)


def _report(done: Push, dry_run: bool) -> None:
    console = Console(soft_wrap=True, highlight=False)
    if dry_run:
        table = Table("file", "bytes", box=None, header_style="bold", pad_edge=False)
        table.columns[1].justify = "right"
        for name, size in done.files.items():
            table.add_row(Text(name), f"{size:,}")
        console.print(f"Nothing was sent. {done.repo_id} would hold:", markup=False)
        console.print(table)
        console.print(f"\n{done.card}", markup=False)
        return
    if not done.changed:
        console.print("nothing has changed since the last push", markup=False)
    where = f"{done.repo_id}@{done.revision}"
    console.print(f"published: {done.url}\nload it with: ganzoo sample {where}", markup=False)


def _pulled_from(folder: Path) -> str | None:
    """The repository that a bundle says it was pulled from, even if it is damaged."""
    from ganzoo.files import bounded_json
    from ganzoo.generators import bundle

    try:
        config = bounded_json.read(folder / bundle.CONFIG)
    except (OSError, ValueError):
        return None
    origin = config.get("origin") if isinstance(config, dict) else None
    source = origin.get("repo_id") if isinstance(origin, dict) else None
    return source if isinstance(source, str) else None


def pull(
    source: str,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
) -> None:
    """Copy a generator from the Hugging Face Hub into a folder.

    A generator that is there is replaced only if it was pulled from the same repository, and a
    README.md that you have edited is left as it is.

    Args:
        source: org/name or org/name@revision
        out: the folder; by default one here that is called as the repository
    """
    from ganzoo.generators import bundle, card, hub

    repo_id, revision = hub.parse(source)
    folder = Path(repo_id.split("/")[1]) if out is None else expanded(out)
    if not bundle.replaceable(folder):
        raise BundleError(
            f"{folder} holds something that is not a bundle, which pulling would replace. Choose "
            f"another folder with --out."
        )
    if (folder / bundle.CONFIG).exists() and _pulled_from(folder) != repo_id:
        raise BundleError(
            f"{folder} holds a generator that was not pulled from {repo_id}, or was changed since, "
            f"and pulling would replace it. Choose another folder with --out."
        )
    from ganzoo.generators.generator import of_repository

    generator = of_repository(repo_id, revision=revision)
    origin = generator.config.origin
    assert origin is not None
    beside = hub.fetch(repo_id, revision=origin.revision, extras=True)
    found = bundle.extras(beside.folder, root=beside.root)
    with_other = bundle.DISCRIMINATOR in generator.config.weights
    generator.save_pretrained(folder, discriminator=True if with_other else None)
    readme, theirs = folder / bundle.CARD, found.get(bundle.CARD)
    mine = None
    try:
        if readme.exists():
            mine = readme.read_bytes()
        kept = mine not in (None, theirs) and card.edited((mine or b"").decode(errors="replace"))
        if not kept:
            readme.unlink(missing_ok=True)  # of what was here before, or a link
            if theirs is not None:
                readme.write_bytes(theirs)
    except OSError as error:
        raise BundleError(
            f"The generator is in {folder}, but not all that belongs to it ({error}). Free some "
            f"space, then pull it again."
        ) from error
    aside = Console(stderr=True, soft_wrap=True, highlight=False)
    if kept:
        aside.print(
            f"note: {readme} was edited and is left as it is; remove it and pull again for that of "
            f"{repo_id}",
            markup=False,
            style="yellow",
        )
    if left_out := [name for name in beside.extras if name not in found]:
        names = ", ".join(left_out)
        aside.print(
            f"note: {names} of {repo_id} is left out: too large, or not what it should be",
            markup=False,
            style="yellow",
        )
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{generator.config.architecture.name}: {generator.spec}, from {repo_id}@{origin.revision}"
        f"\ngenerator: {folder}",
        markup=False,
    )
