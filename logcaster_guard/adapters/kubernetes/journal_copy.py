"""Journal and blobs in the cluster as whoever may not change them sees them: copies of their Secrets, in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from logcaster_guard.adapters.journal_codec import EventCodec, Unreadable
from logcaster_guard.adapters.kubernetes import blobs, segments
from logcaster_guard.adapters.kubernetes.segments import Segment
from logcaster_guard.adapters.kubernetes.stored import KEEPS, LABEL, Place, Untrusted
from logcaster_guard.domain.errors import JournalUnavailable, NotFound
from logcaster_guard.messages.record_faults import EventUnread, Remedy, ToDo
from logcaster_guard.messages.texts import phrase
from logcaster_guard.ports import Cluster, Entry, Flaw, Inspected, Json, Kind

_KEPT = ("name", "namespace", "labels", "annotations")


async def copies(cluster: Cluster, place: Place) -> Sequence[Json]:
    """Every Secret of the place, as `kubectl create` takes them; raises the `ClusterError` it met.

    The journal first: it names no blob that was not there before.
    """
    found: list[Json] = []
    for keeps in (segments.KEEPS, blobs.KEEPS):
        found += await cluster.list(Kind.SECRET, place.namespace, place.selector(keeps))
    return [_plain(item) for item in found]


def place_of(secrets: Sequence[Json]) -> Place:
    """Whose copies these are; raises `JournalUnavailable`."""
    try:
        metadata = secrets[0]["metadata"]
        return Place(str(metadata["namespace"]), str(metadata["labels"][LABEL]))
    except (LookupError, TypeError) as error:
        raise JournalUnavailable(phrase("fault.no_secret_of_journal")) from error


def inspect(codec: EventCodec, place: Place, secrets: Iterable[Json]) -> Inspected:
    """Every event that can be read, and everything that is wrong with the others."""
    entries: list[Entry] = []
    flaws: list[Flaw] = []
    for label, items in _by_stream(secrets).items():
        try:
            row = segments.read(place, items)
        except Untrusted as error:
            flaws.append(Flaw(_named(items, label), 0, error.reason.found, error.reason.remedy))
            continue
        for stream, told in row.items():
            _decode(codec, stream, told.segments, entries, flaws)
    return Inspected(sorted(entries, key=lambda e: (e.position, e.stream, e.seq)), flaws)


def _decode(codec: EventCodec, stream: str, row: Sequence[Segment], entries: list[Entry], flaws: list[Flaw]) -> None:
    for record in (record for segment in row for record in segment.all_records):
        try:
            entries.append(Entry(stream, record.seq, record.position, codec.decode(record.body)))
        except Unreadable as error:
            flaws.append(Flaw(stream, record.seq, EventUnread(error.reason), ToDo(Remedy.NOTHING_LOST)))


def _by_stream(secrets: Iterable[Json]) -> Mapping[str, list[Json]]:
    found: defaultdict[str, list[Json]] = defaultdict(list)
    for item in secrets:
        labels = item["metadata"].get("labels") or {}
        if labels.get(KEEPS) == segments.KEEPS:
            seen = {"uid": "-", "resourceVersion": "-"}
            found[str(labels.get("guard.logcaster.io/stream"))].append(
                {**item, "metadata": {**item["metadata"], **seen}}
            )
    return found


def _named(items: Sequence[Json], label: str) -> str:
    return str((items[0]["metadata"].get("annotations") or {}).get("guard.logcaster.io/stream") or label)


def _plain(item: Json) -> Json:
    """Without what the API server keeps for itself."""
    kept = {k: v for k, v in item.items() if k in {"type", "data", "immutable"}}
    metadata = {k: v for k, v in item["metadata"].items() if k in _KEPT}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **kept}


def blobs_in(place: Place, secrets: Iterable[Json]) -> blobs.KubernetesBlobs:
    """The blobs among the copies, to be read only."""
    return blobs.KubernetesBlobs(cast("Cluster", _Copies(secrets)), place)


class _Copies:
    """The one call of the cluster that reading a blob needs."""

    def __init__(self, secrets: Iterable[Json]) -> None:
        self._items = {str(item["metadata"]["name"]): item for item in secrets}

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        if name not in self._items:
            raise NotFound(f"{kind} {namespace}/{name} is not there", status=404)
        return self._items[name]
