"""Why a database server is no use, and what keeps a migration's outcome from being known. `place` is where it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


class ConnectFault(StrEnum):
    """What keeps a session from beginning."""

    PASSWORD = "password"  # noqa: S105 - the name of a fault
    NO_DATABASE = "no_database"
    NO_ROLE = "no_role"
    NO_SERVER = "no_server"
    NAME = "name"
    TIMED_OUT = "timed_out"
    NO_TLS = "no_tls"
    TLS_NEEDED = "tls_needed"
    CERTIFICATE = "certificate"
    NOT_ADMITTED = "not_admitted"
    FULL = "full"
    STARTING = "starting"
    NOT_POSTGRESQL = "not_postgresql"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class DatabaseUnreached(Message):
    """No session can begin; `words` are the client library's, or empty."""

    place: str
    fault: ConnectFault
    words: Reason
    kind: Literal["database.unreached"] = "database.unreached"


@dataclass(frozen=True, slots=True)
class DatabaseLost(Message):
    """The session ended before it was done."""

    place: str
    words: Reason
    kind: Literal["database.lost"] = "database.lost"


@dataclass(frozen=True, slots=True)
class DatabaseSaid(Message):
    """The server refused a statement."""

    sqlstate: str
    words: Reason
    kind: Literal["database.said"] = "database.said"


@dataclass(frozen=True, slots=True)
class NotOneNumber(Message):
    """A query that counts answers with something else."""

    query: str
    kind: Literal["database.not_one_number"] = "database.not_one_number"


@dataclass(frozen=True, slots=True)
class GuardSchemaForeign(Message):
    """The guard's schema belongs to somebody else."""

    schema: str
    owner: str
    kind: Literal["database.guard_schema_foreign"] = "database.guard_schema_foreign"


@dataclass(frozen=True, slots=True)
class GuardSchemaMissing(Message):
    """The guard's schema is gone, and with it what was written down of the migration."""

    schema: str
    kind: Literal["database.guard_schema_missing"] = "database.guard_schema_missing"


@dataclass(frozen=True, slots=True)
class CommitUnanswered(Message):
    """COMMIT was sent, and its answer did not come."""

    place: str
    kind: Literal["database.commit_unanswered"] = "database.commit_unanswered"


@dataclass(frozen=True, slots=True)
class BackendRemains(Message):
    """The backend of an attempt was told to end and is still there."""

    pid: int
    seconds: float
    kind: Literal["database.backend_remains"] = "database.backend_remains"


@dataclass(frozen=True, slots=True)
class BackendUnseen(Message):
    """There is a backend of this number, and the role may not see whether it is that of the attempt."""

    pid: int
    kind: Literal["database.backend_unseen"] = "database.backend_unseen"


@dataclass(frozen=True, slots=True)
class EpochHeld(Message):
    """Another session holds the epoch."""

    table: str
    kind: Literal["database.epoch_held"] = "database.epoch_held"


@dataclass(frozen=True, slots=True)
class TracesDisagree(Message):
    """What an attempt left does not fit together; `version` and `status` are empty where there is none."""

    operation: str
    written: bool
    version: str
    status: str
    kind: Literal["database.traces_disagree"] = "database.traces_disagree"
