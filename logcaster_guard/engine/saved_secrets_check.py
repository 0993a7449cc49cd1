"""Whether what is kept of Secrets is there and whole, as far as whoever asks may look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from logcaster_guard.domain.errors import BlobMissing, ClusterError
from logcaster_guard.domain.message import Message
from logcaster_guard.messages.record_faults import Remedy, SavedSecretLost, ToDo
from logcaster_guard.ports import Checked, Flaw, NotLookedAt, SavedSecrets


@dataclass(frozen=True, slots=True)
class Needed:
    """A place that something names: of which Secret (empty: nobody tells), and the event that names it last.

    `stream` is empty where a snapshot alone names it.
    """

    place: str
    object: str = ""
    stream: str = ""
    seq: int = 0

    @property
    def name(self) -> str:
        """As people are told it."""
        return f"{self.object} ({self.place})" if self.object else self.place


async def checked_secrets(needed: Iterable[Needed], secrets: SavedSecrets | Message) -> Checked:
    """Look at each place once; a message says why nobody can."""
    flaws: list[Flaw] = []
    unseen: list[NotLookedAt] = []
    for one in {one.place: one for one in needed}.values():
        if isinstance(secrets, Message):
            unseen.append(NotLookedAt(one.name, secrets))
            continue
        try:
            await secrets.get(one.place)
        except BlobMissing as error:
            lost = SavedSecretLost(one.name, error.reason)
            flaws.append(Flaw(one.stream, one.seq, lost, ToDo(Remedy.NO_COPY)))
        except ClusterError as error:
            unseen.append(NotLookedAt(one.name, error.reason))
    return Checked(flaws, unseen)
