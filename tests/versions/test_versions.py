"""What a guard of an earlier version left in mid-step is carried to its end by this one, and people are told."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from logcaster_guard.adapters import journal_codec
from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.adapters.kubernetes.journal import KubernetesJournal
from logcaster_guard.domain.errors import JournalUnavailable
from logcaster_guard.domain.events import NoticeQueued, RunClosed, RunOpened, SignalSeen
from logcaster_guard.domain.runs import ABANDONED, RECOVERED
from logcaster_guard.ports import Journal, Kind
from logcaster_guard.stores import CODEC
from tests.fakes.journal import MemoryJournal
from tests.versions.kept import PLACE, VERSIONS, secrets_of, sqlite_file, taken_over
from tests.versions.world import AUTOSCALER, PLAYED, Services


def ends(services: Services) -> dict[str, str]:
    """How each service's run ended, for those that people were told of."""
    assert isinstance(services.journal, MemoryJournal)
    events = [e.event for e in services.journal.entries]
    told = {e.notice.run for e in events if isinstance(e, NoticeQueued) and e.notice.event == "run.closed"}
    closed = [e for e in events if isinstance(e, RunClosed) and e.run in told]
    return {e.run.split("-")[0]: e.outcome for e in closed}


def approval_told(services: Services) -> str:
    """What the earlier version told people to write, who may do so only now."""
    assert isinstance(services.journal, MemoryJournal)
    told = [
        e.event.notice.facts.get("approve", "") for e in services.journal.entries if isinstance(e.event, NoticeQueued)
    ]
    (command,) = filter(None, told)
    return command.split("'")[1]


@pytest.mark.parametrize("backend", ["sqlite", "kubernetes"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_each_open_run_is_resumed_and_ends_well(version: str, backend: str, tmp_path: Path) -> None:
    services = await taken_over(version, backend, tmp_path)
    assert ends(services) == {}
    guard = await services.start()
    found = {run.opened.target: run.opened for run in guard.state.open_runs().values()}
    assert sorted(found) == sorted(f"default/{name}" for name in PLAYED)
    services.cluster.annotate("asked", approve=approval_told(services))
    await services.pass_(1_500.0)
    assert ends(services) == dict.fromkeys(PLAYED, RECOVERED)
    assert {services.cluster.image(name) for name in ("gradual", "asked", "plain", "switched-blue")} == {"v1"}
    scaler = services.cluster.object(Kind.AUTOSCALER, "gradual")["spec"]
    assert (scaler, "gradual-rollback" in services.cluster.names(Kind.DEPLOYMENT)) == (AUTOSCALER, False)
    await services.kill()


@pytest.mark.parametrize("version", VERSIONS)
async def test_where_somebody_has_gone_on_meanwhile_each_open_run_is_abandoned(version: str, tmp_path: Path) -> None:
    services = await taken_over(version, "sqlite", tmp_path)
    for name in ("gradual", "asked", "plain", "switched-blue"):
        services.cluster.roll(name, "v3")
    guard = await services.start()
    await services.pass_(120.0)
    assert ends(services) == dict.fromkeys(PLAYED, ABANDONED)
    frozen = {name for name in PLAYED if guard.state.ledger(f"default/{name}").freeze is not None}
    # While people were asked nothing was changed yet.
    assert frozen == {*PLAYED} - {"asked"}
    assert services.cluster.object(Kind.AUTOSCALER, "gradual")["spec"] == AUTOSCALER
    await services.kill()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_an_earlier_version_knew_is_still_written_as_that_version_reads_it(version: str, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(sqlite_file(version, tmp_path / "journal.db"))) as database:
        bodies = [body for (body,) in database.execute("SELECT body FROM events")]
    assert [CODEC.encode(CODEC.decode(body)) for body in bodies] == bodies


AT = "2026-01-01T00:00:00+00:00"
NEWER: dict[str, tuple[dict[str, Any], str]] = {
    "an event": ({"type": "ReleasePraised", "at": AT}, "'ReleasePraised' is no event type of this version"),
    "a field": ({"type": "SignalSeen", "at": AT, "signal": "s", "tenant": "t"}, "tenant: Unexpected keyword"),
    "a meaning": ({"type": "SignalSeen", "codec": 3, "at": AT, "signal": "s"}, "it is of a newer version"),
    "a step": (
        {"type": "RunOpened", "at": AT, "run": "r", "target": "default/plain", "rule": "r", "reason": "r", "plan": {}},
        "plan.steps.0: 'restore_configuration' is no kind of this version",
    ),
}


async def refused(change: dict[str, Any], backend: str, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What this version says of a journal that a newer one went on with."""
    journal: Journal = KubernetesJournal(CODEC, secrets_of("0.1.0"), PLACE)
    if backend == "sqlite":
        journal = await SqliteJournal.open(CODEC, sqlite_file("0.1.0", scratch / "newer.db"))
    entries = await journal.read_all()
    body = dict(change)
    if body["type"] == "RunOpened":
        opened = next(e.event for e in entries if isinstance(e.event, RunOpened))
        body["plan"] = json.loads(CODEC.encode(opened))["plan"]
        body["plan"]["steps"][0] = {"kind": "restore_configuration", "version": 3}
    with monkeypatch.context() as newer:
        newer.setattr(journal_codec.EventCodec, "encode", lambda *_: json.dumps(body))
        await journal.append("run/r", [SignalSeen(entries[0].event.at, "s")], 0)
    with pytest.raises(JournalUnavailable) as caught:
        await journal.read_all()
    await journal.aclose()
    return str(caught.value)


@pytest.mark.parametrize("backend", ["sqlite", "kubernetes"])
@pytest.mark.parametrize("what", NEWER)
async def test_what_only_a_newer_version_knows_is_refused_and_left_to_that_version(
    what: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, says = NEWER[what]
    fault = await refused(change, backend, tmp_path, monkeypatch)
    assert says in fault
    assert "run/r, seq 1" in fault
    assert "run the version that wrote it" in fault
    services = await taken_over("0.1.0", backend, tmp_path)
    journal, before = services.journal, services.cluster.dump()
    assert isinstance(journal, MemoryJournal)
    written, journal.fault = journal.entries, fault
    await services.start()
    await services.pass_(120.0)
    assert (services.cluster.dump(), journal.entries) == (before, written)
    assert [(n.event, fault in n.facts["detail"]) for n in services.inbox.notices] == [("journal.lost", True)]
    await services.kill()
    journal.fault = None
    await services.start()
    await services.pass_(600.0)
    assert ends(services).items() >= {"plain": RECOVERED, "switched": RECOVERED}.items()
    await services.kill()
