"""`logcaster-guard check`: every fault of rules and settings in one go."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from logcaster_guard.config import ConfigFault, Loaded, load
from logcaster_guard.config.named_files import absent
from logcaster_guard.fields.faults import MAX_FAULTS, escaped

FilesBelow = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FOLDER",
        help="Refuse settings that name a file elsewhere than below this folder; may be given several times.",
        show_default=False,
    ),
]

BAD_INPUT = 2
"""Exit code: the files have faults."""


def check(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH…", help="Files, or directories whose *.yaml and *.yml are read.", show_default=False
        ),
    ],
    files_below: FilesBelow = None,
) -> None:
    """Validate rules and settings.

    Prints each fault as `file:line:column: found …; allowed …; did you mean …?` and exits with 2, or one line that says
    what was found in order, followed by warnings, and exits with 0.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a character is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    found = load(*paths, below=files_below or ())
    lines = _summary(found) if isinstance(found, Loaded) else _faults(found)
    print("\n".join(lines))
    if not isinstance(found, Loaded):
        raise typer.Exit(BAD_INPUT)


def print_faults(faults: list[ConfigFault]) -> None:
    """Print every fault, as `check` does, to standard error."""
    print("\n".join(_faults(faults)), file=sys.stderr)


def _faults(faults: list[ConfigFault]) -> list[str]:
    files = len({f.file for f in faults})
    capped = any(sum(f.file == name for f in faults) >= MAX_FAULTS for name in {f.file for f in faults})
    more = f" (of a file the first {MAX_FAULTS} are shown)" if capped else ""
    return [*map(str, faults), f"{_counted(len(faults), 'fault')} in {_counted(files, 'file')}{more}"]


def _summary(loaded: Loaded) -> list[str]:
    rules = ", ".join(rule.name for rule in loaded.rules) or "none"
    targets = ", ".join(f"{t.name} ({t.key})" for t in loaded.settings.targets)
    settings = escaped(str(loaded.settings_file)) if loaded.settings_file else "defaults"
    ok = (
        f"OK: {_counted(len(loaded.rules), 'rule')} ({rules}); "
        f"{_counted(len(loaded.settings.targets), 'target')} {targets}; settings: {settings}"
    )
    return [ok, *(f"warning: {sentence}" for sentence in (*loaded.warnings, *absent(loaded.settings)))]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
