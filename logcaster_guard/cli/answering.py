"""`logcaster-guard approve`, `veto` and `abandon`: what a person says to a rollback that is open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from logcaster_guard.cli import writing
from logcaster_guard.cli.asking import (
    DEFAULT_ADDRESS,
    UNREACHABLE,
    Address,
    AsJson,
    Json,
    ask,
    instant,
    plain,
    show,
)
from logcaster_guard.cli.check import BAD_INPUT
from logcaster_guard.cli.writing import REFUSED, Config, Manner, NoWait, Outcome, Reason, Way, Yes
from logcaster_guard.domain.inbox.commands import AnswerRun, RunCommand, expiry_of_answer, is_approval_token
from logcaster_guard.engine.command_writer import Place, Written
from logcaster_guard.messages.texts import Phrase, phrase

Which = Annotated[str, typer.Option("--target", metavar="NAME", help="The target's name, or NAMESPACE/DEPLOYMENT.")]
RunName = Annotated[str, typer.Option("--run", metavar="RUN", help="The run's name; else the one that is open.")]
ApprovalToken = Annotated[
    str,
    typer.Option(
        "--approval-token", metavar="TOKEN", help="The 16 digits of the notice; needed where no daemon answers."
    ),
]

_GIVING_BACK = 600.0
"""Seconds within which a run that ends has given back what it borrowed."""


def approve(
    *,
    target: Which = "",
    run: RunName = "",
    approval_token: ApprovalToken = "",
    reason: Reason = "approved",
    yes: Yes = False,
    no_wait: NoWait = False,
    config: Config = None,
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Say yes to the rollback that asks for it, so that it begins at once."""
    _answer(
        RunCommand.APPROVE,
        writing.way(address, config),
        (target, run, approval_token),
        Manner(reason, yes, no_wait, as_json),
    )


def veto(
    *,
    target: Which = "",
    run: RunName = "",
    approval_token: ApprovalToken = "",
    reason: Reason = "vetoed",
    yes: Yes = False,  # noqa: ARG001 - the options of the three are the same; a no need not be confirmed
    no_wait: NoWait = False,
    config: Config = None,
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Say no to the rollback that asks first; nothing is changed."""
    _answer(
        RunCommand.VETO,
        writing.way(address, config),
        (target, run, approval_token),
        Manner(reason, True, no_wait, as_json),
    )


def abandon(
    *,
    target: Which = "",
    run: RunName = "",
    approval_token: ApprovalToken = "",
    reason: Reason = "abandoned",
    yes: Yes = False,
    no_wait: NoWait = False,
    config: Config = None,
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """End the open run where it stands: what it borrowed is given back, and the target is frozen."""
    _answer(
        RunCommand.ABANDON,
        writing.way(address, config),
        (target, run, approval_token),
        Manner(reason, yes, no_wait, as_json),
    )


@dataclass(frozen=True, slots=True)
class _Addressed:
    """The run that is answered: `target` is its key, `run` its name where a daemon knows it."""

    target: str
    place: Place
    approval_token: str
    expiry: datetime
    run: Json | None


def _answer(command: RunCommand, way: Way, names: tuple[str, str, str], manner: Manner) -> None:
    writing.check_reason(manner.reason)
    target, run, approval_token = names
    if approval_token and not is_approval_token(approval_token):
        raise way.ended(phrase("cli.token_digits"), BAD_INPUT)
    addressed = (
        _found(command, way, target, run, approval_token)
        if way.there
        else _blindly(command, way, target, approval_token)
    )
    if not manner.as_json:
        show([plain(way.texts.text(line) if isinstance(line, Phrase) else line) for line in _lines(command, addressed)])
    writing.agree(way, phrase("cli.answer_it", command=str(command)), yes=manner.yes)
    said = AnswerRun(command, addressed.approval_token, addressed.expiry, manner.reason)
    written = writing.write(way, addressed.place, said)
    writing.echo(way, written, as_json=manner.as_json)
    outcome = writing.left_alone(way, manner, _named(addressed)) or _became(command, way, addressed, written)
    raise writing.finish(way, written, outcome, as_json=manner.as_json)


def _found(command: RunCommand, way: Way, target: str, run: str, approval_token: str) -> _Addressed:
    """The run that is meant, from the daemon's account."""
    targets = way.status()["targets"]
    if target:
        targets = [writing.chosen(targets, target)]
    candidates = [(t, t["run"]) for t in targets if t["run"] is not None]
    if run or approval_token:
        candidates = [
            (t, r) for t, r in candidates if run in {"", r["run"]} and approval_token in {"", r["approval_token"]}
        ]
    elif command is not RunCommand.ABANDON:
        candidates = [(t, r) for t, r in candidates if r["question"] is not None]
    if not candidates:
        raise way.ended(phrase("cli.nothing_to_answer", command=str(command)), REFUSED)
    if len(candidates) > 1:
        names = [f"{t['name']} ({r['run']})" for t, r in candidates]
        raise way.ended(phrase("cli.which_target", name="", known=names), BAD_INPUT)
    ((place, open_run),) = candidates
    question = open_run["question"]
    if question is None and command is not RunCommand.ABANDON:
        raise way.ended(phrase("cli.asks_no_more", run=open_run["run"]), REFUSED)
    asked_until = None if question is None else datetime.fromisoformat(question["expiry"])
    expiry = expiry_of_answer(command, asked_until, datetime.now(UTC))
    where = writing.place_in(place, open_run["workload"])
    return _Addressed(place["target"], where, open_run["approval_token"], expiry, open_run)


def _blindly(command: RunCommand, way: Way, target: str, approval_token: str) -> _Addressed:
    if not target or not approval_token:
        raise way.ended(phrase("cli.blind_answer", address=way.address), UNREACHABLE)
    place = way.place_of(target)
    return _Addressed(
        writing.key_of(place), place, approval_token, expiry_of_answer(command, None, datetime.now(UTC)), None
    )


def _lines(command: RunCommand, addressed: _Addressed) -> list[str | Phrase]:
    run = addressed.run
    holds = phrase("cli.answer_holds", until=instant(addressed.expiry.isoformat()))
    if run is None:
        return [phrase("cli.unseen_plan", target=addressed.target, plan=addressed.approval_token, holds=holds)]
    return [
        phrase(
            "cli.open_run",
            target=run["target"],
            run=run["run"],
            strategy=run["strategy"],
            plan=run["approval_token"],
            until=None if run["question"] is None else instant(run["question"]["until"]),
        ),
        f"  {', '.join(run['from_images'])} → {', '.join(run['to_images'])}",
        f"  {run['reason']}",
        phrase("cli.at_step", step=run["step"], done=run["steps_done"]),
        holds if command is not RunCommand.ABANDON else phrase("cli.given_back"),
    ]


def _named(addressed: _Addressed) -> Json:
    return {"run": "" if addressed.run is None else addressed.run["run"], "approval_token": addressed.approval_token}


def _became(command: RunCommand, way: Way, addressed: _Addressed, written: Written) -> Outcome:
    more = _named(addressed)
    name = more["run"]
    if (denied := writing.not_counted(way, addressed.target, written, more)) is not None:
        return denied
    if command is RunCommand.APPROVE:
        return Outcome("done", phrase("cli.approved", run=name), more)

    def closed(_: Json) -> Json | None:
        runs = ask(way.address, "/api/v1/history", target=addressed.target, limit="50")["runs"]
        return next((r for r in runs if r["run"] == name and r["closed_at"] is not None), None)

    run = writing.awaited(way, closed, addressed.target, longer=_GIVING_BACK)
    if run is None:
        return Outcome("done", phrase("cli.giving_back", run=name), more)
    more["run_outcome"] = run["outcome"]
    closed_as = phrase("cli.run_closed", run=name, outcome=run["outcome"], reason=run["outcome_reason"])
    return Outcome("done", closed_as, more)
