"""When an edit is a rollout of its own, and of which configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logcaster_guard.domain.configuration.content import digest
from logcaster_guard.domain.configuration.edits import edits_of, pending_edits, readers_of
from logcaster_guard.domain.configuration.live_configuration import (
    ConfigurationLook,
    PresentConfiguration,
    ReadSoFar,
    change_of,
)
from logcaster_guard.domain.configuration.references import ConfigReference, ReadAt
from logcaster_guard.domain.configuration.release_configuration import Known, state_of
from tests.domain.configuration.build import APP, held, variable, volume
from tests.domain.configuration.simulated_world import PROPAGATION, Value, World, as_found

OPTIONAL, MOUNTED = variable("k", optional=True), volume(optional=True)


@dataclass
class Watching:
    """Looks at a world again and again, and keeps the configuration of the one release that is live in it.

    `told` are the changes: the value that the object then held, and whether that was a rollout.
    """

    world: World
    so_far: ReadSoFar = field(default_factory=ReadSoFar)
    present: PresentConfiguration = field(default_factory=PresentConfiguration)
    told: list[tuple[Value, bool]] = field(default_factory=list)
    firsts: list[float | None] = field(default_factory=list)
    unready: set[str] = field(default_factory=set)
    checksums: tuple[tuple[str, str], ...] = ()

    def look(self) -> None:
        self.world.look()
        self.world.list_as_of_the_edit()
        look = self.look_now()
        now = self.so_far.after(look)
        change = change_of(self.present, self.so_far, now, look)
        self.so_far = now
        if change is not None:
            self.told.append((self.value_of(change.known), change.rollout))
            self.firsts.append(change.first)
            known = change.known
            self.present = PresentConfiguration(
                known.configuration, known.digest, frozenset((str(one), "") for one in known.contents)
            )

    def rolled_out(self) -> None:
        """Another template becomes the live one, which refers to the same."""
        self.so_far, self.present = self.so_far.rolled_out, PresentConfiguration()

    def look_now(self) -> ConfigurationLook:
        world, references = self.world, [self.world.reference]
        assert world.objects is not None
        objects = {APP: world.objects}
        pods = [
            replace(p, ready=p.ready and p.name not in self.unready, checksums=self.checksums)
            for p in world.seen.pods.values()
        ]
        found = [
            (edit, readers_of(edit, references, world.objects, pods, world.moment))
            for edit in edits_of(APP, references, world.objects)
        ]
        versions = {APP: world.objects.latest}
        latest = Known(digest(references, {APP: world.objects.latest.found}), self.checksums, versions)
        started = [p for p in pods if p.starts]
        return ConfigurationLook(
            references,
            state_of(references, objects, pods, world.moment),
            latest,
            found,
            pending_edits(references, objects, pods, world.moment),
            surely_read_latest=bool(started) and self._all_read(latest, [replace(p, ready=True) for p in started]),
        )

    def _all_read(self, latest: Known, pods: Sequence[object]) -> bool:
        world = self.world
        assert world.objects is not None
        return state_of([world.reference], {APP: world.objects}, pods, world.moment) == replace(  # type: ignore[arg-type]
            latest, contents={APP: world.objects.latest}
        )

    def value_of(self, known: Known) -> Value:
        """The value that gives the object this digest."""
        values = [value for value in (None, "1", "2", "3") if self._digest(value) == known.digest]
        return values[0]

    def _digest(self, value: Value) -> str:
        return digest([self.world.reference], {APP: as_found(value)})


def watching(reference: ConfigReference, *, roll: bool = True) -> Watching:
    """The guard has seen the object hold "1" before its first pod came up."""
    world = World(reference, "1", comparable=True)
    made = Watching(world)
    made.look()
    for _ in range(2 if roll else 0):
        world.roll()
    return made


def edit(value: Value) -> Callable[[Watching], None]:
    return lambda w: w.world.edit(value)


def look(w: Watching) -> None:
    w.look()


def restart_first(w: Watching) -> None:
    w.world.wait(30.0)
    w.look()
    w.world.start(0)
    w.world.wait(30.0)


def follow(w: Watching) -> None:
    """What the pods mount follows the edit, as far as the guard can tell."""
    for _ in range(3):
        w.world.wait(PROPAGATION)
        w.look()


def crash(w: Watching) -> None:
    """A pod comes up that reads what there is and never gets Ready."""
    w.world.roll()
    w.unready.add(list(w.world.pods)[-1])


def delete_third(w: Watching) -> None:
    w.world.delete(2)


def replace_all(w: Watching) -> None:
    for _ in range(len(w.world.pods)):
        w.world.delete(0)
    w.unready.clear()
    w.world.roll()
    w.world.roll()


def another_template(w: Watching) -> None:
    for _ in range(len(w.world.pods)):
        w.world.delete(0)
    w.rolled_out()
    w.look()


CASES = {
    "known since its rollout": (OPTIONAL, [look], [("1", False)]),
    "a pending edit": (OPTIONAL, [look, edit("2"), look, look], [("1", False)]),
    "put back before anybody read it": (OPTIONAL, [look, edit("2"), look, edit("1"), look], [("1", False)]),
    "one container of two": (OPTIONAL, [look, edit("2"), look, restart_first, look], [("1", False), ("2", True)]),
    "all pods, unseen in between": (OPTIONAL, [look, edit("2"), replace_all, look], [("1", False), ("2", True)]),
    "a container that crashes for it": (OPTIONAL, [look, edit("2"), look, crash, look], [("1", False), ("2", True)]),
    "put back after that": (
        OPTIONAL, [look, edit("2"), crash, look, edit("1"), look], [("1", False), ("2", True), ("1", True)],
    ),
    "it crashes, is gone, and comes again": (
        OPTIONAL, [look, edit("2"), crash, look, delete_third, look, crash, look], [("1", False), ("2", True)],
    ),
    "two edits, the first never read": (
        OPTIONAL, [look, edit("2"), look, edit("3"), look, restart_first, look], [("1", False), ("3", True)],
    ),
    "a volume": (MOUNTED, [look, follow, edit("2"), look, follow], [("1", False), ("2", True)]),
    "a volume, put back in time": (MOUNTED, [look, follow, edit("2"), edit("1"), follow], [("1", False)]),
    "deleted": (OPTIONAL, [look, edit(None), look, restart_first, look], [("1", False), (None, True)]),
    "another template, on what was pending": (
        OPTIONAL, [look, edit("2"), look, another_template, replace_all, look], [("1", False), ("2", False)],
    ),
    "another template, whose pods crash": (
        OPTIONAL,
        [look, edit("2"), another_template, crash, look],
        [("1", False), ("2", False)],
    ),
    "an edit after the other template's pods have read": (
        OPTIONAL,
        [look, another_template, replace_all, look, edit("2"), look, restart_first, look],
        [("1", False), ("1", False), ("2", True)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("reference", "acts", "told"), CASES.values(), ids=CASES)
def test_what_is_a_rollout(
    reference: ConfigReference, acts: Sequence[Callable[[Watching], object]], told: list[tuple[Value, bool]]
) -> None:
    w = watching(reference)
    for act in acts:
        act(w)
    assert w.told == told


VALUES = st.sampled_from(["1", "2", None])
STEPS = st.one_of(
    st.tuples(st.just("edit"), VALUES),
    st.tuples(st.sampled_from(["start", "report", "propagate", "delete"]), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([5.0, 30.0, PROPAGATION])),
    st.tuples(st.sampled_from(["roll", "roll", "look", "look", "look"])),
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ReadAt), st.booleans(), st.lists(STEPS, max_size=30))
def test_a_configuration_that_is_told_was_read_and_what_all_have_read_is_told(
    read_at: ReadAt, comparable: bool, steps: list[tuple[str, Any]]
) -> None:
    reference = ConfigReference(APP, "web", read_at, ("k",), ("k",), optional=True)
    w = Watching(World(reference, "1", comparable))
    w.look()
    read = set[Value]()
    for name, *arguments in steps:
        getattr(w if name == "look" else w.world, name)(*arguments)
        for pod in w.world.pods.values():
            if pod.instance >= 0:
                read.add(pod.volume[0] if read_at is ReadAt.WHENEVER else pod.read[pod.instance][read_at][0])
        assert {value for value, _ in w.told} <= read
        assert all(one[0] != other[0] for one, other in pairwise(w.told))
        if name == "look" and isinstance(state := w.look_now().state, Known):
            newer = w.present.configuration != state.configuration
            assert not newer or w.told[-1][1], "another one is told only where an edit was read that not all have read"


HELD = held("1", 10)
ONE = Known("one", (), {APP: HELD.latest})
STOOD = PresentConfiguration("zero", "zero", frozenset({(str(APP), "")}))


@pytest.mark.parametrize(
    ("present", "known", "rollout"),
    [
        (PresentConfiguration(), ONE, False),  # known for the first time
        (STOOD, ONE, True),  # edited while nobody looked
        (replace(STOOD, objects=frozenset()), ONE, False),  # another object is followed now
        (replace(STOOD, readable="one"), replace(ONE, checksums=(("checksum/secret", "x"),)), False),
        (STOOD, replace(ONE, digest="zero"), None),
    ],
)
def test_without_an_edit_that_was_seen(present: PresentConfiguration, known: Known, rollout: bool | None) -> None:
    look = ConfigurationLook([variable("k")], known, known)
    change = change_of(present, ReadSoFar(), ReadSoFar().after(look), look)
    assert (None if change is None else change.rollout) == rollout
    assert change is None or change.first is None


def test_a_rollout_begins_when_it_can_have_been_read_first() -> None:
    w = watching(OPTIONAL)
    w.look()
    edited_at = w.world.now
    for act in (edit("2"), look, crash, look):
        act(w)
    [_, first] = w.firsts
    assert first is not None
    assert edited_at <= first <= w.world.now
    put_back = w.world.now
    for act in (edit("1"), look):
        act(w)
    assert w.firsts[-1] is not None
    assert put_back <= w.firsts[-1] <= w.world.now
