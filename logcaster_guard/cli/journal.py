"""`logcaster-guard journal`: look through the guard's journal, back it up, compact it, export it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
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
from logcaster_guard.messages.texts import Texts, phrase
from logcaster_guard.ports import Checked, Flaw

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
        raise ended(phrase("cli.name_journal"), BAD_INPUT)
    settings = _settings(paths) if paths else default_settings()
    texts = texts_of(settings) if paths else Texts(spoken_here())
    copy, checked = _done(_verified(settings, file), texts)
    flaws = checked.flaws
    name = escaped(str(file or texts.text(stores.described(settings.journal))))
    _tell(flaws, texts)
    for one in checked.not_looked_at:
        typer.echo(escaped(texts.text(phrase("cli.not_looked_at", object=one.name, why=one.reason))), err=True)
    if flaws:
        raise ended(phrase("cli.faults_in", count=len(flaws), name=name), FAULTY, texts)
    typer.echo(texts.text(phrase("cli.journal_sound", name=name, **_held(copy))))


@journal.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new tar file; nothing is ever replaced.")],
    paths: Paths,
) -> None:
    """Copy the journal and the saved releases as they are now, beside a running guard, and read the copy back."""
    settings = _settings(paths)
    texts = texts_of(settings)
    try:
        copy = _done(journal_tools.back_up(settings, file), texts)
    except BackupFailed as error:
        _tell(error.flaws, texts)
        raise ended(error.reason, FAULTY if error.flaws else BAD_INPUT, texts) from None
    typer.echo(texts.text(phrase("cli.backup_made", file=escaped(str(file)), **_held(copy))))


@journal.command()
def compact(
    paths: Paths,
    stopped: Annotated[
        bool, typer.Option("--stopped", help="No guard is at work on it, where nobody can tell.")
    ] = False,
) -> None:
    """Let go of what no decision can need any more, as the guard does at night; refused while one is at work."""
    settings = _settings(paths)
    texts = texts_of(settings)
    try:
        found = _done(journal_tools.compact(settings, stopped=stopped), texts)
    except JournalInUse as error:
        raise ended(error.reason, FAULTY, texts) from None
    compacted = phrase(
        "cli.compacted",
        removed=found.removed,
        events=found.events,
        journal=stores.described(settings.journal),
        before=f"{found.before:,}",
        after=f"{found.after:,}",
    )
    typer.echo(texts.text(compacted))


@journal.command()
def export(
    paths: Paths,
    target: Annotated[str, typer.Option(metavar="NAME", help="Only of this target: its name, or NAMESPACE/NAME.")] = "",
    run: Annotated[str, typer.Option(metavar="RUN", help="Only of this run.")] = "",
    since: Annotated[str, typer.Option(metavar="WHEN", help="Only from then on: 24h, or 2026-01-31T12:00:00Z.")] = "",
) -> None:
    """Print the events as JSON, one a line, oldest first."""
    settings = _settings(paths)
    texts, begin = texts_of(settings), _begin(since)
    keys = {t.key for t in settings.targets if target in {t.name, t.key}} or {target}
    copy = _done(journal_tools.present(settings), texts)
    lenient_output()
    for line in journal_tools.exported(copy.journal.entries):
        late = begin is None or datetime.fromisoformat(line["at"]) >= begin
        if late and (not target or line["target"] in keys) and run in {"", line["run"]}:
            print(json.dumps(line, ensure_ascii=False))
    for flaw in copy.journal.flaws:
        typer.echo(escaped(texts.text(phrase("cli.left_out", flaw=flaw.told))), err=True)
    raise typer.Exit(FAULTY if copy.journal.flaws else 0)


async def _verified(settings: Settings, file: Path | None) -> tuple[Copy, Checked]:
    if file is None:
        return await journal_tools.verified(settings)
    async with journal_tools.backup(file) as copy:
        return copy, await copy.checked(settings.policy.ledger)


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
            allowed = phrase("cli.since")
            refused = phrase("cli.option", option="--since", found=escaped(since), allowed=allowed)
            raise ended(refused, BAD_INPUT) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _held(copy: Copy) -> Mapping[str, int]:
    entries = copy.journal.entries
    return {"events": len(entries), "streams": len({e.stream for e in entries})}


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


def _done(work: Coroutine[Any, Any, T], texts: Texts) -> T:
    """The work's answer; ends the command where something outside cannot be read or reached."""
    try:
        return asyncio.run(work)
    except (BackupFailed, JournalInUse):
        raise
    except (ClusterError, JournalOutOfReach) as error:
        raise ended(error.reason, UNREACHABLE, texts) from None
    except (ConfigurationError, JournalUnavailable) as error:
        raise ended(error.reason, BAD_INPUT, texts) from None
    except GuardError as error:
        raise ended(error.reason, FAULTY, texts) from None
