"""`logcaster-guard check`: every fault of rules and settings in one go."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from logcaster_guard.config import Faults, Loaded, load
from logcaster_guard.config.named_files import absent
from logcaster_guard.fields.faults import MAX_FAULTS, escaped
from logcaster_guard.messages.texts import Language, Phrase, Texts, phrase

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
    print(_summary(found) if isinstance(found, Loaded) else _faults(found))
    if not isinstance(found, Loaded):
        raise typer.Exit(BAD_INPUT)


def print_faults(faults: Faults) -> None:
    """Print every fault, as `check` does, to standard error."""
    print(_faults(faults), file=sys.stderr)


def _faults(faults: Faults) -> str:
    files = {f.file for f in faults}
    capped = any(sum(f.file == name for f in faults) >= MAX_FAULTS for name in files)
    shown = MAX_FAULTS if capped else 0
    total = phrase("check.faults", faults=len(faults), files=len(files), shown=shown)
    return _in_words([*(fault.told for fault in faults), total], faults.language)


def _in_words(lines: Iterable[Phrase], language: Language | None) -> str:
    """The lines in the language of the settings; where there are none, in that of whoever asks."""
    texts = Texts(language or spoken_here())
    return "\n".join(map(texts.text, lines))


def spoken_here() -> Language:
    """The language of the terminal, by the variables that name a locale."""
    named = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    spoken = named.replace("_", ".").partition(".")[0]
    return next((language for language in Language if language == spoken), Language.ENGLISH)


def _summary(loaded: Loaded) -> str:
    settings, found = loaded.settings, loaded.settings_file
    sound = phrase(
        "check.sound",
        rules=len(loaded.rules),
        rule_names=[rule.name for rule in loaded.rules],
        targets=len(settings.targets),
        target_names=[f"{t.name} ({t.key})" for t in settings.targets],
        settings=None if found is None else escaped(str(found)),
    )
    warnings = [phrase("check.warning", warning=warning) for warning in (*loaded.warnings, *absent(settings))]
    return _in_words([sound, *warnings], None if found is None else settings.notify.language)
