"""The guard's metrics, read from its state when they are asked for. Labels are configured names and closed lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from logcaster_guard import __version__
from logcaster_guard.adapters import logs
from logcaster_guard.domain.problems import ProblemKind
from logcaster_guard.domain.signals import Fault
from logcaster_guard.domain.triggers import Phase
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.watch import TargetWatch

_PREFIX = "logcaster_guard_"


def registry(guard: Guard) -> CollectorRegistry:
    """A registry of its own with the metrics of this guard and of its process."""
    found = CollectorRegistry()
    found.register(GuardCollector(guard))
    ProcessCollector(registry=found)
    return found


class GuardCollector(Collector):
    """Makes every metric anew at each scrape; nothing is kept here."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def collect(self) -> Iterable[Metric]:
        """All of the guard's metrics."""
        yield _gauge("build_info", "Always 1; the label is the version.", ("version",), [((__version__,), 1)])
        watches = list(self._guard.watches.values())
        for part in (_loops, _triggers, _sources):
            yield from part(watches)
        yield _gauge(
            "authority_held",
            "1 while this guard may act; 0 while it stands by.",
            (),
            [((), not self._guard.standby)],
        )
        problems = self._guard.problems.current()
        yield _gauge(
            "problems",
            "What keeps the guard from seeing the target, or from keeping up with it, by kind.",
            ("target", "kind"),
            [
                ((w.target.key, kind), sum(p.kind is kind and p.concerns(w.target) for p in problems))
                for w in watches
                for kind in ProblemKind
            ],
        )
        yield from self._runs()
        yield from self._journal()
        yield from self._notices()
        yield _counter(
            "config_reloads",
            "Changes of the configuration files that were taken up or refused.",
            ("outcome",),
            [((outcome,), self._guard.reloads[outcome]) for outcome in ("applied", "refused")],
        )
        yield _counter("log_lines_dropped", "Log lines that could not be written.", (), [((), logs.dropped())])

    def _runs(self) -> Iterable[Metric]:
        chronicle, policy = self._guard.chronicle, self._guard.policy.ledger
        runs, targets = chronicle.runs(), list(self._guard.watches)
        yield _counter(
            "runs_opened",
            "Rollbacks that were begun, of all that the journal tells.",
            ("target",),
            [((t,), sum(r.opened.target == t for r in runs)) for t in targets],
        )
        ended: dict[tuple[str, ...], float] = {}
        for run in runs:
            if run.closed is not None and run.opened.target in self._guard.watches:
                key = (run.opened.target, _word(run.closed.outcome))
                ended[key] = ended.get(key, 0) + 1
        yield _counter(
            "runs_closed",
            "Rollbacks that ended, by outcome, of all that the journal tells.",
            ("target", "outcome"),
            ended.items(),
        )
        yield _gauge(
            "run_open",
            "1 while a rollback of the target is under way.",
            ("target",),
            [((t,), chronicle.open_run_on(t) is not None) for t in targets],
        )
        yield _gauge(
            "target_frozen",
            "1 while nothing may be rolled back here.",
            ("target",),
            [((t,), chronicle.ledger(t).freeze is not None) for t in targets],
        )
        waiting = {target for target, _ in chronicle.suspended()}
        yield _gauge(
            "owner_suspended",
            "1 while a GitOps owner of the target stays suspended after a rollback.",
            ("target",),
            [((t,), t in waiting) for t in targets],
        )
        yield _gauge(
            "target_restorable",
            "1 while there is a good release to go back to.",
            ("target",),
            [((t,), chronicle.ledger(t).destination(policy) is not None) for t in targets],
        )

    def _journal(self) -> Iterable[Metric]:
        journal = self._guard.journal
        appends, failures = (0, 0) if journal is None else (journal.appends, journal.failures)
        usable = self._guard.chronicle.available or (self._guard.standby and journal is not None)
        yield _gauge("journal_usable", "0 while the guard only watches for want of a journal.", (), [((), usable)])
        yield _counter("journal_appends", "Appends that became durable.", (), [((), appends)])
        failures_of_blobs = self._guard.blobs.failures
        yield _counter(
            "blob_failures", "Releases and snapshots that could not be saved.", (), [((), failures_of_blobs)]
        )
        yield _counter("journal_failures", "Appends that could not be made durable.", (), [((), failures)])

        size = None if journal is None else journal.seen_size
        if size is not None:
            yield _gauge("journal_bytes", "About what the journal takes.", (), [((), size.used)])
            yield _gauge("journal_limit_bytes", "About the most that it can take.", (), [((), size.limit)])

    def _notices(self) -> Iterable[Metric]:
        outbox, journal = self._guard.outbox, self._guard.journal
        pending = {} if outbox is None else outbox.pending()
        yield _gauge(
            "notices_pending",
            "Notices that a channel still owes.",
            ("channel",),
            [((channel,), n) for channel, n in pending.items()],
        )
        settled = [] if journal is None else journal.settled.items()
        yield _counter(
            "notices_settled",
            "Notices that need nothing more on a channel, by outcome.",
            ("channel", "outcome"),
            [((channel, outcome), n) for (channel, outcome), n in settled],
        )


def _loops(watches: Sequence[TargetWatch]) -> Iterable[Metric]:
    yield _gauge(
        "loops_stuck",
        "Loops that are over their bound.",
        ("target",),
        [((w.target.key,), len(w.pulse.stuck())) for w in watches],
    )
    yield _counter(
        "loop_crashes",
        "Loops that a defect ended and that were begun again.",
        ("target",),
        [((w.target.key,), w.tally.crashes.total()) for w in watches],
    )


def _triggers(watches: Sequence[TargetWatch]) -> Iterable[Metric]:
    yield _counter(
        "evaluations",
        "Evaluations of a rule, by what its condition said.",
        ("target", "rule", "verdict"),
        [
            ((w.target.key, r, _word(v)), n)
            for w in watches
            for (r, v), n in w.tally.evaluations.items()
            if r in w.states
        ],
    )
    yield _gauge(
        "trigger_phase",
        "1 for the phase that the trigger is in.",
        ("target", "rule", "phase"),
        [
            ((w.target.key, rule, _word(phase)), current is phase)
            for w in watches
            for rule, current in w.phases.items()
            for phase in Phase
        ],
    )
    yield _gauge(
        "rule_blind",
        "1 while the rule has had no value for its duration.",
        ("target", "rule"),
        [((w.target.key, rule), since is not None) for w in watches for rule, since in w.blind.items()],
    )
    yield _gauge(
        "trigger_credit_seconds",
        "How much of the rule's duration is proven met.",
        ("target", "rule"),
        [((w.target.key, rule), state.credit) for w in watches for rule, state in w.states.items()],
    )
    yield _counter(
        "firings",
        "Triggers that fired.",
        ("target", "rule"),
        [((w.target.key, rule), w.tally.firings[rule]) for w in watches for rule in w.states],
    )
    yield _counter(
        "refusals",
        "Firing triggers that were refused, by guardrail; the same refusal of one breach counts once.",
        ("target", "rule", "guardrail"),
        [((w.target.key, r, g), n) for w in watches for (r, g), n in w.tally.refusals.items() if r in w.states],
    )


def _sources(watches: Sequence[TargetWatch]) -> Iterable[Metric]:
    places = [(w, s, (w.target.key, str(s))) for w in watches for s in w.sources]
    yield _counter(
        "source_reads",
        "Reads of a source.",
        ("target", "source"),
        [(key, w.tally.reads[s].count) for w, s, key in places],
    )
    yield _counter(
        "source_read_errors",
        "Reads in which a source gave no usable answer for at least one signal, by fault.",
        ("target", "source", "fault"),
        [((*key, fault.name.lower()), w.tally.reads[s].errors[fault]) for w, s, key in places for fault in Fault],
    )
    yield _gauge(
        "source_up",
        "1 if the last read gave an answer for at least one signal.",
        ("target", "source"),
        [(key, w.tally.reads[s].up) for w, s, key in places],
    )
    answered = [(key, w.tally.reads[s].answered_at) for w, s, key in places]
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
        [(key, w.missed.get(s, 0)) for w, s, key in places],
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
