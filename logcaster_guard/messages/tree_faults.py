"""Why a tree of files or an archive of one cannot be used, as messages. `place` is the tree, `path` what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


class EntryFault(StrEnum):
    """What may not be in a tree or an archive."""

    DEVICE = "device"
    FIFO = "fifo"
    SOCKET = "socket"
    OTHER_KIND = "other_kind"
    FILE_SYSTEM = "file_system"
    AROUND = "around"
    TOO_DEEP = "too_deep"
    NO_FOLDER = "no_folder"
    NO_FILE = "no_file"
    LINK_ABSOLUTE = "link_absolute"
    LINK_OUT = "link_out"
    LINK_WINDING = "link_winding"
    LINK_EMPTY = "link_empty"
    ABSOLUTE = "absolute"
    CLIMBS = "climbs"
    NUL = "nul"
    NO_NAME = "no_name"
    TOO_LONG = "too_long"
    PRIVILEGED = "privileged"
    TWICE = "twice"
    THROUGH = "through"
    LINK_NOWHERE = "link_nowhere"
    SPARSE = "sparse"
    CONTENT_OF_NONE = "content_of_none"
    TOO_LARGE = "too_large"
    NUMBER = "number"
    SIZE_DIFFERS = "size_differs"
    XATTR = "xattr"
    ACL = "acl"


class ArchiveFault(StrEnum):
    """What is wrong with an archive as a whole."""

    NOT_GZIP = "not_gzip"
    DAMAGED = "damaged"
    NOT_TAR = "not_tar"
    CUT = "cut"
    TRAILING = "trailing"
    TOO_MANY = "too_many"
    TOO_LARGE = "too_large"
    HEADER_TOO_LARGE = "header_too_large"
    HEADER_ALONE = "header_alone"
    PAX_BROKEN = "pax_broken"
    PAX_GLOBAL = "pax_global"
    PAX_TWICE = "pax_twice"
    VARIED = "varied"


class RoomFault(StrEnum):
    """What a file system has too little of."""

    BYTES = "bytes"
    INODES = "inodes"
    QUOTA = "quota"


class ExchangeFault(StrEnum):
    """Why a tree cannot take the place of production."""

    MOUNT_POINT = "mount_point"
    LINK = "link"
    MISSING = "missing"
    LAYERS = "layers"
    UNSUPPORTED = "unsupported"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class EntryRefused(Message):
    """Something in a tree or an archive may not be there."""

    place: str
    path: str
    fault: EntryFault
    kind: Literal["tree.entry_refused"] = "tree.entry_refused"


@dataclass(frozen=True, slots=True)
class AttributeNotKept(Message):
    """An owner, a mode, a time or an extended attribute cannot be given to the copy."""

    place: str
    path: str
    attribute: str
    words: Reason
    kind: Literal["tree.attribute_not_kept"] = "tree.attribute_not_kept"


@dataclass(frozen=True, slots=True)
class TreeUnusable(Message):
    """The file system does not let the guard."""

    place: str
    path: str
    words: Reason
    kind: Literal["tree.unusable"] = "tree.unusable"


@dataclass(frozen=True, slots=True)
class TooLittleRoom(Message):
    """There is not enough room to begin; nothing was written."""

    place: str
    fault: RoomFault
    needed: int
    free: int
    kind: Literal["tree.too_little_room"] = "tree.too_little_room"


@dataclass(frozen=True, slots=True)
class RoomRanOut(Message):
    """It ended in the middle; what was built is removed."""

    place: str
    path: str
    fault: RoomFault
    kind: Literal["tree.room_ran_out"] = "tree.room_ran_out"


@dataclass(frozen=True, slots=True)
class CannotExchange(Message):
    """Production stands where no tree can take its place."""

    place: str
    fault: ExchangeFault
    kind: Literal["tree.cannot_exchange"] = "tree.cannot_exchange"


@dataclass(frozen=True, slots=True)
class LaterLeader(Message):
    """A leader of a later epoch has worked here."""

    place: str
    epoch: int
    found: int
    kind: Literal["tree.later_leader"] = "tree.later_leader"


@dataclass(frozen=True, slots=True)
class TreeNotThere(Message):
    """The tree that is to take the place is not there."""

    place: str
    beside: str
    kind: Literal["tree.not_there"] = "tree.not_there"


@dataclass(frozen=True, slots=True)
class TreeOfSomebodyElse(Message):
    """Production is neither the tree that was there nor the one that was to come."""

    place: str
    operation: str
    kind: Literal["tree.of_somebody_else"] = "tree.of_somebody_else"


@dataclass(frozen=True, slots=True)
class OtherExchange(Message):
    """The operation was begun with another tree."""

    place: str
    operation: str
    kind: Literal["tree.other_exchange"] = "tree.other_exchange"


@dataclass(frozen=True, slots=True)
class MarkerUnreadable(Message):
    """The guard's marker beside the tree is none that it wrote."""

    place: str
    kind: Literal["tree.marker_unreadable"] = "tree.marker_unreadable"


@dataclass(frozen=True, slots=True)
class TreeBusy(Message):
    """Another process works on the tree, and does not come to an end."""

    place: str
    kind: Literal["tree.busy"] = "tree.busy"


@dataclass(frozen=True, slots=True)
class ArchiveUnusable(Message):
    """An archive is damaged, or holds too much."""

    place: str
    fault: ArchiveFault
    kind: Literal["tree.archive_unusable"] = "tree.archive_unusable"
