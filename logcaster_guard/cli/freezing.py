"""`logcaster-guard freeze`, `unfreeze` and `resume`: whether the guard may roll a target back at all."""

from __future__ import annotations

from typing import Annotated

import typer

from logcaster_guard.cli import writing
from logcaster_guard.cli.asking import DEFAULT_ADDRESS, Address, AsJson, Json, plain, show
from logcaster_guard.cli.writing import Config, Manner, NoWait, Outcome, Reason, Way, Yes
from logcaster_guard.domain.inbox.freezes import FreezeCommand, SetFreeze
from logcaster_guard.engine.command_writer import Written
from logcaster_guard.messages.texts import phrase

_QUOTED = 100

Which = Annotated[str, typer.Argument(metavar="TARGET", help="The target's name, or NAMESPACE/DEPLOYMENT.")]


def freeze(
    target: Which,
    *,
    reason: Reason,
    yes: Yes = False,  # noqa: ARG001 - the options of the three are the same; holding still need not be confirmed
    no_wait: NoWait = False,
    config: Config = None,
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Let nothing be rolled back on a target until it is unfrozen."""
    _say(FreezeCommand.FREEZE, writing.way(address, config), target, Manner(reason, True, no_wait, as_json))


def unfreeze(
    target: Which,
    *,
    reason: Reason,
    yes: Yes = False,
    no_wait: NoWait = False,
    config: Config = None,
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Lift every freeze of a target, a person's and the guard's own."""
    _say(FreezeCommand.UNFREEZE, writing.way(address, config), target, Manner(reason, yes, no_wait, as_json))


def resume(
    target: Which,
    *,
    reason: Reason,
    yes: Yes = False,
    no_wait: NoWait = False,
    config: Config = None,
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Lift the freeze that the guard itself put on a target after a run that did not end well; a person's stays."""
    _say(FreezeCommand.RESUME, writing.way(address, config), target, Manner(reason, yes, no_wait, as_json))


def _say(command: FreezeCommand, way: Way, name: str, manner: Manner) -> None:
    writing.check_reason(manner.reason)
    target = way.target(name) if way.there else None
    place = way.place_of(name) if target is None else writing.place_in(target, target["workload"])
    if target is not None and target["frozen"] is not None and not manner.as_json:
        frozen = target["frozen"]
        held = phrase("cli.frozen_by", target=target["target"], by=frozen["by"], reason=frozen["reason"])
        show([plain(way.texts.text(held))])
    writing.agree(way, phrase("cli.freeze_it", command=str(command), name=name), yes=manner.yes)
    written = writing.write(way, place, SetFreeze(command, manner.reason, _by(target)))
    writing.echo(way, written, as_json=manner.as_json)
    key = writing.key_of(place) if target is None else target["target"]
    outcome = writing.left_alone(way, manner, {}) or _became(command, way, key, written)
    raise writing.finish(way, written, outcome, as_json=manner.as_json)


def _by(target: Json | None) -> str | None:
    if target is None:
        return ""
    return None if target["frozen"] is None else str(target["frozen"]["by"])


def _became(command: FreezeCommand, way: Way, target: str, written: Written) -> Outcome:
    def held(account: Json) -> bool | None:
        frozen = account["frozen"]
        if command is FreezeCommand.FREEZE:
            # A run that the freeze has ended froze the target in its turn, and quotes it.
            return True if frozen is not None and written.value[:_QUOTED] in frozen["reason"] else None
        return True if frozen is None else None

    if writing.awaited(way, held, target) is not None:
        frozen = command is FreezeCommand.FREEZE
        became = phrase("cli.is_frozen" if frozen else "cli.is_not_frozen", target=target)
        return Outcome("done", became, {"target": target})
    return Outcome("unknown", phrase("cli.not_taken_in", target=target), {"target": target})
