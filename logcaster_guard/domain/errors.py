"""Failures that the guard expects, by name; whatever is not here is a defect."""

from __future__ import annotations

from logcaster_guard.domain.message import Message, Reason


class GuardError(Exception):
    """Base of every failure that is told to people in one sentence.

    `reason` is what they are told in their language: a message where the guard has words of its own for it, else the
    text itself, which is quoted. `messages.texts.failure` makes one of a message. The domain knows no texts: one of
    its own has the kind of the message as its text.
    """

    def __init__(self, text: str = "", *, reason: Message | None = None) -> None:
        super().__init__(text or ("" if reason is None else reason.kind))
        self.reason: Reason = text if reason is None else reason


class ConfigurationError(GuardError):
    """What the guard was given to reach something outside with cannot be used; nothing was asked of that yet."""


class SecretUnreadable(GuardError):
    """A secret is not where the settings say, or cannot be one; the message names the place and never the content."""


class JournalConflict(GuardError):
    """Somebody else appended to the stream first (`expected_seq` no longer holds)."""


class JournalUnavailable(GuardError):
    """The journal cannot be written or read; without it nothing may be changed."""


class JournalInUse(JournalUnavailable):
    """Somebody else has the journal open, and must be the only one."""


class JournalOutOfReach(JournalUnavailable):
    """The journal is kept somewhere that gives no answer now; it may again."""


class BlobMissing(GuardError):
    """A blob is not in the store, or no longer has the content its digest promises."""


class DatabaseUnavailable(GuardError):
    """A database gives no usable answer: it is not reached, lets nobody in, or ended the session."""


class DatabaseRefused(GuardError):
    """A database understood a statement and refused it; `sqlstate` is its code."""

    def __init__(self, text: str = "", *, sqlstate: str = "", reason: Message | None = None) -> None:
        super().__init__(text, reason=reason)
        self.sqlstate = sqlstate


class ClusterError(GuardError):
    """Base of what the Kubernetes API can answer instead of the object.

    `status` is the HTTP status, 0 when no answer came; `retry_after` is in seconds.
    """

    def __init__(
        self, text: str = "", *, status: int = 0, retry_after: float | None = None, reason: Message | None = None
    ) -> None:
        super().__init__(text, reason=reason)
        self.status = status
        self.retry_after = retry_after


class NotFound(ClusterError):
    """404: the object is not there."""


class Conflict(ClusterError):
    """409: the object changed since it was read (or, for a create, already exists)."""


class Rejected(ClusterError):
    """The API server understood and refused: 400, 401, 403, 405, 413, 415, 422."""


class Unavailable(ClusterError):
    """No usable answer: refused, timed out, cut off, TLS, 429 or 5xx. The effect of a write is unknown."""


class NoAuthority(Unavailable, JournalOutOfReach):
    """This guard does not hold the lease (for long enough): nothing was sent and nothing was appended.

    Whoever can live without the API server or the journal for a while can live without authority.
    """


class TreeError(GuardError):
    """Base of what keeps a tree of files from being built, unpacked, compared, exchanged or removed."""


class TreeRefused(TreeError):
    """Something in a tree or an archive may not be there, or cannot be kept as it is; the message names it."""


class NoRoom(TreeError):
    """The file system has not enough bytes or inodes, or the quota does not allow them."""


class NotExchangeable(TreeError):
    """The tree cannot take the place of production where that is; the message says what is needed."""


class TreeForeign(TreeError):
    """What stands there is not what this operation has left: somebody else has changed it."""


class TreeSuperseded(TreeError):
    """A later leader has worked on this tree."""


class TreeUnavailable(TreeError):
    """The file system failed, or does not let the guard; what is there may be read again later."""
