"""Every guardrail over a whole guard: the same world twice, with only one fact changed.

In both v1 is known to be good, v2 is rolled out and fails, and a rule fires. Once a run is opened, once the guardrail
refuses it. Whoever adds a guardrail adds a row.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import time, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from logcaster_guard.domain.events import Event, RunClosed, RunOpened, StepIntended, StepStarted
from logcaster_guard.domain.gitops import TRACKING_ID
from logcaster_guard.domain.guardrails import Guardrail
from logcaster_guard.domain.ledger import Veto
from logcaster_guard.domain.maintenance import MaintenanceWindow
from logcaster_guard.domain.rules import Action, BlueGreenPolicy, Limits, Policy
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.journal_state import run_stream
from logcaster_guard.engine.self_workload import OwnPod
from logcaster_guard.ports import Kind
from logcaster_guard.steps.verify_recovery import VerifyRecovery
from logcaster_guard.web.metrics import registry
from tests.engine.bench import ANOTHER, FIRES, KEY, PROD, PROVEN, Bench, bench, rule
from tests.engine.configured import Configured

Act = Callable[[Bench], Awaitable[None] | None]
TWO = {"deployments": [PROD, ANOTHER]}
UTC = ZoneInfo("UTC")
LATE = 30.0
"""Seconds before the rule fires at which a late fact happens."""


async def watched(made: Bench) -> None:
    await made.good_v1()


async def rolled_out(made: Bench) -> None:
    made.cluster.roll(PROD, "v2")


async def watched_for_long(made: Bench) -> None:
    """Until no rollout is recent."""
    await made.good_v1()
    await made.pass_(3_600.0)


async def fired(made: Bench) -> None:
    await made.pass_(LATE)


async def asked_directly(made: Bench) -> None:
    """The decision alone: in between, the watch would have learnt of it or kept quiet."""
    await _decide(made, Workload(made.cluster.object(Kind.DEPLOYMENT, PROD)))


async def _decide(made: Bench, workload: Workload) -> None:
    watch = made.guard.watches[KEY]
    found = watch.rules["high_error_rate"]
    since = made.clock.now() - timedelta(seconds=watch.triggers.cache._staleness)
    await watch.decisions.decide(found, onset=since, workload=workload, evidence={})
    await made.pass_(1.0)


@dataclass(frozen=True)
class Row:
    """The one fact by which the worlds differ is `fact`, or `refused`, options of the bench.

    `when` it happens: before the `roll` of v2, `then`, or `late`. `options` are those of both worlds. The world goes
    through `watch`, `roll`, `fire`; `otherwise` takes the place of the fact where it is allowed.
    """

    fact: Act | None = None
    otherwise: Act | None = None
    when: str = "late"
    options: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, Any] = field(default_factory=dict)
    watch: Act = watched
    roll: Act = rolled_out
    fire: Act = fired


def edit(**changes: Any) -> Act:
    """Somebody edits the Deployment's spec, or its metadata."""

    def change(made: Bench) -> None:
        part = {"deletionTimestamp": "metadata"}.get(next(iter(changes)), "spec")
        made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d[part].update(changes))

    return change


def owned(made: Bench) -> None:
    """Argo CD marks the Deployment as its own."""
    mark = {TRACKING_ID: f"shop:apps/Deployment:default/{PROD}"}
    made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["metadata"]["annotations"].update(mark))


async def among_its_pods(made: Bench) -> None:
    """v1 is watched; the pod that the bench's guard is told to be in is one of them."""
    owner = {"kind": "ReplicaSet", "name": f"{PROD}-1", "uid": "rs", "controller": True}
    made.cluster.add(Kind.POD, "guard-in-web")
    made.cluster.object(Kind.POD, "guard-in-web")["metadata"]["ownerReferences"] = [owner]
    await made.good_v1()


def past_run(target: str = KEY, *, ago: timedelta, still_open: bool = False) -> Act:
    """The journal tells of a rollback that changed something."""

    async def append(made: Bench) -> None:
        at = made.clock.now() - ago
        plan = Plan("immediate", "default", target.split("/")[1], "u", "x", "y", (), (), 3, autoscaled=False,
                    service=None, selector=None, steps=(VerifyRecovery("high_error_rate", 1.0, 2.0),))  # fmt: skip
        name = f"past-{target}-{ago}"
        told: list[Event] = [
            RunOpened(at, name, target, "r", "w", plan),
            StepStarted(at, name, 0),
            StepIntended(at, name, 0, 1),
        ]
        closed: list[Event] = [] if still_open else [RunClosed(at, name, "recovered", "w", freeze=False)]
        state = made.guard.state
        await state.tell(run_stream(name), *told, *closed)
        # It was before this process, so that only the instants tell.
        for seen in (state._opened_at, state._closed_at):
            seen.pop(name, None)

    return append


def errors(name: str, share: float) -> Act:
    return lambda made: made.prometheus.set(name, "error_rate", share)


def traffic(rate: float | None) -> Act:
    return lambda made: made.prometheus.set(PROD, "request_rate", rate)


def forget_when_it_changed(made: Bench) -> None:
    ledgers = made.guard.state._state.ledgers
    ledgers[KEY] = replace(ledgers[KEY], rollouts=tuple(replace(r, earliest=None) for r in ledgers[KEY].rollouts))


async def began_late(made: Bench) -> None:
    """v1 has stood for a day before anybody watched; the guard is there only once v2 is."""
    await made.clock.advance(90_000.0)
    made.cluster.roll(PROD, "v2")
    await made.clock.advance(60.0)
    await made.start()


async def watched_for_a_moment(made: Bench) -> None:
    await made.start()
    await made.pass_(120.0)


async def watched_long_enough(made: Bench) -> None:
    await made.pass_(PROVEN)


async def v3_while_v2_fails(made: Bench) -> None:
    made.cluster.roll(PROD, "v2")
    await made.pass_(60.0)
    made.cluster.roll(PROD, "v3")


async def another_is_being_rolled_out(made: Bench) -> None:
    """Somebody answers the failing v2 with v3, which does not come to its end."""
    await made.pass_(60.0)
    stuck(made)
    made.cluster.roll(PROD, "v3")


async def fired_after_it(made: Bench) -> None:
    """Theirs gets its whole duration, from when it was seen."""
    await made.pass_(LATE + 60.0)


async def quiet_v2(made: Bench) -> None:
    made.errors["v2"] = 0.0
    made.cluster.roll(PROD, "v2")


def fails_after(seconds: float) -> Act:
    async def wait(made: Bench) -> None:
        await made.pass_(seconds)
        made.prometheus.set(PROD, "error_rate", 0.3)

    return wait


def each(*acts: Act) -> Act:
    async def do(made: Bench) -> None:
        for what in acts:
            await act(what, made)

    return do


async def asked_with_another_template(made: Bench) -> None:
    raw = made.cluster.object(Kind.DEPLOYMENT, PROD)
    raw = {**raw, "spec": {**raw["spec"], "template": {"spec": {"containers": [{"name": "c", "image": "v9"}]}}}}
    await _decide(made, Workload(raw))


async def both_are_rolled_out(made: Bench) -> None:
    made.cluster.roll(ANOTHER, "v3")
    made.cluster.roll(PROD, "v2")


def set_errors_of(image: str, share: float) -> Act:
    return lambda made: made.errors.update({image: share})


def vetoed(image: str) -> Act:
    """A person had said no to a rollback of the release with this image."""

    def say(made: Bench) -> None:
        ledgers = made.guard.state._state.ledgers
        [record] = [r for r in ledgers[KEY].records.values() if r.images == (image,)]
        ledgers[KEY] = replace(ledgers[KEY], veto=Veto(record.release.key, made.clock.now() + timedelta(hours=1), "no"))

    return say


def restarted(made: Bench) -> None:
    made.cluster.restart(PROD, restartedAt="now")


def stuck(made: Bench) -> None:
    made.cluster.stuck = True


def nothing(made: Bench) -> None:
    del made


def v2_brings_a_label(made: Bench) -> None:
    made.cluster.roll(PROD, "v2")
    made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"]["template"]["metadata"]["labels"].update(tier="web"))


def the_service_selects_it(made: Bench) -> None:
    made.cluster.change(Kind.SERVICE, PROD, lambda s: s["spec"]["selector"].update(tier="web"))


async def an_edit_follows(made: Bench) -> None:
    """The pods a and b have read a ConfigMap's first content, which has earned good; now it holds another."""
    scene = cast("Configured", made)
    Configured.configure(scene, k="1")
    Configured.refer(scene)
    await made.pass_(60.0)
    Configured.pods(scene, "a", "b")
    await made.pass_(PROVEN)
    Configured.configure(scene, k="2")
    await made.pass_(60.0)


def it_is_read_by(*pods: str) -> Act:
    """These pods read it, and the target fails from then on; nothing is measured by pod."""

    async def read(made: Bench) -> None:
        for pod in pods:
            Configured.restart_container(cast("Configured", made), pod)
        await made.pass_(60.0)
        made.prometheus.set(PROD, "error_rate", 0.3)

    return read


def sealed(made: Bench) -> None:
    """What is immutable cannot be put back under its name."""
    made.cluster.change(Kind.CONFIG_MAP, "app", lambda found: found.update(immutable=True))


def window(start: int, end: int, *targets: str) -> Mapping[str, Any]:
    of = frozenset(targets) if targets else None
    daily = MaintenanceWindow("upkeep", frozenset(range(7)), time(start), time(end), UTC, of)
    return {"policy": Policy(maintenance=(daily,))}


UNASKED = {"rules": [rule(rollout_window=None)]}
LITTLE = {"policy": Policy(limits=Limits(min_request_rate=10.0))}
ONE_A_DAY = {"policy": Policy(limits=Limits(per_target_per_day=1))}
ONE_AN_HOUR = {"policy": Policy(limits=Limits(per_cluster_per_hour=1))}
SAME, OTHER = {"matchLabels": {"app": PROD}}, {"matchLabels": {"app": "web2"}}
BY_SWITCH = {"rules": [rule(action=Action.BLUE_GREEN)]}

ROWS: Mapping[Guardrail, Row] = {
    Guardrail.ALERT_ONLY: Row(refused={"rules": [rule(action=Action.ALERT_ONLY)]}),
    Guardrail.OWN_WORKLOAD: Row(
        watch=among_its_pods, options={"own_pod": OwnPod("default", "elsewhere")},
        refused={"own_pod": OwnPod("default", "guard-in-web")},
    ),
    Guardrail.TARGET_MISSING: Row(fact=lambda m: m.cluster.remove(Kind.DEPLOYMENT, PROD)),
    Guardrail.BEING_DELETED: Row(fact=edit(deletionTimestamp="2026-01-01T00:00:00Z")),
    Guardrail.PAUSED: Row(fact=edit(paused=True)),
    Guardrail.SCALED_TO_ZERO: Row(fact=edit(replicas=0), otherwise=edit(replicas=1)),
    Guardrail.SELECTOR_CHANGED: Row(fact=edit(selector=OTHER), otherwise=edit(selector=SAME)),
    Guardrail.NOT_YET_OBSERVED: Row(fact=asked_with_another_template, otherwise=asked_directly, fire=nothing),
    Guardrail.ROLLOUT_UNKNOWN: Row(fact=forget_when_it_changed),
    Guardrail.PODS_REPLACED: Row(
        fact=each(watched_long_enough, restarted, errors(PROD, 0.3)), when="then", roll=quiet_v2,
        otherwise=each(watched_long_enough, errors(PROD, 0.3)),
    ),
    Guardrail.NOT_CAUSED_BY_A_ROLLOUT: Row(fact=errors(PROD, 0.3), when="roll"),
    Guardrail.HISTORY_TOO_SHORT: Row(watch=began_late, roll=nothing, options={"past": True}, refused={"past": False}),
    Guardrail.SHARED_CAUSE: Row(fact=errors(ANOTHER, 0.3), when="then", watch=watched_for_long, options=TWO),
    Guardrail.SEVERAL_SUSPECTS: Row(
        fact=set_errors_of("v3", 0.3), otherwise=set_errors_of("v3", 0.0), when="roll", roll=both_are_rolled_out,
        options=TWO,
    ),
    Guardrail.PODS_INDISTINCT: Row(
        fact=it_is_read_by("a"), otherwise=it_is_read_by("a", "b"), when="then", roll=an_edit_follows,
    ),
    Guardrail.MINIMUM_REQUEST_RATE: Row(fact=traffic(9.0), otherwise=traffic(10.0), options=LITTLE),
    Guardrail.ROLLOUT_IN_PROGRESS: Row(fact=stuck, when="roll", roll=v3_while_v2_fails, options=UNASKED),
    Guardrail.MAINTENANCE: Row(options=window(12, 13), refused=window(0, 2)),
    Guardrail.FROZEN: Row(fact=lambda m: m.cluster.annotate(PROD, freeze="database move")),
    Guardrail.VETOED: Row(fact=vetoed("v2"), otherwise=vetoed("v1")),
    Guardrail.ANOTHER_RUN: Row(
        fact=past_run(ago=timedelta(hours=3), still_open=True), otherwise=past_run(ago=timedelta(hours=3)),
        fire=asked_directly,
    ),
    Guardrail.COOLDOWN: Row(
        fact=past_run(ago=timedelta(minutes=20)), otherwise=past_run(ago=timedelta(minutes=40)), when="roll",
    ),
    Guardrail.TARGET_BUDGET: Row(
        fact=past_run(ago=timedelta(hours=23)), otherwise=past_run(ago=timedelta(hours=25)), when="roll",
        options=ONE_A_DAY,
    ),
    Guardrail.CLUSTER_BUDGET: Row(
        fact=past_run("default/x", ago=timedelta(minutes=50)), otherwise=past_run("default/x", ago=timedelta(hours=2)),
        when="roll", options=ONE_AN_HOUR,
    ),
    Guardrail.NO_GOOD_REVISION: Row(
        watch=watched_for_a_moment, fact=nothing, otherwise=watched_long_enough, when="roll",
    ),
    Guardrail.NO_JOURNAL: Row(refused={"journal": None}),
    Guardrail.GITOPS_OWNER: Row(fact=owned),
    Guardrail.STRATEGY_UNFIT: Row(
        options={**BY_SWITCH, "policy": Policy(blue_green=BlueGreenPolicy(otherwise=Action.IMMEDIATE))},
        refused={"policy": Policy(blue_green=BlueGreenPolicy(otherwise=Action.ALERT_ONLY))},
    ),
    Guardrail.CONFIGURATION: Row(
        fact=each(it_is_read_by("a", "b"), sealed), otherwise=it_is_read_by("a", "b"), when="then",
        roll=an_edit_follows,
    ),
    Guardrail.DRY_RUN: Row(refused={"policy": Policy(dry_run=True)}),
}  # fmt: skip

FURTHER: Mapping[str, tuple[Guardrail, Row]] = {
    "somebody is rolling out another release, and the cause is asked for": (
        Guardrail.ROLLOUT_IN_PROGRESS,
        Row(fact=another_is_being_rolled_out, when="then", fire=fired_after_it),
    ),
    "the rollout is longer ago than the rule's window": (
        Guardrail.NOT_CAUSED_BY_A_ROLLOUT,
        Row(fact=fails_after(690.0), otherwise=fails_after(500.0), when="then", roll=quiet_v2,
            options={"rules": [rule(rollout_window=600.0)]}),
    ),
    "nobody knows the traffic": (
        Guardrail.MINIMUM_REQUEST_RATE,
        Row(fact=traffic(None), otherwise=traffic(10.0), options=LITTLE),
    ),
    "the window is of this target alone": (
        Guardrail.MAINTENANCE, Row(options=window(0, 2, ANOTHER), refused=window(0, 2, PROD)),
    ),
    "a Service that selects by a label of the bad release": (
        Guardrail.SELECTOR_CHANGED, Row(fact=the_service_selects_it, roll=v2_brings_a_label),
    ),
    "two a day by default": (
        Guardrail.TARGET_BUDGET,
        Row(fact=each(past_run(ago=timedelta(hours=3)), past_run(ago=timedelta(hours=23))), when="roll",
            otherwise=each(past_run(ago=timedelta(hours=3)), past_run(ago=timedelta(hours=25)))),
    ),
    "three an hour by default": (
        Guardrail.CLUSTER_BUDGET,
        Row(fact=each(*(past_run("default/x", ago=timedelta(minutes=n)) for n in (10, 20, 50))), when="roll",
            otherwise=each(*(past_run("default/x", ago=timedelta(minutes=n)) for n in (10, 20, 70)))),
    ),
}  # fmt: skip
"""The same guardrails by other ways."""
CASES = {**{str(guardrail): (guardrail, row) for guardrail, row in ROWS.items()}, **FURTHER}


def test_every_guardrail_has_a_row() -> None:
    assert set(ROWS) == set(Guardrail)


async def act(what: Act | None, made: Bench) -> None:
    done = None if what is None else what(made)
    if inspect.isawaitable(done):
        await done


async def lived_through(made: Bench, row: Row, *, refused: bool) -> None:
    fact = row.fact if refused else row.otherwise
    await act(row.watch, made)
    if row.when == "roll":
        await act(fact, made)
        await made.pass_(5.0)
    await act(row.roll, made)
    if row.when == "then":
        await act(fact, made)
    await made.pass_(FIRES - LATE)
    if row.when == "late":
        await act(fact, made)
    await act(row.fire, made)


@pytest.mark.parametrize("case", CASES)
async def test_it_is_allowed_but_for_one_fact(case: str) -> None:
    guardrail, row = CASES[case]
    for refused in (False, True):
        options = {**row.options, **(row.refused if refused else {})}
        journal = options.pop("journal", ...)
        async with bench(**options) as made:
            made.journal = made.journal if journal is ... else None
            with capture_logs() as logs:
                await lived_through(made, row, refused=refused)
            mine = [line for line in logs if line.get("target") == KEY]
            said = [line for line in mine if line["event"] == "trigger.refused"]
            opened = [line for line in mine if line["event"] == "run.opened" and "past-" not in line["run"]]
            if not refused:
                assert (len(opened), said) == (1, [])
                continue
            assert opened == []
            assert made.writes() == 0
            assert {n for line in said for n in line["guardrails"]} == {guardrail}
            [sentence] = [
                r
                for line in said[:1]
                for n, r in zip(line["guardrails"], line["reasons"], strict=True)
                if n == guardrail
            ]
            assert sentence.endswith(".")
            counted = registry(made.guard.read_model.status).get_sample_value(
                "logcaster_guard_refusals_total",
                {"target": KEY, "rule": "high_error_rate", "guardrail": str(guardrail)},
            )
            assert counted
            if journal is ...:
                [notice] = [n for n in made.notices("trigger.refused") if n.target == KEY]
                assert sentence in notice.text
