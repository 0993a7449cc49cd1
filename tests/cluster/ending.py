"""How a scene ended, by what is left of it, and everything that is wrong with that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from logcaster_guard.domain import ledger_events, runs
from logcaster_guard.domain.events import NoticeQueued, NoticeSettled
from logcaster_guard.domain.ledger import Ledger
from logcaster_guard.domain.runs import Run
from logcaster_guard.ports import Entry
from logcaster_guard.sandbox import objects
from logcaster_guard.steps.restore_later import SHARED
from tests.cluster import environments
from tests.cluster.case import BAD, GOOD, HELD, IMMEDIATE, REPLICAS, Case
from tests.cluster.harness import AuditRecord


@dataclass(frozen=True)
class Facts:
    """What a scene shows when its last guard has nothing left to do.

    `changes` counts those of the Deployment's spec since the bad release; `reasons` are the guards' Kubernetes Events;
    `deployments` are all that are there, `sizes` what they want; `bounds` are the autoscaler's. `held` is what the
    ConfigMap holds, where pods read one, `copies` are those of it, `deferred` is what is owed beyond the runs, and
    `mixed` are the good release's pods that have started on something else. `secret` is the version whose content the
    Secret has, and `leaks` are places other than Secrets where a value of it stands. `owner`: whether it is suspended,
    carries the guard's mark, and is suspended by what the journal tells.
    """

    image: str
    changes: int
    replicas: int
    sizes: Mapping[str, int]
    deployments: Sequence[str]
    bounds: tuple[int, int] | None
    runs: Sequence[Run]
    ledger: Ledger
    queued: frozenset[str]
    settled: frozenset[str]
    reasons: Counter[str]
    owner: tuple[bool, bool, bool] | None = None
    held: Mapping[str, str] | None = None
    copies: Sequence[str] = ()
    deferred: Sequence[str] = ()
    mixed: Sequence[str] = ()
    secret: str | None = None
    leaks: Sequence[str] = ()


def told(entries: Sequence[Entry]) -> tuple[Sequence[Run], Ledger, frozenset[str], frozenset[str]]:
    """The runs, the ledger, and the ids of the notices queued and settled, of a journal with a single target."""
    events = [e.event for e in entries]
    return (
        list(runs.fold(events).values()),
        ledger_events.fold(events),
        frozenset(e.notice.id for e in events if isinstance(e, NoticeQueued)),
        frozenset(e.notice for e in events if isinstance(e, NoticeSettled)),
    )


def refusal_told(entries: Sequence[Entry]) -> bool:
    return any(isinstance(e.event, NoticeQueued) and e.event.notice.event == "trigger.refused" for e in entries)


@dataclass(frozen=True)
class Undisturbed:
    """What a rollback that nothing disturbed did: its successful writes by resource, and the Deployment's changes."""

    writes: Counter[str]
    changes: int


def ending(
    facts: Facts,
    writes: Counter[str],
    minimum: int | None,
    known: Undisturbed,
    *,
    case: Case = IMMEDIATE,
    shared: bool = False,
    cut_off: bool = False,
) -> tuple[str, list[str]]:
    """How a scene ended, and everything that is wrong with it.

    `writes` are the guards' successful ones by resource. `cut_off`: one whose sender was killed may be missing there.
    `shared`: an autoscaler may have written the guard's size first, so that only the changes count.
    """
    bounds = None if minimum is None else (minimum, REPLICAS * 2)
    mine = frozenset(n for n in facts.queued if any(n.startswith(r.id) for r in facts.runs))
    checks = {
        f"{len(facts.runs)} runs": len(facts.runs) == 1,
        "an open run": all(r.closed for r in facts.runs),
        "a hold is out": not any(r.compensations for r in facts.runs),
        f"the autoscaler's bounds are {facts.bounds}": facts.bounds == bounds,
        f"there are {facts.deployments}": facts.deployments == case.left,
        f"production has {facts.replicas} replicas": facts.replicas == REPLICAS,
        f"copies are left: {facts.copies}": not _lost(facts),
        f"a Secret's value stands in {facts.leaks}": not facts.leaks,
        "a notice is owed": mine <= facts.settled,
        "people were not told of the end": any(q.endswith("/closed") for q in facts.queued),
        f"Kubernetes Events {dict(facts.reasons)}": {facts.reasons[r] for r in ("RunOpened", "RunClosed")} == {1},
    }
    outcomes = {r.closed.outcome for r in facts.runs if r.closed is not None}
    if not case.switches or outcomes == {runs.RECOVERED}:
        # An environment that did not come to serve is as it was, and reads by the shared names.
        checks |= {f"pods that read something else: {facts.mixed}": not facts.mixed}
    if case.owner is not None:
        # After a rollback that helped it stays suspended, known to be so; else nothing is left of it.
        kept = outcomes == {runs.RECOVERED}
        checks |= {f"the owner is {facts.owner}": facts.owner == (kept, kept, kept)}
    once = {
        f"{facts.changes} changes of the Deployment": facts.changes == known.changes,
        f"writes {dict(writes)}": shared or writes == known.writes or (cut_off and writes <= known.writes),
    }
    frozen = facts.ledger.freeze is not None
    if outcomes == {runs.RECOVERED}:
        checks |= {**once, f"the image is {facts.image}": facts.image == objects.image(GOOD), "frozen": not frozen}
        # What bad pods of the other environment read is put back once they are gone.
        promised = [h for h in facts.deferred if h.startswith(SHARED)]
        holds = BAD if case.switches else GOOD
        checks |= {f"the ConfigMap holds {facts.held}": facts.held in (None, HELD[holds])}
        checks |= {f"the Secret holds what it held for {facts.secret}": facts.secret in (None, holds)}
        checks |= {f"promised: {promised}": len(promised) == (len(case.held) if case.switches else 0)}
        end = "rolled back once"
    elif outcomes == {runs.DESTINATION_BAD}:
        idle = facts.sizes.get(environments.BLUE) if case.switches else None
        checks |= {f"{idle} pods idle": idle in {None, minimum or environments.IDLE}}
        checks |= {**once, f"the image is {facts.image}": facts.image == objects.image(BAD), "not frozen": frozen}
        end = "given back, frozen, told"
    else:
        checks |= {
            f"writes {dict(writes)}": writes["deployments"] <= 2 * known.writes["deployments"],
            "not frozen": frozen,
        }
        end = "abandoned, frozen, told"
    return end, [fault for fault, well in checks.items() if not well]


def _noted_down(record: AuditRecord) -> bool:
    """Whether it is a Secret in which the guard keeps something."""
    name = record.name or ((record.body or {}).get("metadata") or {}).get("name", "")
    return str(name).startswith("logcaster-guard-")


def _lost(facts: Facts) -> Sequence[str]:
    """The copies that nobody sees to any more."""
    kept = {hold.rpartition("/")[2] for hold in facts.deferred}
    return [copy for copy in facts.copies if copy not in kept]


def writes_of(records: Sequence[AuditRecord], namespace: str) -> Counter[str]:
    """The guard's successful mutating requests in this namespace, by resource."""
    mine = [r for r in records if r.namespace == namespace and r.user == "guard" and 200 <= r.code < 300]
    # What is told of a trigger that goes on firing is no effect of the run, and neither is what is noted down.
    mine = [r for r in mine if r.resource != "secrets" or not _noted_down(r)]
    mine = [r for r in mine if r.resource != "events" or str((r.body or {}).get("reason", "Run")).startswith("Run")]
    return Counter(r.resource for r in mine if r.verb in {"create", "update", "patch", "delete", "deletecollection"})
