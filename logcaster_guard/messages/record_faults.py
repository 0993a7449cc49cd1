"""What is wrong with what the journal and the blobs hold, as messages: what `verify` finds, and why nothing is read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


class Remedy(StrEnum):
    """What to do about it; its words are in the catalogues."""

    RESTORE_FILE = "restore_file"
    RUN_ITS_VERSION = "run_its_version"
    NOTHING_LOST = "nothing_lost"
    NAME_OF_ITS_OWN = "name_of_its_own"
    RESTORE_COPY = "restore_copy"
    CONTRADICTION = "contradiction"
    RESTORE_BLOB = "restore_blob"
    UNUSED = "unused"
    LOOK_FIRST = "look_first"
    RESTORE_PART = "restore_part"
    NO_COPY = "no_copy"


@dataclass(frozen=True, slots=True)
class NotJson(Message):
    """The text of an event is not JSON."""

    kind: Literal["record.not_json"] = "record.not_json"


@dataclass(frozen=True, slots=True)
class NotAnObject(Message):
    """The text of an event is no JSON object."""

    kind: Literal["record.no_object"] = "record.no_object"


@dataclass(frozen=True, slots=True)
class EventUnknown(Message):
    """An event of a type that this version does not know."""

    name: str
    kind: Literal["record.unknown_event"] = "record.unknown_event"


@dataclass(frozen=True, slots=True)
class EventNewer(Message):
    """An event of a newer version, with its codec and the one that this version reads."""

    codec: str
    reads: int
    kind: Literal["record.newer"] = "record.newer"


@dataclass(frozen=True, slots=True)
class EventMisfit(Message):
    """An event whose field `where` does not fit its type."""

    event: str
    where: str
    words: Reason
    kind: Literal["record.misfit"] = "record.misfit"


@dataclass(frozen=True, slots=True)
class KindUnknown(Message):
    """An event that holds something of a kind which this version does not know."""

    event: str
    where: str
    tag: str
    kind: Literal["record.unknown_kind"] = "record.unknown_kind"


@dataclass(frozen=True, slots=True)
class InstantNaive(Message):
    """An event with an instant of no time zone."""

    instant: str
    kind: Literal["record.no_time_zone"] = "record.no_time_zone"


@dataclass(frozen=True, slots=True)
class EventUnread(Message):
    """An event that cannot be read."""

    words: Reason
    kind: Literal["record.unread"] = "record.unread"


@dataclass(frozen=True, slots=True)
class EventUnfollowing(Message):
    """An event that does not follow from the one before it."""

    seq: int
    kind: Literal["record.unfollowing"] = "record.unfollowing"


@dataclass(frozen=True, slots=True)
class SecretForeign(Message):
    """A Secret that is none of the guard's, or damaged."""

    secret: str
    kind: Literal["secret.foreign"] = "secret.foreign"


@dataclass(frozen=True, slots=True)
class SecretOfVersion(Message):
    """A Secret of another version."""

    secret: str
    older: bool
    found: str
    reads: int
    kind: Literal["secret.of_version"] = "secret.of_version"


@dataclass(frozen=True, slots=True)
class SecretOfAnother(Message):
    """A Secret of another guard's journal."""

    secret: str
    journal: str
    namespace: str
    kind: Literal["secret.of_another"] = "secret.of_another"


@dataclass(frozen=True, slots=True)
class SecretDamaged(Message):
    """A Secret of the guard's whose content does not fit together."""

    secret: str
    what: Reason
    kind: Literal["secret.damaged"] = "secret.damaged"


@dataclass(frozen=True, slots=True)
class KeyLength(Message):
    """A key of another length."""

    length: int
    kind: Literal["secret.key_length"] = "secret.key_length"


@dataclass(frozen=True, slots=True)
class HoldsAnotherBlob(Message):
    """A Secret that holds another blob than its name says."""

    kind: Literal["secret.another_blob"] = "secret.another_blob"


@dataclass(frozen=True, slots=True)
class ContentOdd(Message):
    """A Secret whose content is none that a guard writes."""

    kind: Literal["secret.odd_content"] = "secret.odd_content"


@dataclass(frozen=True, slots=True)
class HoldsAnotherPart(Message):
    """A Secret that holds another part of a stream than its name says."""

    number: int
    stream: str
    kind: Literal["secret.another_part"] = "secret.another_part"


@dataclass(frozen=True, slots=True)
class EndsElsewhere(Message):
    """A part of a stream that ends elsewhere than it says."""

    seq: int
    expected: int
    kind: Literal["secret.ends_elsewhere"] = "secret.ends_elsewhere"


@dataclass(frozen=True, slots=True)
class PartMissing(Message):
    """A part of a stream that is not there, and the next one is."""

    following: str
    kind: Literal["secret.missing"] = "secret.missing"


@dataclass(frozen=True, slots=True)
class PartUnfollowing(Message):
    """A part of a stream that does not follow from the one before."""

    seq: int
    kind: Literal["secret.unfollowing"] = "secret.unfollowing"


@dataclass(frozen=True, slots=True)
class DamagedAt(Message):
    """Where a stream is damaged."""

    stream: str
    seq: int
    kind: Literal["secret.at"] = "secret.at"


@dataclass(frozen=True, slots=True)
class BlobUnknown(Message):
    """A blob that no guard has put there."""

    digest: str
    kind: Literal["blob.unknown"] = "blob.unknown"


@dataclass(frozen=True, slots=True)
class BlobLacking(Message):
    """A snapshot without one of its parts."""

    snapshot: str
    target: str
    at: datetime
    part: str
    kind: Literal["blob.lacking"] = "blob.lacking"


@dataclass(frozen=True, slots=True)
class SavedSecretLost(Message):
    """What was kept of a Secret is not there any more, or is not what it was."""

    secret: str
    error: Reason
    kind: Literal["secret.lost"] = "secret.lost"


@dataclass(frozen=True, slots=True)
class ToDo(Message):
    """What to do about it."""

    remedy: Remedy
    kind: Literal["remedy"] = "remedy"


@dataclass(frozen=True, slots=True)
class FoundAndRemedy(Message):
    """What was found, and what to do."""

    found: Reason
    remedy: Reason
    kind: Literal["found_and_remedy"] = "found_and_remedy"


@dataclass(frozen=True, slots=True)
class FlawFound(Message):
    """What is wrong with a journal or blob; an empty `stream`: with the whole, `seq` 0: with all of the stream."""

    stream: str
    seq: int
    found: Reason
    remedy: Reason
    kind: Literal["flaw"] = "flaw"
