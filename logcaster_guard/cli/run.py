"""`logcaster-guard run`: the daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import structlog
import typer

from logcaster_guard.cli.check import BAD_INPUT, FilesBelow, print_faults
from logcaster_guard.config.loading import load
from logcaster_guard.daemon import Daemon
from logcaster_guard.domain.errors import ClusterError, ConfigurationError

Config = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH...",
        help="Rule files, one settings file, or directories of them (for example a mounted ConfigMap).",
    ),
]


def run(paths: Config, files_below: FilesBelow = None) -> None:
    """Watch the targets and roll bad releases back, until stopped."""
    loaded = load(*paths, below=files_below or ())
    if isinstance(loaded, list):
        print_faults(loaded)
        raise typer.Exit(BAD_INPUT)
    if not loaded.rules:
        typer.echo("error: no rules in these files: name a file with rollback_triggers", err=True)
        raise typer.Exit(BAD_INPUT)
    try:
        asyncio.run(Daemon(paths, files_below or ()).serve(loaded))
    except ConfigurationError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(BAD_INPUT) from None
    except ExceptionGroup as error:
        # The edge of the process: whoever started it starts it again, and the journal knows the rest.
        structlog.get_logger().error("guard.crashed", exc_info=error)
        raise typer.Exit(1) from None
    except ClusterError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(3) from None
