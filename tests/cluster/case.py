"""What a scene plays: the service, the rule that fires, and what is particular to a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.domain.conditions import Comparator, Compare, Number, SignalRef
from logcaster_guard.domain.gitops import GitOps, OwnerKind
from logcaster_guard.domain.rules import (
    Action,
    AlertPolicy,
    BlueGreenPolicy,
    GradualPolicy,
    LedgerPolicy,
    Limits,
    Policy,
    Polling,
    RolloutPolicy,
    Rule,
    VerifyPolicy,
)
from logcaster_guard.domain.signals import (
    Gap,
    History,
    NoData,
    NoHistory,
    Reading,
    Signal,
    SourceName,
    Target,
    Unit,
    Value,
)
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Json, Kind
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import ApiRefused
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.world import World
from tests.canary import CANARY, ONE, THREE, TWO, encoded
from tests.fakes.source import TargetByTarget

GOOD, BAD = "1.0", "2.0"
REPLICAS = 3
WITHIN = 60.0
SIGNAL = Signal("error_rate", Unit.RATIO, SourceName.SCRAPE, lookback=0.1)
SIGNALS = {s.name: s for s in (SIGNAL, Signal("request_rate", Unit.PER_SECOND, SourceName.SCRAPE, lookback=0.1))}
RULE = Rule(
    name="high_error_rate",
    text="error_rate > 5%",
    condition=Compare(Comparator.GT, SignalRef("error_rate"), Number(0.05)),
    duration=0.3,
    action=Action.IMMEDIATE,
)
# Neither cooldown nor budget may be what keeps a guard from rolling back twice.
POLICY = Policy(
    polling=Polling(interval=0.1, staleness=2.0),
    limits=Limits(cooldown=0.0, per_target_per_day=100, per_cluster_per_hour=100),
    ledger=LedgerPolicy(good_after=0.5),
    verify=VerifyPolicy(stable_for=0.3, timeout=WITHIN),
    rollout=RolloutPolicy(timeout=WITHIN),
    gradual=GradualPolicy(steps=(0.5, 1.0), wait=0.1, window=0.1, hold=WITHIN),
    blue_green=BlueGreenPolicy(wait=0.1, window=0.1),
    alert=AlertPolicy(grace=0.3, remind_every=WITHIN),
)
LIMIT = "MAX_CONNECTIONS"
"""The variable by which a bad release fails where variables are what is rolled back."""
CONFIG = "logcaster-config"
"""The ConfigMap that the pods read, where they read one."""
HELD = {GOOD: {"LEVEL": "info", "LIMIT": "10"}, BAD: {"LEVEL": "debug", "NEW": "1"}}
"""What it holds for each version."""
SECRET = "logcaster-credentials"  # noqa: S105 - a name
"""The Secret that the pods read, where they read one."""


@dataclass(frozen=True, slots=True)
class ConfigHeld:
    """What the pods read of a ConfigMap or Secret: its `data` for each version, and what somebody else makes of it.

    `source` is what refers to it. Somebody edits a key (`edit`), or gives it a new content (`rotated`).
    """

    kind: Kind
    name: str
    source: str
    versions: Mapping[str, Mapping[str, str]]
    edit: Mapping[str, str]
    rotated: Mapping[str, str]

    def path(self, namespace: str) -> str:
        """Where such objects are."""
        return f"/api/v1/namespaces/{namespace}/{self.kind.lower()}s"

    def manifest(self, data: Mapping[str, str]) -> Json:
        """The object with this data."""
        return {"apiVersion": "v1", "kind": str(self.kind), "metadata": {"name": self.name}, "data": dict(data)}

    def version(self, data: Mapping[str, str]) -> str:
        """The version that holds this data, in a word; no value."""
        return next((version for version, held in self.versions.items() if held == data), "something else")

    def replacing(self, data: Mapping[str, str]) -> Json:
        """The merge patch after which it holds this, whatever it held."""
        known = {key for held in (*self.versions.values(), self.edit, self.rotated) for key in held}
        return {"data": {**dict.fromkeys(sorted(known)), **data}}


OF_CONFIG_MAP = ConfigHeld(
    Kind.CONFIG_MAP, CONFIG, "configMapRef", HELD, edit={"LEVEL": "theirs"}, rotated={"LEVEL": "theirs"}
)
OF_SECRET = ConfigHeld(
    Kind.SECRET,
    SECRET,
    "secretRef",
    {
        GOOD: {"password": encoded(ONE), "user": encoded(f"{CANARY}-user")},
        BAD: {"password": encoded(TWO), "token": encoded(f"{CANARY}-token")},
    },
    edit={"password": encoded(THREE)},
    rotated={"password": encoded(THREE), "rotated": encoded(f"{CANARY}-rotated")},
)
PACE = Pace(start_delay=0.02, drain=0.05)


@dataclass(frozen=True)
class Case:
    """What the rule asks for, and the error rate of the good release where it runs beside production.

    `missing`: somebody has deleted the environment with the good release. `refused`: nothing will be rolled back.
    `owner`: a GitOps owner has rolled the bad release out, and `gitops` is what is done about it.
    `in_cluster`: journal and blobs are kept there. `sidecar`: a container of the guard's is in the pods, and becomes a
    newer one together with the bad release. `config`: a ConfigMap that the pods read changes with the bad release, with
    `secret` a Secret.
    """

    action: Action
    beside: float = 0.0
    missing: bool = False
    refused: bool = False
    owner: OwnerKind | None = None
    gitops: GitOps | None = GitOps.SUSPEND
    in_cluster: bool = False
    sidecar: bool = False
    config: bool = False
    secret: bool = False

    def __str__(self) -> str:
        if self.owner is not None:
            return f"{self.action}, {self.gitops} {self.owner}"
        beside = f", {self.beside:.0%} errors beside" if self.beside else ""
        missing = ", the other environment missing" if self.missing else ""
        kinds = [str(one.kind) for one in self.held] if not self.keeps_template else []
        config = f", with a {' and a '.join(kinds)}" if kinds else ""
        return f"{self.action}{config}{beside}{missing}{', journal in the cluster' if self.in_cluster else ''}"

    @property
    def switches(self) -> bool:
        """Whether two environments take turns."""
        return self.action is Action.BLUE_GREEN

    @property
    def changes_variables(self) -> bool:
        """Whether the bad release fails by a variable, and is as good as any with that put back."""
        return self.action is Action.ENV

    @property
    def keeps_template(self) -> bool:
        """Whether the bad release fails by what its ConfigMap holds, and is as good as any with that put back."""
        return self.action is Action.CONFIG

    @property
    def held(self) -> Sequence[ConfigHeld]:
        """The objects that the pods read and that change with the bad release."""
        config_map = [OF_CONFIG_MAP] if self.config or self.keeps_template else []
        return [*config_map, *([OF_SECRET] if self.secret else [])]

    def roll_out(self, version: str) -> Json:
        """The strategic merge patch that rolls the version out: the good one at first, then the bad one."""
        body = objects.new_image(objects.image(version))
        if self.changes_variables:
            body["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": LIMIT, "value": "1"}]
        return body

    def serves_as(self, deployment: Json, held: Json | None = None) -> str:
        """The image that a Deployment serves like: its own, or the good one where the bad one has its variable back.

        Or where the ConfigMap, which holds `held`, no longer holds what the bad one fails by.
        """
        image = image_of(deployment)
        env = {e["name"]: e.get("value") for e in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
        restored = self.changes_variables and image == objects.image(BAD) and env.get(LIMIT) != "1"
        restored = restored or (self.keeps_template and held != HELD[BAD])
        return objects.image(GOOD) if restored else image

    @property
    def left(self) -> list[str]:
        """The Deployments that are there in the end: what is missing is no destination unless it is good."""
        if not self.switches:
            return [objects.DEPLOYMENT]
        there = {objects.GREEN} if self.missing and self.beside else {objects.BLUE, objects.GREEN}
        return sorted(objects.ENVIRONMENTS[e] for e in there)


IMMEDIATE = Case(Action.IMMEDIATE)
"""The plain one."""


class ImageSource(TargetByTarget):
    """A `Source` that finds errors exactly while production carries the bad image.

    `beside` is the error rate of a Deployment beside it.
    """

    name = SourceName.SCRAPE

    def __init__(self, world: World, clock: SystemClock, case: Case) -> None:
        self._world = world
        self._case = case
        self._clock = clock
        self.reads = 0
        self.polls = 0

    async def of_target(self, target: Target, signals: Sequence[Signal]) -> Mapping[str, Reading]:
        self.polls += 1
        try:
            errors = await self._errors(target)
        except ApiRefused:
            return {s.name: NoData(self._clock.monotonic(), Gap.EMPTY, "nothing is there") for s in signals}
        numbers = {"error_rate": errors, "request_rate": 1e6}
        return {s.name: Value(self._clock.monotonic(), numbers[s.name]) for s in signals}

    async def _errors(self, target: Target) -> float:
        if not self._case.switches and target.deployment != objects.DEPLOYMENT:
            return self._case.beside
        self.reads += 1
        deployment = await self._world.deployment(target.deployment)
        shown = self._case.serves_as(deployment, await held(self._world) if self._case.keeps_template else None)
        good = self._case.beside if self._case.switches and shown == objects.image(GOOD) else 0.0
        return 0.3 if shown == objects.image(BAD) else good

    async def history(self, target: Target, signal: Signal, start: float, end: float, step: float) -> History:
        del target, signal, start, end, step
        return NoHistory()

    async def aclose(self) -> None:
        pass


def image_of(deployment: Json) -> str:
    """The image that the Deployment asks for."""
    return Workload(deployment).images[0]


def config_maps(namespace: str) -> str:
    """The path of the namespace's ConfigMaps."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


async def held(world: World) -> Json | None:
    """What the ConfigMap holds; None where it is gone."""
    try:
        found = await world.client.get(f"{config_maps(world.namespace)}/{CONFIG}")
    except ApiRefused:
        return None
    data: Json = found.get("data") or {}
    return data
