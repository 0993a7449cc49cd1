"""Finds what a guard with another journal has kept of Secrets: it is told, and stays until a person removes it.

What was kept before this journal first told of a release, and what it does not name, another one knew: one that was
lost, and may come back from a copy. No copy of a journal holds what Secrets held.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta

from logcaster_guard.domain.claims import Claim, of_kept
from logcaster_guard.domain.configuration.kept import kept_secret
from logcaster_guard.domain.errors import ClusterError, JournalUnavailable
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.ports import Clock, SavedSecrets

_BEFORE = timedelta(minutes=1)
"""What a guard keeps shortly before it first tells of a release is its own."""

Needed = Callable[[], Awaitable[Collection[str]]]
"""The places that are needed. Raises `ClusterError` and `JournalUnavailable`."""


def known_since(told: datetime | None, now: datetime) -> datetime:
    """From when on a journal knows what was kept that has `told` first of a release then; None: it tells of none."""
    return (told or now) - _BEFORE


class LeftSecrets:
    """Looks when it is first asked, and again after `forget`; `secrets` is None where none is read."""

    def __init__(self, secrets: SavedSecrets | None, needed: Needed, clock: Clock) -> None:
        self._secrets = secrets
        self._needed = needed
        self._clock = clock
        self._found: Sequence[tuple[str, Claim]] | None = None
        self._lines = RecurringLog(clock)

    def forget(self) -> None:
        """Something was removed, or will be."""
        self._found = None

    async def claims(self, told: datetime | None) -> Sequence[tuple[str, Claim]]:
        """One for each namespace where there is some, with that; `told` as in `known_since`.

        What fails is logged, and tried the next time.
        """
        if self._secrets is None:
            return ()
        if self._found is None:
            try:
                self._found = await self._look(self._secrets, known_since(told, self._clock.now()))
            except (ClusterError, JournalUnavailable) as error:
                self._lines.warning("copies.unread", about="saved Secrets", detail=str(error))
                return ()
        return self._found

    async def _look(self, secrets: SavedSecrets, since: datetime) -> Sequence[tuple[str, Claim]]:
        before = await secrets.kept_before(since)
        if not before:
            return ()
        needed = {kept.digest for kept in map(kept_secret, await self._needed()) if kept is not None}
        names: defaultdict[str, list[str]] = defaultdict(list)
        for digest, name in before:
            if digest not in needed:
                names[name.partition("/")[0]].append(name.partition("/")[2])
        return [(namespace, of_kept(namespace, sorted(found))) for namespace, found in sorted(names.items())]
