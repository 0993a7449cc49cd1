"""Requests that people write on the workload, with a clock that the test turns."""

from __future__ import annotations

from datetime import timedelta

from logcaster_guard.domain import manual
from logcaster_guard.domain.events import NoticeQueued, RevisionGood, RevisionLive, RunOpened
from logcaster_guard.domain.inbox.annotations import ROLLBACK
from logcaster_guard.domain.inbox.commands import RollBack, Wish, value_of
from logcaster_guard.domain.releases import of_workload
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.journal_state import target_stream
from logcaster_guard.engine.manual_runs import Preview
from logcaster_guard.messages.texts import english
from logcaster_guard.sandbox import objects
from tests.fakes.clock import START
from tests.fakes.guarded import INTERVAL, TARGET, Guarded, deployment

WISH = Wish(Action.IMMEDIATE)
STREAM = target_stream(TARGET.key)


async def knowing_a_good_release(scene: Guarded) -> None:
    """The journal knows an older release that was good."""
    raw = deployment()
    raw["spec"]["template"]["spec"]["containers"][0]["image"] = objects.image("0.9.0")
    good = Workload(raw)
    blob = await scene.blobs.put(of_workload(good).to_bytes())
    began = START - timedelta(days=2)
    assert scene.journal is not None
    live = RevisionLive(began, good.hash, "6", good.uid, blob, good.images, earliest=began)
    await scene.journal.append(STREAM, [live, RevisionGood(began, good.hash, 1.0, 600.0)], 0)


def write(scene: Guarded, value: str) -> None:
    scene.cluster.deployment["metadata"]["annotations"][ROLLBACK] = value


async def told(scene: Guarded) -> tuple[list[RunOpened], list[NoticeQueued]]:
    assert scene.journal is not None
    events = [e.event for e in await scene.journal.read_all()]
    refused = [e for e in events if isinstance(e, NoticeQueued) and e.notice.event == "request.refused"]
    return [e for e in events if isinstance(e, RunOpened)], refused


async def test_a_request_is_carried_out_once() -> None:
    async with Guarded.serving() as scene:
        await knowing_a_good_release(scene)
        async with scene.running():
            await scene.clock.advance(INTERVAL)
            runs = scene.guard.watches[TARGET.key].manual
            shown = await runs.preview(WISH)
            assert isinstance(shown, Preview)
            expiry = scene.clock.now() + timedelta(minutes=5)
            write(scene, value_of(RollBack(shown.approval_token, expiry, WISH, "customers call")))
            await scene.clock.advance(3 * INTERVAL)
            opened, refused = await told(scene)
    assert ([o.rule for o in opened], refused) == ([manual.RULE], [])
    assert "customers call" in english().text(opened[0].reason)


async def test_a_request_for_another_plan_is_refused_and_told_once_over_restarts() -> None:
    async with Guarded.serving() as scene:
        await knowing_a_good_release(scene)
        expiry = scene.clock.now() + timedelta(hours=5)
        write(scene, value_of(RollBack("0123456789abcdef", expiry, WISH, "because")))
        async with scene.running():
            await scene.clock.advance(5 * INTERVAL)
        again = scene.restarted()
        async with again.running():
            await again.clock.advance(5 * INTERVAL)
        opened, refused = await told(scene)
    assert opened == []
    assert [r.notice.text for r in refused] == ["What would be done now is not what was agreed to: look at it again."]
