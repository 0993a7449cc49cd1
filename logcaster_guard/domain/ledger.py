"""What is known of each release of a target: good (measured or not), bad, presumed good or unproven.

It is folded from the journal.

The order of releases is the order of the journal; revisions from before the guard's time come first, by number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from logcaster_guard.domain.events import (
    Event,
    PodsReplaced,
    RevisionBad,
    RevisionGood,
    RevisionKept,
    RevisionLive,
    RevisionMarked,
    RevisionNumbered,
    RevisionSeeded,
    RunAnswered,
    RunClosed,
    RunOpened,
    SignalSeen,
    TargetFrozen,
    TargetThawed,
)
from logcaster_guard.domain.inbox.commands import Mark
from logcaster_guard.domain.releases import ReleaseId
from logcaster_guard.domain.rules import LedgerPolicy, Rule
from logcaster_guard.domain.workload import Revision

_ORDERED = frozenset(
    {RevisionSeeded, RevisionLive, RevisionGood, RevisionBad, RevisionMarked, RunOpened, SignalSeen}
)  # fmt: skip
"""What has a place in the order of releases; nothing else counts, so that it may go from the journal."""

_SHORTEST = 6
"""Digits of a hash that name a release."""
_ROLLOUTS = 50
"""Rollouts without a good release among them that are kept."""


class ReleaseStatus(StrEnum):
    """What the ledger says of a release."""

    GOOD = "good"
    UNMEASURED = "good, unmeasured"
    PRESUMED_GOOD = "presumed good"
    UNPROVEN = "unproven"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Record:
    """One release. `first_live` and `last_live` are places in the order of releases; `stood` is in seconds.

    `revision` is its number, empty while it has none.
    `blob` is the digest of what is saved of it, empty while it could not be saved: nothing goes back to it then.
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
    configuration: str = ""

    @property
    def release(self) -> ReleaseId:
        """Which release it is."""
        return ReleaseId(self.template, self.configuration)

    @property
    def name(self) -> str:
        """What people call it by: its revision's number, else the first digits of its hash."""
        return self.revision or self.template[:8]

    def standing(self, policy: LedgerPolicy) -> ReleaseStatus:
        """What this record proves under `policy`."""
        if self.bad_since is not None:
            return ReleaseStatus.BAD
        if self.good_at is not None:
            return ReleaseStatus.UNMEASURED if self.unmeasured else ReleaseStatus.GOOD
        return ReleaseStatus.PRESUMED_GOOD if self.stood >= policy.presumed_after else ReleaseStatus.UNPROVEN

    def earned_by(self, rule: Rule) -> bool:
        """Whether this rule was among those that it earned good by."""
        return self.good_at is not None and rule.signals <= self.good_on and rule.name not in self.unmeasured

    def merit(self, policy: LedgerPolicy) -> int:
        """How much speaks for going back to it, 0 the most; -1: nothing does, or it is bad.

        One that a rule never saw may still be worse in what that rule looks at. It counts as much as a presumed one
        once it has stood as long as those.
        """
        match self.standing(policy):
            case ReleaseStatus.GOOD:
                return 0
            case ReleaseStatus.PRESUMED_GOOD:
                return 1
            case ReleaseStatus.UNMEASURED:
                return 1 if self.stood >= policy.presumed_after else 2
            case ReleaseStatus.UNPROVEN | ReleaseStatus.BAD:
                return -1

    @property
    def lifted(self) -> Record:
        """The same without what speaks against it: what it had earned before counts again."""
        return replace(self, bad_at=None, bad_since=None, bad_reason="", objection="")


@dataclass(frozen=True, slots=True)
class Freeze:
    """Why nothing may be rolled back here; see `TargetFrozen`."""

    at: datetime
    by: str
    reason: str
    spec: str = ""
    who: str = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A release became the live one between `earliest` (None: nobody knows) and `at`.

    `by_guard` is the run that put it there, if the guard did. `previous` is the release that was live before it, since
    `previous_since` at the latest.
    """

    template: str
    at: datetime
    earliest: datetime | None = None
    by_guard: str | None = None
    previous: str | None = None
    previous_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replacement:
    """All pods of the present release, which had earned good, were replaced without a new one, at `since` or later.

    `changed` names the annotations of the pod template that were changed.
    """

    since: datetime
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Veto:
    """A person does not want the release `template` to be rolled back before `until`, in their `words`."""

    template: str
    until: datetime
    words: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """All that is known of a target's releases, each by its key (see `ReleaseId`).

    `present` is the live release. `rollouts` are those since the last release that had earned good, or since a
    rollback, the present one last; `replacement` is the last one since then.
    """

    records: Mapping[str, Record] = field(default_factory=dict)
    present: str | None = None
    uid: str | None = None
    rollouts: tuple[Rollout, ...] = ()
    replacement: Replacement | None = None
    freeze: Freeze | None = None
    veto: Veto | None = None
    signals_seen: frozenset[str] = frozenset()
    length: int = 0

    @property
    def rollout(self) -> Rollout | None:
        """The rollout of the present release; None before anything is known."""
        return self.rollouts[-1] if self.rollouts else None

    def rollout_of(self, onset: datetime) -> Rollout | None:
        """The rollout that a breach since `onset` can be put down to.

        A release that never earned good answers for its breach also while the next ones go on with it. The first
        rollout that is known where the breach is older than all of them.
        """
        known = [r for r in self.rollouts if r.earliest is not None]
        begun = [r for r in known if r.earliest is not None and r.earliest <= onset]
        return next(iter(begun[-1:] or known[:1] or self.rollouts[-1:]), None)

    def replaced_before(self, onset: datetime) -> Replacement | None:
        """The replacement of all pods that a breach since `onset` came after: it is not the rollout's."""
        return self.replacement if self.replacement is not None and self.replacement.since <= onset else None

    def suspected(self, onset: datetime) -> frozenset[str]:
        """The releases that answer for a breach since `onset`: that of its rollout, and those that came after it."""
        rollout = self.rollout_of(onset)
        since = self.rollouts.index(rollout) if rollout is not None else 0
        return frozenset(r.template for r in self.rollouts[since:])

    def destination(self, policy: LedgerPolicy) -> Record | None:
        """Where a rollback goes: the best of `destinations`."""
        return next(iter(self.destinations(policy)), None)

    def destinations(self, policy: LedgerPolicy) -> Sequence[Record]:
        """Every release that a rollback may go to: of those with the most merit the one that was live last first."""
        merits = {r: r.merit(policy) for r in self.records.values() if r.release.key != self.present and r.blob}
        best = min((merit for merit in merits.values() if merit >= 0), default=None)
        return sorted((r for r, merit in merits.items() if merit == best), key=lambda r: r.last_live, reverse=True)

    def named(self, name: str) -> Sequence[Record]:
        """The releases that people may mean by `name`; see the function of that name."""
        return [self.records[k] for k in named({k: r.revision for k, r in self.records.items()}, name)]

    def is_undo(self, template: str) -> bool:
        """Whether going from the present release to `template` goes back to an older one that is not bad."""
        new, old = self.records.get(template), self.records.get(self.present or "")
        if new is None or old is None or new.release == old.release or new.bad_since is not None:
            return False
        return new.first_live < old.first_live


def fold(events: Iterable[Event]) -> Ledger:
    """The ledger that these events, in journal order, tell: those of the target and those of its runs."""
    return extend(Ledger(), events)


def extend(ledger: Ledger, events: Iterable[Event]) -> Ledger:
    """The ledger after further events."""
    for event in events:
        kind = type(event)
        if kind not in _FOLDS:
            continue
        length = ledger.length + (kind in _ORDERED)
        ledger = _FOLDS[kind](ledger, event)
        if ledger.length != length:
            ledger = replace(ledger, length=length)
    return ledger


def _answered(ledger: Ledger, event: RunAnswered) -> Ledger:
    if event.until is None or ledger.present is None:
        return ledger
    return replace(ledger, veto=Veto(ledger.present, event.until, event.words))


def _opened(ledger: Ledger, event: RunOpened) -> Ledger:
    if event.request:
        # Whoever asks for the rollback thinks otherwise.
        ledger = replace(ledger, veto=None)
    if event.attributed:
        for template in {event.plan.origin.key, *ledger.suspected(event.onset or event.at)}:
            ledger = _left(ledger, template, event.at, f"rule {event.rule} fired after its rollout")
    return ledger


def _frozen(ledger: Ledger, event: TargetFrozen) -> Ledger:
    return replace(ledger, freeze=Freeze(event.at, event.by, event.reason, event.spec, event.who))


def _closed(ledger: Ledger, event: RunClosed) -> Ledger:
    if not event.freeze:
        return ledger
    return replace(ledger, freeze=Freeze(event.at, "guard", f"run {event.run}: {event.reason}"))


def _with(ledger: Ledger, record: Record, **changes: Any) -> Ledger:  # noqa: ANN401 - fields of a ledger
    return replace(ledger, records={**ledger.records, record.release.key: record}, **changes)


def _seeded(ledger: Ledger, event: RevisionSeeded) -> Ledger:
    if event.release.key in ledger.records:
        return ledger
    record = Record(
        template=event.template,
        configuration=event.configuration,
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
    since, key = event.earliest or event.at, event.release.key
    before = ledger.records.get(ledger.present or "")
    if before is not None and before.release.key != key:
        began = None if ledger.rollout is None else ledger.rollout.earliest
        stood = max(before.stood, (since - began).total_seconds()) if began else before.stood
        ledger = _with(ledger, replace(before, stood=stood))
        if event.by_guard is not None or event.undo_of == before.release.key:
            left_by = "an undo left it" if event.by_guard is None else f"run {event.by_guard} left it"
            ledger = _left(ledger, before.release.key, event.at, left_by)
    known = ledger.records.get(key)
    record = Record(
        template=event.template,
        configuration=event.configuration,
        revision=event.revision,
        blob=event.blob,
        images=event.images,
        first_live=ledger.length,
        last_live=ledger.length,
    )
    if known is not None:
        record = replace(known, revision=event.revision, blob=event.blob, last_live=ledger.length)
    if event.by_guard is not None and record.bad_since is not None:
        # Only a person's rollout speaks for a bad release: the guard puts one back where nothing better can start.
        record = replace(record, bad_since=ledger.length)
    rollouts = _rollouts(ledger, before, event)
    return _with(
        ledger, record, present=key, uid=event.uid, rollouts=rollouts, replacement=None
    )  # fmt: skip


def _renewed(ledger: Ledger, event: RevisionNumbered | RevisionKept | PodsReplaced) -> Ledger:
    record = ledger.records.get(event.release.key)
    if record is None:
        return ledger
    if isinstance(event, RevisionKept):
        return _with(ledger, replace(record, blob=event.blob))
    if isinstance(event, RevisionNumbered):
        return _with(ledger, replace(record, revision=event.revision))
    # What has never been well may be at fault whatever else was changed.
    found = Replacement(event.earliest or event.at, event.changed) if record.good_at is not None else None
    return _with(ledger, replace(record, blob=event.blob or record.blob), replacement=found)


def _rollouts(ledger: Ledger, before: Record | None, event: RevisionLive) -> tuple[Rollout, ...]:
    """The rollouts that a breach may be put down to from now on."""
    rollout, last = Rollout(event.release.key, event.at, event.earliest, event.by_guard), ledger.rollout
    if before is None or last is None:
        return (rollout,)
    if before.release == event.release:
        rollout = replace(rollout, previous=last.previous, previous_since=last.previous_since)
        return (*ledger.rollouts[:-1], rollout)
    rollout = replace(rollout, previous=before.release.key, previous_since=last.at)
    answered = before.good_at is not None or event.by_guard is not None or event.undo_of is not None
    return (rollout,) if answered else (*ledger.rollouts, rollout)[-_ROLLOUTS:]


def _good(ledger: Ledger, event: RevisionGood) -> Ledger:
    record = ledger.records.get(event.release.key)
    if record is None:
        return ledger
    if record.bad_since is not None and record.last_live <= record.bad_since:
        return ledger
    record = replace(
        record.lifted,
        good_at=event.at,
        good_on=ledger.signals_seen,
        unmeasured=event.unmeasured,
        snapshot=event.snapshot or record.snapshot,
    )
    return _with(ledger, record)


def _bad(ledger: Ledger, template: str, at: datetime, reason: str) -> Ledger:
    record = ledger.records.get(template)
    if record is None:
        return ledger
    return _with(ledger, replace(record, bad_at=at, bad_since=ledger.length, bad_reason=reason))


def _left(ledger: Ledger, template: str, at: datetime, reason: str) -> Ledger:
    """As `_bad`; what it was bad for already, that it did not even start, say, tells more than that it was left."""
    known = ledger.records.get(template)
    before = known.bad_reason if known is not None and known.bad_since is not None else ""
    return _bad(ledger, template, at, before or reason)


def _marked(ledger: Ledger, event: RevisionMarked) -> Ledger:
    record = ledger.records.get(event.release.key)
    if record is None:
        return ledger
    if event.mark is Mark.NOT_BAD:
        return _with(ledger, record.lifted)
    words = event.words or "no reason was given"
    record = replace(record, objection=words)
    if ledger.veto is not None and ledger.veto.template == event.release.key:
        ledger = replace(ledger, veto=None)
    return _bad(_with(ledger, record), event.release.key, event.at, f"a person marked it bad: {words}")


_FOLDS: Mapping[type[Event], Callable[[Ledger, Any], Ledger]] = {
    RevisionSeeded: _seeded,
    RevisionLive: _live,
    RevisionNumbered: _renewed,
    RevisionKept: _renewed,
    PodsReplaced: _renewed,
    RevisionGood: _good,
    RevisionBad: lambda ledger, event: _bad(ledger, event.release.key, event.at, event.reason),
    RevisionMarked: _marked,
    RunAnswered: _answered,
    RunOpened: _opened,
    RunClosed: _closed,
    TargetFrozen: _frozen,
    TargetThawed: lambda ledger, _: replace(ledger, freeze=None),
    SignalSeen: lambda ledger, event: replace(ledger, signals_seen=ledger.signals_seen | {event.signal}),
}
"""What each event means here. By its type, since most events of a journal mean nothing here and there are many."""


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
