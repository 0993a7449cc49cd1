"""What people are told of the guard itself: its rules, its sources, its channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.signals import Target
from logcaster_guard.messages.words import listed, sentence

GIVEN_UP, FAILING, SUMMED_UP = "notice.given_up", "channel.failing", "notice.left_out"
OF_A_CHANNEL = frozenset({GIVEN_UP, FAILING, SUMMED_UP})
"""Event names of the notices that tell about a channel, the first two of them on the others."""


def rules_reloaded(targets: Sequence[Target], diff: str, at: datetime) -> Notice:
    """New rules are in force for these targets."""
    title = f"New rules for {listed(t.key for t in targets)}"
    return _of_configuration("config.reloaded", Severity.INFO, title, sentence(diff), targets=targets, at=at)


def configuration_refused(targets: Sequence[Target], faults: str, at: datetime) -> Notice:
    """The files were changed and cannot be taken up: what is in force stays."""
    title = f"New rules or settings for {listed(t.key for t in targets)} were refused; the old ones stay in force"
    return _of_configuration("config.refused", Severity.WARNING, title, faults, targets=targets, at=at)


def settings_changed(targets: Sequence[Target], keys: Sequence[str], diff: str, at: datetime) -> Notice:
    """Settings were changed, and the guard begins anew with them; `diff` tells of rules that changed with them."""
    title = f"The guard's settings were changed; it begins anew for {listed(t.key for t in targets)}"
    text = f"Changed: {listed(keys, MOST_KEYS)}. {sentence(diff)}"
    return _of_configuration("config.settings_changed", Severity.WARNING, title, text, targets=targets, at=at)


MOST_KEYS = 20


def _of_configuration(
    event: str, severity: Severity, title: str, text: str, *, targets: Sequence[Target], at: datetime
) -> Notice:
    """One notice for one edit. Its Event stands at the first of the targets, since it must stand at an object."""
    return Notice(
        id=f"{event}/{at.isoformat()}",
        at=at,
        event=event,
        severity=severity,
        title=title,
        text=text,
        target=targets[0].key if len(targets) == 1 else "",
        namespace=targets[0].namespace if targets else "",
        deployment=targets[0].deployment if targets else "",
        facts={"targets": listed(t.key for t in targets)},
    )


def guard_notice(
    event: str,
    severity: Severity,
    title: str,
    text: str,
    *,
    id: str,  # noqa: A002 - the field's name
    at: datetime,
    facts: Mapping[str, str] | None = None,
) -> Notice:
    """Something about the guard itself."""
    return Notice(id=id, at=at, event=event, severity=severity, title=title, text=text, facts=facts or {})


_MEBI = 1024 * 1024
_MEND = "See docs/refusals.md, When the journal cannot be used."


def journal_lost(fault: str, left: Sequence[str], unseen: str, at: datetime) -> Notice:
    """The guard has no journal. `left` is what a run has left, one sentence each; `unseen` why that cannot be seen."""
    seen = " ".join(left) or (f"Whether a run has left a helper could not be seen: {unseen}." if unseen else "")
    text = (
        f"{sentence(fault)} Until that is mended and the guard is started again, it rolls nothing back and tells "
        f"nobody of a release that is bad; a rollback that was under way stands still where it is. {seen} {_MEND}"
    )
    facts = {"detail": fault, "left": seen or "no helper of a run"}
    title = "The guard only watches: its journal cannot be used"
    return guard_notice(
        "journal.lost",
        Severity.CRITICAL,
        title,
        " ".join(text.split()),
        id=f"journal.lost/{at.isoformat()}",
        at=at,
        facts=facts,
    )


def journal_failing(fault: str, at: datetime) -> Notice:
    """Nothing could be written down for long."""
    text = (
        f"{sentence(fault)} Nothing is changed without it: no rollback begins, and one that is under way stands still "
        f"where it is. It is tried again all the time, and goes on by itself. {_MEND}"
    )
    title = "The guard cannot write its journal"
    id_ = f"journal.failing/{at.isoformat()}"
    return guard_notice("journal.failing", Severity.CRITICAL, title, text, id=id_, at=at, facts={"detail": fault})


def journal_growing(used: int, limit: int, at: datetime) -> Notice:
    """It takes a large part of the room that it has (bytes), and compaction does not help."""
    facts = {"used": f"{used / _MEBI:.1f} MiB", "limit": f"{limit / _MEBI:.1f} MiB"}
    text = (
        f"It takes {facts['used']} of at most {facts['limit']}. Once it is full nothing is rolled back. Look for a "
        "rule that flaps or an annotation that is written all the time, and make room; see docs/configuration.md, "
        "Size of the journal."
    )
    id_ = f"journal.growing/{at.isoformat()}"
    title = "The guard's journal grows towards its limit"
    return guard_notice("journal.growing", Severity.WARNING, title, text, id=id_, at=at, facts=facts)


def journal_recovered(at: datetime) -> Notice:
    """It can be written again."""
    text = "Rollbacks that stood still go on."
    id_ = f"journal.recovered/{at.isoformat()}"
    title = "The guard can write its journal again"
    return guard_notice("journal.recovered", Severity.INFO, title, text, id=id_, at=at)


def blobs_failing(fault: str, at: datetime) -> Notice:
    """Releases could not be saved for long."""
    text = (
        f"{sentence(fault)} A rollback to a release that is saved already goes on. What is rolled out meanwhile cannot "
        "be saved: it does not earn good, and nothing goes back to it. It is tried again all the time."
    )
    title, id_ = "The guard cannot save releases", f"blobs.failing/{at.isoformat()}"
    return guard_notice("blobs.failing", Severity.CRITICAL, title, text, id=id_, at=at, facts={"detail": fault})


def blobs_recovered(at: datetime) -> Notice:
    """They can be saved again."""
    title, id_ = "The guard can save releases again", f"blobs.recovered/{at.isoformat()}"
    text = "What could not be saved is saved now, if it still runs."
    return guard_notice("blobs.recovered", Severity.INFO, title, text, id=id_, at=at)


def notice_lost(about: Notice, channel: str, detail: str, at: datetime) -> Notice:
    """A channel will never carry the notice `about`."""
    text = (
        f'"{about.title}" could not be sent on {channel} ({detail}). Check that channel; '
        "further losses there are only logged until it works again."
    )
    return _of_channel(about, channel, detail, at, event=GIVEN_UP, title=f"Channel {channel} lost a notice", text=text)


def channel_failing(about: Notice, channel: str, lasted: float, detail: str, at: datetime) -> Notice:
    """A channel has taken nothing for `lasted` seconds; `about` is the notice that waits there."""
    text = (
        f'It has failed for {lasted:.0f} s ({detail}), and "{about.title}" waits there. Check that channel; '
        "it is tried again all the time."
    )
    title = f"Channel {channel} takes no notices"
    return _of_channel(about, channel, detail, at, event=FAILING, title=title, text=text)


def summed_up(channel: str, left_out: Mapping[str, int], at: datetime) -> Notice:
    """A channel takes notices; `left_out` counts, by event, those that were too many to wait for that."""
    events = ", ".join(f"{count} {event}" for event, count in sorted(left_out.items()))
    text = (
        f"More notices came than wait for a channel that takes none, and {sum(left_out.values())} were left out on "
        f"{channel}: {events}. See logcaster-guard history, the log, or another channel."
    )
    return Notice(
        id=summed_up_id(channel, at),
        at=at,
        event=SUMMED_UP,
        severity=Severity.WARNING,
        title=f"Channel {channel} has missed notices",
        text=text,
        facts={"channel": channel, "count": str(sum(left_out.values())), "events": events},
    )


def summed_up_id(channel: str, at: datetime) -> str:
    """What the notice is known by that sums up for this channel at this instant."""
    return f"{SUMMED_UP}/{channel}/{at.isoformat()}"


def _of_channel(
    about: Notice, channel: str, detail: str, at: datetime, *, event: str, title: str, text: str
) -> Notice:  # fmt: skip
    return Notice(
        id=f"{about.id}/{event}/{channel}",
        at=at,
        event=event,
        severity=Severity.WARNING,
        title=title,
        text=text,
        target=about.target,
        namespace=about.namespace,
        deployment=about.deployment,
        run=about.run,
        facts={"channel": channel, "notice": about.id, "detail": detail},
    )
