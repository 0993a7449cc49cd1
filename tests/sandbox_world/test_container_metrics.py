from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from logcaster_guard.sandbox.container_metrics import cadvisor, kube_state
from logcaster_guard.sandbox.lifecycle import Life, Pace
from logcaster_guard.sandbox.release import MIB, Behaviour, Releases

IMAGE = "logcaster/logcaster-c:1.0"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PACE = Pace(start_delay=0.0, crash_backoff=1.0)
WALL = 1_800_000_000.25
Samples = dict[tuple[str, str], float]


def life(*, limit: str | None = "256Mi", behaviour: Behaviour | None = None) -> Life:
    releases = Releases({IMAGE: behaviour or Behaviour(memory=64 * MIB)})
    resources: Any = {} if limit is None else {"limits": {"memory": limit}}
    containers = [{"name": "logcaster", "image": IMAGE, "resources": resources}, {"name": "proxy", "image": "proxy:1"}]
    pod = {"metadata": {"uid": "u-1", "name": 'p"1'}, "spec": {"containers": containers}}
    return Life(pod, "10.64.1.0", releases, PACE, now=0.0, seed="1")


def samples(text: str) -> Samples:
    """Values by metric and container, of the pod `p"1` of the namespace `prod` alone."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        for sample in family.samples:
            assert (sample.labels["namespace"], sample.labels["pod"]) == ("prod", 'p"1')
            found[sample.name, sample.labels["container"]] = sample.value
    return found


def runs(text: str) -> set[str]:
    return {s.labels["id"] for f in text_string_to_metric_families(text) for s in f.samples if s.labels["container"]}


@pytest.mark.parametrize(("limit", "told"), [("256Mi", 256 * MIB), (None, 0.0)])
def test_cadvisor_tells_use_and_limit_of_the_container_and_of_its_pod(limit: str | None, told: float) -> None:
    pod = life(limit=limit)
    pod.advance(1.0, BEGIN, terminating=False)
    assert samples(cadvisor([pod], "prod", now=1.0, wall=WALL)) == {
        ("container_memory_working_set_bytes", "logcaster"): 64 * MIB,
        ("container_memory_working_set_bytes", ""): 64 * MIB,
        ("container_spec_memory_limit_bytes", "logcaster"): told,
        ("container_spec_memory_limit_bytes", ""): told,
    }


def test_cadvisors_samples_are_stamped() -> None:
    pod = life()
    pod.advance(1.0, BEGIN, terminating=False)
    text = cadvisor([pod], "prod", now=1.0, wall=WALL)
    assert {s.timestamp for f in text_string_to_metric_families(text) for s in f.samples} == {WALL}


def test_a_container_that_does_not_run_has_no_use_and_a_restarted_one_is_another() -> None:
    pod = life(behaviour=Behaviour(crash_every=5.0))
    seen = []
    for now in (1.0, 6.0, 7.0):
        pod.advance(now, BEGIN, terminating=False)
        seen.append(runs(cadvisor([pod], "prod", now=now, wall=WALL)))
    first, down, second = seen
    assert len(first) == len(second) == 1
    assert not down
    assert not first & second


def test_kube_state_tells_the_limits_that_there_are_running_or_not() -> None:
    assert samples(kube_state([life()], "prod")) == {
        ("kube_pod_container_resource_limits", "logcaster"): 256 * MIB,
    }
    assert samples(kube_state([life(limit=None)], "prod")) == {}
