"""`logcaster-guard rollback`: a person's own rollback, shown first, then carried out as any other.

A guard that answers at the address is asked by an annotation on the workload, with the person's own rights there.
Where none answers, and none holds the journal, this process is the guard until the run has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from logcaster_guard import app, stores
from logcaster_guard.adapters import logs
from logcaster_guard.cli import writing
from logcaster_guard.cli.asking import DEFAULT_ADDRESS, UNREACHABLE, Address, Json, ask, ended, is_there, plain, show
from logcaster_guard.cli.check import BAD_INPUT, print_faults
from logcaster_guard.cli.run import Config
from logcaster_guard.cli.writing import Way
from logcaster_guard.config.loading import Loaded, load
from logcaster_guard.config.settings import Settings
from logcaster_guard.domain.errors import ClusterError, ConfigurationError, JournalUnavailable, Unavailable
from logcaster_guard.domain.guard_reasons import JournalUnusable
from logcaster_guard.domain.inbox.annotations import MAX_REASON
from logcaster_guard.domain.inbox.commands import ROLLBACK_VALID_FOR, RollBack, Wish, is_name_of_release, wished
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.runs import RECOVERED
from logcaster_guard.domain.signals import Target
from logcaster_guard.engine.command_writer import Place
from logcaster_guard.engine.guard import Guard
from logcaster_guard.messages.texts import Texts, failure, phrase
from logcaster_guard.ports import Kind
from logcaster_guard.web.rendering import one_run, plan

PATIENCE = 5.0
"""Seconds beyond its duration for which the lease of a guard that is gone is waited for."""


class Strategy(StrEnum):
    """The ways back that can be asked for."""

    IMMEDIATE = "immediate"
    GRADUAL = "gradual"
    BLUE_GREEN = "blue-green"
    ENV = "env"
    CONFIG = "config"

    @property
    def action(self) -> Action:
        """The word of the rules for it."""
        return Action(f"{self.value.replace('-', '_')}_rollback")


def rollback(
    paths: Config,
    *,
    target: Annotated[str, typer.Option(metavar="NAME", help="The target's name, or NAMESPACE/DEPLOYMENT.")] = "",
    strategy: Annotated[Strategy, typer.Option(help="The way back.")] = Strategy.IMMEDIATE,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; people are told.")] = "manual",
    to: Annotated[
        str,
        typer.Option(metavar="REVISION", help="Its number, or the first digits of its hash; else the last good one."),
    ] = "",
    only: Annotated[
        str, typer.Option(metavar="NAMES", help="With env: these variables, joined by commas; else all.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Roll a target back by hand, and follow the runs that follow from it; exits 1 if it does not recover."""
    loaded = load(*paths)
    if isinstance(loaded, list):
        print_faults(loaded)
        raise typer.Exit(BAD_INPUT)
    texts, chosen = app.texts_of(loaded.settings), chosen_target(loaded.settings, target)
    if not reason.isprintable() or len(reason) > MAX_REASON or (to and not is_name_of_release(to)):
        raise ended(phrase("cli.reason_and_to"), BAD_INPUT, texts)
    wish = wished(strategy.action, to, only or None)
    if isinstance(wish, Message):
        raise ended(phrase("cli.of_option", option="--only", fault=wish), BAD_INPUT, texts)
    logs.configure("auto", "error")
    try:
        agree = _agreement(texts, dry_run=dry_run, yes=yes)
        if is_there(address):
            well = _asked(loaded, chosen, wish, reason, address=address, agree=agree)
        else:
            well = asyncio.run(_alone(loaded, chosen, wish, reason, agree))
    except ConfigurationError as error:
        raise ended(error.reason, BAD_INPUT, texts) from None
    except (ClusterError, JournalUnavailable) as error:
        raise ended(error.reason, UNREACHABLE, texts) from None
    raise typer.Exit(0 if well else 1)


def chosen_target(settings: Settings, name: str) -> Target:
    """The target of this name, or the only one; ends the command where that is not one."""
    found = [t for t in settings.targets if name in {t.name, t.key}] if name else list(settings.targets)
    if len(found) != 1:
        known = phrase("cli.which_target", name=name, known=[f"{t.name} ({t.key})" for t in settings.targets])
        raise ended(known, BAD_INPUT, app.texts_of(settings))
    return found[0]


Agree = Callable[[], bool]


def _agreement(texts: Texts, *, dry_run: bool, yes: bool) -> Agree:
    def agreed() -> bool:
        if dry_run:
            show([plain(texts.text(phrase("cli.dry_run_shown")))])
            return False
        if yes:
            return True
        if not sys.stdin.isatty():
            raise ended(phrase("cli.nobody_to_ask", dry_run=True), BAD_INPUT, texts)
        if not typer.confirm(texts.text(phrase("cli.roll_back"))):
            raise ended(phrase("cli.nothing_done"), 1, texts)
        return True

    return agreed


def _show(shown: Json, texts: Texts) -> None:
    lines = [
        plain(f"{shown['target']}: {', '.join(shown['from_images'])} → {', '.join(shown['to_images'])}", "bold"),
        *(plain(f"  {line}") for line in shown["differences"] or [texts.text(phrase("cli.no_difference"))]),
        plain(texts.text(phrase("cli.plan", plan=shown["approval_token"], strategy=shown["strategy"]))),
        *(plain(f"  {number}. {line}") for number, line in enumerate(shown["steps"], 1)),
        *([plain(shown["leftover"], "yellow")] if shown["leftover"] else []),
    ]
    show(lines)


def _refused(reasons: Sequence[str], texts: Texts) -> typer.Exit:
    return ended(" ".join(reasons), 1, texts)


def _asked(loaded: Loaded, target: Target, wish: Wish, reason: str, *, address: str, agree: Agree) -> bool:
    """Ask the guard that runs: it shows the plan, and takes the request from the workload's annotation."""
    texts = app.texts_of(loaded.settings)
    named = {"to": wish.to or None, "only": ",".join(wish.only) or None}
    shown = ask(address, "/api/v1/plan", target=target.key, action=str(wish.action), **named)
    if shown["reasons"]:
        raise _refused(shown["reasons"], texts)
    _show(shown, texts)
    if not agree():
        return True
    request = RollBack(shown["approval_token"], datetime.now(UTC) + ROLLBACK_VALID_FOR, wish, reason)
    way = Way(address, there=True, settings=loaded.settings, texts=texts)
    place = Place(Kind(target.kind), target.namespace, shown["workload"])
    written = writing.write(way, place, request)
    asked = phrase("cli.asked_by", annotation=written.annotation, workload=shown["workload"])
    show([plain(texts.text(asked))])

    async def look() -> Sequence[Json]:
        told = await asyncio.to_thread(way.target, target.key)
        heard = writing.heard(told, written.digest)
        if heard is not None and not heard["counted"]:
            raise _refused([heard["words"]], texts)
        if heard is None:
            return []
        answer = await asyncio.to_thread(ask, address, "/api/v1/history", target=target.key, limit="20")
        return line_of(answer["runs"], heard["run"])

    patience = 2 * loaded.settings.policy.polling.interval + 30.0
    return asyncio.run(_followed(look, patience, texts))


async def _alone(loaded: Loaded, target: Target, wish: Wish, reason: str, agree: Agree) -> bool:
    """Be the guard for as long as the run takes."""
    alone = replace(loaded, settings=replace(loaded.settings, targets=(target,)))
    async with app.built(alone, by_hand=True) as guard, contextlib.AsyncExitStack() as stack:
        if guard.authority is None:
            await guard.read_journal()
        else:
            await stack.enter_async_context(_working(guard))
            await _turn(guard, guard.authority.terms.duration + PATIENCE)
        if not guard.read_model.journal_usable:
            raise JournalUnavailable(phrase("fault.nobody_answers", journal=stores.described(loaded.settings.journal)))
        runs, texts = guard.manual(target.key), app.texts_of(loaded.settings)
        shown = plan(target.key, await runs.preview(wish), texts)
        if shown["reasons"]:
            raise _refused(shown["reasons"], texts)
        _show(shown, texts)
        if not await asyncio.to_thread(agree):
            return True
        return await _carried_out(guard, runs.begin(wish, shown["approval_token"], reason), texts)


async def _turn(guard: Guard, within: float) -> None:
    """Wait until this process holds the lease and has read the journal; raises `Unavailable`."""
    end = time.monotonic() + within
    while guard.read_model.standby or not guard.read_model.journal_read:
        if time.monotonic() > end:
            raise failure(Unavailable, guard.read_model.standing_by or JournalUnusable())
        await asyncio.sleep(0.1)


async def _carried_out(guard: Guard, beginning: Awaitable[str | Sequence[Reason]], texts: Texts) -> bool:
    async with contextlib.nullcontext() if guard.authority is not None else _working(guard):
        begun = await beginning
        if not isinstance(begun, str):
            raise _refused([texts.text(why) for why in begun], texts)
        name = begun

        async def look() -> Sequence[Json]:
            return line_of([one_run(run, texts) for run in guard.read_model.runs()], name)

        return await _followed(look, 0.0, texts)


@contextlib.asynccontextmanager
async def _working(guard: Guard) -> AsyncIterator[None]:
    task = asyncio.create_task(guard.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def line_of(runs: Sequence[Json], first: str) -> Sequence[Json]:
    """The run `first` and those that followed from its end, each from the one before; empty while it is not there."""
    found = [run for run in runs if run["run"] == first]
    while found and (following := [run for run in runs if run["parent"] == found[-1]["run"]]):
        found += following[:1]
    return found


async def _followed(look: Callable[[], Awaitable[Sequence[Json]]], patience: float, texts: Texts) -> bool:
    """Tell each step of the runs as it is done; whether the target recovered. `patience` is in seconds.

    A run that takes over is opened in the append that closes the one before, so the last one that is closed is the end.
    """
    began, told = time.monotonic(), 0
    while True:
        line = await look()
        if not line and time.monotonic() - began > patience:
            raise ended(phrase("cli.not_taken"), 1, texts)
        lines = [text for run in line for text in _told(run, texts, follows=run is not line[0])]
        show(lines[told:])
        told = len(lines)
        if line and line[-1]["closed_at"] is not None:
            return bool(line[-1]["outcome"] == RECOVERED)
        await asyncio.sleep(0.5)


def _told(run: Json, texts: Texts, *, follows: bool) -> list[Text]:
    """All that is to be told of a run so far: more is only ever added at its end."""
    say, lines = texts.text, list[Text]()
    if follows:
        lines.append(plain(say(phrase("cli.run_follows", run=run["run"], reason=run["reason"])), "bold"))
    lines += [plain(f"  {say(phrase('cli.step_done', step=step))}") for step in run["steps_done"]]
    if run["closed_at"] is not None:
        closed = phrase("cli.run_closed", run=run["run"], outcome=run["outcome"], reason=run["outcome_reason"])
        lines.append(plain(say(closed), "bold"))
    return lines
