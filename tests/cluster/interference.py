"""What somebody else does to a target in the middle of a rollback, and how that has to end.

People win: a run that finds their work is abandoned, gives back what it borrowed, freezes the target and tells people.
Whether a run *had* to find it is told by its own looks: it had to if it asked for the object after the act, and before
it had seen the end of what the act concerns.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any

from structlog.contextvars import get_contextvars

from logcaster_guard.adapters.kubernetes.event_channel import COMPONENT
from logcaster_guard.domain import capacity, runs
from logcaster_guard.domain.ledger import Ledger
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Entry, Kind
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH, STRATEGIC_PATCH, ApiRefused
from logcaster_guard.steps.ask_people import AskPeople
from logcaster_guard.steps.judge_environment import JudgeEnvironment
from logcaster_guard.steps.judge_helper import JudgeHelper
from logcaster_guard.steps.pin_autoscaler import PinAutoscaler
from logcaster_guard.steps.restore_template import TemplateWrite
from logcaster_guard.steps.switch_service import SwitchService
from tests.cluster import environments
from tests.cluster.case import (
    BAD,
    GOOD,
    OF_CONFIG_MAP,
    OF_SECRET,
    REPLICAS,
    WITHIN,
    Case,
    ConfigHeld,
    ImageSource,
    image_of,
)
from tests.cluster.crashes import Point, Tape
from tests.cluster.ending import refusal_told, told
from tests.cluster.environments import BLUE, GREEN
from tests.cluster.scene import Scene, autoscaler
from tests.cluster.stores import Onlooker
from tests.real.waiting import until

Json = dict[str, Any]
THEIRS = 5
"""Pods that somebody asks for; no step of the guard's does."""
BOUNDS = (4, 8)
NOTE = "example.com/note"
OWNED = frozenset(
    {
        "edits what is in",
        "rotates",
        "scales",
        "edits an env var of",
        "pauses",
        "rolls out v3 on",
        "edits the selector of",
        "edits",
    }
)
"""What leaves a field manager; a deletion leaves none."""
QUIET = 8
"""Reads of the source after which whoever would do something more has had every occasion."""
UNDECIDED = 40
"""The same where nothing was decided yet, and nobody told."""


class On(StrEnum):
    """What is changed."""

    PRODUCTION = "production"
    LIVE = "the live environment"
    OTHER = "the other environment"
    SERVICE = "the Service"
    AUTOSCALER = "the autoscaler"
    CONFIG = "the ConfigMap"
    SECRET = "the Secret"  # noqa: S105 - the name of a kind

    @property
    def held(self) -> ConfigHeld | None:
        """What the pods read of it; None where they read nothing."""
        return {On.CONFIG: OF_CONFIG_MAP, On.SECRET: OF_SECRET}.get(self)


@dataclass(frozen=True)
class Remains:
    """How it stands in the end. `config` is what the pods read, by its kind."""

    deployments: Mapping[str, Workload]
    selector: Mapping[str, str]
    config: Mapping[Kind, Json]
    bounds: tuple[int, int] | None
    runs: Sequence[Run]
    entries: Sequence[Entry]
    ledger: Ledger
    owed: frozenset[str]
    notices: frozenset[str]
    reasons: Counter[str]
    leaks: Sequence[str]


@dataclass(frozen=True)
class Act:
    """What somebody does. `do` gets the scene and the object's name, and gives what tells their object from another."""

    words: str
    on: On
    do: Callable[[Scene, str], Awaitable[str]]

    def __str__(self) -> str:
        return f"{self.words} {self.on}"

    def object(self, case: Case) -> tuple[Kind, str]:
        """What a guard has to look at to find it."""
        if self.on.held is not None:
            return self.on.held.kind, self.on.held.name
        match self.on:
            case On.SERVICE:
                return Kind.SERVICE, objects.ACTIVE_SERVICE if case.switches else objects.SERVICE
            case On.AUTOSCALER:
                return Kind.AUTOSCALER, objects.DEPLOYMENT
            case _:
                names = {On.PRODUCTION: objects.DEPLOYMENT, On.LIVE: GREEN, On.OTHER: BLUE}
                return Kind.DEPLOYMENT, names[self.on]


async def _scale(scene: Scene, name: str) -> str:
    await scene.world.scale(THEIRS, name=name)
    return ""


async def _change(scene: Scene, name: str, body: Json, kind: str) -> str:
    await scene.cluster.admin.patch(f"{scene.deployments}/{name}", body, kind)
    return ""


async def _edit(scene: Scene, name: str) -> str:
    container = {"name": objects.CONTAINER, "env": [{"name": "LOG_LEVEL", "value": "debug"}]}
    body = {"spec": {"template": {"spec": {"containers": [container]}}}}
    return await _change(scene, name, body, STRATEGIC_PATCH)


async def _annotate(scene: Scene, name: str) -> str:
    return await _change(scene, name, {"metadata": {"annotations": {NOTE: "theirs"}}}, MERGE_PATCH)


async def _pause(scene: Scene, name: str) -> str:
    return await _change(scene, name, {"spec": {"paused": True}}, MERGE_PATCH)


async def _roll_out(scene: Scene, name: str) -> str:
    await scene.world.deploy("3.0", name=name)
    return ""


async def _delete(scene: Scene, name: str) -> str:
    await scene.cluster.admin.delete(f"{scene.deployments}/{name}")
    return ""


async def _recreate(scene: Scene, name: str) -> str:
    """Delete it, if it is there, and create it with what it is known to have carried."""
    try:
        await _delete(scene, name)
    except ApiRefused as refusal:
        if refusal.status != 404:
            raise
    version, replicas = (GOOD, environments.IDLE) if name == BLUE else (BAD, REPLICAS)
    body = objects.deployment(objects.image(version), replicas=replicas)
    if name in objects.ENVIRONMENTS.values():
        value = next(v for v, n in objects.ENVIRONMENTS.items() if n == name)
        body = objects.environment(value, objects.image(version), replicas=replicas)
    made = await scene.cluster.admin.create(scene.deployments, body)
    return str(made["metadata"]["uid"])


async def _reselect(scene: Scene, name: str) -> str:
    path = f"/api/v1/namespaces/{scene.cluster.namespace}/services/{name}"
    await scene.cluster.admin.patch(path, {"spec": {"selector": {"track": "canary"}}}, MERGE_PATCH)
    return ""


async def _rebound(scene: Scene, name: str) -> str:
    """Other bounds; an autoscaler where there was none."""
    minimum, maximum = BOUNDS
    if scene.minimum is None:
        made = autoscaler(minimum, REPLICAS, BLUE if scene.case.switches else objects.DEPLOYMENT)
        made["spec"]["maxReplicas"] = maximum
        await scene.cluster.admin.create(scene.autoscalers, made)
    else:
        bounds = {"minReplicas": minimum, "maxReplicas": maximum}
        await scene.cluster.admin.patch(f"{scene.autoscalers}/{name}", {"spec": bounds}, MERGE_PATCH)
    return ""


def _called(scene: Scene, name: str) -> ConfigHeld:
    return next(one for one in scene.case.held if one.name == name)


async def _edit_config(scene: Scene, name: str) -> str:
    one = _called(scene, name)
    await scene.cluster.admin.patch(f"{one.path(scene.cluster.namespace)}/{name}", {"data": one.edit}, MERGE_PATCH)
    return ""


async def _rotate(scene: Scene, name: str) -> str:
    one = _called(scene, name)
    await scene.hold(one, one.rotated)
    return ""


async def _recreate_config(scene: Scene, name: str) -> str:
    """Delete it, and create it with what it held for the bad release."""
    await _delete_config(scene, name)
    return await _make_config(scene, name)


async def _make_config(scene: Scene, name: str) -> str:
    one = _called(scene, name)
    body = one.manifest({**one.versions[BAD], **one.edit})
    made = await scene.cluster.admin.create(one.path(scene.cluster.namespace), body)
    return str(made["metadata"]["uid"])


async def _delete_config(scene: Scene, name: str) -> str:
    await scene.cluster.admin.delete(f"{_called(scene, name).path(scene.cluster.namespace)}/{name}")
    return ""


TO_A_WORKLOAD: Sequence[tuple[str, Callable[[Scene, str], Awaitable[str]]]] = (
    ("scales", _scale),
    ("edits an env var of", _edit),
    ("annotates", _annotate),
    ("pauses", _pause),
    ("deletes", _delete),
    ("re-creates", _recreate),
    ("rolls out v3 on", _roll_out),
)


TO_A_CONFIG_MAP: Sequence[tuple[str, Callable[[Scene, str], Awaitable[str]]]] = (
    ("edits what is in", _edit_config),
    ("re-creates", _recreate_config),
    ("deletes", _delete_config),
)
TO_A_SECRET = (*TO_A_CONFIG_MAP, ("rotates", _rotate))


def acts(case: Case) -> list[Act]:
    """Everything that somebody may do to this case's target; to both environments where two take turns."""
    places = (On.LIVE, On.OTHER) if case.switches else (On.PRODUCTION,)
    found = [Act(words, on, do) for on in places for words, do in TO_A_WORKLOAD]
    for on, acts_on in ((On.CONFIG, TO_A_CONFIG_MAP), (On.SECRET, TO_A_SECRET)):
        if on.held in case.held:
            found += [Act(words, on, do) for words, do in acts_on]
    return [*found, Act("edits the selector of", On.SERVICE, _reselect), Act("edits", On.AUTOSCALER, _rebound)]


@dataclass(frozen=True)
class Disturbance:
    """One cell: what somebody does, and the guard's call just before which it happens."""

    point: Point
    act: Act

    def __str__(self) -> str:
        return f"somebody {self.act}, before {self.point}"


@dataclass
class Disturbed(Tape):
    """A guard's life in which somebody acts once. `looks` are the run's own, sent after the act was done."""

    act: Callable[[], Awaitable[str]] | None = None
    at: Point | None = None
    began: datetime | None = None
    done: datetime | None = None
    theirs: str = ""
    nothing: bool = False
    mend: Callable[[], Awaitable[object]] | None = None
    looks: list[tuple[datetime, Kind, str]] = field(default_factory=list)

    async def before(self, point: Point) -> None:
        if point != self.at or self.act is None or self.began is not None:
            return
        self.began = datetime.now(UTC)
        try:
            self.theirs = await self.act()
        except ApiRefused as refusal:
            # What is not there cannot be changed.
            if refusal.status != 404:
                raise
            self.nothing = True
        self.done = datetime.now(UTC)

    def looked(self, kind: Kind, name: str) -> None:
        if self.done is not None and "run" in get_contextvars():
            self.looks.append((datetime.now(UTC), kind, name))


class DisturbedScene(Scene):
    """A scene in which somebody acts in the guard's life."""

    async def disturbed(self, cell: Disturbance) -> tuple[Disturbed, Remains]:
        """The guard's life with that act in it, and what is left."""
        _, name = cell.act.object(self.case)
        tape = Disturbed(at=cell.point, act=partial(cell.act.do, self, name))
        if cell.act.on.held is not None and cell.act.words == "deletes" and self.case.action is Action.GRADUAL:
            # Without it no pod of production starts, and the helper serves on.
            tape.mend = partial(self._mended, name)
        await self.life(None, tape=tape)
        return tape, await self.remains()

    async def _mended(self, name: str) -> None:
        """Make it again, unless somebody has."""
        try:
            await _make_config(self, name)
        except ApiRefused as refusal:
            if refusal.status != 409:
                raise

    async def _ended(self, task: asyncio.Task[None], tape: Tape, onlooker: Onlooker, source: ImageSource) -> None:
        assert isinstance(tape, Disturbed)
        seen: Sequence[Entry] | None = None
        over, decided, happened, calm_since = False, False, False, 0

        async def calm() -> bool:
            nonlocal seen, over, decided, happened, calm_since
            if task.done():
                return True
            entries = await onlooker.entries()
            if entries is not seen or happened != (tape.done is not None):
                seen, happened, calm_since = entries, tape.done is not None, source.polls
                found, _, queued, settled = told(entries)
                ending = any(r.ending is not None and r.closed is None for r in found)
                if tape.mend is not None and tape.done is not None and ending:
                    await tape.mend()
                    tape.mend = None
                over = (happened or bool(found)) and all(r.closed for r in found) and queued <= settled
                decided = bool(found) or refusal_told(entries)
            return over and source.polls >= calm_since + (QUIET if decided else UNDECIDED)

        await until(calm, WITHIN)

    async def remains(self) -> Remains:
        """How it stands; no guard may be alive."""
        admin, namespace = self.cluster.admin, self.cluster.namespace
        async with self.stores.journal() as journal:
            entries = await journal.read_all()
        found, known, queued, settled = told(entries)
        services = {s["metadata"]["name"]: s for s in await admin.list(f"/api/v1/namespaces/{namespace}/services")}
        service = services[objects.ACTIVE_SERVICE if self.case.switches else objects.SERVICE]
        config = {one.kind: c for one in self.case.held for c in await admin.list(one.path(namespace))
                  if c["metadata"]["name"] == one.name}  # fmt: skip
        bounds = [(a["spec"]["minReplicas"], a["spec"]["maxReplicas"]) for a in await admin.list(self.autoscalers)]
        events = await admin.list(f"/api/v1/namespaces/{namespace}/events")
        mine = [e for e in events if (e.get("source") or {}).get("component") == COMPONENT]
        present = [d for d in await admin.list(self.deployments) if "deletionTimestamp" not in d["metadata"]]
        return Remains(
            deployments={d["metadata"]["name"]: Workload(d) for d in present},
            selector=service["spec"]["selector"],
            config=config,
            bounds=bounds[0] if bounds else None,
            runs=sorted(found, key=lambda r: r.opened.at),
            entries=entries,
            ledger=known,
            owed=queued - settled,
            notices=queued,
            reasons=Counter(str(e["reason"]) for e in mine for _ in range(int(e.get("count") or 1))),
            leaks=await self.leaks(),
        )


def judged(cell: Disturbance, case: Case, minimum: int | None, tape: Disturbed, left: Remains) -> tuple[str, list[str]]:
    """How it ended, and everything that is wrong with that."""
    if tape.began is None or tape.done is None:
        return "never happened", ["the point was not reached"]
    faults = [*_told(left), *_theirs(cell, case, tape, left), *_left_behind(cell, case, minimum, tape, left)]
    ends = []
    for run in left.runs:
        end, wrong = _end(cell, case, tape, run)
        ends.append(end)
        faults += wrong
    held = [r for r in left.runs if r.closed is not None and r.closed.freeze]
    if (left.ledger.freeze is not None) != bool(held):
        faults.append(f"frozen: {left.ledger.freeze}, and {len(held)} runs ended so")
    if not left.runs:
        refused = {n.rpartition("/")[2] for n in left.notices if n.startswith("refused/")}
        ends = [f"no run ({', '.join(sorted(refused)) or 'nothing fired'})"]
        live = _live(case, left)
        if (
            live is not None
            and case.serves_as(live.raw, left.config.get(Kind.CONFIG_MAP, {}).get("data")) == objects.image(BAD)
            and not refusal_told(left.entries)
        ):
            faults.append("nothing was rolled back, and nobody was told why")
    return ", then ".join(ends), faults


def _end(cell: Disturbance, case: Case, tape: Disturbed, run: Run) -> tuple[str, list[str]]:
    if run.closed is None:
        return "open", [f"run {run.id} is open"]
    assert tape.began is not None
    end, faults = run.closed.outcome, [f"{h.object} is out" for h in run.compensations.values()]
    ended = run.ending.at if run.ending is not None else run.closed.at
    # What they have made of it may be no place for a judgement: then the plan is the immediate one.
    judges = any(isinstance(s, JudgeHelper | JudgeEnvironment) for s in run.opened.plan.steps)
    undisturbed = runs.DESTINATION_BAD if case.beside and judges else runs.RECOVERED
    if run.opened.at >= tape.began or ended < tape.began or tape.nothing:
        # It was planned from what they had made; but what an autoscaler makes of their bounds may come after that.
        sized_late = cell.act.on is On.AUTOSCALER and run.opened.plan.replicas < BOUNDS[0]
        wanted = {undisturbed, runs.ABANDONED} if sized_late and run.opened.at >= tape.began else {undisturbed}
    else:
        must, may = _interferes(cell, case, tape, run)
        wanted = {runs.ABANDONED} if must else {undisturbed, runs.ABANDONED} if may else {undisturbed}
    if undisturbed in wanted and cell.act.on.held is not None and cell.act.words in {"deletes", "re-creates"}:
        # No pod starts without it.
        wanted |= {runs.DESTINATION_BAD, runs.PUT_BACK}
    if end not in wanted:
        faults.append(f"{end} where {' or '.join(sorted(wanted))} was due: {english().text(run.closed.reason)}")
    asked = isinstance(run.present, AskPeople)
    if end == runs.ABANDONED and run.closed.freeze == asked:
        faults.append("abandoned, and not frozen" if not asked else "frozen for what changed nothing")
    if end == runs.ABANDONED and cell.act.words in OWNED and "(field manager " not in english().text(run.closed.reason):
        faults.append(f"whose field it is was not told: {english().text(run.closed.reason)}")
    return end, faults


def _interferes(cell: Disturbance, case: Case, tape: Disturbed, run: Run) -> tuple[bool, bool]:
    """Whether the run has to give way to the act, and whether it may."""
    act, plan = cell.act, run.opened.plan
    pins = any(isinstance(s, PinAutoscaler) for s in plan.steps)
    until_then = _until(act, run)
    kind, name = act.object(case)
    assert tape.done is not None
    seen = any((k, n) == (kind, name) and at < until_then for at, k, n in tape.looks)
    if act.words == "annotates" or (act.words == "scales" and act.on is On.LIVE):
        # How big the environment is that the Service leaves is not the run's to say: it stays as they made it.
        return False, False
    if act.on is On.AUTOSCALER:
        # What it does to the size takes its time; where it owns the size that is nobody's interference.
        return False, pins or not plan.autoscaled
    if act.words == "scales" and plan.autoscaled:
        return False, pins
    return seen, tape.began is not None and tape.began < until_then


def _until(act: Act, run: Run) -> datetime:
    """When the act no longer concerned the run: once its last step is done it only gives back what it borrowed."""
    plan, latest = run.opened.plan, datetime.max.replace(tzinfo=UTC)
    ended = run.done_at.get(len(plan.steps) - 1, run.ending.at if run.ending is not None else latest)
    if act.on.held is not None:
        # What they make of it once the pods are being replaced is theirs, and no matter of the run's.
        written = next((i for i, s in enumerate(plan.steps) if isinstance(s, TemplateWrite)), -1)
        return run.done_at.get(written, ended)
    if act.on is On.LIVE:
        switch = next((i for i, s in enumerate(plan.steps) if isinstance(s, SwitchService)), -1)
        return run.done_at.get(switch, ended)
    return ended


def _told(left: Remains) -> list[str]:
    faults = [f"owed: {sorted(left.owed)}"] if left.owed else []
    faults += [f"a Secret's value stands in {left.leaks}"] if left.leaks else []
    closings = Counter(n.rpartition("/")[0] for n in left.notices if n.endswith("/closed"))
    if closings != Counter({r.id: 1 for r in left.runs}):
        faults.append(f"ends told: {dict(closings)}")
    counts = {reason: left.reasons[reason] for reason in ("RunOpened", "RunClosed")}
    if set(counts.values()) != {len(left.runs)}:
        faults.append(f"Kubernetes Events {counts} of {len(left.runs)} runs")
    return faults


def _live(case: Case, left: Remains) -> Workload | None:
    if not case.switches:
        return left.deployments.get(objects.DEPLOYMENT)
    return left.deployments.get(objects.ENVIRONMENTS[left.selector[objects.ENVIRONMENT]])


def _theirs(cell: Disturbance, case: Case, tape: Disturbed, left: Remains) -> list[str]:
    """What of theirs does not stand. A later run may have rolled back what they rolled out."""
    act = cell.act
    kind, name = act.object(case)
    later = _later(tape, left)
    if tape.nothing:
        return []
    if kind is Kind.SERVICE:
        return [] if left.selector.get("track") == "canary" else [f"their selector is gone: {dict(left.selector)}"]
    if act.on.held is not None:
        stands = later or _config_stands(act, act.on.held, tape, left.config.get(kind))
        return [] if stands else [f"their {kind} {name} is gone"]
    if kind is Kind.AUTOSCALER:
        return [] if left.bounds == BOUNDS else [f"their bounds are gone: {left.bounds}"]
    found = left.deployments.get(name)
    if act.words == "deletes":
        # A run that was planned without it makes what it needs.
        needed = later and act.on is On.OTHER and left.selector.get(objects.ENVIRONMENT) == objects.BLUE
        return [] if found is None or needed else [f"{name} is there again"]
    if found is None:
        return [f"{name} is gone"]
    env = {e["name"]: e.get("value") for e in found.template["spec"]["containers"][0].get("env") or []}
    in_order = {
        "edits an env var of": later or env.get("LOG_LEVEL") == "debug",
        "annotates": found.annotations.get(NOTE) == "theirs",
        "pauses": found.paused,
        "re-creates": found.uid == tape.theirs and (later or image_of(found.raw) == _carried(name)),
        "rolls out v3 on": image_of(found.raw) == objects.image("3.0"),
    }
    return [] if in_order.get(act.words, True) else [f"theirs does not stand: {image_of(found.raw)}, env {env}"]


def _config_stands(act: Act, held: ConfigHeld, tape: Disturbed, found: Json | None) -> bool:
    theirs = found is not None and held.edit.items() <= (found.get("data") or {}).items()
    if act.words == "deletes" or found is None:
        # It may have been made again, so that production's pods start.
        return act.words == "deletes" and (found is None or theirs)
    return theirs and tape.theirs in {"", found["metadata"]["uid"]}


def _later(tape: Disturbed, left: Remains) -> bool:
    """Whether a run was planned from what they had made of it."""
    return any(tape.began is not None and r.opened.at >= tape.began for r in left.runs)


def _carried(name: str) -> str:
    return objects.image(GOOD if name == BLUE else BAD)


def _left_behind(cell: Disturbance, case: Case, minimum: int | None, tape: Disturbed, left: Remains) -> list[str]:
    faults = [f"the helper {d.name} is left" for d in left.deployments.values() if capacity.is_helper(d.raw)]
    mine = None if minimum is None else (minimum, REPLICAS * 2)
    if cell.act.on is not On.AUTOSCALER and left.bounds != mine:
        faults.append(f"the autoscaler's bounds are {left.bounds}")
    known = {objects.DEPLOYMENT, *objects.ENVIRONMENTS.values()}
    for workload in (w for n, w in left.deployments.items() if n in known):
        wanted = _sizes(cell, case, minimum, workload, tape, left)
        if workload.replicas not in wanted:
            faults.append(f"{workload.name} wants {workload.replicas} pods, not {sorted(wanted)}")
    if case.switches and any(r.closed is not None and r.closed.outcome == runs.ABANDONED for r in left.runs):
        named = objects.ENVIRONMENTS[left.selector[objects.ENVIRONMENT]]
        # Somebody who deletes the live environment knows that nobody serves then.
        if named == BLUE and named not in left.deployments and left.deployments:
            faults.append(f"the Service leads to {named}, which is gone")
    if case.missing and BLUE in left.deployments and cell.act.words != "re-creates":
        serves = left.selector.get(objects.ENVIRONMENT) == objects.BLUE
        # Whoever makes an autoscaler for it has other pods there than the run wanted, and counts on them.
        changed = cell.act.on is On.OTHER or (cell.act.on is On.AUTOSCALER and minimum is None)
        if not serves and not changed:
            faults.append(f"{BLUE}, made in vain, is left")
    return faults


def _sizes(  # noqa: PLR0917 - everything that has a say in it
    cell: Disturbance, case: Case, minimum: int | None, workload: Workload, tape: Disturbed, left: Remains
) -> set[int]:
    """The numbers of pods that this workload may want in the end."""
    kind, name = cell.act.object(case)
    if cell.act.words == "scales" and workload.name == name and not tape.nothing:
        autoscaled = minimum is not None and workload.name != GREEN
        # An autoscaler whose bounds are pinned may have had its own word.
        return {THEIRS, REPLICAS} if autoscaled and case.action is Action.GRADUAL else {THEIRS}
    sizes = {REPLICAS}
    if workload.name == BLUE:
        serves = left.selector.get(objects.ENVIRONMENT) == objects.BLUE
        idle = {minimum or environments.IDLE}
        sizes = {REPLICAS} if serves else idle
        if cell.act.words == "re-creates" and cell.act.on is On.OTHER:
            sizes = idle | {environments.IDLE}
            if minimum is not None:
                # Raised before they came, the minimum may have brought theirs there: shrinking it is the autoscaler's.
                sizes |= {REPLICAS}
            if serves and _later(tape, left):
                # A run that found theirs when it was planned has sent production there.
                sizes |= {REPLICAS}
        elif cell.act.on is On.OTHER and not serves:
            sizes |= {REPLICAS} if case.missing else set()
    if kind is Kind.AUTOSCALER and workload.name != GREEN:
        sizes |= {BOUNDS[0]}
    if cell.act.words == "scales" and cell.act.on is On.LIVE and _later(tape, left):
        # Whoever takes over from a live environment takes over all of its size.
        sizes |= {THEIRS}
    return sizes
