"""What a container may have read, by when it read and what was seen of the object."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from logcaster_guard.domain.configuration.container_reads import Moment, Read, may_have_read
from logcaster_guard.domain.configuration.content import Fingerprint, NoContent
from logcaster_guard.domain.configuration.object_versions import ObjectVersions, Unseen, first_seen
from logcaster_guard.domain.configuration.pod_starts import ContainerStart, PodSeen
from logcaster_guard.domain.configuration.references import ConfigReference, ReadAt, named_in_settings
from logcaster_guard.domain.configuration.spans import Look, Span
from tests.domain.configuration.build import APP, config_map, edited, found, held, proven, variable, volume

SUB_PATH = volume(read_at=ReadAt.START_FROM_VOLUME)
ENV, VOLUME = variable("k"), volume()
A, B = found(config_map({"k": "a"})), found(config_map({"k": "b"}))
EARLIER, LATER, ABSENT = Unseen.EARLIER, Unseen.LATER, NoContent.ABSENT
NOW = Moment(1000.0, 120.0)

TO_B = proven(edited(held("a", 10, 1.0), "b", 100, 900.0))
"""`a` from 10 on, `b` since 100, which the guard saw 100 seconds ago."""
LONG_AGO = proven(edited(held("a", 10, 1.0), "b", 100, 500.0))
GONE = proven(edited(held("a", 10, 1.0), None, 100, 500.0))
DELETED_AND_MADE_ANEW = proven(edited(edited(held("a", 10, 1.0), None, 100, 500.0), "b", 110, 501.0))


def seen(created: Span, started: Span | None = None) -> PodSeen:
    """A pod of one container, which was started at `created` or, once more, at `started`."""
    return PodSeen("web-1", created, {"web": ContainerStart("0", started or created)}, ready=True)


BEFORE, AFTER = seen(Span(20, 30)), seen(Span(150, 160))
AMID = seen(Span(50, 150))
FROM_BEFORE_THE_GUARD = seen(Span(None, 30))
RESTARTED_AFTER = seen(Span(20, 30), Span(20, 150, 930.0, 950.0))
RESTARTED_AMID = seen(Span(20, 30), Span(20, 150, 890.0, 950.0))
RESTARTED_LONG_AFTER = seen(Span(20, 30), Span(20, 150, 700.0, 950.0))


def contents(reads: Sequence[Read]) -> list[object]:
    return [read if isinstance(read, Unseen) else read.found for read in reads]


@pytest.mark.parametrize(
    ("reference", "versions", "pod", "expected"),
    [
        (ENV, TO_B, BEFORE, [A]),
        (ENV, TO_B, AMID, [A, B]),
        (ENV, TO_B, AFTER, [B]),
        (ENV, TO_B, FROM_BEFORE_THE_GUARD, [EARLIER, A]),
        (ENV, TO_B, RESTARTED_AMID, [A, B]),
        (ENV, TO_B, RESTARTED_AFTER, [B]),
        # What a subPath finds is the pod's volume, which follows by and by.
        (SUB_PATH, TO_B, BEFORE, [A]),
        (SUB_PATH, TO_B, AFTER, [B]),
        (SUB_PATH, TO_B, RESTARTED_AFTER, [A, B]),
        (SUB_PATH, LONG_AGO, RESTARTED_AFTER, [B]),
        (SUB_PATH, LONG_AGO, RESTARTED_LONG_AFTER, [B]),
        (VOLUME, TO_B, BEFORE, [A, B]),
        (VOLUME, TO_B, AFTER, [B]),
        (VOLUME, LONG_AGO, BEFORE, [B]),
        (VOLUME, LONG_AGO, FROM_BEFORE_THE_GUARD, [B]),
        # Without what it needs a container does not start, and its volume stays as it is.
        (VOLUME, GONE, BEFORE, [A]),
        (volume(optional=True), GONE, BEFORE, [ABSENT]),
        (ENV, GONE, AFTER, [A]),
        (variable("k", optional=True), GONE, AFTER, [ABSENT]),
        (ENV, DELETED_AND_MADE_ANEW, AFTER, [B]),
        (VOLUME, DELETED_AND_MADE_ANEW, BEFORE, [B]),
        (variable("other"), TO_B, AFTER, [EARLIER]),
        # Since the last look at the object it may have changed.
        (ENV, edited(held("a", 10), "b", 100), AFTER, [B, LATER]),
        (VOLUME, edited(held("a", 10), "b", 100), AFTER, [B]),
        (named_in_settings(APP), TO_B, BEFORE, [A, B]),
        (named_in_settings(APP), LONG_AGO, BEFORE, [B]),
    ],
)
def test_all_that_cannot_be_ruled_out_may_have_been_read(
    reference: ConfigReference, versions: ObjectVersions, pod: PodSeen, expected: list[object]
) -> None:
    assert contents(may_have_read(reference, versions, pod, NOW)) == expected


def test_a_volume_follows_only_what_stands_long_enough() -> None:
    """It may never have got `b`: that was deleted before the kubelet had to look again."""
    versions = held("a", 10, 1.0).still(Look("90", 400.0, 400.0))
    versions = edited(versions, "b", 100, 410.0).still(Look("120", 420.0, 420.0))
    assert contents(may_have_read(VOLUME, edited(versions, None, 130, 430.0), BEFORE, NOW)) == [A, B]
    longer = versions.still(Look("125", 540.0, 540.0))
    assert contents(may_have_read(VOLUME, edited(longer, None, 130, 550.0), BEFORE, NOW)) == [B]


def test_what_came_and_went_while_nobody_looked_may_have_been_read_by_who_started_then() -> None:
    versions = proven(held("a", 10).still(Look("50", None, 0.0)).seen(B, Look("100", 9.0, 9.0), unbroken=False))
    assert contents(may_have_read(ENV, versions, BEFORE, NOW)) == [A]
    assert contents(may_have_read(ENV, versions, seen(Span(60, 90)), NOW)) == [A, EARLIER, B]
    assert contents(may_have_read(ENV, versions, AFTER, NOW)) == [B]


def test_a_node_may_go_on_with_an_immutable_object_that_was_made_anew() -> None:
    immutable = Fingerprint({"k": "1"}, immutable=True)
    versions = edited(first_seen(immutable, Look("10", 1.0, 1.0)), None, 100, 500.0)
    versions = proven(edited(versions, "b", 110, 501.0))
    assert contents(may_have_read(ENV, versions, AFTER, NOW)) == [immutable, B]


def test_where_versions_cannot_be_compared_the_order_of_looks_counts() -> None:
    first = first_seen(A, Look("", 1.0, 1.0)).still(Look("", 450.0, 451.0))
    versions = first.seen(B, Look("", None, 500.0), unbroken=True).still(Look("", 999.0, 999.0))
    before, amid = seen(Span(None, None, 300.0, 400.0)), seen(Span(None, None, 400.0, 480.0))
    after = seen(Span(None, None, 600.0, 700.0))
    assert [contents(may_have_read(ENV, versions, pod, NOW)) for pod in (before, amid, after)] == [[A], [A, B], [B]]


def test_a_container_that_was_not_started_has_read_nothing() -> None:
    waiting = PodSeen("web-1", Span(150, 160), {}, ready=False)
    for reference in (ENV, SUB_PATH, VOLUME):
        assert may_have_read(reference, TO_B, waiting, NOW) == ()


def test_what_the_guard_may_not_read_is_one_content() -> None:
    versions = first_seen(NoContent.UNREADABLE, Look("", 1.0, 1.0))
    assert contents(may_have_read(ENV, versions, FROM_BEFORE_THE_GUARD, NOW)) == [NoContent.UNREADABLE]
