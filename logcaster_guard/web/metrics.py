"""Renders the read model as metrics, whenever they are asked for. Labels are configured names and closed lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from logcaster_guard import __version__
from logcaster_guard.adapters import logs
from logcaster_guard.domain.leadership import Role
from logcaster_guard.domain.problems import ProblemKind
from logcaster_guard.domain.signals import Fault
from logcaster_guard.domain.triggers import Phase
from logcaster_guard.engine.status import GuardStatus, StorageStatus, TargetStatus

_PREFIX = "logcaster_guard_"


def registry(status: Callable[[], GuardStatus]) -> CollectorRegistry:
    """A registry of its own with the metrics of the guard whose status this gives, and of its process."""
    found = CollectorRegistry()
    found.register(GuardCollector(status))
    ProcessCollector(registry=found)
    return found


class GuardCollector(Collector):
    """Makes every metric anew at each scrape; nothing is kept here."""

    def __init__(self, status: Callable[[], GuardStatus]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """All of the guard's metrics."""
        found = self._status()
        yield _gauge("build_info", "Always 1; the label is the version.", ("version",), [((__version__,), 1)])
        for part in (_loops, _triggers, _sources):
            yield from part(found.targets)
        yield _gauge(
            "authority_held",
            "1 while this guard may act; 0 while it stands by.",
            (),
            [((), found.leadership is None or found.leadership.role is Role.HOLDING)],
        )
        yield _gauge(
            "problems",
            "What keeps the guard from seeing the target, or from keeping up with it, by kind.",
            ("target", "kind"),
            [
                ((t.target.key, kind), sum(p.kind is kind and p.concerns(t.target) for p in found.problems))
                for t in found.targets
                for kind in ProblemKind
            ],
        )
        yield from _runs(found.targets)
        yield from _configurations(found.targets)
        yield from _storage(found.storage)
        yield from _notices(found)
        yield _counter(
            "config_reloads",
            "Changes of the configuration files that were taken up or refused.",
            ("outcome",),
            [((outcome,), found.reloads.get(outcome, 0)) for outcome in ("applied", "refused")],
        )
        yield _counter("log_lines_dropped", "Log lines that could not be written.", (), [((), logs.dropped())])


def _runs(targets: Sequence[TargetStatus]) -> Iterable[Metric]:
    yield _counter(
        "runs_opened",
        "Rollbacks that were begun, of all that the journal tells.",
        ("target",),
        [((t.target.key,), t.runs_opened) for t in targets],
    )
    yield _counter(
        "runs_closed",
        "Rollbacks that ended, by outcome, of all that the journal tells.",
        ("target", "outcome"),
        [((t.target.key, _word(outcome)), n) for t in targets for outcome, n in t.runs_closed.items()],
    )
    yield _gauge(
        "run_open",
        "1 while a rollback of the target is under way.",
        ("target",),
        [((t.target.key,), t.run is not None) for t in targets],
    )
    yield _gauge(
        "target_frozen",
        "1 while nothing may be rolled back here.",
        ("target",),
        [((t.target.key,), t.freeze is not None) for t in targets],
    )
    yield _gauge(
        "owner_suspended",
        "1 while a GitOps owner of the target stays suspended after a rollback.",
        ("target",),
        [((t.target.key,), bool(t.suspended)) for t in targets],
    )
    yield _gauge(
        "target_restorable",
        "1 while there is a good release to go back to.",
        ("target",),
        [((t.target.key,), t.destination is not None) for t in targets],
    )


def _configurations(targets: Sequence[TargetStatus]) -> Iterable[Metric]:
    followed = [(t, t.configuration) for t in targets if t.configuration is not None]
    yield _gauge(
        "configuration_state",
        "1 for what is known of the configuration that the target's Ready pods have read.",
        ("target", "state"),
        [((t.target.key, word), word == found.word) for t, found in followed for word in found.words.values()],
    )
    yield _gauge(
        "configuration_pending",
        "ConfigMaps that hold something which no pod has read.",
        ("target",),
        [((t.target.key,), len(found.pending)) for t, found in followed],
    )
    yield _gauge(
        "configuration_left_out",
        "ConfigMaps and Secrets that pods refer to and that are not read or not followed.",
        ("target",),
        [((t.target.key,), len(found.left_out)) for t, found in followed],
    )


def _storage(found: StorageStatus) -> Iterable[Metric]:
    yield _gauge("journal_usable", "0 while the guard only watches for want of a journal.", (), [((), found.usable)])
    yield _counter("journal_appends", "Appends that became durable.", (), [((), found.appends)])
    yield _counter("blob_failures", "Releases and snapshots that could not be saved.", (), [((), found.blob_failures)])
    yield _counter("journal_failures", "Appends that could not be made durable.", (), [((), found.failures)])
    if found.size is not None:
        yield _gauge("journal_bytes", "About what the journal takes.", (), [((), found.size.used)])
        yield _gauge("journal_limit_bytes", "About the most that it can take.", (), [((), found.size.limit)])


def _notices(found: GuardStatus) -> Iterable[Metric]:
    yield _gauge(
        "notices_pending",
        "Notices that a channel still owes.",
        ("channel",),
        [((channel,), n) for channel, n in found.notices_pending.items()],
    )
    yield _counter(
        "notices_settled",
        "Notices that need nothing more on a channel, by outcome.",
        ("channel", "outcome"),
        found.notices_settled.items(),
    )


def _loops(targets: Sequence[TargetStatus]) -> Iterable[Metric]:
    yield _gauge(
        "loops_stuck",
        "Loops that are over their bound.",
        ("target",),
        [((t.target.key,), len(t.stuck_loops)) for t in targets],
    )
    yield _counter(
        "loop_crashes",
        "Loops that a defect ended and that were begun again.",
        ("target",),
        [((t.target.key,), t.crashes) for t in targets],
    )


def _triggers(targets: Sequence[TargetStatus]) -> Iterable[Metric]:
    rules = [(r, (t.target.key, r.rule.name)) for t in targets for r in t.rules]
    yield _counter(
        "evaluations",
        "Evaluations of a rule, by what its condition said.",
        ("target", "rule", "verdict"),
        [((*key, _word(verdict)), n) for r, key in rules for verdict, n in r.evaluations.items()],
    )
    yield _gauge(
        "trigger_phase",
        "1 for the phase that the trigger is in.",
        ("target", "rule", "phase"),
        [((*key, _word(phase)), r.phase is phase) for r, key in rules for phase in Phase],
    )
    yield _gauge(
        "rule_blind",
        "1 while the rule has had no value for its duration.",
        ("target", "rule"),
        [(key, r.blind_since is not None) for r, key in rules],
    )
    yield _gauge(
        "trigger_credit_seconds",
        "How much of the rule's duration is proven met.",
        ("target", "rule"),
        [(key, r.credit) for r, key in rules],
    )
    yield _counter("firings", "Triggers that fired.", ("target", "rule"), [(key, r.firings) for r, key in rules])
    yield _counter(
        "refusals",
        "Firing triggers that were refused, by guardrail; the same refusal of one breach counts once.",
        ("target", "rule", "guardrail"),
        [((*key, guardrail), n) for r, key in rules for guardrail, n in r.refusals.items()],
    )


def _sources(targets: Sequence[TargetStatus]) -> Iterable[Metric]:
    sources = [(s, (t.target.key, str(s.source))) for t in targets for s in t.sources]
    yield _counter("source_reads", "Reads of a source.", ("target", "source"), [(key, s.reads) for s, key in sources])
    yield _counter(
        "source_read_errors",
        "Reads in which a source gave no usable answer for at least one signal, by fault.",
        ("target", "source", "fault"),
        [((*key, fault.name.lower()), s.errors.get(fault, 0)) for s, key in sources for fault in Fault],
    )
    yield _gauge(
        "source_up",
        "1 if the last read gave an answer for at least one signal.",
        ("target", "source"),
        [(key, s.up) for s, key in sources],
    )
    answered = [(key, s.last_answer_at) for s, key in sources]
    yield _gauge(
        "source_last_answer_timestamp_seconds",
        "When a read last gave an answer for at least one signal.",
        ("target", "source"),
        [(key, at.timestamp()) for key, at in answered if at is not None],
    )
    yield _counter(
        "polls_missed",
        "Poll slots that a slow source let pass.",
        ("target", "source"),
        [(key, s.missed_polls) for s, key in sources],
    )


_Samples = Iterable[tuple[Sequence[str], float]]


def _gauge(name: str, text: str, labels: Sequence[str], samples: _Samples) -> Metric:
    return _filled(GaugeMetricFamily(_PREFIX + name, text, labels=labels), samples)


def _counter(name: str, text: str, labels: Sequence[str], samples: _Samples) -> Metric:
    return _filled(CounterMetricFamily(_PREFIX + name, text, labels=labels), samples)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: _Samples) -> Metric:
    add: Callable[[Sequence[str], float], None] = family.add_metric
    for labels, value in samples:
        add(labels, float(value))
    return family


def _word(value: str | Enum) -> str:
    """An outcome, phase or verdict as a label's value: `not recovered` is `not_recovered`."""
    return str(value).replace(" ", "_")
