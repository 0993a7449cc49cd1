"""`logcaster-guard mark`: a person's own verdict on a release, over the guard's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from logcaster_guard.cli import writing
from logcaster_guard.cli.asking import DEFAULT_ADDRESS, UNREACHABLE, Address, AsJson, Json, ask, plain, show
from logcaster_guard.cli.check import BAD_INPUT
from logcaster_guard.cli.writing import REFUSED, Config, Manner, NoWait, Outcome, Reason, Way, Yes
from logcaster_guard.domain import ledger
from logcaster_guard.domain.inbox.commands import MARK_VALID_FOR, Mark, MarkRelease
from logcaster_guard.domain.ledger import ReleaseStatus
from logcaster_guard.domain.releases import ReleaseId
from logcaster_guard.engine.command_writer import Place, Written
from logcaster_guard.messages import after_mark
from logcaster_guard.messages.texts import Phrase, phrase

_HASH = re.compile(r"[0-9a-f]{64}(\+[0-9a-f]{64})?")


def mark(
    verdict: Annotated[Mark, typer.Argument(metavar="bad|not-bad", help="What it is.")],
    *,
    revision: Annotated[
        str,
        typer.Option(
            "--revision", metavar="REVISION", help="Its number, or the first digits of its hash (history --json)."
        ),
    ],
    reason: Reason,
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="The target's name, or NAMESPACE/DEPLOYMENT.")
    ] = "",
    yes: Yes = False,
    no_wait: NoWait = False,
    config: Config = None,
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Mark a release bad, so that it is never gone back to, or lift that it is bad.

    Lifting makes nothing good: what had earned good before is good again, all else is unproven until it earns it.
    """
    writing.check_reason(reason)
    way, manner = writing.way(address, config), Manner(reason, yes, no_wait, as_json)
    release = _found(way, verdict, target, revision) if way.there else _blindly(way, target, revision)
    if not as_json:
        follows = phrase("cli.before_bad" if verdict is Mark.BAD else "cli.before_not_bad")
        show([plain(way.texts.text(line)) for line in (*release.lines, follows)])
    writing.agree(way, phrase("cli.mark_it", verdict=str(verdict)), yes=yes)
    command = MarkRelease(release.key, datetime.now(UTC) + MARK_VALID_FOR, verdict, reason)
    written = writing.write(way, release.place, command)
    writing.echo(way, written, as_json=as_json)
    raise writing.finish(way, written, _outcome(way, verdict, release, written, manner), as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Release:
    """The release that is marked. `target` is its target's key, `key` its own, `lines` what is known of it."""

    target: str
    place: Place
    key: str
    lines: tuple[Phrase, ...]

    @property
    def told(self) -> Json:
        return {"target": self.target, "template": ReleaseId.of_key(self.key).template, "release": self.key}


def _found(way: Way, verdict: Mark, target: str, revision: str) -> _Release:
    """The release that is meant, from the daemon's account."""
    chosen = way.target(target)
    releases = {r["release"]: r for r in _releases(way, chosen["target"])}
    names = ledger.named({key: r["revision"] for key, r in releases.items()}, revision)
    if len(names) != 1:
        raise way.ended(phrase("cli.which_revision", revision=revision, known=_known(releases.values())), BAD_INPUT)
    release = releases[names[0]]
    if verdict is Mark.NOT_BAD and release["status"] != ReleaseStatus.BAD:
        good = phrase("cli.not_bad", revision=release["revision"], release_status=release["status"])
        raise way.ended(good, REFUSED)
    line = phrase(
        "cli.release",
        target=chosen["target"],
        revision=release["revision"],
        images=release["images"],
        release_status=release["status"],
        why=release["bad_reason"],
    )
    place = writing.place_in(chosen, chosen["workload"])
    return _Release(chosen["target"], place, names[0], (line, phrase("cli.hash", template=names[0])))


def _known(releases: Iterable[Json]) -> list[Phrase]:
    return [
        phrase(
            "cli.known_revision", revision=r["revision"], template=r["template"][:8], release_status=r["status"]
        )
        for r in releases
    ]  # fmt: skip


def _releases(way: Way, target: str) -> list[Json]:
    found: list[Json] = ask(way.address, "/api/v1/history", target=target, limit="1")["releases"]
    return found


def _blindly(way: Way, target: str, revision: str) -> _Release:
    if not target or not _HASH.fullmatch(revision):
        raise way.ended(phrase("cli.blind_mark", address=way.address), UNREACHABLE)
    place = way.place_of(target)
    key = writing.key_of(place)
    return _Release(key, place, revision, (phrase("cli.unseen_release", target=key, revision=revision),))


def _outcome(way: Way, verdict: Mark, release: _Release, written: Written, manner: Manner) -> Outcome:
    ended_early = writing.left_alone(way, manner, release.told)
    ended_early = ended_early or writing.not_counted(way, release.target, written, release.told)
    if ended_early is not None:
        return ended_early
    now = next(r for r in _releases(way, release.target) if r["release"] == release.key)
    follows = after_mark(ReleaseStatus(now["status"]), way.texts)
    bad, revision = verdict is Mark.BAD, now["revision"]
    sentence = phrase("cli.marked", revision=revision, target=release.target, bad=bad, follows=follows)
    return Outcome("done", sentence, {**release.told, "status": now["status"]})
