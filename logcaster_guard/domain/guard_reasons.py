"""What keeps the guard itself from acting or from seeing, as messages. Lengths of time are in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class Named(Message):
    """A name, told as it is."""

    name: str
    kind: Literal["name"] = "name"


@dataclass(frozen=True, slots=True)
class JournalContradicts(Message):
    """Two appends of the same place are in the journal."""

    error: Reason
    kind: Literal["guard.journal_contradicts"] = "guard.journal_contradicts"


@dataclass(frozen=True, slots=True)
class StreamContended(Message):
    """Somebody else writes a stream all the time."""

    stream: str
    kind: Literal["guard.stream_contended"] = "guard.stream_contended"


@dataclass(frozen=True, slots=True)
class WithoutJournal(Message):
    """There is no journal to write."""

    kind: Literal["guard.without_journal"] = "guard.without_journal"


@dataclass(frozen=True, slots=True)
class RunNeverOpened(Message):
    """The journal tells of a run that it never opened."""

    run: str
    kind: Literal["guard.run_never_opened"] = "guard.run_never_opened"


@dataclass(frozen=True, slots=True)
class NotUnderLease(Message):
    """The guard may not act now; `holder` is empty for nobody, `own`: it is the guard itself, and its time runs out."""

    lease: str
    holder: str
    own: bool
    kind: Literal["guard.not_under_lease"] = "guard.not_under_lease"


@dataclass(frozen=True, slots=True)
class LeaseUnasked(Message):
    """The lease could not be asked for in time."""

    lease: str
    kind: Literal["guard.lease_unasked"] = "guard.lease_unasked"


@dataclass(frozen=True, slots=True)
class OpenedWithoutLease(Message):
    """A run that a guard opened without authority, and that has changed nothing."""

    kind: Literal["guard.opened_without_lease"] = "guard.opened_without_lease"


@dataclass(frozen=True, slots=True)
class StandsBy(Message):
    """Another guard acts; `holder` is who, or empty."""

    lease: str
    holder: str
    kind: Literal["guard.stands_by"] = "guard.stands_by"


@dataclass(frozen=True, slots=True)
class LoopStuck(Message):
    """A loop of a target's is over its bound."""

    target: str
    loop: str
    over: float
    bound: float
    kind: Literal["guard.loop_stuck"] = "guard.loop_stuck"


@dataclass(frozen=True, slots=True)
class JournalUnusable(Message):
    """The guard only watches."""

    kind: Literal["guard.journal_unusable"] = "guard.journal_unusable"


@dataclass(frozen=True, slots=True)
class NobodyCarriesOn(Message):
    """A run that nobody carries on without a journal."""

    left: Reason
    kind: Literal["guard.nobody_carries_on"] = "guard.nobody_carries_on"


@dataclass(frozen=True, slots=True)
class JournalUnread(Message):
    """The journal is not read yet."""

    kind: Literal["guard.journal_unread"] = "guard.journal_unread"


@dataclass(frozen=True, slots=True)
class ReleasesUnsaved(Message):
    """Releases cannot be saved."""

    fault: Reason
    kind: Literal["guard.releases_unsaved"] = "guard.releases_unsaved"


@dataclass(frozen=True, slots=True)
class NotSeenYet(Message):
    """A target's workload was not looked at yet."""

    target: str
    kind: Literal["guard.not_seen_yet"] = "guard.not_seen_yet"


@dataclass(frozen=True, slots=True)
class SourceUnread(Message):
    """A source was not read yet."""

    target: str
    source: str
    kind: Literal["guard.source_unread"] = "guard.source_unread"


@dataclass(frozen=True, slots=True)
class SourceKindUnknown(Message):
    """What a GitOps owner's revision comes from is of a kind that the guard does not know."""

    name: str
    kind: Literal["guard.source_kind_unknown"] = "guard.source_kind_unknown"


@dataclass(frozen=True, slots=True)
class PortionUnread(Message):
    """A source cannot read some pods alone."""

    source: str
    kind: Literal["gap.portion_unread"] = "gap.portion_unread"


@dataclass(frozen=True, slots=True)
class ReadAs(Message):
    """A number that the signal cannot have."""

    signal: str
    value: str
    kind: Literal["gap.read_as"] = "gap.read_as"


@dataclass(frozen=True, slots=True)
class NoSourceOfHealth(Message):
    """No source asks for health."""

    kind: Literal["gap.no_source_of_health"] = "gap.no_source_of_health"


@dataclass(frozen=True, slots=True)
class NoSourceOf(Message):
    """No source gives the signal."""

    signal: str
    kind: Literal["gap.no_source_of"] = "gap.no_source_of"


@dataclass(frozen=True, slots=True)
class ReachesBack(Message):
    """A value from before the rollout ended."""

    kind: Literal["gap.reaches_back"] = "gap.reaches_back"


@dataclass(frozen=True, slots=True)
class NotReadYet(Message):
    """The signal was not read yet."""

    kind: Literal["gap.not_read_yet"] = "gap.not_read_yet"


@dataclass(frozen=True, slots=True)
class NothingReadFor(Message):
    """The last reading is too old."""

    seconds: float
    kind: Literal["gap.nothing_read_for"] = "gap.nothing_read_for"


@dataclass(frozen=True, slots=True)
class SeriesNameNoPod(Message):
    """No series names a pod of the namespace."""

    metric: str
    namespace: str
    kind: Literal["gap.series_name_no_pod"] = "gap.series_name_no_pod"


@dataclass(frozen=True, slots=True)
class OthersPodsAlone(Message):
    """The series are of other workloads' pods; there are `more`."""

    metric: str
    pods: tuple[str, ...]
    more: bool
    kind: Literal["gap.others_pods_alone"] = "gap.others_pods_alone"


@dataclass(frozen=True, slots=True)
class NoneOfThesePods(Message):
    """None of the pods that are asked for has a series."""

    metric: str
    kind: Literal["gap.none_of_these_pods"] = "gap.none_of_these_pods"


@dataclass(frozen=True, slots=True)
class BucketsMissing(Message):
    """A histogram without the buckets that a quantile needs."""

    metric: str
    kind: Literal["gap.buckets_missing"] = "gap.buckets_missing"


@dataclass(frozen=True, slots=True)
class NoRequests(Message):
    """No requests came."""

    seconds: float
    kind: Literal["gap.no_requests"] = "gap.no_requests"


@dataclass(frozen=True, slots=True)
class RequestsTooFew(Message):
    """Fewer requests than a value needs."""

    seen: int
    seconds: float
    needed: int
    kind: Literal["gap.requests_too_few"] = "gap.requests_too_few"


@dataclass(frozen=True, slots=True)
class NotAStatus(Message):
    """A label holds no HTTP status but these values; there are `more`."""

    label: str
    metric: str
    held: tuple[str, ...]
    more: bool
    kind: Literal["gap.not_a_status"] = "gap.not_a_status"


@dataclass(frozen=True, slots=True)
class NoStatusLabel(Message):
    """The metric does not have the label."""

    metric: str
    label: str
    kind: Literal["gap.no_status_label"] = "gap.no_status_label"


@dataclass(frozen=True, slots=True)
class ServiceAbsent(Message):
    """The Service that tells the live environment is not there, or selects none."""

    service: str
    kind: Literal["absent.service"] = "absent.service"


@dataclass(frozen=True, slots=True)
class WorkloadAbsent(Message):
    """The target's workload is not there."""

    workload: str
    kind: Literal["absent.workload"] = "absent.workload"


@dataclass(frozen=True, slots=True)
class RuleChanged(Message):
    """A breach ended because its rule was changed."""

    kind: Literal["guard.rule_changed"] = "guard.rule_changed"


@dataclass(frozen=True, slots=True)
class AnnotationSetTo(Message):
    """Somebody gave the annotation another value."""

    value: str
    kind: Literal["guard.annotation_set_to"] = "guard.annotation_set_to"


@dataclass(frozen=True, slots=True)
class NoticeTooOld(Message):
    """A notice is older than notices are kept."""

    kind: Literal["delivery.too_old"] = "delivery.too_old"


@dataclass(frozen=True, slots=True)
class DeliveryNotEnded(Message):
    """A delivery was cut off."""

    seconds: float
    kind: Literal["delivery.not_ended"] = "delivery.not_ended"


@dataclass(frozen=True, slots=True)
class ChannelCrashed(Message):
    """A defect of the channel."""

    kind: Literal["delivery.crashed"] = "delivery.crashed"


@dataclass(frozen=True, slots=True)
class NoSnapshot(Message):
    """A blob is none of a snapshot."""

    kind: Literal["snapshot.none"] = "snapshot.none"


@dataclass(frozen=True, slots=True)
class SnapshotFormat(Message):
    """A snapshot of another version."""

    found: str
    reads: str
    kind: Literal["snapshot.format"] = "snapshot.format"


@dataclass(frozen=True, slots=True)
class SecretsNotKept(Message):
    """What a Secret held was kept, and settings do not let the guard read it now."""

    kind: Literal["secrets.not_kept"] = "secrets.not_kept"


@dataclass(frozen=True, slots=True)
class SecretsInNoBackup(Message):
    """What Secrets held stays in the cluster when a journal is backed up."""

    kind: Literal["secrets.in_no_backup"] = "secrets.in_no_backup"


@dataclass(frozen=True, slots=True)
class NobodyMarks(Message):
    """Nothing can mark an object for the holder of the lease."""

    system: str
    object: str
    kind: Literal["guard.nobody_marks"] = "guard.nobody_marks"


@dataclass(frozen=True, slots=True)
class NoReasonGiven(Message):
    """A person gave no reason."""

    kind: Literal["no_reason_given"] = "no_reason_given"


@dataclass(frozen=True, slots=True)
class NoPartOfSnapshot(Message):
    """A blob is no part of a snapshot."""

    kind: Literal["snapshot.no_part"] = "snapshot.no_part"


@dataclass(frozen=True, slots=True)
class NeededUnread(Message):
    """What a rollback may need cannot be read."""

    kind: Literal["guard.needed_unread"] = "guard.needed_unread"
