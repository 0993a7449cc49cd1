"""How commands say something to the guard: by an annotation on the workload, with the caller's own rights."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from logcaster_guard import stores
from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.app import texts_of
from logcaster_guard.cli.asking import UNREACHABLE, Json, ask, ended, is_there, plain, show, show_json, spoken
from logcaster_guard.cli.check import BAD_INPUT, print_faults, spoken_here
from logcaster_guard.config.loading import load
from logcaster_guard.config.settings import Settings, default_settings
from logcaster_guard.domain.errors import ClusterError, ConfigurationError
from logcaster_guard.domain.inbox.annotations import Denied, objection_to_reason
from logcaster_guard.domain.inbox.commands import Command
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.signals import Target
from logcaster_guard.engine import command_writer
from logcaster_guard.engine.command_writer import Place, Written
from logcaster_guard.fields.faults import escaped
from logcaster_guard.messages.texts import Phrase, Texts, phrase
from logcaster_guard.ports import Kind

REFUSED = 1
"""Exit code: it was understood, and is not done or did not end well."""

_LOOK = 0.5
_SLACK = 15.0
"""Seconds beyond one poll for the guard to take something in."""

T = TypeVar("T")

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; people are told.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Write it, and do not wait for what the guard makes of it.")]
Config = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        metavar="PATH",
        help="Settings as given to `run`, for the way into Kubernetes; else the default kubeconfig, as kubectl.",
    ),
]


@dataclass(frozen=True, slots=True)
class Manner:
    """Why it is said, and how the command goes about it."""

    reason: str
    yes: bool
    no_wait: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class Way:
    """Where the daemon listens, whether it does, how Kubernetes is reached, and in which language people are told."""

    address: str
    there: bool
    settings: Settings
    texts: Texts

    def ended(self, sentence: Message | Phrase, code: int) -> typer.Exit:
        """As `asking.ended`, in this language."""
        return ended(sentence, code, self.texts)

    def status(self) -> Json:
        """The daemon's own account; ends the command with 3 where another one is at work."""
        found = ask(self.address, "/api/v1/status")
        if found["standing_by"] is not None:
            raise ended(escaped(found["standing_by"]), UNREACHABLE)
        return found

    def target(self, name: str) -> Json:
        """The target of this name or key, or the only one (empty), as the daemon tells it."""
        return chosen(self.status()["targets"], name)

    def place_of(self, name: str) -> Place:
        """Where the annotations of a target go that no daemon can be asked about."""
        found = next((t for t in self.settings.targets if name in {t.name, t.key}), None)
        if found is not None and not found.environments:
            return Place(Kind(found.kind), found.namespace, found.deployment)
        namespace, _, workload = name.partition("/")
        if found is not None or not namespace or not workload:
            raise self.ended(phrase("cli.name_workload"), BAD_INPUT)
        return Place(Kind.DEPLOYMENT, namespace, workload)


def way(address: str, config: Sequence[Path] | None) -> Way:
    """How daemon and cluster are reached; ends the command with 2 where the files or the address cannot be used."""
    settings, texts = default_settings(), Texts(spoken_here())
    if config:
        loaded = load(*config)
        if isinstance(loaded, list):
            print_faults(loaded)
            raise typer.Exit(BAD_INPUT)
        settings, texts = loaded.settings, texts_of(loaded.settings)
    if not is_there(address):
        return Way(address, False, settings, texts)
    return Way(address, True, settings, spoken(ask(address, "/api/v1/status")))


def chosen(targets: Sequence[Json], name: str) -> Json:
    """The target of this name or key, or the only one (empty); ends the command with 2 where there is none such."""
    found = [t for t in targets if name in {t["name"], t["target"]}] if name else list(targets)
    if len(found) != 1:
        known = [f"{t['name']} ({t['target']})" for t in targets]
        raise ended(phrase("cli.which_target", name=name, known=known), BAD_INPUT)
    return found[0]


def place_in(target: Json, workload: str) -> Place:
    """Where an annotation goes, by the daemon's account."""
    return Place(Kind(target["kind"]), target["namespace"], workload)


def check_reason(reason: str) -> None:
    """End the command with 2 for a reason that cannot be written."""
    objection = objection_to_reason(reason)
    if objection is not None:
        raise ended(phrase("cli.of_option", option="--reason", fault=objection), BAD_INPUT)


def agree(way: Way, question: Phrase, *, yes: bool) -> None:
    """Ask the person; ends the command with 1 on a no, with 2 where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise way.ended(phrase("cli.nobody_to_ask", dry_run=False), BAD_INPUT)
    if not typer.confirm(way.texts.text(question)):
        raise way.ended(phrase("cli.nothing_done"), REFUSED)


def write(way: Way, place: Place, command: Command) -> Written:
    """Write it with the caller's own rights; ends the command where it is refused (1) or nobody answers (3)."""
    try:
        found = asyncio.run(_write(way, place, command))
    except ConfigurationError as error:
        raise ended(way.texts.text(error.reason), BAD_INPUT, way.texts) from None
    except ClusterError as error:
        code = REFUSED if error.status in {403, 404, 422} else UNREACHABLE
        raise ended(way.texts.text(error.reason), code, way.texts) from None
    if isinstance(found, Denied):
        raise way.ended(phrase("cli.nothing_written", why=found.reason), REFUSED)
    return found


async def _write(way: Way, place: Place, command: Command) -> Written | Denied:
    cluster = await stores.connected(way.settings)
    try:
        return await command_writer.write(cluster, place, command, SystemClock())
    finally:
        await cluster.aclose()


def awaited(way: Way, look: Callable[[Json], T | None], target: str, *, longer: float = 0.0) -> T | None:
    """What `look` finds in the daemon's account of the target, within a poll of it and `longer` (seconds) more."""
    began = time.monotonic()
    while True:
        status = way.status()
        found = look(chosen(status["targets"], target))
        if found is not None:
            return found
        if time.monotonic() - began > status["polling_interval_seconds"] + _SLACK + longer:
            return None
        time.sleep(_LOOK)


def heard(target: Json, digest: str) -> Json | None:
    """What became of the annotation with this digest, if the daemon has looked at it."""
    return next((h for h in target["heard"] if h["digest"] == digest), None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: `word` is `done`, `refused`, `written` (nobody waited) or `unknown` (nobody took it in)."""

    word: str
    sentence: Phrase
    more: Json

    @property
    def code(self) -> int:
        """The exit code."""
        return 0 if self.word in {"done", "written"} else REFUSED


def left_alone(way: Way, manner: Manner, more: Json) -> Outcome | None:
    """The outcome where nobody waits for what the guard makes of it; None where somebody does."""
    if way.there and not manner.no_wait:
        return None
    return Outcome("written", phrase("cli.written", alone=not way.there), more)


def not_counted(way: Way, target: str, written: Written, more: Json) -> Outcome | None:
    """Wait until the guard has looked at it; the outcome where it does not count, None where it does."""
    found = awaited(way, lambda t: heard(t, written.digest), target)
    if found is None:
        return Outcome("unknown", phrase("cli.not_looked_at"), more)
    return None if found["counted"] else Outcome("refused", phrase("cli.does_not_count", words=found["words"]), more)


def finish(way: Way, written: Written, outcome: Outcome, *, as_json: bool) -> typer.Exit:
    """Tell how it ended; raised, the answer ends the command."""
    if as_json:
        told: dict[str, Any] = {
            "workload": str(written.place),
            "annotation": written.annotation,
            "value": written.value,
            "outcome": outcome.word,
            "detail": way.texts.text(outcome.sentence),
            **outcome.more,
        }
        show_json(told)
    elif outcome.code == 0:
        show([plain(way.texts.text(outcome.sentence), "bold")])
    else:
        return way.ended(outcome.sentence, outcome.code)
    return typer.Exit(outcome.code)


def echo(way: Way, written: Written, *, as_json: bool) -> None:
    """Say what was written."""
    if not as_json:
        wrote = phrase("cli.wrote", place=str(written.place), annotation=written.annotation, value=written.value)
        show([plain(way.texts.text(wrote))])


def key_of(place: Place) -> str:
    """The target's key where only its workload is known."""
    return Target(place.name, place.namespace, place.name).key
