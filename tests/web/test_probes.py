from __future__ import annotations

import socket

import pytest

from logcaster_guard.domain.signals import Fault
from logcaster_guard.engine.watchdog import Watchdog
from logcaster_guard.web.server import serving
from tests.fakes.clock import FakeClock
from tests.fakes.guarded import CALM, INTERVAL, RULE, TARGET, Guarded


async def test_a_guard_that_has_not_begun_is_alive_and_not_ready() -> None:
    async with Guarded.serving() as scene:
        assert (await scene.get("/healthz")).status_code == 200
        answer = await scene.get("/readyz")
        assert answer.status_code == 503
        assert answer.text.splitlines() == [
            "The journal is not read yet.",
            "logcaster/logcaster-prod: the Deployment was not looked at yet.",
            "logcaster/logcaster-prod: prometheus was not read yet.",
        ]


async def test_it_is_ready_once_journal_deployment_and_sources_were_seen() -> None:
    async with Guarded.serving(run=True) as scene:
        assert (await scene.get("/readyz")).status_code == 200
        assert (await scene.get("/healthz")).status_code == 200


async def test_a_failing_source_makes_it_neither_unready_nor_sick() -> None:
    async with Guarded.serving() as scene:
        scene.source.answer = Fault.REFUSED
        async with scene.running():
            await scene.clock.advance(20 * INTERVAL)
            answer = await scene.get("/readyz")
            assert answer.status_code == 200
            first, second = answer.text.splitlines()
            assert first == "ok"
            assert second.startswith("degraded: source prometheus: connection refused")
            assert (await scene.get("/healthz")).status_code == 200


async def test_an_absent_api_server_keeps_it_unready_but_not_sick() -> None:
    async with Guarded.serving() as scene:
        scene.cluster.away = True
        async with scene.running():
            await scene.clock.advance(20 * INTERVAL)
            answer = await scene.get("/readyz")
            assert answer.status_code == 503
            assert answer.text == "logcaster/logcaster-prod: the Deployment was not looked at yet.\n"
            assert (await scene.get("/healthz")).status_code == 200
            scene.cluster.away = False
            await scene.clock.advance(INTERVAL)
            assert (await scene.get("/readyz")).status_code == 200


async def test_without_a_journal_it_says_that_it_only_watches() -> None:
    async with Guarded.serving(journal=False, run=True) as scene:
        answer = await scene.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "The journal cannot be used: the guard only watches.\n")


async def test_a_stuck_loop_is_named_and_forgiven_once_it_goes_on() -> None:
    async with Guarded.serving(run=True) as scene:
        scene.source.hangs.set()
        await scene.clock.advance(5 * INTERVAL)
        assert (await scene.get("/healthz")).status_code == 200
        await scene.clock.advance(INTERVAL)
        answer = await scene.get("/healthz")
        assert answer.status_code == 503
        assert answer.text == (
            "logcaster/logcaster-prod: the loop 'poll prometheus' is 30 s over its bound of 120 s.\n"
        )
        scene.source.hangs.clear()
        scene.source.woken.set()
        await scene.clock.advance(INTERVAL)
        assert (await scene.get("/healthz")).status_code == 200


async def test_a_loop_that_a_defect_ends_again_and_again_is_stuck_until_it_works() -> None:
    async with Guarded.serving(run=True) as scene:
        scene.source.defect = RuntimeError("a defect")
        await scene.clock.advance(5 * INTERVAL)
        assert (await scene.get("/healthz")).status_code == 200
        await scene.clock.advance(INTERVAL)
        answer = await scene.get("/healthz")
        assert (answer.status_code, "'poll prometheus'" in answer.text) == (503, True)
        scene.source.defect = None
        await scene.clock.advance(INTERVAL)
        assert (await scene.get("/healthz")).status_code == 200


async def test_a_rule_that_is_gone_owes_nothing() -> None:
    async with Guarded.serving(run=True) as scene:
        scene.source.answer = 0.3
        await scene.clock.advance(INTERVAL)
        await scene.guard.reload([CALM])
        await scene.clock.advance(10 * INTERVAL)
        assert (await scene.get("/healthz")).text == "ok\n"
        assert (await scene.get("/readyz")).text == "ok\n"


async def test_a_port_that_is_taken_does_not_keep_the_guard_from_guarding() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with serving(Guarded(None).guard, f"127.0.0.1:{taken.getsockname()[1]}") as url:
            assert url is None


async def test_no_address_means_no_server() -> None:
    async with serving(Guarded(None).guard, None) as url:
        assert url is None


@pytest.mark.parametrize(("interval", "grace"), [(0.1, 60.0), (30.0, 120.0), (300.0, 1_200.0)])
def test_the_bound_follows_the_polling_interval(interval: float, grace: float) -> None:
    clock = FakeClock()
    watchdog = Watchdog(clock, interval)
    watchdog.owes("loop")
    clock.skip(grace)
    watchdog.owes("loop")
    assert not watchdog.stuck()
    clock.skip(1.0)
    assert watchdog.stuck() == {"loop": 1.0}
    watchdog.made("loop", again=clock.monotonic() + 10.0)
    clock.skip(10.0 + grace)
    assert not watchdog.stuck()
    clock.skip(1.0)
    assert set(watchdog.stuck()) == {"loop"}
    watchdog.ended("loop")
    assert not watchdog.stuck()


async def test_a_guard_that_stands_by_is_alive_and_ready_and_knows_who_acts() -> None:
    async with Guarded.serving(run=True, holder="other") as scene:
        await scene.clock.advance(20.0)
        for path in ("/healthz", "/readyz"):
            assert (await scene.get(path)).status_code == 200
        told = (await scene.get("/api/v1/status")).json()["authority"]
        assert told == {
            "lease": "prod/guard",
            "identity": "this-one",
            "role": "standby",
            "holder": "other",
            "epoch": 3,
        }
        text = (await scene.get("/metrics")).text
        assert "logcaster_guard_authority_held 0.0" in text
        assert "logcaster_guard_journal_usable 1.0" in text
        for path in ("/api/v1/history", f"/api/v1/explain?rule={RULE.name}", f"/api/v1/plan?target={TARGET.key}"):
            answer = await scene.get(path)
            assert answer.status_code == 503
            assert answer.json()["error"] == (
                "This guard stands by under the lease prod/guard: ask other, which holds it."
            )


async def test_once_it_holds_the_lease_it_is_a_guard_like_any_other() -> None:
    async with Guarded.serving(run=True, runs=True, holder="other") as scene:
        await scene.clock.advance(40.0)
        told = (await scene.get("/api/v1/status")).json()
        assert (told["authority"]["role"], told["authority"]["holder"], told["authority"]["epoch"]) == (
            "holding",
            "this-one",
            4,
        )
        assert "logcaster_guard_authority_held 1.0" in (await scene.get("/metrics")).text
        assert len((await scene.get("/api/v1/history")).json()["runs"]) == 1
        assert (await scene.get("/readyz")).status_code == 200


async def test_one_that_has_no_journal_never_contends_and_is_not_ready() -> None:
    async with Guarded.serving(run=True, journal=False, holder="other") as scene:
        await scene.clock.advance(90.0)
        assert (await scene.get("/readyz")).status_code == 503
        assert (await scene.get("/api/v1/status")).json()["authority"]["role"] == "standby"
