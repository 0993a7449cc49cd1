"""Where a scene's guards keep what they did, as the settings' two backends do it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
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
from logcaster_guard.ports import Blobs, Cluster, Entry, Journal

Json = dict[str, Any]
COMPONENT = Path(__file__).parents[2] / "deploy" / "components" / "kubernetes-journal" / "rbac.yaml"


def journal_rights() -> Sequence[Json]:
    """What a journal in the cluster needs, as it is shipped."""
    documents = yaml.safe_load_all(COMPONENT.read_text())
    return next(list(d["rules"]) for d in documents if d["kind"] == "Role")


class RememberedJournal:
    """A `Journal` that reads all of another one anew only after something was appended: the same list tells so."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._appends = 0
        self._all: tuple[int, Sequence[Entry]] | None = None

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        self._appends += 1
        try:
            return await self._journal.append(stream, events, expected_seq)
        finally:
            self._appends += 1

    async def read(self, stream: str) -> Sequence[Entry]:
        return await self._journal.read(stream)

    async def read_all(self, prefix: str = "") -> Sequence[Entry]:
        if prefix:
            return await self._journal.read_all(prefix)
        if self._all is None or self._all[0] != self._appends:
            self._all = (self._appends, await self._journal.read_all())
        return self._all[1]

    async def aclose(self) -> None:
        await self._journal.aclose()


@dataclass(frozen=True)
class Keeping:
    """Files in `folder`, or with `api` Secrets of `namespace`."""

    folder: Path
    namespace: str
    api: Cluster | None = None

    @contextlib.asynccontextmanager
    async def journal(self, *, shared: bool = False) -> AsyncIterator[Journal]:
        """The journal, opened anew; `shared`: by several at once."""
        made: Journal = (
            await SqliteJournal.open(self.folder / "journal.db", shared=shared)
            if self.api is None
            else KubernetesJournal(self.api, Place(self.namespace, "logcaster-guard"))
        )
        try:
            yield made
        finally:
            await made.aclose()

    @property
    def blobs(self) -> Blobs:
        """The blobs beside it."""
        if self.api is None:
            return FolderBlobs(self.folder / "blobs")
        return KubernetesBlobs(self.api, Place(self.namespace, "logcaster-guard"))
