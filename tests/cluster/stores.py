"""Where a scene's guards keep what they did, as the settings' two backends do it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from logcaster_guard.adapters.blobs import FolderBlobs
from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.adapters.kubernetes.blobs import KubernetesBlobs
from logcaster_guard.adapters.kubernetes.journal import KubernetesJournal
from logcaster_guard.adapters.kubernetes.stored import Place
from logcaster_guard.domain.events import Event
from logcaster_guard.ports import Blobs, Cluster, Entry, Journal, JournalSize
from logcaster_guard.stores import CODEC

Json = dict[str, Any]
COMPONENT = Path(__file__).parents[2] / "deploy" / "components" / "kubernetes-journal" / "rbac.yaml"


def journal_rights() -> Sequence[Json]:
    """What a journal in the cluster needs, as it is shipped."""
    documents = yaml.safe_load_all(COMPONENT.read_text())
    return next(list(d["rules"]) for d in documents if d["kind"] == "Role")


class CountedJournal:
    """A `Journal` that counts what is begun and what is done of its appends."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.appends = 0

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        self.appends += 1
        try:
            return await self._journal.append(stream, events, expected_seq)
        finally:
            self.appends += 1

    async def read(self, stream: str, after: int = 0) -> Sequence[Entry]:
        return await self._journal.read(stream, after)

    async def read_all(self, prefix: str = "") -> Sequence[Entry]:
        return await self._journal.read_all(prefix)

    async def compact(self, superfluous: Collection[tuple[str, int]]) -> None:
        await self._journal.compact(superfluous)

    async def size(self) -> JournalSize:
        return await self._journal.size()

    async def aclose(self) -> None:
        await self._journal.aclose()


class Onlooker:
    """Reads what a guard has noted down, past everything that fails for the guard."""

    def __init__(self, written: CountedJournal, journal: Journal) -> None:
        self._written = written
        self._journal = journal
        self._all: tuple[int, Sequence[Entry]] | None = None

    async def entries(self) -> Sequence[Entry]:
        """All of it; the same list as long as nothing was appended."""
        if self._all is None or self._all[0] != self._written.appends:
            self._all = (self._written.appends, await self._journal.read_all())
        return self._all[1]


@dataclass(frozen=True)
class Stores:
    """Files in `folder`, or with `api` Secrets of `namespace`."""

    folder: Path
    namespace: str
    api: Cluster | None = None

    @contextlib.asynccontextmanager
    async def journal(self, *, shared: bool = False) -> AsyncIterator[Journal]:
        """The journal, opened anew; `shared`: by several at once."""
        made: Journal = (
            await SqliteJournal.open(CODEC, self.folder / "journal.db", shared=shared)
            if self.api is None
            else KubernetesJournal(CODEC, self.api, Place(self.namespace, "logcaster-guard"))
        )
        try:
            yield made
        finally:
            await made.aclose()

    @contextlib.asynccontextmanager
    async def beside(self, kept: Journal) -> AsyncIterator[Journal]:
        """To read while `kept` is open elsewhere: a file is read by whoever has it open."""
        if self.api is None:
            yield kept
        else:
            async with self.journal() as journal:
                yield journal

    @property
    def blobs(self) -> Blobs:
        """The blobs beside it."""
        if self.api is None:
            return FolderBlobs(self.folder / "blobs")
        return KubernetesBlobs(self.api, Place(self.namespace, "logcaster-guard"))
