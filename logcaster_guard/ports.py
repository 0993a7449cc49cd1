"""What the engine needs from outside, as Protocols; each has one contract suite and at least two implementations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from logcaster_guard.domain.configuration.content import Concealed, DigestKey
from logcaster_guard.domain.database.migrating import Attempt, Backend, Migrated, MigrationOrder, Outcome
from logcaster_guard.domain.database.server import DatabaseState
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.events import Event
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.domain.leadership import Record
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.notices import Delivery, Notice
from logcaster_guard.domain.ownership import PodGroup, Roster
from logcaster_guard.domain.signals import History, NoData, Reading, Signal, SourceError, SourceName, Target
from logcaster_guard.messages.record_faults import FlawFound
from logcaster_guard.messages.texts import english

Json = dict[str, Any]


class Clock(Protocol):
    """Time as the engine sees it: durations on a monotonic clock, instants in UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    def now(self) -> datetime:
        """The UTC-aware wall-clock instant."""

    async def sleep_until(self, at: float) -> None:
        """Return at monotonic second `at`, at once if it has passed."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A signal of a target, as a source is asked for it; each is itself alone, whatever it asks for.

    `shared`: it is only watched, so what the cluster shows of the target may be what others were shown a moment ago.
    """

    target: Target
    signal: Signal
    shared: bool = False


Answer = tuple[Request, Reading]
"""What a source says to one request."""


class Source(Protocol):
    """Reads signals of targets. It never raises for what the outside does: each failure is a `SourceError` reading."""

    @property
    def name(self) -> SourceName:
        """The word that settings use for it."""

    def read(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        """One reading for each request, as soon as it is known: a target that is slow holds up no other."""

    async def history(self, target: Target, signal: Signal, start: float, end: float, step: float) -> History:
        """The signal between two monotonic instants, a point each `step` seconds."""

    async def aclose(self) -> None:
        """Release connections and threads."""


@runtime_checkable
class Divisible(Protocol):
    """A `Source` that can read a signal of some of a target's pods alone."""

    async def portion(self, target: Target, signal: Signal, group: PodGroup, start: float, end: float) -> Reading:
        """What `signal` would have shown at monotonic `end`, looking back to `start`, of these pods."""


@runtime_checkable
class Clocked(Protocol):
    """A `Source` that knows how the clock of its backend differs from the guard's."""

    def ahead(self) -> float:
        """By how many seconds it is ahead of this machine's, at most; 0: it may not differ."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running pod that can be asked for its metrics.

    `template` is the normalised hash of its pod template, `memory_limit` is in bytes.
    """

    pod: str
    ip: str
    template: str
    memory_limit: float | None = None


Rosters = Callable[[Target, bool], Awaitable[Roster | NoData | SourceError]]
"""Tells the names that pods of a target have and had (`shared` as in `Request`); no data where its workload is not."""

Endpoints = Callable[[Target, bool], Awaitable[Sequence[Endpoint] | SourceError]]
"""Tells the running pods of a target, `shared` as in `Request`; none where its workload is not there."""


class Kind(StrEnum):
    """Kubernetes kinds that the guard touches."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"
    CONTROLLER_REVISION = "ControllerRevision"
    JOB = "Job"
    CRON_JOB = "CronJob"
    REPLICA_SET = "ReplicaSet"
    POD = "Pod"
    SERVICE = "Service"
    AUTOSCALER = "HorizontalPodAutoscaler"
    DISRUPTION_BUDGET = "PodDisruptionBudget"
    VOLUME_CLAIM = "PersistentVolumeClaim"
    ENDPOINT_SLICE = "EndpointSlice"
    EVENT = "Event"
    LEASE = "Lease"
    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"  # noqa: S105 - the name of a kind
    APPLICATION = "Application"
    KUSTOMIZATION = "Kustomization"
    HELM_RELEASE = "HelmRelease"
    GIT_REPOSITORY = "GitRepository"
    OCI_REPOSITORY = "OCIRepository"
    BUCKET = "Bucket"
    HELM_CHART = "HelmChart"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for a change over HTTP: the name that others are told, and what the gate itself knows them by."""

    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Gate(Protocol):
    """Says who may change something over HTTP; a token is never kept or told. Raises `ClusterError`: nobody knows."""

    async def caller(self, token: str) -> Caller | None:
        """Who holds the token; None if nobody does."""

    async def may_change(self, caller: Caller, kind: Kind, namespace: str, name: str) -> bool:
        """Whether they may change that object."""

    async def aclose(self) -> None:
        """Release connections."""


class Reads(Protocol):
    """The reading half of the Kubernetes API, object for object as JSON."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """The object; raises `NotFound`."""

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        """Every object that the label selector matches, over all pages."""


class Cluster(Reads, Protocol):
    """The Kubernetes API, object for object as JSON. Failures are `domain.errors.ClusterError`s.

    Nothing is retried here: whether a write may be repeated is the caller's to decide. Nothing is kept either: every
    answer is of now. Whoever only watches asks the shared view (`cluster_view`).
    """

    async def json_patch(
        self, kind: Kind, namespace: str, name: str, operations: Sequence[Json], *, manager: str = MANAGER
    ) -> Json:
        """The object after an RFC 6902 patch; `manager` owns the fields that it changes.

        Raises `Conflict` on a stale `replace /metadata/resourceVersion`.
        """

    async def apply(self, kind: Kind, namespace: str, name: str, body: Json, *, manager: str, force: bool) -> Json:
        """The object after a server-side apply of `body` as field manager `manager`."""

    async def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        """The new object; raises `Conflict` when the name is taken."""

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, resource_version: str | None) -> None:
        """Foreground deletion with preconditions; raises `Conflict` when they no longer hold.

        Of what nothing can depend on, such as a Secret, it is done at once.
        """

    def ahead(self) -> float:
        """By how many seconds the API server's clock is ahead of this machine's, at most; 0: it may not differ."""

    async def aclose(self) -> None:
        """Release connections."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All that a watch is of, as it was at the resourceVersion `version`; asked for at monotonic second `asked`.

    It is the first event of a watch, and comes again wherever changes may have been missed.
    """

    items: tuple[Json, ...]
    version: str
    asked: float


@dataclass(frozen=True, slots=True)
class Change:
    """The next change: the object as it is at `version`, or as it was when it was deleted then."""

    object: Json
    version: str
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Nothing else has changed up to `version`."""

    version: str


@dataclass(frozen=True, slots=True)
class Interruption:
    """The watch gets no answer now, and goes on trying: what it has told may be out of date."""

    error: ClusterError


WatchEvent = Listing | Change | Bookmark | Interruption


class Watches(Protocol):
    """Tells of every change of some objects, in the order in which they happened."""

    def watch(self, kind: Kind, namespace: str, name: str = "") -> AsyncGenerator[WatchEvent, None]:
        """All that happens to a kind of objects in a namespace, or to the one of this name; it never ends or raises."""


class Listings(Protocol):
    """Lists that tell of which state they are, so that what they show can be put in order with other things."""

    async def listing(
        self, kind: Kind, namespace: str, name: str = "", *, selector: str = "", version: str = ""
    ) -> tuple[Sequence[Json], str]:
        """The objects of a kind that a label selector matches, or the one of a name, and the resourceVersion of that.

        They are as of now, never of an older state; with a `version` as they were then, where the server still knows it
        (it may answer with another state, of which it then tells the version). Raises a `ClusterError`.
        """


class Rights(Protocol):
    """Tells what the guard's own account is allowed to do."""

    async def may(self, verb: str, group: str, resource: str, namespace: str, name: str = "") -> bool | None:
        """Whether it may; None where nobody can tell. Raises `ClusterError`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as the journal keeps it: `seq` counts from 1 within its stream, `position` rises over all streams."""

    stream: str
    seq: int
    position: int
    event: Event


@dataclass(frozen=True, slots=True)
class JournalSize:
    """Bytes that a journal takes, and the most that it can take where it is."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something in a journal that is not as a guard writes it: where, what was found, and what to do.

    `seq` is 0 where it is of the stream as a whole; an empty `stream`: of the journal.
    """

    stream: str
    seq: int
    found: Reason
    remedy: Reason

    @property
    def told(self) -> Message:
        """In one line."""
        return FlawFound(self.stream, self.seq, self.found, self.remedy)

    def __str__(self) -> str:
        """The same in English."""
        return english().text(self.told)


@dataclass(frozen=True, slots=True)
class NotLookedAt:
    """What is kept of a Secret and nobody could look at, as people are told it, and why."""

    name: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Checked:
    """Everything that is wrong with what is kept, and what nobody could look at."""

    flaws: Sequence[Flaw]
    not_looked_at: Sequence[NotLookedAt] = ()


@dataclass(frozen=True, slots=True)
class Inspected:
    """What was found in a journal that nobody is to change: the events that can be read, by position, and the rest."""

    entries: Sequence[Entry]
    flaws: Sequence[Flaw]


class Journal(Protocol):
    """Streams of events, durable before `append` returns; what is in them never changes, and may go by `compact`."""

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        """Append all or nothing after seq `expected_seq` (0: a new stream); returns the stream's new last seq.

        Raises `JournalConflict` if the stream has moved on, `JournalUnavailable` if nothing could be made durable.
        """

    async def read(self, stream: str, after: int = 0) -> Sequence[Entry]:
        """The events of the stream after seq `after`; empty if there is none. The cost is that of what is returned."""

    async def read_all(self, prefix: str = "") -> Sequence[Entry]:
        """Every event of the streams whose name starts with `prefix`, by `position`.

        Like `read` it raises `JournalUnavailable`, as `JournalOutOfReach` if that may pass by itself.
        """

    async def compact(self, superfluous: Collection[tuple[str, int]]) -> None:
        """Let go of these events, by stream and seq; all others keep seq and position, and so does each stream's last.

        Each stream is compacted whole or not at all, whenever the process ends. Raises `JournalUnavailable`.
        """

    async def size(self) -> JournalSize:
        """How much room it takes; raises `JournalUnavailable`."""

    async def aclose(self) -> None:
        """Release what it is kept in."""


class ReadableBlobs(Protocol):
    """The reading half of `Blobs`."""

    async def get(self, digest: str) -> bytes:
        """The content, checked against `digest`.

        Raises `BlobMissing`, and a `ClusterError` where the store is in the cluster and gave no answer.
        """


class Blobs(ReadableBlobs, Protocol):
    """Content kept under its SHA-256."""

    async def put(self, content: bytes) -> str:
        """Keep `content` durably; returns its digest in lower-case hex."""

    async def digests(self) -> Sequence[str]:
        """Everything that is kept, in no order."""

    async def keep_only(self, digests: Collection[str], *, older_than: float) -> int:
        """Remove every other blob that was written more than `older_than` seconds ago; returns how many."""


class SavedSecrets(Protocol):
    """Versions of Secrets, kept where nobody can read them who may not read Secrets, each under a keyed digest."""

    async def key(self, namespace: str) -> DigestKey:
        """The key of all digests that concern Secrets of this namespace.

        It is made once; a guard that finds it gone has another. Raises a `ClusterError`: `Rejected` where what stands
        in its place is none.
        """

    async def put(self, namespace: str, content: Concealed) -> str:
        """Keep what a Secret of this namespace held, durably; returns the place (`domain.configuration.kept`).

        Raises as `key`, and `JournalUnavailable` where it could not be kept.
        """

    async def get(self, place: str) -> Concealed:
        """What is kept in that place, checked by its digest; raises `BlobMissing`, and as `key` does."""

    async def keep_only(self, places: Collection[str], *, older_than: float, since: datetime) -> int:
        """Remove what is in any other place and was kept more than `older_than` seconds ago; returns how many.

        What was kept before `since` stays. Raises `JournalUnavailable`.
        """

    async def kept_before(self, since: datetime) -> Sequence[tuple[str, str]]:
        """What was kept before then: its digest, and the object (`namespace/name`) that holds it, or the first of them.

        Raises a `ClusterError`.
        """


class MigrationSession(Protocol):
    """A session of its own at a database, in which one migration is run."""

    @property
    def backend(self) -> Backend:
        """What serves it; it is journalled before `run`, because it may go on when this process is gone."""

    async def run(self, order: MigrationOrder, begun: Callable[[int], Awaitable[None]]) -> Migrated:
        """Carry out the whole order in one transaction, or nothing of it.

        `begun` is awaited with the transaction's number when all locks are held, before the first file: what it raises
        ends the transaction and is raised here. An attempt that does not get its locks is followed by another.
        """

    async def aclose(self) -> None:
        """End the session; a transaction that is open in it is rolled back by the server."""


class Database(Protocol):
    """A database whose migrations the guard undoes. Failures are `DatabaseUnavailable` and `DatabaseRefused`."""

    async def look(self) -> DatabaseState:
        """What it is and at which version."""

    async def count(self, queries: Sequence[str]) -> tuple[int, ...]:
        """The whole number that each query answers with, all of one moment; nothing can be changed by them."""

    async def begin(self) -> MigrationSession:
        """A session for a migration, with the guard's own schema; `run` tells what else is in the way."""

    async def outcome(self, attempt: Attempt, epoch: int) -> Outcome:
        """How an attempt ended, for the leader of `epoch`; none of an older epoch can begin one afterwards.

        Its backend is ended first, if it is still there.
        """

    async def aclose(self) -> None:
        """Release connections."""


class Channel(Protocol):
    """Carries notices to people. It never raises for what the outside does."""

    @property
    def name(self) -> str:
        """Unique among the configured channels; stable over restarts."""

    async def deliver(self, notice: Notice) -> Delivery:
        """Try once."""

    async def aclose(self) -> None:
        """Release connections."""


class Lease(Protocol):
    """The record that tells which guard may act, one for all that share a journal. Failures are `ClusterError`s."""

    @property
    def name(self) -> str:
        """As people are told it."""

    async def read(self) -> Record | None:
        """The record; None if there is none."""

    async def write(self, record: Record) -> Record:
        """The record as it is then.

        Replaces the one with `record.version`, or makes the first where that is empty; raises `Conflict` if it has
        changed since (or is there already), `NotFound` if it is gone.
        """


class Authority(Protocol):
    """Whether this guard may act now."""

    @property
    def timeout(self) -> float:
        """Seconds that a request which changes something may take."""

    def check(self, lasting: float = 0.0) -> None:
        """Raise `NoAuthority` unless something that may take `lasting` seconds may be begun."""
