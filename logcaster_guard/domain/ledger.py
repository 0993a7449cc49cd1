"""What is known of each release of a target: good (measured or not), bad, presumed good or unproven.

It is folded from the journal (`ledger_events`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.releases import ReleaseId
from logcaster_guard.domain.rules import LedgerPolicy, Rule

_SHORTEST = 6
"""Digits of a hash that name a release, or its configuration beside the revision's number."""


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
    `contents` tells what the objects of its configuration held as its pods read them: by `str(ConfigObject)` the digest
    of the blob with the manifest, empty where the object was absent. What is missing could not be read or kept.
    `readable` is the digest of what these hold, where `configuration` tells of more: checksums in the template's
    annotations, perhaps of what nobody can put back.
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
    bad_reason: Reason = ""
    objection: Reason = ""
    stood: float = 0.0
    snapshot: str = ""
    good_on: frozenset[str] = frozenset()
    unmeasured: tuple[str, ...] = ()
    configuration: str = ""
    contents: Mapping[str, str] = field(default_factory=dict, hash=False)
    readable: str = ""

    @property
    def release(self) -> ReleaseId:
        """Which release it is."""
        return ReleaseId(self.template, self.configuration)

    @property
    def name(self) -> str:
        """What people call it by: its revision's number, else the first digits of its hash; and its configuration."""
        number = self.revision or self.template[:8]
        return f"{number}+{self.configuration[:_SHORTEST]}" if self.configuration else number

    def status(self, policy: LedgerPolicy) -> ReleaseStatus:
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
        match self.status(policy):
            case ReleaseStatus.GOOD:
                return 0
            case ReleaseStatus.PRESUMED_GOOD:
                return 1
            case ReleaseStatus.UNMEASURED:
                return 1 if self.stood >= policy.presumed_after else 2
            case ReleaseStatus.UNPROVEN | ReleaseStatus.BAD:
                return -1

    @property
    def restorable(self) -> str:
        """The digest of what can be put back of its configuration; empty where that is unknown."""
        return self.readable or self.configuration

    @property
    def blobs(self) -> frozenset[str]:
        """The digests of what is saved of it: template, manifests, and what the objects of its configuration held."""
        return frozenset({self.blob, self.snapshot, *self.contents.values()}) - {""}

    @property
    def lifted(self) -> Record:
        """The same without what speaks against it: what it had earned before counts again."""
        return replace(self, bad_at=None, bad_since=None, bad_reason="", objection="")


@dataclass(frozen=True, slots=True)
class Freeze:
    """Why nothing may be rolled back here; see `TargetFrozen`."""

    at: datetime
    by: str
    reason: Reason
    spec: str = ""
    who: Reason = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """The release with this `key` became the live one between `earliest` (None: nobody knows) and `at`.

    `by_guard` is the run that put it there, if the guard did. `previous` is the key of the release that was live before
    it, since `previous_since` at the latest.
    """

    key: str
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
    """A person does not want the release with this `key` to be rolled back before `until`, in their `words`."""

    key: str
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
    def live(self) -> Record | None:
        """The record of the present release; None before anything is known."""
        return self.records.get(self.present or "")

    def shows(self, template: str) -> bool:
        """Whether the present release is of this template."""
        return self.present is not None and ReleaseId.of_key(self.present).template == template

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
        return frozenset(r.key for r in self.rollouts[since:])

    def record_of(self, release: ReleaseId) -> Record | None:
        """The record of a release; of an unknown configuration the one that was live last with the template."""
        found = self.records.get(release.key)
        if found is not None or release.configuration:
            return found
        same = [record for record in self.records.values() if record.template == release.template]
        return max(same, key=lambda record: record.last_live, default=None)

    def destination(self, policy: LedgerPolicy) -> Record | None:
        """Where a rollback goes: the best of `destinations`."""
        return next(iter(self.destinations(policy)), None)

    def destinations(self, policy: LedgerPolicy) -> Sequence[Record]:
        """Every release that a rollback may go to: of those with the most merit the one that was live last first.

        It differs from the present one in what can be put back: what is unknown of a configuration cannot.
        """
        merits = {r: r.merit(policy) for r in self.records.values() if r.blob and self._is_another(r)}
        best = min((merit for merit in merits.values() if merit >= 0), default=None)
        found = (r for r, merit in merits.items() if merit == best)
        return sorted(found, key=lambda r: (r.last_live, r.configuration != ""), reverse=True)

    def _is_another(self, record: Record) -> bool:
        """Whether the release is known to differ from the present one."""
        live = self.live
        if live is None or record.template != live.template:
            return True
        return record.restorable != live.restorable and "" not in {record.restorable, live.restorable}

    def unread(self, policy: LedgerPolicy) -> Record | None:
        """A release with the present template that would be a destination if its configuration were known."""
        live = self.live
        same = [r for r in self.records.values() if live is not None and r.template == live.template and r != live]
        usable = [r for r in same if r.blob and not r.restorable and r.merit(policy) >= 0]
        return max(usable, key=lambda r: r.last_live, default=None)

    def named(self, name: str) -> Sequence[Record]:
        """The releases that people may mean by `name`; see the function of that name."""
        return [self.records[k] for k in named({k: r.name for k, r in self.records.items()}, name)]

    def is_undo(self, release: ReleaseId) -> bool:
        """Whether going from the present release to this one goes back to an older one that is not bad.

        Of an unknown configuration: to any release of the template that is.
        """
        old = self.live
        known = [r for r in self.records.values() if r.template == release.template and r != old]
        meant = [r for r in known if release.configuration in {"", r.configuration}]
        return old is not None and any(r.bad_since is None and r.first_live < old.first_live for r in meant)


def named(names: Mapping[str, str], name: str) -> Sequence[str]:
    """The releases that people may mean by `name`: a revision's number, or the first digits of a hash, six at least.

    Either may be followed by `+` and the first digits of a configuration. `names` are the releases' own, by key.
    """
    exactly = [key for key, own in names.items() if own == name]
    number, _, digits = name.partition("+")
    alike = [key for key in names if ReleaseId.of_key(key).configuration.startswith(digits)]
    found = exactly or [key for key in alike if names[key].partition("+")[0] == number]
    if not found and len(number) >= _SHORTEST:
        found = [key for key in alike if key.startswith(number)]
    return found
