"""`logcaster-guard database`: what a way down would do to the database, before anybody goes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from logcaster_guard.app import texts_of
from logcaster_guard.cli.asking import UNREACHABLE, AsJson, ended, plain, show, show_json
from logcaster_guard.cli.check import BAD_INPUT, print_faults
from logcaster_guard.cli.rollback import chosen_target
from logcaster_guard.config.loading import load
from logcaster_guard.domain.database.destinations import ReleaseName, destination
from logcaster_guard.domain.database.migrations import shown_version
from logcaster_guard.domain.database.plan import MigrationPlan, Planned, to_json
from logcaster_guard.domain.errors import (
    ClusterError,
    ConfigurationError,
    DatabaseRefused,
    DatabaseUnavailable,
    SecretUnreadable,
)
from logcaster_guard.messages.texts import Phrase, Texts, phrase

database = typer.Typer(no_args_is_help=True, help="The database that belongs to the releases.")


@database.callback()
def _database() -> None:
    """The database that belongs to the releases."""


@database.command("plan")
def plan(
    paths: Annotated[list[Path], typer.Option("--config", metavar="PATH", help="Settings, as given to `run`.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="RELEASE|VERSION",
            help="A version of the schema, none, or a release: revision:NUMBER or the first digits of its hash.",
        ),
    ],
    target: Annotated[str, typer.Option(metavar="NAME", help="Whose release: a name, or NAMESPACE/DEPLOYMENT.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show what undoing migrations would do: files, locks, and what would be lost, counted now. Nothing is changed.

    Exits with 2 and every fault at once where there is no way down, with 3 where the database cannot be reached.
    """
    # The client and the parser of PostgreSQL are for who asks for them alone.
    from logcaster_guard import database_tools  # noqa: PLC0415

    loaded = load(*paths)
    if isinstance(loaded, list):
        print_faults(loaded)
        raise typer.Exit(BAD_INPUT)
    settings, texts = loaded.settings, texts_of(loaded.settings)
    try:
        version = destination(to)
        if isinstance(version, ReleaseName):
            version = asyncio.run(database_tools.version_of(settings, version, chosen_target(settings, target)))
        found = asyncio.run(database_tools.plan(settings, version))
    except (ConfigurationError, SecretUnreadable) as error:
        raise ended(error.reason, BAD_INPUT, texts) from None
    except (ClusterError, DatabaseUnavailable, DatabaseRefused) as error:
        raise ended(error.reason, UNREACHABLE, texts) from None
    if as_json:
        show_json(_json(found, texts))
    if found.plan is None:
        raise _faulty(found, texts)
    if not as_json:
        show(list(_lines(found, found.plan, texts)))


def _faulty(found: Planned, texts: Texts) -> typer.Exit:
    for fault in found.faults:
        typer.echo(str(plain(texts.text(fault))), err=True)
    return ended(phrase("cli.faults", count=len(found.faults)), BAD_INPUT, texts)


def _json(found: Planned, texts: Texts) -> dict[str, Any]:
    return {
        "plan": None if found.plan is None else to_json(found.plan),
        "faults": [texts.text(fault) for fault in found.faults],
        "not_read": list(found.others),
        "backup": {"size_bytes": found.state.size, "seconds": None},
    }


def _lines(found: Planned, plan: MigrationPlan, texts: Texts) -> Iterator[Text]:
    def line(said: Phrase, style: str = "") -> Text:
        return plain(texts.text(said), style)

    major, minor = divmod(found.state.server_version, 10_000)
    present, to, server = shown_version(plan.present), shown_version(plan.destination), f"{major}.{minor}"
    yield line(
        phrase("database_plan.from_to", database=plan.database, server=server, present=present, destination=to), "bold"
    )
    if not plan.files:
        yield line(phrase("database_plan.nothing_to_undo"))
        return
    for number, file in enumerate(plan.files, 1):
        leaves = shown_version(file.leaves)
        yield line(phrase("database_plan.file", number=number, file=file.name, digest=file.sha256[:12], leaves=leaves))
    yield from _section(phrase("database_plan.locks"), [f"{k.table}: {k.mode}" for k in plan.locks], texts)
    yield from _section(phrase("database_plan.locks_of_indexes"), [str(index) for index in plan.indexes], texts)
    yield from _section(phrase("database_plan.losses"), list(map(texts.text, plan.losses)), texts, "red")
    yield from _section(
        phrase("database_plan.unjudged"), [texts.text(doubt) for doubt in plan.unjudged], texts, "yellow"
    )
    yield from _section(phrase("database_plan.not_read"), found.others, texts, "yellow")
    yield line(phrase("database_plan.backup", size=_size(plan.size)))
    yield line(phrase("database_plan.approval" if plan.needs_approval else "database_plan.nothing_lost"))
    yield line(phrase("database_plan.plan", digest=plan.digest), "bold")


def _section(title: Phrase, lines: Sequence[str], texts: Texts, style: str = "") -> Iterator[Text]:
    if lines:
        yield plain(texts.text(title))
        yield from (plain(f"  {line}", style) for line in lines)


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
