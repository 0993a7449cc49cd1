"""The command line: `logcaster-guard COMMAND`.

Exit codes: 0 done; 1 it ran and the outcome is bad; 2 the input is bad; 3 something outside could not be reached.
"""

from __future__ import annotations

import contextlib
import os
import sys

import typer

from logcaster_guard import __version__
from logcaster_guard.cli.answering import abandon, approve, veto
from logcaster_guard.cli.check import check
from logcaster_guard.cli.database import database
from logcaster_guard.cli.demo import demo
from logcaster_guard.cli.explain import explain
from logcaster_guard.cli.freezing import freeze, resume, unfreeze
from logcaster_guard.cli.history import history
from logcaster_guard.cli.journal import journal
from logcaster_guard.cli.marking import mark
from logcaster_guard.cli.rollback import rollback
from logcaster_guard.cli.run import run
from logcaster_guard.cli.schema import schema
from logcaster_guard.cli.snapshots import snapshots
from logcaster_guard.cli.status import status

app = typer.Typer(no_args_is_help=True, add_completion=True, help=__doc__.splitlines()[0] if __doc__ else None)
app.command()(run)
app.command()(check)
app.command()(status)
app.command()(history)
app.command()(explain)
app.command()(rollback)
app.command()(approve)
app.command()(veto)
app.command()(abandon)
app.command()(freeze)
app.command()(unfreeze)
app.command()(resume)
app.command()(mark)
app.add_typer(snapshots, name="snapshots")
app.add_typer(journal, name="journal")
app.add_typer(database, name="database")
app.command()(schema)
app.command()(demo)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """LogCaster Guard finds a bad release and rolls it back to the last good one."""


def main() -> None:
    """The entry point."""
    _open_standard_streams()
    app()


def _open_standard_streams() -> None:
    """Open those that were closed at the start: else the next file, such as the journal, would take their place."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                os.fstat(descriptor)
                continue
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 # open until the end
