"""`logcaster-guard run`: the daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import structlog
import typer

from logcaster_guard.app import texts_of
from logcaster_guard.cli.asking import UNREACHABLE, ended
from logcaster_guard.cli.check import BAD_INPUT, FilesBelow, print_faults
from logcaster_guard.config.loading import load
from logcaster_guard.daemon import Daemon
from logcaster_guard.domain.errors import ClusterError, ConfigurationError
from logcaster_guard.messages.texts import phrase

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
    texts = texts_of(loaded.settings)
    if not loaded.rules:
        raise ended(phrase("cli.no_rules"), BAD_INPUT, texts)
    try:
        asyncio.run(Daemon(paths, files_below or ()).serve(loaded))
    except ConfigurationError as error:
        raise ended(texts.text(error.reason), BAD_INPUT, texts) from None
    except ExceptionGroup as error:
        # The edge of the process: whoever started it starts it again, and the journal knows the rest.
        structlog.get_logger().error("guard.crashed", exc_info=error)
        raise typer.Exit(1) from None
    except ClusterError as error:
        raise ended(texts.text(error.reason), UNREACHABLE, texts) from None
