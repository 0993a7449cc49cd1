"""What people are told of the guard itself, as values: its configuration, journal, channels, and what it cannot see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.message import Headline, Reason


@dataclass(frozen=True, slots=True)
class RulesReloaded(Headline):
    """New rules are in force for these targets."""

    targets: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    kind: Literal["config.reloaded"] = "config.reloaded"


@dataclass(frozen=True, slots=True)
class ConfigurationRefused(Headline):
    """The files were changed and cannot be taken up: what is in force stays."""

    targets: tuple[str, ...]
    faults: str
    kind: Literal["config.refused"] = "config.refused"


@dataclass(frozen=True, slots=True)
class SettingsChanged(Headline):
    """Settings were changed, and the guard begins anew with them; the rest tells of rules that changed with them."""

    targets: tuple[str, ...]
    keys: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    kind: Literal["config.settings_changed"] = "config.settings_changed"


@dataclass(frozen=True, slots=True)
class JournalLost(Headline):
    """The guard has no journal. `left` is what a run has left; `unseen` why that cannot be seen, empty if it can."""

    fault: Reason
    left: tuple[Reason, ...]
    unseen: Reason
    kind: Literal["journal.lost"] = "journal.lost"


@dataclass(frozen=True, slots=True)
class JournalFailing(Headline):
    """Nothing could be written down for long."""

    fault: Reason
    kind: Literal["journal.failing"] = "journal.failing"


@dataclass(frozen=True, slots=True)
class JournalGrowing(Headline):
    """It takes a large part of the room that it has, and compaction does not help. Sizes with their unit."""

    used: str
    limit: str
    kind: Literal["journal.growing"] = "journal.growing"


@dataclass(frozen=True, slots=True)
class JournalRecovered(Headline):
    """It can be written again."""

    kind: Literal["journal.recovered"] = "journal.recovered"


@dataclass(frozen=True, slots=True)
class BlobsFailing(Headline):
    """Releases could not be saved for long."""

    fault: Reason
    kind: Literal["blobs.failing"] = "blobs.failing"


@dataclass(frozen=True, slots=True)
class BlobsRecovered(Headline):
    """They can be saved again."""

    kind: Literal["blobs.recovered"] = "blobs.recovered"


@dataclass(frozen=True, slots=True)
class NoticeLost(Headline):
    """A channel will never carry the notice `about`."""

    channel: str
    about: Reason
    detail: Reason
    kind: Literal["notice.given_up"] = "notice.given_up"


@dataclass(frozen=True, slots=True)
class ChannelFailing(Headline):
    """A channel has taken nothing for `lasted` seconds; `about` is the notice that waits there."""

    channel: str
    about: Reason
    lasted: float
    detail: Reason
    kind: Literal["channel.failing"] = "channel.failing"


@dataclass(frozen=True, slots=True)
class NoticesLeftOut(Headline):
    """A channel takes notices again; `events` counts those that were too many to wait for that."""

    channel: str
    count: int
    events: str
    kind: Literal["notice.left_out"] = "notice.left_out"


@dataclass(frozen=True, slots=True)
class SourceFailing(Headline):
    """A source gives no values, for `cause`; `where`: the signals that it concerns."""

    what: Reason
    cause: Reason
    where: Reason
    kind: Literal["source.failing"] = "source.failing"


@dataclass(frozen=True, slots=True)
class SourceRecovered(Headline):
    """It gives values again, after `lasted` seconds."""

    what: Reason
    lasted: float
    kind: Literal["source.recovered"] = "source.recovered"


@dataclass(frozen=True, slots=True)
class SourceLagging(Headline):
    """What a source gives is old."""

    what: Reason
    cause: Reason
    where: Reason
    kind: Literal["source.lagging"] = "source.lagging"


@dataclass(frozen=True, slots=True)
class SourceCaughtUp(Headline):
    """What it gives is new again."""

    what: Reason
    lasted: float
    kind: Literal["source.caught_up"] = "source.caught_up"


@dataclass(frozen=True, slots=True)
class WorkloadUnseen(Headline):
    """The target's workload is missing, or may not be read."""

    target: str
    cause: Reason
    kind: Literal["workload.unseen"] = "workload.unseen"


@dataclass(frozen=True, slots=True)
class WorkloadSeen(Headline):
    """It is seen again."""

    target: str
    lasted: float
    kind: Literal["workload.seen"] = "workload.seen"


@dataclass(frozen=True, slots=True)
class RulesBlind(Headline):
    """Rules had no value from a source for their whole duration; `where` names them."""

    source: str
    cause: Reason
    where: Reason
    kind: Literal["trigger.blind"] = "trigger.blind"


@dataclass(frozen=True, slots=True)
class RulesSeeing(Headline):
    """They have values again."""

    source: str
    targets: tuple[str, ...]
    lasted: float
    kind: Literal["trigger.seeing"] = "trigger.seeing"


@dataclass(frozen=True, slots=True)
class PollsMissed(Headline):
    """The guard does not keep up with its polls; `where` are the sources."""

    cause: Reason
    where: Reason
    kind: Literal["polls.missed"] = "polls.missed"


@dataclass(frozen=True, slots=True)
class PollsKept(Headline):
    """It keeps up again."""

    lasted: float
    kind: Literal["polls.kept"] = "polls.kept"


@dataclass(frozen=True, slots=True)
class ClockSkewed(Headline):
    """Another clock differs from the guard's."""

    what: Reason
    cause: Reason
    kind: Literal["clock.skewed"] = "clock.skewed"


@dataclass(frozen=True, slots=True)
class ClockAgrees(Headline):
    """It agrees again."""

    what: Reason
    lasted: float
    kind: Literal["clock.agrees"] = "clock.agrees"
