from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.sandbox.apiserver import rollout

Json = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
AMOUNTS = st.integers(0, 20) | st.integers(0, 100).map(lambda n: f"{n}%")


def deployment(replicas: int, surge: Any = "25%", unavailable: Any = "25%", **metadata: Any) -> Json:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    spec = {"replicas": replicas, "strategy": strategy, "progressDeadlineSeconds": 600, "template": template("1")}
    return {"metadata": {"name": "web", "generation": 1, **metadata}, "spec": spec, "status": {}}


def template(image: str, **labels: str) -> Json:
    return {"metadata": {"labels": {"app": "web", **labels}}, "spec": {"containers": [{"image": image}]}}


def replica_set(name: str, replicas: int, available: int = 0, *, before: int | None = None, image: str = "0") -> Json:
    notes = {} if before is None else {rollout.MAXIMUM: str(before)}
    return {
        "metadata": {"name": name, "creationTimestamp": f"2026-01-01T00:00:0{name[-1]}Z", "annotations": notes},
        "spec": {"replicas": replicas, "template": template(image)},
        "status": {"replicas": replicas, "availableReplicas": available},
    }


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "wanted"),
    [
        (4, "25%", "25%", (1, 1)),
        (3, "25%", "25%", (1, 0)),
        (1, "25%", "25%", (1, 0)),
        (10, "25%", "25%", (3, 2)),
        (10, "0%", "5%", (0, 1)),
        (2, 0, "1%", (0, 1)),
        (3, 5, 9, (5, 3)),
        (0, "25%", "25%", (0, 0)),
    ],
)
def test_surge_is_rounded_up_and_unavailability_down(
    replicas: int, surge: Any, unavailable: Any, wanted: tuple[int, int]
) -> None:
    item = deployment(replicas, surge, unavailable)
    assert (rollout.max_surge(item), rollout.max_unavailable(item)) == wanted


@given(st.integers(0, 50), AMOUNTS, AMOUNTS, st.integers(0, 60), st.integers(0, 60))
def test_the_new_replicaset_never_grows_past_size_or_surge(
    replicas: int, surge: Any, unavailable: Any, old: int, present: int
) -> None:
    item = deployment(replicas, surge, unavailable)
    present = min(present, replicas)
    sets = [replica_set("old1", old), replica_set("new2", present)]
    size = rollout.new_size(item, sets, present)
    assert present <= size <= max(replicas, present)
    assert size == present or old + size <= replicas + rollout.max_surge(item)


@given(st.integers(1, 50), st.integers(1, 50), st.lists(st.integers(1, 30), min_size=2, max_size=4))
def test_scaling_in_mid_rollout_reaches_the_whole_size(before: int, after: int, sizes: list[int]) -> None:
    item = deployment(after, 0, 1)
    sets = [replica_set(f"s{n}", size, before=max(before, sum(sizes))) for n, size in enumerate(sizes)]
    result = rollout.proportions(item, sets)
    assert {s["metadata"]["name"] for s, _ in result} == {s["metadata"]["name"] for s in sets}
    assert all(size >= 0 for _, size in result)
    total = sum(size for _, size in result)
    assert total == after if sum(sizes) <= after else after <= total <= sum(sizes)


def test_the_hash_label_does_not_make_another_template() -> None:
    item = deployment(1)
    same = replica_set("a1", 1)
    same["spec"]["template"] = template("1", **{rollout.HASH_LABEL: "xyz"})
    other = replica_set("a2", 1, image="2")
    assert rollout.split(item, [other, same]) == (same, [other])
    assert rollout.template_hash(template("1"), 0) == rollout.template_hash(same["spec"]["template"], 0)
    assert rollout.template_hash(template("1"), 0) != rollout.template_hash(template("2"), 0)
    assert rollout.template_hash(template("1"), 0) != rollout.template_hash(template("1"), 1)


def test_a_revision_only_rises_and_leaves_its_history() -> None:
    item = deployment(1, annotations={"a": "new", rollout.REVISION: "7", rollout.DESIRED: "9"})
    first = rollout.synced_annotations(item, {}, 1)
    assert first == {"a": "new", rollout.REVISION: "1"}
    kept = {"a": "old", "b": "kept", rollout.REVISION: "1", rollout.REVISION_HISTORY: ""}
    again = rollout.synced_annotations(item, kept, 3)
    assert again == {"a": "new", "b": "kept", rollout.REVISION: "3", rollout.REVISION_HISTORY: "1"}
    assert rollout.synced_annotations(item, again, 2) == again
    assert rollout.synced_annotations(item, again, 5)[rollout.REVISION_HISTORY] == "1,3"


def test_a_long_revision_history_forgets_its_beginning() -> None:
    past = ",".join(str(n) for n in range(1000, 1400))
    notes = {rollout.REVISION: "1400", rollout.REVISION_HISTORY: past}
    history = rollout.synced_annotations(deployment(1), notes, 1401)[rollout.REVISION_HISTORY]
    assert len(history) <= 2000
    assert history.endswith(",1399,1400")


def test_a_condition_keeps_its_transition_time_while_its_status_stays() -> None:
    status: Json = {}
    later = NOW + timedelta(minutes=1)
    rollout.set_condition(status, "Progressing", "True", reason="A", message="m", now=NOW)
    rollout.set_condition(status, "Progressing", "True", reason="B", message="m", now=later)
    (condition,) = status["conditions"]
    assert (condition["lastTransitionTime"], condition["lastUpdateTime"]) == (
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:01:00Z",
    )
    rollout.set_condition(status, "Progressing", "True", reason="B", message="other", now=later + timedelta(hours=1))
    assert status["conditions"] == [condition]
    rollout.set_condition(status, "Progressing", "False", reason="C", message="m", now=later)
    assert status["conditions"][0]["lastTransitionTime"] == "2026-01-01T00:01:00Z"


def test_a_rollout_without_movement_times_out_and_one_that_moves_does_not() -> None:
    item = deployment(2)
    new, old = replica_set("new2", 1, image="1"), replica_set("old1", 2, available=2)
    item["status"] = rollout.rollout_status(item, new, [old, new], NOW)
    assert rollout.condition(item["status"], "Progressing")["reason"] == "ReplicaSetUpdated"  # type: ignore[index]
    ends = NOW + timedelta(seconds=600)
    assert rollout.deadline(item, item["status"]) == ends
    stuck = rollout.rollout_status(item, new, [old, new], ends + timedelta(seconds=1))
    assert rollout.condition(stuck, "Progressing")["reason"] == "ProgressDeadlineExceeded"  # type: ignore[index]
    new["status"]["availableReplicas"] = 1
    moved = rollout.rollout_status(item, new, [old, new], ends + timedelta(seconds=1))
    assert rollout.condition(moved, "Progressing")["reason"] == "ReplicaSetUpdated"  # type: ignore[index]
