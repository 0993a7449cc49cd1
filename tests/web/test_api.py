from __future__ import annotations

import asyncio

import pytest

from logcaster_guard.domain.signals import Fault
from tests.fakes.guarded import INTERVAL, RULE, TARGET, Guarded

HELD = "rollout_unknown, no_good_revision"
PATHS = ("/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/history", "/api/v1/explain", "/", "/nothing")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_nothing_but_get_is_taken(method: str, path: str) -> None:
    async with Guarded.serving() as scene:
        answer = await scene.ask(method, path)
        assert answer.status_code == 405
        assert answer.headers["Allow"] == "GET"


@pytest.mark.parametrize("path", PATHS)
async def test_no_browser_may_keep_frame_guess_or_share_an_answer(path: str) -> None:
    async with Guarded.serving() as scene:
        answer = await scene.ask("GET", path, Origin="https://elsewhere.example")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_status_tells_release_triggers_and_sources() -> None:
    async with Guarded.serving(run=True) as scene:
        await scene.clock.advance(INTERVAL)
        found = (await scene.get("/api/v1/status")).json()
        assert (found["stuck"], found["missing"]) == ([], [])
        (target,) = found["targets"]
        assert target["target"] == TARGET.key
        assert target["present"]["images"] == ["logcaster/logcaster-c:1.0.0"]
        assert target["present"]["status"] == "unproven"
        assert target["destination"] is None
        assert next((t["rule"], t["phase"], t["readings"]) for t in target["triggers"]) == (
            RULE.name,
            "inactive",
            {"error_rate": "0%"},
        )
        assert [(s["source"], s["up"]) for s in target["sources"]] == [("prometheus", True)]


async def test_history_tells_runs_and_releases_and_keeps_to_limits() -> None:
    async with Guarded.serving(run=True, runs=True) as scene:
        found = (await scene.get(f"/api/v1/history?target={TARGET.key}&limit=5")).json()
        (run,) = found["runs"]
        assert (run["run"], run["outcome"], run["rule"]) == ("r1", "not recovered", "high_error_rate")
        assert run["to_images"] == ["logcaster/logcaster-c:1.0.0"]
        assert [r["present"] for r in found["releases"]] == [True]
        for query in ("limit=0", "limit=1001", "limit=x", "limit=٣", "limit=-1", "lim=3"):
            assert (await scene.get(f"/api/v1/history?{query}")).status_code == 400
        assert (await scene.get("/api/v1/history?target=a/b")).status_code == 404


@pytest.mark.parametrize(
    ("answer", "seconds", "told", "summary"),
    [
        (0.0, INTERVAL, ("inactive", "not met", 0.0), "Not firing: error_rate > 5% is not met."),
        (
            0.3,
            150.0,
            ("pending", "met", 150.0),
            "Not firing yet: error_rate > 5% is proven met for 150 s of 300 s.",
        ),
        (
            0.3,
            330.0,
            ("firing", "met", 330.0),
            f"Firing: {RULE.text} was met for 300 s without interruption. Nothing is rolled back: {HELD}.",
        ),
        (
            Fault.TIMED_OUT,
            330.0,
            ("blind", "unknown", 0.0),
            "Not firing: error_rate cannot be read since 2026-01-01T00:00:00Z, and blind is not bad.",
        ),
    ],
)
async def test_explain_tells_clock_reading_and_verdict(
    answer: float | Fault, seconds: float, told: tuple[str, str, float], summary: str
) -> None:
    async with Guarded.serving() as scene:
        scene.source.answer = answer
        began = scene.clock.now()
        async with scene.running():
            await scene.clock.advance(seconds)
            asked = await scene.get(f"/api/v1/explain?target={TARGET.key}&rule={RULE.name}")
            (found,) = asked.json()["triggers"]
        assert (found["phase"], found["verdict"], found["credit_seconds"]) == told
        assert found["summary"] == summary
        assert found["onset"] == (began.isoformat() if answer == 0.3 else None)
        assert found["blind"] == (["error_rate"] if answer is Fault.TIMED_OUT else [])
        assert [g["guardrail"] for g in found["guardrails"]][-1] == "no_good_revision"


async def test_explain_knows_rules_and_says_which_there_are() -> None:
    async with Guarded.serving(run=True) as scene:
        answer = await scene.get("/api/v1/explain?rule=high_eror_rate")
        assert answer.status_code == 404
        assert "logcaster/logcaster-prod/high_error_rate" in answer.json()["error"]
        assert (await scene.get("/api/v1/explain")).status_code == 400
        assert (await scene.get(f"/api/v1/explain?rule={RULE.name}&x=1")).status_code == 400
        assert len((await scene.get(f"/api/v1/explain?target=logcaster&rule={RULE.name}")).json()["triggers"]) == 1


async def test_secrets_in_a_sources_words_are_not_told() -> None:
    async with Guarded.serving() as scene:
        scene.source.answer = Fault.TLS
        async with scene.running():
            texts = [(await scene.get(p)).text for p in PATHS] + [
                (await scene.get(f"/api/v1/explain?rule={RULE.name}")).text
            ]
        assert "prometheus/" in texts[-1]
        assert not [t for t in texts if "hunter22" in t]


async def test_many_requests_at_once_are_all_answered() -> None:
    async with Guarded.serving(run=True) as scene:
        answers = await asyncio.gather(*(scene.get(p) for p in PATHS[:3] for _ in range(10)))
        assert {a.status_code for a in answers} == {200}
