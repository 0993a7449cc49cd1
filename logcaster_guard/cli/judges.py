"""Who judges a scenario: the service's users, its health check, or the cluster. None of them asks the guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from logcaster_guard.cli.stage import Stage
from logcaster_guard.sandbox.client import Json
from logcaster_guard.sandbox.lifecycle import memory_limit

QUICK = 1.0
CALM = 5.0
ROOMY = 0.5


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen, and whether a service in order looks like that."""

    well: bool
    text: str


@dataclass(frozen=True, slots=True)
class Judge:
    """`who` stands on the timeline, `witness` in the verdict."""

    who: str
    witness: str
    look: Callable[[Stage], Awaitable[Finding]]


async def _errors(stage: Stage) -> Finding:
    window = stage.world.traffic.window(3)
    if window.error_share is None:
        return Finding(well=False, text="no answer in the last 3 s")
    return Finding(window.error_share < 0.01, f"{window.error_share:.1%} of the last 3 s' requests failed")


async def _waits(stage: Stage) -> Finding:
    wait = stage.world.traffic.window(3).p95_latency
    if wait is None:
        return Finding(well=False, text="no answer in the last 3 s")
    return Finding(wait < QUICK, f"95 % of the last 3 s' requests took no longer than {wait:.2f} s")


async def _health(stage: Stage) -> Finding:
    window = stage.health.window(3)
    well = window.total > 0 and not window.failed
    return Finding(well, f"{window.failed} of the last 3 s' {window.total} health checks failed")


async def _restarts(stage: Stage) -> Finding:
    statuses = [s for p in await stage.pods() for s in _containers(p)]
    restarts = sum(int(s["restartCount"]) for s in statuses)
    ready = sum(bool(s["ready"]) for s in statuses)
    now = datetime.now(UTC)
    recent = any((now - at).total_seconds() < CALM for s in statuses if (at := _crashed(s)) is not None)
    well = ready == len(statuses) > 0 and not recent
    return Finding(well, f"{ready} of {len(statuses)} pods are Ready, they were restarted {restarts} times")


async def _memory(stage: Stage) -> Finding:
    lives = [life for life in stage.world.node.lives if life.terminating_since is None]
    shares = [
        used / limit
        for life in lives
        if (used := life.memory(stage.world.node.now())) is not None and (limit := memory_limit(life.main))
    ]
    if not shares:
        return Finding(well=False, text="no pod runs")
    return Finding(max(shares) < ROOMY, f"the fullest pod uses {max(shares):.0%} of its memory limit")


async def _arrived(stage: Stage) -> Finding:
    pods, wanted = await stage.pods(), await stage.image()
    ready = sum(bool(s["ready"]) for p in pods for s in _containers(p) if s["image"] == wanted)
    waiting = sorted({r for p in pods for s in _containers(p) if (r := _waits_for(s)) is not None})
    told = f"{ready} of {len(pods)} pods are Ready and of the Deployment's present release"
    return Finding(0 < ready == len(pods), f"{told}; waiting: {', '.join(waiting) or 'none'}")


def _containers(pod: Json) -> list[Json]:
    return list((pod.get("status") or {}).get("containerStatuses") or [])


def _crashed(status: Mapping[str, Any]) -> datetime | None:
    finished = ((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
    return None if finished is None else datetime.fromisoformat(str(finished))


def _waits_for(status: Mapping[str, Any]) -> str | None:
    reason = ((status.get("state") or {}).get("waiting") or {}).get("reason")
    return None if reason is None else str(reason)


USERS_ERRORS = Judge("users", "the users' own client", _errors)
USERS_WAITS = Judge("users", "the users' own client", _waits)
HEALTH_CHECK = Judge("checks", "a health check of the users' own", _health)
RESTARTS = Judge("cluster", "the Kubernetes API", _restarts)
MEMORY = Judge("node", "the node", _memory)
ARRIVED = Judge("cluster", "the Kubernetes API", _arrived)
