"""Edits: pending, read by some pods or by all, and what a breach can have to do with them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from logcaster_guard.domain.configuration import container_reads
from logcaster_guard.domain.configuration.container_reads import Moment
from logcaster_guard.domain.configuration.content import part
from logcaster_guard.domain.configuration.edits import Blame, Edit, EditReaders, edits_of, pending_edits, readers_of
from logcaster_guard.domain.configuration.object_versions import ObjectVersions, first_seen
from logcaster_guard.domain.configuration.pod_starts import PodSeen, PodsSeen
from logcaster_guard.domain.configuration.references import ConfigReference
from logcaster_guard.domain.configuration.release_configuration import state_of
from logcaster_guard.domain.configuration.spans import Look
from tests.domain.configuration.build import APP, DB, config_map, edited, found, held, pod, proven, variable, volume

NOW = Moment(1000.0, 120.0)
ENV, VOLUME = variable("k"), volume()
TO_B = proven(edited(held("a", 10), "b", 100, 500.0))
EDIT = Edit(APP, TO_B.latest)

OLD = PodsSeen().listed([pod("old", 50)], Look("50", 400.0, 401.0))
"""A pod that ran when the object was edited."""
ROLLED = OLD.listed([pod("old", 50), pod("new", 160)], Look("160", 520.0, 521.0)).listed_as_of([pod("old", 50)], "100")
CRASHING = OLD.listed([pod("old", 50)], Look("160", 520.0, 521.0)).listed(
    [pod("old", 170, restarts=1, ready=False)], Look("170", 530.0, 531.0)
)


def pods(seen: PodsSeen) -> Sequence[PodSeen]:
    return list(seen.pods.values())


def pending(seen: PodsSeen, *references: ConfigReference, versions: ObjectVersions = TO_B) -> Sequence[Edit]:
    return pending_edits(references or [ENV], {APP: versions}, pods(seen), NOW)


def readers(seen: PodsSeen, *references: ConfigReference, now: Moment = NOW) -> EditReaders:
    return readers_of(EDIT, references or [ENV], TO_B, pods(seen), now)


def test_an_edit_that_no_pod_has_read_is_pending() -> None:
    assert pending(OLD) == (EDIT,)
    assert readers(OLD) == EditReaders(old=("old",))
    assert readers(OLD).blame(900.0) is Blame.NOT_READ


def test_twice_as_many_pods_take_twice_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[object] = []

    def counted(*compares: object) -> str:
        compared.append(compares)
        return part(*compares)  # type: ignore[arg-type] # as it was called

    monkeypatch.setattr(container_reads, "part", counted)
    work = {}
    for count in (20, 40):
        many = PodsSeen().listed([pod(f"pod-{n}", 50) for n in range(count)], Look("50", 400.0, 401.0))
        compared.clear()
        # What nobody has edited takes the longest to look through.
        assert pending(many, versions=held("a", 10)) == ()
        state_of([ENV], {APP: TO_B}, pods(many), NOW)
        work[count] = len(compared)
    assert work[40] <= 2 * work[20]


@pytest.mark.parametrize("seen", [ROLLED, CRASHING, PodsSeen()])
def test_it_is_not_pending_any_more_once_one_has_read_it_or_there_is_none(seen: PodsSeen) -> None:
    assert pending(seen) == ()


@pytest.mark.parametrize(
    "references",
    [[VOLUME], [ENV, VOLUME], [variable("k", of=DB)], []],
)
def test_nothing_is_pending_that_pods_follow_or_that_nobody_refers_to(references: list[ConfigReference]) -> None:
    assert pending_edits(references, {APP: TO_B}, pods(OLD), NOW) == ()


def test_a_deletion_is_pending_and_so_is_what_follows_an_edit_that_was() -> None:
    gone = proven(edited(held("a", 10), None, 100))
    assert pending(OLD, versions=gone) == (Edit(APP, gone.latest),)
    twice = proven(edited(TO_B, "c", 110))
    assert pending(OLD, versions=twice) == (Edit(APP, twice.latest),)
    back = proven(edited(TO_B, "a", 110))
    assert pending(OLD, versions=back) == ()


def test_pods_that_were_there_before_and_since_can_be_compared() -> None:
    told = readers(ROLLED)
    assert told == EditReaders(old=("old",), new=("new",), read=True, first=500.0)
    assert told.blame(499.0) is Blame.BEFORE
    assert told.blame(500.0) is Blame.COMPARE


def test_a_container_that_crashes_and_is_started_again_reads_it() -> None:
    told = readers(CRASHING)
    assert told == EditReaders(new=("old",), read=True, first=510.0)
    assert told.blame(515.0) is Blame.REPLACED


def test_a_start_at_about_the_edit_is_unclear_and_blamed_for_nothing() -> None:
    amid = PodsSeen().listed([], Look("50", 400.0, 401.0)).listed([pod("amid", 160)], Look("160", 520.0, 521.0))
    assert readers(amid) == EditReaders(unclear=("amid",))
    assert readers(amid).blame(900.0) is Blame.NOT_READ
    beside = amid.listed([pod("amid", 160), pod("new", 190)], Look("190", 600.0, 601.0))
    assert readers(beside).blame(900.0) is Blame.INDISTINCT


def test_a_start_since_the_last_look_at_the_object_is_unclear_whatever_was_seen_there() -> None:
    """It does not start without the object, so it has read one that was made since."""
    gone = edited(held("a", 10), None, 100, 500.0)
    told = readers_of(Edit(APP, gone.latest), [ENV], gone, pods(ROLLED), NOW)
    assert told == EditReaders(old=("old",), unclear=("new",))
    assert pending_edits([ENV], {APP: gone}, pods(ROLLED), NOW) == ()


def test_a_volume_is_unclear_until_it_must_have_followed_and_then_read_by_all() -> None:
    early = readers(OLD, VOLUME, now=Moment(600.0, 120.0))
    assert early == EditReaders(unclear=("old",))
    late = readers(OLD, VOLUME)
    assert late == EditReaders(new=("old",), read=True, first=500.0)
    assert late.blame(510.0) is Blame.REPLACED


def test_a_pod_that_has_read_it_in_one_of_two_ways_cannot_be_told_apart() -> None:
    told = readers(OLD, ENV, VOLUME)
    assert told == EditReaders(unclear=("old",), read=True, first=500.0)
    assert told.blame(510.0) is Blame.INDISTINCT


def test_only_what_makes_a_difference_to_a_reference_is_an_edit() -> None:
    versions = first_seen(found(config_map({"k": "a", "x": "1"})), Look("10", 0.0, 0.0))
    for number, data in enumerate([{"k": "a", "x": "2"}, {"k": "b", "x": "2"}], 10):
        versions = versions.seen(found(config_map(data)), Look(str(number * 10), None, 500.0), unbroken=True)
    second, third = (Edit(APP, version) for version in versions.versions[1:])
    assert edits_of(APP, [ENV], versions) == (third,)
    assert edits_of(APP, [ENV, variable("x")], versions) == (second, third)
    assert edits_of(DB, [ENV], versions) == ()
    assert readers_of(second, [ENV], proven(versions), pods(OLD), NOW) == EditReaders()


def test_an_object_that_is_made_anew_as_it_was_is_no_edit_to_who_needs_it() -> None:
    versions = proven(edited(edited(held("a", 10), None, 100, 500.0), "a", 110, 501.0))
    assert [edit.version for edit in edits_of(APP, [ENV], versions)] == [versions.versions[1]]
    assert pending(OLD, versions=versions) == ()


def test_what_the_guard_sees_first_is_no_edit() -> None:
    assert readers_of(Edit(APP, held("a", 10).latest), [ENV], held("a", 10), pods(OLD), NOW) == EditReaders()
