"""What is known of each release of a target: good (measured or not), bad, presumed good or unproven.

It is folded from the journal.

The order of releases is the order of the journal; revisions from before the guard's time come first, by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from logcaster_guard.domain.events import (
    Event,
    RevisionBad,
    RevisionGood,
    RevisionLive,
    RevisionMarked,
    RevisionSeeded,
    RunClosed,
    RunOpened,
    SignalSeen,
    TargetFrozen,
    TargetThawed,
)
from logcaster_guard.domain.inbox import Mark
from logcaster_guard.domain.rules import LedgerPolicy, Rule
from logcaster_guard.domain.workload import Revision

_SHORTEST = 6
"""Digits of a hash that name a release."""


class Standing(StrEnum):
    """What the ledger says of a release."""

    GOOD = "good"
    UNMEASURED = "good, unmeasured"
    PRESUMED_GOOD = "presumed good"
    UNPROVEN = "unproven"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Record:
    """One release. `first_live` and `last_live` are places in the order of releases; `stood` is in seconds.

    `snapshot` is the digest of the manifests as they were when it earned good last, `good_on` are the signals that had
    given a value by then, `unmeasured` the rules that never saw this release. `objection` is what a person said who
    marked it bad, empty where nobody did.
    """

    template: str
    revision: str
    blob: str
    images: tuple[str, ...]
    first_live: int
    last_live: int
    good_at: datetime | None = None
    bad_at: datetime | None = None
    bad_since: int | None = None
    bad_reason: str = ""
    objection: str = ""
    stood: float = 0.0
    snapshot: str = ""
    good_on: frozenset[str] = frozenset()
    unmeasured: tuple[str, ...] = ()

    def standing(self, policy: LedgerPolicy) -> Standing:
        """What this record proves under `policy`."""
        if self.bad_since is not None:
            return Standing.BAD
        if self.good_at is not None:
            return Standing.UNMEASURED if self.unmeasured else Standing.GOOD
        return Standing.PRESUMED_GOOD if self.stood >= policy.presumed_after else Standing.UNPROVEN

    def earned_by(self, rule: Rule) -> bool:
        """Whether this rule was among those that it earned good by."""
        return self.good_at is not None and rule.signals <= self.good_on and rule.name not in self.unmeasured

    def merit(self, policy: LedgerPolicy) -> int:
        """How much speaks for going back to it, 0 the most; -1: nothing does, or it is bad.

        One that a rule never saw may still be worse in what that rule looks at. It counts as much as a presumed one
        once it has stood as long as those.
        """
        match self.standing(policy):
            case Standing.GOOD:
                return 0
            case Standing.PRESUMED_GOOD:
                return 1
            case Standing.UNMEASURED:
                return 1 if self.stood >= policy.presumed_after else 2
            case Standing.UNPROVEN | Standing.BAD:
                return -1

    @property
    def lifted(self) -> Record:
        """The same without what speaks against it: what it had earned before counts again."""
        return replace(self, bad_at=None, bad_since=None, bad_reason="", objection="")


@dataclass(frozen=True, slots=True)
class Freeze:
    """Why nothing may be rolled back here. `spec` is the digest of the Deployment's when an annotation said so."""

    at: datetime
    by: str
    reason: str
    spec: str = ""


@dataclass(frozen=True, slots=True)
class Ledger:
    """All that is known of a target's releases.

    `present` is the live release, which became so between `changed_earliest` (None: nobody knows) and `changed_at`;
    `restored_by` is the run that put it there, if the guard did. `previous` is the release that was live before it,
    since `previous_since` at the latest.
    """

    records: Mapping[str, Record] = field(default_factory=dict)
    present: str | None = None
    uid: str | None = None
    changed_at: datetime | None = None
    changed_earliest: datetime | None = None
    restored_by: str | None = None
    previous: str | None = None
    previous_since: datetime | None = None
    freeze: Freeze | None = None
    signals_seen: frozenset[str] = frozenset()
    length: int = 0

    def destination(self, policy: LedgerPolicy) -> Record | None:
        """Where a rollback goes: the best of `destinations`."""
        return next(iter(self.destinations(policy)), None)

    def destinations(self, policy: LedgerPolicy) -> Sequence[Record]:
        """Every release that a rollback may go to: of those with the most merit the one that was live last first."""
        merits = {r: r.merit(policy) for r in self.records.values() if r.template != self.present}
        best = min((merit for merit in merits.values() if merit >= 0), default=None)
        return sorted((r for r, merit in merits.items() if merit == best), key=lambda r: r.last_live, reverse=True)

    def named(self, name: str) -> Sequence[Record]:
        """The releases that people may mean by `name`; see the function of that name."""
        return [self.records[t] for t in named({r.template: r.revision for r in self.records.values()}, name)]

    def is_undo(self, template: str) -> bool:
        """Whether going from the present release to `template` goes back to an older one that is not bad."""
        new, old = self.records.get(template), self.records.get(self.present or "")
        if new is None or old is None or new.template == old.template or new.bad_since is not None:
            return False
        return new.first_live < old.first_live


def fold(events: Iterable[Event]) -> Ledger:
    """The ledger that these events, in journal order, tell: those of the target and those of its runs."""
    return extend(Ledger(), events)


def extend(ledger: Ledger, events: Iterable[Event]) -> Ledger:
    """The ledger after further events."""
    for event in events:
        ledger = replace(_apply(ledger, event), length=ledger.length + 1)
    return ledger


def _apply(ledger: Ledger, event: Event) -> Ledger:
    match event:
        case RevisionSeeded():
            return _seeded(ledger, event)
        case RevisionLive():
            return _live(ledger, event)
        case RevisionGood():
            return _good(ledger, event)
        case RevisionBad():
            return _bad(ledger, event.template, event.at, event.reason)
        case RevisionMarked():
            return _marked(ledger, event)
        case RunOpened():
            known = ledger.records.get(event.plan.from_template)
            # That it did not even start, say, tells more than that it was left then.
            reason = known.bad_reason if known is not None and known.bad_since is not None else ""
            return _bad(ledger, event.plan.from_template, event.at, reason or f"left by run {event.run}")
        case TargetFrozen():
            return replace(ledger, freeze=Freeze(event.at, event.by, event.reason, event.spec))
        case RunClosed(freeze=True):
            return replace(ledger, freeze=Freeze(event.at, "guard", f"run {event.run}: {event.reason}"))
        case TargetThawed():
            return replace(ledger, freeze=None)
        case SignalSeen():
            return replace(ledger, signals_seen=ledger.signals_seen | {event.signal})
        case _:
            return ledger


def _with(ledger: Ledger, record: Record) -> Ledger:
    return replace(ledger, records={**ledger.records, record.template: record})


def _seeded(ledger: Ledger, event: RevisionSeeded) -> Ledger:
    if event.template in ledger.records:
        return ledger
    record = Record(
        template=event.template,
        revision=event.revision,
        blob=event.blob,
        images=event.images,
        first_live=ledger.length,
        last_live=ledger.length,
        stood=event.stood,
    )
    if event.superseded_by_undo:
        record = replace(record, bad_at=event.at, bad_since=ledger.length, bad_reason="an undo had left it")
    return _with(ledger, record)


def _live(ledger: Ledger, event: RevisionLive) -> Ledger:
    since = event.earliest or event.at
    before = ledger.records.get(ledger.present or "")
    if before is not None and before.template != event.template:
        began = ledger.changed_earliest
        stood = max(before.stood, (since - began).total_seconds()) if began else before.stood
        ledger = _with(ledger, replace(before, stood=stood))
        if event.undo_of == before.template:
            ledger = _bad(ledger, before.template, event.at, "an undo left it")
    known = ledger.records.get(event.template)
    record = Record(
        template=event.template,
        revision=event.revision,
        blob=event.blob,
        images=event.images,
        first_live=ledger.length,
        last_live=ledger.length,
    )
    if known is not None:
        record = replace(known, revision=event.revision, blob=event.blob, last_live=ledger.length)
    if event.by_guard is not None and record.objection:
        # Only a person's rollout speaks against a person's word.
        record = replace(record, bad_since=ledger.length)
    if before is not None and before.template != event.template:
        ledger = replace(ledger, previous=before.template, previous_since=ledger.changed_at)
    return replace(
        _with(ledger, record),
        present=event.template,
        uid=event.uid,
        changed_at=event.at,
        changed_earliest=event.earliest,
        restored_by=event.by_guard,
    )


def _good(ledger: Ledger, event: RevisionGood) -> Ledger:
    record = ledger.records.get(event.template)
    if record is None:
        return ledger
    if record.bad_since is not None and record.last_live <= record.bad_since:
        return ledger
    record = replace(record.lifted, good_at=event.at, good_on=ledger.signals_seen, unmeasured=event.unmeasured)
    return _with(ledger, replace(record, snapshot=event.snapshot or record.snapshot))


def _bad(ledger: Ledger, template: str, at: datetime, reason: str) -> Ledger:
    record = ledger.records.get(template)
    if record is None:
        return ledger
    return _with(ledger, replace(record, bad_at=at, bad_since=ledger.length, bad_reason=reason))


def _marked(ledger: Ledger, event: RevisionMarked) -> Ledger:
    record = ledger.records.get(event.template)
    if record is None:
        return ledger
    if event.mark is Mark.NOT_BAD:
        return _with(ledger, record.lifted)
    words = event.words or "no reason was given"
    record = replace(record, objection=words)
    return _bad(_with(ledger, record), event.template, event.at, f"a person marked it bad: {words}")


def named(revisions: Mapping[str, str], name: str) -> Sequence[str]:
    """The templates that people may mean by `name`: a revision's number, or the first digits of a hash, six at least.

    `revisions` are the revisions' numbers by template.
    """
    found = [template for template, number in revisions.items() if number == name]
    if not found and len(name) >= _SHORTEST:
        found = [template for template in revisions if template.startswith(name)]
    return found


@dataclass(frozen=True, slots=True)
class Proof:
    """What the ReplicaSets prove of a revision: seconds it stood, and whether an undo left it."""

    revision: Revision
    stood: float
    superseded_by_undo: bool


def proofs(revisions: Sequence[Revision]) -> Sequence[Proof]:
    """What the ReplicaSets prove of every revision but the newest, oldest first by revision number.

    A revision stood from its creation to the creation of the next number's ReplicaSet; only a ReplicaSet that was never
    re-used tells either instant. Number n of a re-used ReplicaSet is an undo if what it superseded (number n - 1) began
    after it; the superseded one was then left by that undo.
    """
    by_number = {n: r for r in revisions for n in r.numbers}
    left_by_undo = set()
    for revision in revisions:
        for number in revision.numbers[1:]:
            left = by_number.get(number - 1)
            if left is not None and left.uid != revision.uid and left.numbers[0] > revision.numbers[0]:
                left_by_undo.add(left.uid)
    found = []
    for revision in revisions[:-1]:
        successor = by_number.get(revision.number + 1)
        stood = timedelta(0)
        if successor is not None and not revision.earlier and successor.numbers[0] == revision.number + 1:
            stood = max(stood, successor.created - revision.created)
        found.append(Proof(revision, stood.total_seconds(), revision.uid in left_by_undo))
    return found


@dataclass(frozen=True, slots=True)
class Probation:
    """How long a release has been watched, and which rules were quiet in each stretch of the last `good_after` seconds.

    `measured` are the rules that saw the release at any time, `blind` those that never did.
    """

    spans: tuple[tuple[float, float, frozenset[str]], ...] = ()
    last: float | None = None
    measured: frozenset[str] = frozenset()
    blind: frozenset[str] = frozenset()

    def observed(
        self, now: float, *, quiet: Mapping[str, bool | None], staleness: float, good_after: float
    ) -> Probation:  # fmt: skip
        """With the stretch up to `now` added; one longer than `staleness` was not watched and counts as not quiet.

        `quiet` tells of each rule that applies whether it is quiet now, None where it sees nothing.
        """
        seeing = frozenset(rule for rule, is_quiet in quiet.items() if is_quiet is not None)
        measured = (self.measured | seeing) & quiet.keys()
        spans = self.spans
        if self.last is not None:
            calm = frozenset(rule for rule, is_quiet in quiet.items() if is_quiet)
            spans = (*spans, (self.last, now, calm if now - self.last <= staleness else frozenset()))
        kept = tuple(s for s in spans if s[1] > now - good_after)
        return Probation(kept, now, measured, frozenset(quiet) - measured)

    def verdict(self, now: float, policy: LedgerPolicy) -> tuple[bool, float]:
        """Whether the release has earned good at `now`, and the quiet share of the last `good_after` seconds.

        Each rule that measured it must have been quiet for long enough, and be so now; one at least must have.
        """
        begin = now - policy.good_after
        if not self.measured or not self.spans or self.spans[0][0] > begin:
            return False, 0.0
        quiet = dict.fromkeys(self.measured, 0.0)
        for start, end, calm in self.spans:
            for rule in calm & self.measured:
                quiet[rule] += max(0.0, end - max(start, begin))
        share = min(quiet.values()) / policy.good_after
        return share >= policy.good_share and self.measured <= self.spans[-1][2], share
