"""`logcaster-guard journal`: look through the guard's journal, back it up, compact it, export it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from logcaster_guard import journal_tools, stores
from logcaster_guard.app import texts_of
from logcaster_guard.cli.asking import UNREACHABLE, ended, lenient_output
from logcaster_guard.cli.check import BAD_INPUT, print_faults, spoken_here
from logcaster_guard.config.loading import load
from logcaster_guard.config.settings import Settings, default_settings
from logcaster_guard.domain.errors import (
    ClusterError,
    ConfigurationError,
    GuardError,
    JournalInUse,
    JournalOutOfReach,
    JournalUnavailable,
)
from logcaster_guard.fields.durations import parse_duration
from logcaster_guard.fields.faults import Refused, escaped
from logcaster_guard.journal_tools import BackupFailed, Copy
from logcaster_guard.messages.texts import Texts
from logcaster_guard.ports import Flaw

FAULTY = 1
"""Exit code: it ran, and found faults or was refused."""

journal = typer.Typer(no_args_is_help=True, help="The guard's journal: verify, back up, compact, export.")

Paths = Annotated[list[Path], typer.Option("--config", metavar="PATH", help="Settings, as given to `run`.")]
T = TypeVar("T")


@journal.command()
def verify(
    file: Annotated[Path | None, typer.Argument(metavar="[BACKUP]", help="A backup, in place of the journal.")] = None,
    paths: Annotated[
        list[Path] | None, typer.Option("--config", metavar="PATH", help="Settings, as for `run`.")
    ] = None,
) -> None:
    """Look through the journal, or a backup of it, beside a running guard: every event, run and saved release.

    Prints a line for each fault. Exits 0 if there is none, 1 if there are some, 2 if it cannot be read.
    """
    if file is None and not paths:
        raise ended("name the settings with --config, or a backup", BAD_INPUT)
    settings = _settings(paths) if paths else default_settings()
    copy, flaws = _done(_verified(settings, file))
    name = file or stores.described(settings.journal)
    _tell(flaws, texts_of(settings) if paths else Texts(spoken_here()))
    if flaws:
        raise ended(f"{len(flaws)} faults in {name}", FAULTY)
    typer.echo(f"OK: {escaped(str(name))}: {_held(copy)}")


@journal.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new tar file; nothing is ever replaced.")],
    paths: Paths,
) -> None:
    """Copy the journal and the saved releases as they are now, beside a running guard, and read the copy back."""
    settings = _settings(paths)
    try:
        copy = _done(journal_tools.back_up(settings, file))
    except BackupFailed as error:
        _tell(error.flaws, texts_of(settings))
        raise ended(str(error), FAULTY if error.flaws else BAD_INPUT) from None
    typer.echo(f"OK: {escaped(str(file))} was written and read back: {_held(copy)}")


@journal.command()
def compact(
    paths: Paths,
    stopped: Annotated[
        bool, typer.Option("--stopped", help="No guard is at work on it, where nobody can tell.")
    ] = False,
) -> None:
    """Let go of what no decision can need any more, as the guard does at night; refused while one is at work."""
    settings = _settings(paths)
    try:
        found = _done(journal_tools.compact(settings, stopped=stopped))
    except JournalInUse as error:
        raise ended(str(error), FAULTY) from None
    typer.echo(
        f"{found.removed} of {found.events} events went: {stores.described(settings.journal)} took "
        f"{found.before:,} bytes, and takes {found.after:,}"
    )


@journal.command()
def export(
    paths: Paths,
    target: Annotated[str, typer.Option(metavar="NAME", help="Only of this target: its name, or NAMESPACE/NAME.")] = "",
    run: Annotated[str, typer.Option(metavar="RUN", help="Only of this run.")] = "",
    since: Annotated[str, typer.Option(metavar="WHEN", help="Only from then on: 24h, or 2026-01-31T12:00:00Z.")] = "",
) -> None:
    """Print the events as JSON, one a line, oldest first."""
    settings = _settings(paths)
    begin = _begin(since)
    keys = {t.key for t in settings.targets if target in {t.name, t.key}} or {target}
    copy = _done(journal_tools.present(settings))
    lenient_output()
    for line in journal_tools.exported(copy.journal.entries):
        late = begin is None or datetime.fromisoformat(line["at"]) >= begin
        if late and (not target or line["target"] in keys) and run in {"", line["run"]}:
            print(json.dumps(line, ensure_ascii=False))
    for flaw in copy.journal.flaws:
        typer.echo(f"left out: {escaped(texts_of(settings).text(flaw.told))}", err=True)
    raise typer.Exit(FAULTY if copy.journal.flaws else 0)


async def _verified(settings: Settings, file: Path | None) -> tuple[Copy, Sequence[Flaw]]:
    if file is None:
        copy = await journal_tools.present(settings)
        return copy, await copy.flaws(settings.policy.ledger)
    async with journal_tools.backup(file) as copy:
        return copy, await copy.flaws(settings.policy.ledger)


def _begin(since: str) -> datetime | None:
    """The instant that is meant: one in ISO 8601, or so long before now."""
    if not since:
        return None
    try:
        found = datetime.fromisoformat(since)
    except ValueError:
        try:
            return datetime.now(UTC) - timedelta(seconds=parse_duration(since))
        except (Refused, OverflowError):
            raise ended(f"--since: found {escaped(since)}; allowed 24h, or 2026-01-31T12:00:00Z", BAD_INPUT) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _held(copy: Copy) -> str:
    entries = copy.journal.entries
    return f"{len(entries)} events in {len({e.stream for e in entries})} streams"


def _tell(flaws: Sequence[Flaw], texts: Texts) -> None:
    lenient_output()
    for flaw in flaws:
        print(escaped(texts.text(flaw.told)))


def _settings(paths: Sequence[Path]) -> Settings:
    loaded = load(*paths)
    if isinstance(loaded, list):
        print_faults(loaded)
        raise typer.Exit(BAD_INPUT)
    return loaded.settings


def _done(work: Coroutine[Any, Any, T]) -> T:
    """The work's answer; ends the command where something outside cannot be read or reached."""
    try:
        return asyncio.run(work)
    except (BackupFailed, JournalInUse):
        raise
    except (ClusterError, JournalOutOfReach) as error:
        raise ended(str(error), UNREACHABLE) from None
    except (ConfigurationError, JournalUnavailable) as error:
        raise ended(str(error), BAD_INPUT) from None
    except GuardError as error:
        raise ended(str(error), FAULTY) from None
