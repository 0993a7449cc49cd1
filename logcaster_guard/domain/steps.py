"""What a step of a plan is: a frozen value that answers for itself everything that others ask of a step.

A step is a write, which is tried until it is seen to be done, or a wait, a judgement or a question, which have no
effect of their own. Nothing here has a default: a step that leaves a question unanswered cannot be made, and mypy
says so where it is listed.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Final

from logcaster_guard.domain.field_owners import FieldOwner
from logcaster_guard.domain.leftovers import Leftover
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.reasons import NotMadeInTime
from logcaster_guard.domain.releases import LEFT_OUT, ReleaseId, is_left_out
from logcaster_guard.domain.rights import Right
from logcaster_guard.domain.step_reasons import RolloutIncomplete

CLUSTER: Final = "kubernetes"
"""The system of every object in the cluster."""

WRITE_TIMEOUT = 300.0
"""Seconds for which a write is tried; the API server may be away for that long."""

FAILED = "failed"
"""The outcome of a run whose step could not be done."""


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """One object that a step changes, in the cluster or outside; `namespace` is empty where there is none."""

    system: str
    kind: str
    namespace: str
    name: str


class Field(StrEnum):
    """What a step writes, of a workload and its Service. `AUTOSCALED_SIZE` is a size that an autoscaler then writes."""

    EXISTENCE = "existence"
    TEMPLATE = "template"
    SIZE = "size"
    AUTOSCALED_SIZE = "autoscaled size"
    SELECTOR = "selector"
    OTHER_TEMPLATE = "the other environment's template"


@dataclass(frozen=True, slots=True)
class Claim:
    """A field of what the plan rests on will have this value, and nobody else has written it then."""

    field: Field
    value: Any


class Purpose(StrEnum):
    """What a step is for in its run.

    `TAKEOVER` puts the good release in the bad one's place, `SETTLING` waits until it is there whole, `VERIFICATION`
    judges whether that helped.
    """

    PREPARATION = "preparation"
    TAKEOVER = "takeover"
    SETTLING = "settling"
    VERIFICATION = "verification"


@dataclass(frozen=True, slots=True)
class Consultation:
    """What people are asked before anything happens. `grace`, `remind_every` and `timeout` are in seconds."""

    grace: float
    require_approval: bool
    remind_every: float
    timeout: float


class Step(ABC):
    """The base of every step; each is a frozen dataclass whose fields are what the journal keeps of it."""

    __slots__ = ()

    @property
    @abstractmethod
    def kind(self) -> str:
        """Its name in the journal, in logs and in the read model."""

    @property
    @abstractmethod
    def writes(self) -> bool:
        """Whether it has an effect, which is intended in the journal before it is tried. It may be tried twice."""

    @abstractmethod
    def touches(self, plan: Plan) -> Sequence[ObjectReference]:
        """The objects that it may change, beside the plan's own workloads: a new leader marks them first."""

    @abstractmethod
    def rights(self, plan: Plan) -> Sequence[Right]:
        """What the guard's account must be allowed."""

    @property
    @abstractmethod
    def blobs(self) -> Sequence[str]:
        """Digests of what it reads from the blob store, which is kept as long as its run is open."""

    @property
    @abstractmethod
    def deadline(self) -> float:
        """Seconds after which it is given up."""

    @abstractmethod
    def overdue(self, detail: Reason) -> tuple[str, Reason]:
        """The run's outcome, and the reason, when the deadline has passed; `detail` is what was seen last."""

    @property
    @abstractmethod
    def inconclusive_if_unseen(self) -> bool:
        """Whether a run that cannot observe it until the deadline ends inconclusive: what it waits for may be there."""

    @abstractmethod
    def line(self, plan: Plan) -> Reason:
        """How it reads in a plan: what is done, in one line."""

    @property
    @abstractmethod
    def claims(self) -> Sequence[Claim]:
        """The values that it writes into what the plan rests on, so that nobody takes them for somebody else's."""

    @property
    @abstractmethod
    def borrows(self) -> str | None:
        """The kind of the `Compensation` that it takes, which some handler gives back; None if it takes nothing."""

    @property
    @abstractmethod
    def purpose(self) -> Purpose:
        """What it is for in its run."""

    @property
    @abstractmethod
    def asks(self) -> Consultation | None:
        """The question that it puts to people; None if it asks nobody."""


def kind_of(step: type[Step]) -> str:
    """The `kind` of every value of this class."""
    found = {field.name: field.default for field in fields(step)}  # type: ignore[arg-type] # every step is a dataclass
    return str(found["kind"])


def borrowed_by(step: type[Step]) -> str | None:
    """What every value of this class borrows."""
    # Each states it as a constant of its class.
    borrows: object = step.borrows
    return borrows if isinstance(borrows, str) else None


class Write(Step):
    """A step with an effect: it is tried until it is seen to be done, for as long as the API server may be away.

    One that was not seen to be done counts as not done.
    """

    __slots__ = ()

    writes: ClassVar = True
    inconclusive_if_unseen: ClassVar = False
    asks: ClassVar = None

    @property
    def deadline(self) -> float:
        """The same for most writes."""
        return WRITE_TIMEOUT

    def overdue(self, detail: Reason) -> tuple[str, Reason]:
        """The run has failed."""
        return FAILED, NotMadeInTime(detail)


class Look(Step):
    """A wait, a judgement or a question: it changes nothing, and so it touches, needs, claims and borrows nothing."""

    __slots__ = ()

    writes: ClassVar = False
    blobs: ClassVar = ()
    claims: ClassVar = ()
    borrows: ClassVar = None

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:  # noqa: ARG002 - the base's shape
        """Nothing."""
        return ()

    def rights(self, plan: Plan) -> Sequence[Right]:  # noqa: ARG002 - the base's shape
        """What every guard may read."""
        return ()


class Wait(Look):
    """A wait or a judgement that is given up after `timeout` seconds."""

    __slots__ = ()

    timeout: float
    asks: ClassVar = None

    @property
    def deadline(self) -> float:
        """Its timeout."""
        return self.timeout


class RolloutWait(Wait):
    """A wait for the good release to take over, which has failed if it does not in time."""

    __slots__ = ()

    def overdue(self, detail: Reason) -> tuple[str, Reason]:
        """The run has failed."""
        return FAILED, RolloutIncomplete(detail)


@dataclass(frozen=True, slots=True)
class Compensation:
    """Something borrowed that must be given back.

    `id` is unique in its run; `kind` names the step that gives it back; `object` is its name. `original` and
    `written` are the values before and by the guard, of any JSON type (None: there was none), `earlier` those that it
    wrote before `written`: it is given back only while the object still shows one of the guard's. `original_maximum`
    is an autoscaler's own upper bound. `run` is the run that took it, which a helper names on itself. `revision` and
    `content` are what a suspended GitOps owner wanted when its bad release was live, `saved` the JSON of the fields
    that suspending it changed. `token` is random and stands on what the run made or marked (empty in journals of
    earlier versions), `since` is when that run was opened, by the API server's clock. `owners` are the field managers
    that had the fields before: they get them back with their values.
    """

    id: str
    kind: str
    object: str
    uid: str
    original: Any
    written: Any
    original_maximum: int | None = None
    earlier: tuple[Any, ...] = ()
    run: str = ""
    revision: str = ""
    content: str = ""
    saved: str = ""
    token: str = ""
    since: datetime | None = None
    owners: tuple[FieldOwner, ...] = ()

    @property
    def ours(self) -> tuple[Any, ...]:
        """Every value that the guard wrote."""
        return (self.written, *self.earlier)


@dataclass(frozen=True, slots=True)
class Plan:
    """The ordered steps of a rollback and what they were planned from.

    `from_template` and `to_template` are normalised template hashes, `from_configuration` and `to_configuration` the
    digests that make releases of them (`ReleaseId`; empty: unknown). `uid`, `replicas` and `selector` are what was seen
    of the workload; a change of one by somebody else ends the run. `autoscaled`: an HPA, or the number of nodes, owns
    the replica count. `size` is how many pods the target is to have in the end (None: as many as were seen). `floor` is
    the capacity that a gradual or blue-green run never goes below: the Ready pods that the Service selected, at most
    the wanted ones.

    Where the Service goes over to another environment, `deployment`, `uid` (empty: it is to be created) and `replicas`
    are that environment's, and `live` and `live_uid` name the Deployment that it leaves, which carries `from_template`.

    `leftover` is what people have to know of the next deployment, None where there is nothing to know. `unrestored`
    tells of configuration that stays as it is. `stands_for` is the key of the good release that `to_template` is, but
    for the names of what its pods read; empty where it is that itself.
    """

    strategy: str
    namespace: str
    deployment: str
    uid: str
    from_template: str
    to_template: str
    from_images: tuple[str, ...]
    to_images: tuple[str, ...]
    replicas: int
    autoscaled: bool
    service: str | None
    selector: dict[str, str] | None
    steps: tuple[Step, ...]
    kind: str = "Deployment"
    size: int | None = None
    floor: int = 0
    live: str = ""
    live_uid: str = ""
    leftover: Leftover | None = None
    from_configuration: str = field(default="", metadata=LEFT_OUT)
    to_configuration: str = field(default="", metadata=LEFT_OUT)
    unrestored: tuple[Reason, ...] = field(default=(), metadata=LEFT_OUT)
    stands_for: str = field(default="", metadata=LEFT_OUT)

    @property
    def origin(self) -> ReleaseId:
        """The release that it leaves."""
        return ReleaseId(self.from_template, self.from_configuration)

    @property
    def destination(self) -> ReleaseId:
        """The release that it goes to."""
        return ReleaseId(self.to_template, self.to_configuration)

    @property
    def good(self) -> ReleaseId:
        """The release that is known to be good, and is brought back."""
        return ReleaseId.of_key(self.stands_for) if self.stands_for else self.destination

    @property
    def rights(self) -> Sequence[Right]:
        """What its steps need, each once, in the order of the steps."""
        return list(dict.fromkeys(right for step in self.steps for right in step.rights(self)))

    @property
    def lines(self) -> list[Reason]:
        """What each step does, in its order, and then what stays as it is."""
        return [*(step.line(self) for step in self.steps), *self.unrestored]

    def object(self, kind: str, name: str) -> ObjectReference:
        """An object of the plan's namespace."""
        return ObjectReference(CLUSTER, kind, self.namespace, name)

    @property
    def digest(self) -> str:
        """SHA-256 of what the plan does: what an approval is bound to."""
        done = {key: part for key, part in _plain(self).items() if key != "leftover"}
        return hashlib.sha256(json.dumps(done, sort_keys=True).encode()).hexdigest()

    @property
    def full_size(self) -> int:
        """How many pods the target is to have in the end."""
        return self.replicas if self.size is None else self.size


def _plain(value: Any) -> Any:  # noqa: ANN401 - what a plan is made of
    """As JSON, without what an earlier version would not have written."""
    if is_dataclass(value):
        parts = ((f, getattr(value, f.name)) for f in fields(value))
        return {f.name: _plain(part) for f, part in parts if not is_left_out(f, part)}
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
