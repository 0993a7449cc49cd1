from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from logcaster_guard.domain.guardrails import Guardrail
from logcaster_guard.domain.signals import Fault
from logcaster_guard.web.metrics import registry
from tests.fakes.guarded import CALM, INTERVAL, RULE, TARGET, Guarded
from tests.real import presence

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `([a-z_]+)` \| (gauge|counter) \|([^|]*)\|", re.MULTILINE)
KEY = (("source", "prometheus"), ("target", TARGET.key))

Samples = Mapping[str, Mapping[tuple[tuple[str, str], ...], float]]


async def scraped(scene: Guarded) -> Samples:
    answer = await scene.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def test_every_metric_is_documented_with_its_type_and_labels_and_no_other() -> None:
    async with Guarded.serving(runs=True) as scene:
        scene.source.answer = 0.3
        async with scene.running():
            await scene.clock.advance(RULE.duration + 2 * INTERVAL)
            told = list(registry(scene.guard.read_model.status).collect())
    expected = {
        f"{family.name}{'_total' if family.type == 'counter' else ''}": (
            family.type,
            # What no sample shows has no labels to compare.
            frozenset(family.samples[0].labels) if family.samples else None,
        )
        for family in told
    }
    documented = {
        name: (kind, frozenset(re.findall(r"`([a-z]+)`", labels)))
        for name, kind, labels in ROW.findall(PAGE.read_text("utf-8"))
    }
    assert set(documented) == set(expected)
    for name, (kind, labels) in expected.items():
        assert documented[name][0] == kind
        assert labels is None or documented[name][1] == labels, name


async def test_names_follow_the_rules_of_prometheus() -> None:
    async with Guarded.serving(run=True) as scene:
        for family in registry(scene.guard.read_model.status).collect():
            assert re.fullmatch(r"(logcaster_guard|process)_[a-z0-9_]+", family.name)
            assert not re.search(r"_(ms|millis|milliseconds|minutes|percent|kb|mb|count|bucket|sum)$", family.name)
            assert family.documentation
            for sample in family.samples:
                assert sample.name.endswith("_total") == (family.type == "counter")


async def test_promtool_finds_nothing_to_say() -> None:
    presence.required("promtool")
    async with Guarded.serving(run=True, runs=True) as scene:
        text = (await scene.get("/metrics")).content
    process = await asyncio.create_subprocess_exec(
        "promtool",
        "check",
        "metrics",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(20):
        told, _ = await process.communicate(text)
    assert (process.returncode, told.decode()) == (0, "")


async def test_a_breach_is_counted_from_evaluation_to_refusal() -> None:
    async with Guarded.serving() as scene:
        scene.source.answer = 0.3
        async with scene.running():
            rule = (("rule", RULE.name), ("target", TARGET.key))
            await scene.clock.advance(RULE.duration / 2)
            found = await scraped(scene)
            assert found["logcaster_guard_trigger_phase"][("phase", "pending"), *rule] == 1
            assert found["logcaster_guard_trigger_credit_seconds"][rule] == RULE.duration / 2
            assert found["logcaster_guard_firings_total"][rule] == 0
            await scene.clock.advance(RULE.duration)
            found = await scraped(scene)
            assert found["logcaster_guard_trigger_phase"][("phase", "firing"), *rule] == 1
            assert found["logcaster_guard_trigger_phase"][("phase", "pending"), *rule] == 0
            assert found["logcaster_guard_firings_total"][rule] == 1
            refused = found["logcaster_guard_refusals_total"]
            assert refused[("guardrail", Guardrail.NO_GOOD_REVISION), *rule] == 1
            assert found["logcaster_guard_evaluations_total"][*rule, ("verdict", "met")] >= 10
            calm = (("rule", CALM.name), ("target", TARGET.key))
            assert found["logcaster_guard_evaluations_total"][*calm, ("verdict", "not_met")] >= 10
            assert found["logcaster_guard_journal_appends_total"][()] > 0
            assert found["logcaster_guard_target_restorable"][(("target", TARGET.key),)] == 0


async def test_a_failing_source_is_down_by_fault_and_up_again() -> None:
    async with Guarded.serving() as scene:
        scene.source.answer = Fault.REFUSED
        async with scene.running():
            found = await scraped(scene)
            assert found["logcaster_guard_source_up"][KEY] == 0
            assert found["logcaster_guard_source_reads_total"][KEY] == 1
            assert found["logcaster_guard_source_read_errors_total"][("fault", "refused"), *KEY] == 1
            assert found["logcaster_guard_source_read_errors_total"][("fault", "timed_out"), *KEY] == 0
            assert KEY not in found.get("logcaster_guard_source_last_answer_timestamp_seconds", {})
            scene.source.answer = 0.0
            asked_again = scene.clock.now()
            # A source that failed once is asked again within two intervals.
            await scene.clock.advance(2 * INTERVAL)
            found = await scraped(scene)
            assert found["logcaster_guard_source_up"][KEY] == 1
            at = found["logcaster_guard_source_last_answer_timestamp_seconds"][KEY]
            assert asked_again.timestamp() < at <= scene.clock.now().timestamp()


async def test_runs_are_counted_over_the_whole_journal() -> None:
    async with Guarded.serving(run=True, runs=True) as scene:
        found = await scraped(scene)
        target = ("target", TARGET.key)
        assert found["logcaster_guard_runs_opened_total"][(target,)] == 1
        assert found["logcaster_guard_runs_closed_total"][("outcome", "not_recovered"), target] == 1
        assert found["logcaster_guard_run_open"][(target,)] == 0


async def test_a_journal_that_takes_nothing_is_counted() -> None:
    async with Guarded.serving(run=True) as scene:
        assert scene.journal is not None
        scene.journal.fault = "the disk is full"
        scene.source.answer = 0.3
        await scene.clock.advance(INTERVAL)
        found = await scraped(scene)
        assert found["logcaster_guard_journal_failures_total"][()] > 0


async def test_labels_stay_bounded_however_long_it_runs() -> None:
    async with Guarded.serving() as scene, scene.running():
        await scene.clock.advance(2 * INTERVAL)
        before = {name: len(samples) for name, samples in (await scraped(scene)).items()}
        for answer in (0.3, Fault.MALFORMED, 0.0, Fault.TIMED_OUT, 0.95):
            scene.source.answer = answer
            await scene.clock.advance(2 * RULE.duration)
        after = {name: len(samples) for name, samples in (await scraped(scene)).items()}
    grown = {name for name, number in after.items() if number > before.get(name, 0)}
    assert grown <= {"logcaster_guard_evaluations_total", "logcaster_guard_refusals_total"}
    assert after["logcaster_guard_evaluations_total"] <= 2 * 3
    assert after["logcaster_guard_refusals_total"] <= 2 * len(Guardrail)


async def test_a_rule_that_is_gone_leaves_no_labels() -> None:
    async with Guarded.serving(run=True) as scene:
        scene.source.answer = 0.3
        await scene.clock.advance(RULE.duration + INTERVAL)
        await scene.guard.reload([CALM])
        await scene.clock.advance(INTERVAL)
        found = await scraped(scene)
    assert found["logcaster_guard_config_reloads_total"][(("outcome", "applied"),)] == 1
    labels = {value for samples in found.values() for key in samples for name, value in key if name == "rule"}
    assert labels == {CALM.name}


async def test_loops_that_crash_are_counted() -> None:
    async with Guarded.serving(run=True) as scene:
        scene.source.defect = RuntimeError("a defect")
        await scene.clock.advance(2 * INTERVAL)
        found = await scraped(scene)
        assert found["logcaster_guard_loop_crashes_total"][(("target", TARGET.key),)] == 2
