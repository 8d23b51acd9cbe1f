"""The command line: thin, and quick to start, because commands are imported when they run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import App, CycloptsError
from cyclopts.exceptions import UnknownOptionError, UnusedCliTokensError
from rich.console import Console

from ganzoo._version import __version__
from ganzoo.errors import GanzooError, plain

__all__ = ["app", "main"]

app = App(
    name="ganzoo",
    help="A zoo of GANs: train any architecture with any loss on any dataset.",
    version=__version__,
    help_format="plaintext",
)
app.command(
    "ganzoo.cli.train:train", name="train", help="Train a GAN.", help_flags=(), version_flags=()
)
app.command("ganzoo.cli.train:resume", name="resume", help="Continue a run.")
app.command("ganzoo.cli.sample:sample", name="sample", help="Draw samples from a generator.")
app.command("ganzoo.cli.evaluate:evaluate", name="evaluate", help="Score a generator, or pictures.")
app.command("ganzoo.cli.compare:compare", name="compare", help="Compare runs and their scores.")
app.command("ganzoo.cli.hub:push", name="push", help="Publish a generator on the Hub.")
app.command("ganzoo.cli.hub:pull", name="pull", help="Copy a generator from the Hub.")
app.command(
    "ganzoo.cli.publish:publish_zoo",
    name="publish-zoo",
    help="Publish the bundled generators, for the owner of the organisation.",
)
app.command(
    "ganzoo.cli.convert:convert",
    name="convert",
    help="Make a generator of weights from another program.",
    help_flags=(),
    version_flags=(),
)
app.command("ganzoo.cli.zoo:list_", name="list", help="List what is in the zoo.")
app.command("ganzoo.cli.zoo:show", name="show", help="Describe one thing in the zoo.")
app.command("ganzoo.cli.doctor:doctor", name="doctor", help="Check this installation, or a folder.")


def main(tokens: Sequence[str] | None = None) -> None:
    """Run one command and leave the process.

    What goes wrong by the user's doing is one line on standard error and exit code 2; a key
    press that interrupts is exit code 130.
    """
    given = list(sys.argv[1:] if tokens is None else tokens)
    try:
        run(app, given)
    except (UnknownOptionError, UnusedCliTokensError) as error:
        from ganzoo.cli.hints import explain  # which imports what there is

        _complain(explain(error, given))
    except (GanzooError, CycloptsError) as error:
        _complain(str(error))
    except (ImportError, AttributeError):  # where another package has replaced our modules
        from ganzoo.core.installation import fault

        if why := fault():
            _complain(why)
        raise
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `ganzoo list | head`
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        _complain(f"{error.filename or 'The system'}: {error.strerror or error}. Check the path.")


def _complain(text: str) -> NoReturn:
    line = f"error: {' '.join(plain(text).split())}"
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(line, markup=False, style="red")
    sys.exit(2)


def run(application: App, tokens: Sequence[str]) -> None:
    """Parse and execute, leaving errors to the caller."""
    command, bound, *_ = application.parse_args(tokens, exit_on_error=False, print_error=False)
    command(*bound.args, **bound.kwargs)
