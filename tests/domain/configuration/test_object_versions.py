"""What is known of the contents that an object has had."""

from __future__ import annotations

import pytest

from logcaster_guard.domain.configuration.content import Found, NoContent
from logcaster_guard.domain.configuration.object_versions import MOST, ObjectVersions, Unseen, first_seen
from logcaster_guard.domain.configuration.spans import Look, Span
from tests.domain.configuration.build import config_map, edited, found, held


def value(text: str) -> Found:
    return found(config_map({"k": text}))


def stood(versions: ObjectVersions) -> list[Found | Unseen]:
    return [content if isinstance(content, Unseen) else content.found for content, _ in versions.spells()]


def test_what_stood_before_the_first_look_and_after_the_last_is_not_known() -> None:
    assert stood(held("a", 10)) == [Unseen.EARLIER, value("a"), Unseen.LATER]


def test_an_event_of_an_unbroken_watch_dates_an_edit_exactly() -> None:
    versions = edited(held("a", 10, 1.0), "b", 20, 7.0)
    assert stood(versions) == [Unseen.EARLIER, value("a"), value("b"), Unseen.LATER]
    assert versions.latest.came == Span(19, 20, 1.0, 7.0)
    assert versions.latest.resource_version == "20"


def test_what_happened_while_nobody_looked_may_have_been_more_than_is_seen_afterwards() -> None:
    versions = held("a", 10, 1.0).still(Look("15", 5.0, 5.0)).seen(value("b"), Look("20", 7.0, 8.0), unbroken=False)
    assert stood(versions) == [Unseen.EARLIER, value("a"), Unseen.EARLIER, value("b"), Unseen.LATER]
    assert versions.latest.came == Span(15, 20, 5.0, 8.0)


@pytest.mark.parametrize(
    ("version", "unbroken", "more"),
    [
        ("10", False, 0),
        ("12", True, 0),
        # It was written meanwhile, perhaps there and back again.
        ("12", False, 1),
    ],
)
def test_the_same_content_is_a_new_one_only_if_it_may_have_been_another_between(
    version: str, more: int, *, unbroken: bool
) -> None:
    versions = held("a", 10).seen(value("a"), Look(version, 3.0, 3.0), unbroken=unbroken)
    assert len(versions.versions) == 1 + more
    assert versions.standing == Span(after=int(version), after_second=3.0)


def test_an_annotation_that_was_seen_to_change_is_no_gap_later() -> None:
    versions = held("a", 10).seen(value("a"), Look("12", None, 3.0), unbroken=True)
    assert versions.seen(value("a"), Look("12", 4.0, 4.0), unbroken=False).versions == versions.versions


def test_a_list_without_an_absent_object_is_no_edit() -> None:
    versions = first_seen(NoContent.ABSENT, Look("10", 1.0, 1.0))
    later = versions.seen(NoContent.ABSENT, Look("30", 3.0, 3.0), unbroken=False)
    assert stood(later) == [Unseen.EARLIER, NoContent.ABSENT, Unseen.LATER]
    assert later.standing == Span(after=30, after_second=3.0)


def test_what_may_not_be_read_is_left_as_it_was_and_is_no_edit() -> None:
    versions = held("a", 10)
    assert versions.seen(NoContent.UNREADABLE, Look("", 3.0, 3.0), unbroken=True) is versions
    never = first_seen(NoContent.UNREADABLE, Look("", 1.0, 1.0))
    assert stood(never) == [NoContent.UNREADABLE]
    assert stood(never.seen(value("a"), Look("10", 3.0, 3.0), unbroken=False)) == stood(held("a", 10))


def test_as_many_contents_are_remembered_as_are_of_use() -> None:
    versions = held("0", 1)
    for number in range(1, MOST + 5):
        versions = edited(versions, str(number), number + 1)
    assert len(versions.versions) == MOST
    assert stood(versions)[:2] == [Unseen.EARLIER, value("5")]


def test_after_a_restart_only_the_sequence_orders_what_was_before() -> None:
    versions = edited(held("a", 10, 1.0), "b", 20, 7.0).still(Look("30", 8.0, 8.0)).carried_over(100.0)
    assert versions.latest.came == Span(19, 20, None, 100.0)
    assert versions.standing == Span(after=30)


def test_what_cannot_be_compared_is_ordered_by_the_clock_alone() -> None:
    versions = first_seen(value("a"), Look("", 1.0, 1.0)).seen(value("b"), Look("", None, 7.0), unbroken=True)
    assert versions.latest.came == Span(None, None, 1.0, 7.0)
