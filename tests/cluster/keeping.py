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
from logcaster_guard.ports import Blobs, Cluster, Journal

Json = dict[str, Any]
COMPONENT = Path(__file__).parents[2] / "deploy" / "components" / "kubernetes-journal" / "rbac.yaml"


def journal_rights() -> Sequence[Json]:
    """What a journal in the cluster needs, as it is shipped."""
    documents = yaml.safe_load_all(COMPONENT.read_text())
    return next(list(d["rules"]) for d in documents if d["kind"] == "Role")


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
