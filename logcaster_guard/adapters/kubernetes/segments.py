"""A stream of events as a row of objects, each of a bounded size: how they are written, and what makes them credible.

An object ("segment") holds a header, one value for each record and a tip. Each record carries a SHA-256 over itself and
the record before it, the first one of a stream over whose stream it is; the header of a segment repeats where the one
before it ended, the tip where this one ends. So a changed, swapped, missing or copied record or segment is found. What
no object can tell is the loss of a stream's last segments.

A stream is compacted by a segment that begins it anew (`summary`): compressed, the records that stay, and up to where
it covers the segments before it, which are then superfluous. One that was written too late, when the stream had gone
on, covers less than is there: it is void, and nothing is lost by it.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import Any

from logcaster_guard.adapters.kubernetes.stored import FORMAT, Place, damaged, encoded, parsed
from logcaster_guard.messages.record_faults import (
    ContentOdd,
    DamagedAt,
    EndsElsewhere,
    HoldsAnotherPart,
    PartMissing,
    PartUnfollowing,
)
from logcaster_guard.ports import Json

KEEPS = "journal"

LARGEST = 32 * 1024 * 1024
"""Bytes of the records of a summary, before they are compressed."""

SEGMENT = 128 * 1024
"""Bytes of records in an object before the next one is begun. The whole object is written anew with each append."""

LIMIT = 640 * 1024
"""Bytes of the records of one append; the API takes 1 MiB in an object, and a request has them in base64."""

_OBJECT, _NAMES = 2_048, 64
_TIP = "tip"
_FENCE = "fence"
_SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Record:
    """One event as it is kept: `body` is its text, `by` names the process that wrote it.

    `digest` is that of the chain up to it, in hex.
    """

    seq: int
    position: int
    by: str
    body: str
    digest: str

    @property
    def key(self) -> str:
        """The name of its value in the object."""
        return f"{self.seq:010d}"

    def to_bytes(self) -> bytes:
        """The value."""
        return json.dumps({"position": self.position, "by": self.by, "digest": self.digest, "body": self.body}).encode()


@dataclass(frozen=True, slots=True)
class Covered:
    """Up to where a summary tells the stream: to the end of the segment `number`, at the record `seq`."""

    number: int
    seq: int
    digest: str


@dataclass(frozen=True, slots=True)
class Segment:
    """One object: the `number`-th of its stream, after the record `after`, whose digest is `before`.

    `version` is the resourceVersion that it was seen at; `size` are the bytes of its records. One that begins the
    stream anew has a `summary` of what it `covers`. `taken` is the highest number that an object of the stream has.
    """

    stream: str
    number: int
    after: int
    before: str
    records: tuple[Record, ...] = ()
    version: str = ""
    size: int = 0
    summary: tuple[Record, ...] = ()
    covers: Covered | None = None
    taken: int = 0
    uid: str = ""

    @property
    def all_records(self) -> tuple[Record, ...]:
        """The summary's and those after it."""
        return self.summary + self.records

    @property
    def seq(self) -> int:
        """The last seq in it, or before it if it is empty."""
        return self.all_records[-1].seq if self.all_records else self.after

    @property
    def digest(self) -> str:
        """The digest that the next record goes on from."""
        return self.all_records[-1].digest if self.all_records else self.before

    @property
    def listed(self) -> int:
        """About how many bytes it takes in a list: base64, and the names of its values as the API server keeps them."""
        return _OBJECT + 4 * self.size // 3 + _NAMES * len(self.records)

    @property
    def following(self) -> Segment:
        """The next one, not written yet."""
        return Segment(self.stream, max(self.number, self.taken) + 1, self.seq, self.digest)

    @property
    def ended(self) -> Segment:
        """What an append needs to know of it, without the records that it has."""
        return replace(self, after=self.seq, before=self.digest, records=(), summary=(), covers=None)

    def extended(self, bodies: Sequence[str], positions: Iterable[int], by: str) -> Segment:
        """With these events after those that it has."""
        records = list(self.records)
        seq, digest = self.seq, self.digest
        for body, position in zip(bodies, positions, strict=True):
            seq += 1
            record = Record(seq, position, by, body, "")
            digest = _digest(digest, record, seq - 1)
            records.append(replace(record, digest=digest))
        size = self.size + sum(len(r.to_bytes()) for r in records[len(self.records) :])
        return replace(self, records=tuple(records), size=size)

    @property
    def tip(self) -> bytes:
        """The value that says where it ends."""
        return json.dumps({"seq": self.seq, "digest": self.digest}).encode()

    def manifest(self, place: Place) -> Json:
        """The object that holds it."""
        header = {"stream": self.stream, "number": self.number, "after": self.after, "before": self.before}
        data = {_TIP: self.tip, **{r.key: r.to_bytes() for r in self.records}}
        if self.covers is not None:
            header["covers"] = [self.covers.number, self.covers.seq, self.covers.digest]
            data[_SUMMARY] = _compressed(self.summary)
        labels, annotations = {"stream": stream_label(self.stream)}, {"guard.logcaster.io/stream": self.stream}
        name = name_of(place, self.stream, self.number)
        return place.manifest(name, KEEPS, header, data, labels=labels, annotations=annotations)

    def patch(self) -> Sequence[Json]:
        """What adds its records to the object as it was seen at `version`, of which this was `ended`."""
        return [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": self.version},
            *({"op": "add", "path": f"/data/{r.key}", "value": encoded(r.to_bytes())} for r in self.records),
            {"op": "replace", "path": f"/data/{_TIP}", "value": encoded(self.tip)},
        ]

    def fence(self, mark: int) -> Sequence[Json]:
        """What changes nothing but the object's resourceVersion; `mark` was never used before."""
        return [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": self.version},
            {"op": "add", "path": f"/data/{_FENCE}", "value": encoded(str(mark).encode())},
        ]


def beginning(place: Place, stream: str) -> Segment:
    """What a stream goes on from that has no object yet; its number is 0."""
    whose = json.dumps([FORMAT, place.namespace, place.name, stream]).encode()
    return Segment(stream, 0, 0, hashlib.sha256(whose).hexdigest())


def stream_label(stream: str) -> str:
    """A stream's name as a label's value."""
    return hashlib.sha256(stream.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def name_of(place: Place, stream: str, number: int) -> str:
    """The name of the object: the same for whoever writes it, so that it cannot be written twice."""
    return f"{place.name}-journal-{stream_label(stream)}-{number:06d}"


def summary_of(place: Place, row: Sequence[Segment], superfluous: Collection[int]) -> Segment:
    """What begins the stream anew after all of its segments, without these records; not written yet."""
    last, begun = row[-1], beginning(place, row[-1].stream)
    records = [r for segment in row for r in segment.all_records]
    kept: list[Record] = []
    for record in records:
        if record.seq not in superfluous or record is records[-1]:
            before, digest = (kept[-1].seq, kept[-1].digest) if kept else (0, begun.digest)
            kept.append(replace(record, digest=_digest(digest, record, before)))
    covers = Covered(last.number, last.seq, last.digest)
    made = replace(begun, number=last.following.number, summary=tuple(kept), covers=covers)
    return replace(made, size=len(_compressed(made.summary)))


@dataclass(frozen=True, slots=True)
class Row:
    """A stream as it is told by its `segments`, in order; the objects of `superfluous` ones can go, the newest first.

    The newest first, since that is what somebody may still append to: once it is gone nobody can.
    """

    segments: Sequence[Segment]
    superfluous: Sequence[Segment] = ()


def read(place: Place, items: Iterable[Json]) -> Mapping[str, Row]:
    """The segments in `items`, by stream; raises `Untrusted` for whatever cannot be believed."""
    found: dict[str, list[Segment]] = {}
    for item in items:
        segment = _segment(place, item)
        found.setdefault(segment.stream, []).append(segment)
    return {stream: _row(place, sorted(every, key=lambda s: s.number)) for stream, every in found.items()}


def _row(place: Place, every: Sequence[Segment]) -> Row:
    by_number = {segment.number: segment for segment in every}
    void = {s.number for s in every if s.covers is not None and _is_void(s.covers, by_number)}
    summaries = [s.number for s in every if s.covers is not None and s.number not in void]
    first = summaries[-1] if summaries else 0
    row = [s for s in every if s.number >= first and s.number not in void]
    number = first - 1 if summaries else 0
    for before, segment in pairwise([replace(beginning(place, every[0].stream), number=number), *row]):
        number = next(n for n in count(before.number + 1) if n not in void)
        _check(place, replace(before, number=number - 1), segment)
    row[-1:] = [replace(s, taken=every[-1].number) for s in row[-1:]]
    return Row(row, [s for s in reversed(every) if s.number < first])


def _is_void(covers: Covered, by_number: Mapping[int, Segment]) -> bool:
    last = by_number.get(covers.number)
    return last is not None and (last.seq, last.digest) != (covers.seq, covers.digest)


def following(place: Place, known: Segment, items: Iterable[Json]) -> Sequence[Segment]:
    """The segments in `items`, in order, the first being `known` (`ended`) as it is now; empty if they do not go on.

    Raises `Untrusted` for whatever cannot be believed.
    """
    found = [_segment(place, item) for item in items]
    if not found or known.digest not in {found[0].before, *(r.digest for r in found[0].records)}:
        return ()
    if any(segment.covers is not None for segment in found):
        return ()
    before = replace(found[0], number=found[0].number - 1, records=())
    for last, segment in pairwise([before, *found]):
        _check(place, last, segment)
    return found


def _segment(place: Place, item: Json) -> Segment:
    header, data = place.opened(item, KEEPS)
    metadata = item["metadata"]
    name = str(metadata.get("name"))
    try:
        records = tuple(_record(key, data[key]) for key in sorted(data.keys() - {_TIP, _FENCE, _SUMMARY}))
        summary = _uncompressed(data[_SUMMARY]) if "covers" in header else ()
        tip = parsed(data[_TIP])
        segment = Segment(
            stream=_text(header["stream"]),
            number=_whole(header["number"]),
            after=_whole(header["after"]),
            before=_text(header["before"]),
            records=records,
            version=version_of(item),
            size=sum(len(record.to_bytes()) for record in records) + len(data.get(_SUMMARY, b"")),
            summary=summary,
            covers=_covered(header["covers"]) if "covers" in header else None,
            taken=_whole(header["number"]),
            uid=_text(metadata["uid"]),
        )
        ended = _whole(tip["seq"]), _text(tip["digest"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise damaged(name, ContentOdd()) from error
    if name != name_of(place, segment.stream, segment.number):
        raise damaged(name, HoldsAnotherPart(segment.number, f"{segment.stream!r:.80}"))
    if ended != (segment.seq, segment.digest):
        raise damaged(name, EndsElsewhere(segment.seq, ended[0]))
    return segment


def _check(place: Place, before: Segment, segment: Segment) -> None:
    name = name_of(place, segment.stream, segment.number)
    if segment.number != before.number + 1:
        raise damaged(name_of(place, segment.stream, before.number + 1), PartMissing(name))
    if (segment.after, segment.before) != (before.seq, before.digest):
        raise damaged(name, PartUnfollowing(before.seq))
    digest, seq = segment.before, segment.after
    for record in segment.all_records:
        gap = record.seq > seq + 1 and record not in segment.summary
        digest = _digest(digest, record, seq)
        if record.seq <= seq or gap or record.digest != digest:
            raise damaged(name, DamagedAt(f"{segment.stream!r:.80}", seq + 1))
        seq = record.seq


def _record(key: str, value: bytes) -> Record:
    found = parsed(value)
    texts = (_text(found[field]) for field in ("by", "body", "digest"))
    record = Record(int(key), _whole(found["position"]), *texts)
    if record.key != key or record.to_bytes() != value:
        raise ValueError(f"{key} is not as it was written")
    return record


def version_of(item: Json) -> str:
    """The resourceVersion; raises `ValueError` where there is none: an empty one would be no precondition at all."""
    version = item["metadata"].get("resourceVersion")
    if not isinstance(version, str) or not version:
        raise ValueError("it has no resourceVersion")
    return version


def _digest(chained: str, record: Record, before: int) -> str:
    """Of a record that follows seq `before`: a gap, which compaction leaves, is vouched for as any content is."""
    gap = [] if record.seq == before + 1 else [before]
    content = [record.seq, record.position, record.by, record.body, *gap]
    return hashlib.sha256(bytes.fromhex(chained) + json.dumps(content).encode()).hexdigest()


def _compressed(records: Sequence[Record]) -> bytes:
    return zlib.compress(json.dumps([[r.seq, r.position, r.by, r.body, r.digest] for r in records]).encode())


def _uncompressed(value: bytes) -> tuple[Record, ...]:
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(value, LARGEST)
    except zlib.error as error:
        raise ValueError("its summary cannot be read") from error
    if not stream.eof:
        raise ValueError("its summary is cut short or too large")
    return tuple(
        Record(_whole(seq), _whole(position), _text(by), _text(body), _text(digest))
        for seq, position, by, body, digest in json.loads(text)
    )


def _covered(value: Any) -> Covered:  # noqa: ANN401 - whatever was found
    number, seq, digest = value
    return Covered(_whole(number), _whole(seq), _text(digest))


def _whole(value: Any) -> int:  # noqa: ANN401 - whatever was found
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("it is no whole number")
    return value


def _text(value: Any) -> str:  # noqa: ANN401 - whatever was found
    if not isinstance(value, str):
        raise TypeError("it is no text")
    return value
