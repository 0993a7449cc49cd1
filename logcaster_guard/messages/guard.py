"""What people are told of the guard itself: its rules, its sources, its channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from logcaster_guard.domain.message import Headline, Reason
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.rules import RulesDiff
from logcaster_guard.domain.signals import Target
from logcaster_guard.messages.guard_headlines import (
    BlobsFailing,
    BlobsRecovered,
    ChannelFailing,
    ConfigurationRefused,
    JournalFailing,
    JournalGrowing,
    JournalLost,
    JournalRecovered,
    NoticeLost,
    NoticesLeftOut,
    RulesReloaded,
    SettingsChanged,
)
from logcaster_guard.messages.texts import english
from logcaster_guard.messages.words import told

GIVEN_UP, FAILING, SUMMED_UP = "notice.given_up", "channel.failing", "notice.left_out"
OF_A_CHANNEL = frozenset({GIVEN_UP, FAILING, SUMMED_UP})
"""Event names of the notices that tell about a channel, the first two of them on the others."""


def rules_reloaded(targets: Sequence[Target], diff: RulesDiff, at: datetime) -> Notice:
    """New rules are in force for these targets."""
    message = RulesReloaded(_keys(targets), diff.added, diff.removed, diff.changed)
    return _of_configuration(message, Severity.INFO, targets, at)


def configuration_refused(targets: Sequence[Target], faults: str, at: datetime) -> Notice:
    """The files were changed and cannot be taken up: what is in force stays."""
    return _of_configuration(ConfigurationRefused(_keys(targets), faults), Severity.WARNING, targets, at)


def settings_changed(targets: Sequence[Target], keys: Sequence[str], diff: RulesDiff, at: datetime) -> Notice:
    """Settings were changed, and the guard begins anew with them; `diff` tells of rules that changed with them."""
    message = SettingsChanged(_keys(targets), tuple(keys), diff.added, diff.removed, diff.changed)
    return _of_configuration(message, Severity.WARNING, targets, at)


def _keys(targets: Sequence[Target]) -> tuple[str, ...]:
    return tuple(t.key for t in targets)


def _of_configuration(message: Headline, severity: Severity, targets: Sequence[Target], at: datetime) -> Notice:
    """One notice for one edit. Its Event stands at the first of the targets, since it must stand at an object."""
    return told(
        message,
        severity,
        id=f"{message.kind}/{at.isoformat()}",
        at=at,
        target=targets[0].key if len(targets) == 1 else "",
        namespace=targets[0].namespace if targets else "",
        deployment=targets[0].deployment if targets else "",
        facts={"targets": english().listed(_keys(targets))},
    )


_MEBI = 1024 * 1024


def journal_lost(fault: Reason, left: Sequence[Reason], unseen: Reason, at: datetime) -> Notice:
    """The guard has no journal. `left` is what a run has left, one sentence each; `unseen` why that cannot be seen."""
    seen = " ".join(map(english().text, left))
    facts = {"detail": english().text(fault), "left": seen, "unseen": english().text(unseen)}
    return _of_guard(JournalLost(fault, tuple(left), unseen), Severity.CRITICAL, at, facts)


def journal_failing(fault: Reason, at: datetime) -> Notice:
    """Nothing could be written down for long."""
    return _of_guard(JournalFailing(fault), Severity.CRITICAL, at, {"detail": english().text(fault)})


def journal_growing(used: int, limit: int, at: datetime) -> Notice:
    """It takes a large part of the room that it has (bytes), and compaction does not help."""
    facts = {"used": f"{used / _MEBI:.1f} MiB", "limit": f"{limit / _MEBI:.1f} MiB"}
    return _of_guard(JournalGrowing(facts["used"], facts["limit"]), Severity.WARNING, at, facts)


def journal_recovered(at: datetime) -> Notice:
    """It can be written again."""
    return _of_guard(JournalRecovered(), Severity.INFO, at)


def blobs_failing(fault: Reason, at: datetime) -> Notice:
    """Releases could not be saved for long."""
    return _of_guard(BlobsFailing(fault), Severity.CRITICAL, at, {"detail": english().text(fault)})


def blobs_recovered(at: datetime) -> Notice:
    """They can be saved again."""
    return _of_guard(BlobsRecovered(), Severity.INFO, at)


def _of_guard(message: Headline, severity: Severity, at: datetime, facts: Mapping[str, str] | None = None) -> Notice:
    return told(message, severity, id=f"{message.kind}/{at.isoformat()}", at=at, facts=facts)


def notice_lost(about: Notice, channel: str, detail: Reason, at: datetime) -> Notice:
    """A channel will never carry the notice `about`."""
    return _of_channel(about, NoticeLost(channel, _said(about), detail), channel, detail, at)


def channel_failing(about: Notice, channel: str, lasted: float, detail: Reason, at: datetime) -> Notice:
    """A channel has taken nothing for `lasted` seconds; `about` is the notice that waits there."""
    return _of_channel(about, ChannelFailing(channel, _said(about), lasted, detail), channel, detail, at)


def _said(about: Notice) -> Reason:
    return about.message or about.title


def summed_up(channel: str, left_out: Mapping[str, int], at: datetime) -> Notice:
    """A channel takes notices; `left_out` counts, by event, those that were too many to wait for that."""
    events, count = ", ".join(f"{n} {event}" for event, n in sorted(left_out.items())), sum(left_out.values())
    facts = {"channel": channel, "count": str(count), "events": events}
    message = NoticesLeftOut(channel, count, events)
    return told(message, Severity.WARNING, id=summed_up_id(channel, at), at=at, facts=facts)


def summed_up_id(channel: str, at: datetime) -> str:
    """What the notice is known by that sums up for this channel at this instant."""
    return f"{SUMMED_UP}/{channel}/{at.isoformat()}"


def _of_channel(about: Notice, message: Headline, channel: str, detail: Reason, at: datetime) -> Notice:
    return told(
        message,
        Severity.WARNING,
        id=f"{about.id}/{message.kind}/{channel}",
        at=at,
        target=about.target,
        namespace=about.namespace,
        deployment=about.deployment,
        run=about.run,
        facts={"channel": channel, "notice": about.id, "detail": english().text(detail)},
    )
