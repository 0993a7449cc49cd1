"""What the guard says of a configuration holds in every small world, whatever it has seen of it, and in which order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from logcaster_guard.domain.configuration.content import digest
from logcaster_guard.domain.configuration.edits import Edit, pending_edits, readers_of
from logcaster_guard.domain.configuration.references import ConfigReference, ReadAt
from logcaster_guard.domain.configuration.release_configuration import Known, state_of
from tests.domain.configuration.build import APP
from tests.domain.configuration.simulated_world import PROPAGATION, Value, World, as_found

VALUES = st.sampled_from(["one", "two", None])
SEEN = ["look", "look", "hear", "lose_watch", "bookmark", "get", "list", "list_as_of_the_edit", "restart_guard"]
STEPS = st.one_of(
    st.tuples(st.just("edit"), VALUES),
    st.tuples(st.sampled_from(["start", "report", "propagate", "delete"]), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 5.0, 30.0, PROPAGATION])),
    st.tuples(st.sampled_from(["create", "roll", *SEEN])),
)
REFERENCES = st.builds(
    lambda read_at, optional: ConfigReference(APP, "web", read_at, ("k",), ("k",), optional),
    st.sampled_from(ReadAt),
    st.booleans(),
)


def truthfully(world: World, references: list[ConfigReference]) -> None:
    """Asserts that nothing is said of the pods in the last list that is not so."""
    objects = {} if world.objects is None else {APP: world.objects}
    pods = list(world.seen.pods.values())
    started = {pod.name: world.truth(pod.name) for pod in pods if pod.starts}
    state = state_of(references, objects, pods, world.moment)
    if isinstance(state, Known):
        ready = [pod.name for pod in pods if pod.ready]
        assert ready
        assert {state.digest} == {digest(references, {APP: as_found(started[name][0])}) for name in ready}
    if world.objects is None:
        return
    latest = world.objects.latest
    said = readers_of(Edit(APP, latest), references, world.objects, pods, world.moment)
    assert all(as_found(started[name][0]) == latest.found for name in said.new)
    assert all(started[name][1] < world.heard for name in said.old)
    assert set(said.old + said.new + said.unclear) in (set(started), set())
    if pending_edits(references, objects, pods, world.moment):
        assert all(since < world.heard for _, since in started.values())


@settings(max_examples=150, deadline=None)
@given(REFERENCES, VALUES, st.booleans(), st.lists(STEPS, max_size=30))
def test_what_is_said_of_pods_is_what_they_have_read(
    reference: ConfigReference, value: Value, comparable: bool, steps: list[tuple[str, Any]]
) -> None:
    world = World(reference, value, comparable)
    for name, *arguments in steps:
        getattr(world, name)(*arguments)
        up_to_date = not world.events and not world.broken
        if name in {"list", "look"} and (up_to_date or reference.read_at is not ReadAt.WHENEVER):
            truthfully(world, [reference])
