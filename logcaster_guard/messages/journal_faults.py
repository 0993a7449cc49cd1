"""Why a journal, the releases saved beside it, or a secret cannot be used, as messages. `place` is where it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


class SqliteFault(StrEnum):
    """What keeps SQLite from its work."""

    FULL = "full"
    LOCKED = "locked"
    READ_ONLY = "read_only"
    NO_PERMISSION = "no_permission"
    CANNOT_OPEN = "cannot_open"
    CORRUPT = "corrupt"
    DISK = "disk"
    OTHER = "other"


class SecretFault(StrEnum):
    """What is wrong with a secret."""

    EMPTY = "empty"
    BYTE_ORDER_MARK = "byte_order_mark"
    CONTROL = "control"
    NO_FILE = "no_file"
    NOT_TEXT = "not_text"


@dataclass(frozen=True, slots=True)
class JournalClosed(Message):
    """The journal was closed."""

    place: str
    kind: Literal["journal.closed"] = "journal.closed"


@dataclass(frozen=True, slots=True)
class JournalBroken(Message):
    """SQLite or the disk failed; `name` is SQLite's word for it, or empty."""

    place: str
    verb: str
    fault: SqliteFault
    name: str
    kind: Literal["journal.broken"] = "journal.broken"


@dataclass(frozen=True, slots=True)
class JournalRefused(Message):
    """Its file system refuses."""

    place: str
    verb: str
    words: Reason
    kind: Literal["journal.refused"] = "journal.refused"


@dataclass(frozen=True, slots=True)
class JournalUnreached(Message):
    """What keeps it does not answer well."""

    place: str
    verb: str
    error: Reason
    kind: Literal["journal.unreached"] = "journal.unreached"


@dataclass(frozen=True, slots=True)
class JournalNoFile(Message):
    """Its name is no regular file."""

    place: str
    kind: Literal["journal.no_file"] = "journal.no_file"


@dataclass(frozen=True, slots=True)
class JournalCut(Message):
    """Its file is too short."""

    place: str
    size: int
    kind: Literal["journal.cut"] = "journal.cut"


@dataclass(frozen=True, slots=True)
class NoJournalOfGuard(Message):
    """The file is none of a guard's."""

    place: str
    kind: Literal["journal.not_of_guard"] = "journal.not_of_guard"


@dataclass(frozen=True, slots=True)
class JournalOfVersion(Message):
    """It is of another version."""

    place: str
    newer: bool
    found: str
    reads: int
    kind: Literal["journal.of_version"] = "journal.of_version"


@dataclass(frozen=True, slots=True)
class JournalDamaged(Message):
    """It is damaged, by what SQLite or a check says."""

    place: str
    words: Reason
    kind: Literal["journal.damaged"] = "journal.damaged"


@dataclass(frozen=True, slots=True)
class JournalAltered(Message):
    """It holds what no guard made."""

    place: str
    kind: Literal["journal.altered"] = "journal.altered"


@dataclass(frozen=True, slots=True)
class StreamDamaged(Message):
    """An event does not follow from the one before it."""

    place: str
    stream: str
    seq: int
    kind: Literal["journal.stream_damaged"] = "journal.stream_damaged"


@dataclass(frozen=True, slots=True)
class EventUnreadable(Message):
    """An event is none that this version reads."""

    place: str
    stream: str
    seq: int
    words: Reason
    kind: Literal["journal.event_unreadable"] = "journal.event_unreadable"


@dataclass(frozen=True, slots=True)
class JournalTaken(Message):
    """Another guard has it open."""

    place: str
    kind: Literal["journal.taken"] = "journal.taken"


@dataclass(frozen=True, slots=True)
class JournalHalfGone(Message):
    """Its file is gone, and its write-ahead log is not."""

    place: str
    log: str
    kind: Literal["journal.half_gone"] = "journal.half_gone"


@dataclass(frozen=True, slots=True)
class JournalVolume(Message):
    """Its volume cannot keep it; `fresh`: it was to be made there."""

    place: str
    fresh: bool
    kind: Literal["journal.volume"] = "journal.volume"


@dataclass(frozen=True, slots=True)
class JournalMoved(Message):
    """Its file or lock was replaced while it was open."""

    place: str
    kind: Literal["journal.moved"] = "journal.moved"


@dataclass(frozen=True, slots=True)
class JournalLostContent(Message):
    """It has lost what it held."""

    place: str
    stream: str
    seq: int
    kind: Literal["journal.lost_content"] = "journal.lost_content"


@dataclass(frozen=True, slots=True)
class AppendTooLarge(Message):
    """An append is larger than it can hold."""

    place: str
    size: int
    limit: int
    kind: Literal["journal.append_too_large"] = "journal.append_too_large"


@dataclass(frozen=True, slots=True)
class AppendUnknown(Message):
    """Whether an append happened cannot be told."""

    place: str
    stream: str
    error: Reason
    kind: Literal["journal.append_unknown"] = "journal.append_unknown"


@dataclass(frozen=True, slots=True)
class SecretInTheWay(Message):
    """Another Secret has the name that an append needs."""

    secret: str
    namespace: str
    journal: str
    kind: Literal["journal.secret_in_the_way"] = "journal.secret_in_the_way"


@dataclass(frozen=True, slots=True)
class StoredUnsaid(Message):
    """The API server stored something and did not say so."""

    words: Reason
    kind: Literal["journal.stored_unsaid"] = "journal.stored_unsaid"


@dataclass(frozen=True, slots=True)
class StreamElsewhere(Message):
    """Somebody else appended first."""

    stream: str
    seq: int
    expected: int
    kind: Literal["journal.stream_elsewhere"] = "journal.stream_elsewhere"


@dataclass(frozen=True, slots=True)
class BlobsRefused(Message):
    """The folder of saved releases cannot be used."""

    place: str
    verb: str
    words: Reason
    kind: Literal["blobs.refused"] = "blobs.refused"


@dataclass(frozen=True, slots=True)
class BlobsUnreached(Message):
    """What keeps the releases does not take one."""

    place: str
    error: Reason
    kind: Literal["blobs.unreached"] = "blobs.unreached"


@dataclass(frozen=True, slots=True)
class BlobTooLarge(Message):
    """A release is larger than can be saved."""

    size: int
    limit: int
    kind: Literal["blobs.too_large"] = "blobs.too_large"


@dataclass(frozen=True, slots=True)
class ForeignSecret(Message):
    """A Secret of somebody else has the name of a saved release."""

    secret: str
    kind: Literal["blobs.foreign_secret"] = "blobs.foreign_secret"


@dataclass(frozen=True, slots=True)
class NoDigest(Message):
    """It is none of what saved releases are known by."""

    digest: str
    kind: Literal["blobs.no_digest"] = "blobs.no_digest"


@dataclass(frozen=True, slots=True)
class BlobAbsent(Message):
    """A saved release is not there."""

    digest: str
    place: str
    words: Reason
    folder: bool
    kind: Literal["blobs.absent"] = "blobs.absent"


@dataclass(frozen=True, slots=True)
class BlobDamaged(Message):
    """A saved release is damaged; `words` may be empty."""

    digest: str
    place: str
    words: Reason
    folder: bool
    kind: Literal["blobs.damaged"] = "blobs.damaged"


@dataclass(frozen=True, slots=True)
class OfFile(Message):
    """A secret's file."""

    file: str
    kind: Literal["secret.of_file"] = "secret.of_file"


@dataclass(frozen=True, slots=True)
class OfEnvironment(Message):
    """A secret's environment variable; empty for one that stands in the settings."""

    variable: str
    kind: Literal["secret.of_environment"] = "secret.of_environment"


@dataclass(frozen=True, slots=True)
class SecretWrong(Message):
    """A secret cannot be used."""

    where: Reason
    fault: SecretFault
    kind: Literal["secret.wrong"] = "secret.wrong"


@dataclass(frozen=True, slots=True)
class SecretTooLarge(Message):
    """A secret is too large."""

    where: Reason
    most: int
    kind: Literal["secret.too_large"] = "secret.too_large"


@dataclass(frozen=True, slots=True)
class SecretUnread(Message):
    """A secret's file cannot be read."""

    where: Reason
    words: Reason
    kind: Literal["secret.unread"] = "secret.unread"
