from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logcaster_guard.adapters.journal_codec import Unreadable
from logcaster_guard.domain.events import (
    Event,
    NoticeQueued,
    OwnerSuspended,
    RevisionBad,
    RevisionGood,
    RunClosed,
    SignalSeen,
    StepDone,
    StepIntended,
)
from logcaster_guard.domain.message import Headline, Message
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.reasons import ChangeRefused, NotMadeInTime
from logcaster_guard.domain.steps import Compensation, Step
from logcaster_guard.messages.examples import example
from logcaster_guard.messages.message_kinds import MESSAGES
from logcaster_guard.steps.step_kinds import KINDS
from logcaster_guard.stores import CODEC

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
MEMBERS: tuple[type[Any], ...] = get_args(Event)

ZONES = st.sampled_from([UTC, timezone(timedelta(hours=9)), timezone(timedelta(hours=-3))])
st.register_type_strategy(datetime, st.datetimes(min_value=datetime(1970, 1, 2), timezones=ZONES))  # noqa: DTZ001 # a bound
st.register_type_strategy(float, st.floats(allow_nan=False))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    max_leaves=5,
)
st.register_type_strategy(Compensation, st.builds(Compensation, original=JSON, written=JSON))
st.register_type_strategy(Step, st.one_of([st.builds(kind.step) for kind in KINDS]))
EXAMPLES = [example(kind, full=full) for kind in MESSAGES for full in (True, False)]
st.register_type_strategy(Message, st.sampled_from(EXAMPLES))
st.register_type_strategy(Headline, st.sampled_from([e for e in EXAMPLES if isinstance(e, Headline)]))


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
def test_every_event_type_survives_the_round_trip(member: type[Any]) -> None:
    @settings(max_examples=30)
    @given(st.builds(member))
    def round_trip(event: Event) -> None:
        text = CODEC.encode(event)
        assert CODEC.decode(text) == event
        assert type(CODEC.decode(text)) is type(event)
        assert json.loads(text)["type"] == member.__name__

    round_trip()


def test_no_event_has_a_field_that_the_envelope_needs() -> None:
    assert [m.__name__ for m in MEMBERS if "type" in m.__dataclass_fields__] == []


def test_instants_are_written_in_utc() -> None:
    seoul = NOW.astimezone(timezone(timedelta(hours=9)))
    assert json.loads(CODEC.encode(SignalSeen(seoul, "error_rate")))["at"] == "2026-01-02T03:04:05.000678+00:00"


def test_a_lone_surrogate_becomes_a_replacement_and_is_readable() -> None:
    assert CODEC.decode(CODEC.encode(StepDone(NOW, "r", 0, "bad \ud800 text"))) == StepDone(
        NOW, "r", 0, "bad \ufffd text"
    )


def test_read_only_mappings_are_written_as_objects() -> None:
    notice = Notice("n", NOW, "e", Severity.INFO, "t", "x", facts=MappingProxyType({"a": "b"}))
    assert CODEC.decode(CODEC.encode(NoticeQueued(NOW, notice))) == NoticeQueued(
        NOW, Notice("n", NOW, "e", Severity.INFO, "t", "x", facts={"a": "b"})
    )


@pytest.mark.parametrize(
    "event",
    [
        SignalSeen(datetime(2026, 1, 1), "s"),  # noqa: DTZ001 # the naive instant is the point
        SignalSeen(NOW, 5),  # type: ignore[arg-type] # the wrong type is the point
        RevisionGood(NOW, "t", object(), 1.0),  # type: ignore[arg-type] # as above
    ],
)
def test_what_could_not_be_read_back_is_not_written(event: Event) -> None:
    with pytest.raises(ValueError, match=r"event|does not fit"):
        CODEC.encode(event)


def test_a_release_that_earned_good_before_rules_were_told_apart_is_good_by_all_of_them() -> None:
    old = {"at": "2026-01-01T00:00:00+00:00", "template": "t", "quiet_share": 1.0, "watched": 9.0}
    event = CODEC.decode(json.dumps({"type": "RevisionGood", **old}))
    assert isinstance(event, RevisionGood)
    assert event.unmeasured == ()


OLD_HOLD: dict[str, Any] = {
    "id": "helper/h",
    "kind": "helper",
    "object": "h",
    "uid": "",
    "original": None,
    "written": 0,
    "original_maximum": None,
    "earlier": [],
    "run": "r",
    "revision": "",
    "content": "",
    "saved": "",
}
OLD_PLAN: dict[str, Any] = {
    "strategy": "gradual",
    "namespace": "shop",
    "deployment": "web",
    "uid": "u",
    "kind": "Deployment",
    "from_template": "b",
    "to_template": "g",
    "from_images": ["v2"],
    "to_images": ["v1"],
    "replicas": 2,
    "autoscaled": False,
    "service": "web",
    "selector": {"app": "web"},
    "size": 2,
    "floor": 2,
    "live": "",
    "live_uid": "",
    "steps": [{"helper": "h", "kind": "remove_helper"}],
}
OLD_RUN: dict[str, Any] = {
    "run": "r",
    "target": "shop/web",
    "rule": "x",
    "reason": "y",
    "onset": None,
    "parent": None,
    "evidence": {},
    "condition": "",
    "holds": [OLD_HOLD],
    "snapshot": "",
    "request": "",
    "plan": OLD_PLAN,
}


@pytest.mark.parametrize(
    ("name", "old", "since"),
    [
        ("TargetFrozen", {"by": "annotation", "reason": "why", "spec": "d"}, {"who": ""}),
        ("RunOpened", OLD_RUN, {"attributed": False}),
        ("StepIntended", {"run": "r", "step": 0, "attempt": 1, "hold": OLD_HOLD}, {}),
        ("RunAnswered", {"run": "r", "answer": "veto", "digest": "d", "words": "no"}, {"until": None}),
        ("OwnerSuspended", {"run": "r", "hold": OLD_HOLD}, {}),
        ("HoldReleased", {"run": "r", "hold": "h", "detail": "back", "kept_out": False}, {"theirs": False}),
    ],
)
def test_an_event_of_an_earlier_version_is_read_without_the_fields_of_this_one(
    name: str, old: dict[str, Any], since: dict[str, Any]
) -> None:
    event = CODEC.decode(json.dumps({"type": name, "at": "2026-01-01T00:00:00+00:00", **old}))
    assert {field: getattr(event, field) for field in since} == since
    held = [*getattr(event, "holds", ()), *([event.hold] if isinstance(event, StepIntended | OwnerSuspended) else [])]
    assert [(h.token, h.since, h.owners) for h in held if h] == [("", None, ())] * len(held)


GOOD = {"type": "SignalSeen", "at": "2026-01-01T00:00:00+00:00", "signal": "s"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "None is no event type"),
        (json.dumps(GOOD | {"type": "Later"}), "'Later' is no event type"),
        (json.dumps(GOOD | {"type": ["SignalSeen"]}), "is no event type"),
        (json.dumps(GOOD | {"signal": 7}), "SignalSeen does not fit: signal"),
        (json.dumps(GOOD | {"extra": 7}), "SignalSeen does not fit: extra"),
        (json.dumps(GOOD | {"at": "2026-01-01T00:00:00"}), "no time zone"),
        (json.dumps({"type": "SignalSeen", "signal": "s"}), "SignalSeen does not fit: at"),
        ('{"type": "SignalSeen", "signal": "s"', "not JSON"),
        ('{"type": "SignalSeen", ' + "[" * 100_000, "not JSON"),
        (json.dumps({"type": "SignalSeen", "codec": 3, **GOOD}), "newer version of LogCaster Guard .event codec 3"),
        (json.dumps({"type": "SignalSeen", "codec": "x", **GOOD}), "newer version"),
        (
            json.dumps({"type": "RunOpened", **OLD_RUN, "at": "2026-01-01T00:00:00+00:00"}).replace("remove_", "move_"),
            "RunOpened does not fit: plan.steps.0: 'move_helper' is no kind of this version",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        CODEC.decode(text)


def test_what_holds_a_message_is_of_the_second_version_and_what_holds_none_of_the_first() -> None:
    assert "codec" not in json.loads(CODEC.encode(RunClosed(NOW, "r", "failed", "text", freeze=True)))
    closed = RunClosed(NOW, "r", "failed", ChangeRefused(NotMadeInTime("the API server is away")), freeze=True)
    written = json.loads(CODEC.encode(closed))
    assert (written["codec"], CODEC.decode(json.dumps(written))) == (2, closed)
    with pytest.raises(Unreadable, match="event codec 3, and this one reads 2"):
        CODEC.decode(json.dumps(written | {"codec": 3}))


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"kind": "not_made_in_time"}, "detail: Field required"),
        ({"kind": "not_made_in_time", "detail": 5}, "detail"),
        ({"kind": "weather"}, "weather"),
    ],
)
def test_a_message_that_does_not_fit_is_refused(message: dict[str, Any], says: str) -> None:
    event = {"type": "RunClosed", "codec": 2, "run": "r", "outcome": "failed", "freeze": True, "reason": message}
    with pytest.raises(Unreadable, match=says):
        CODEC.decode(json.dumps(event | {"at": "2026-01-01T00:00:00+00:00"}))


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_every_message_survives_the_round_trip(kind: type[Message]) -> None:
    for full in (True, False):
        event = StepDone(NOW, "r", 0, example(kind, full=full))
        assert CODEC.decode(CODEC.encode(event)) == event


def test_a_configuration_is_written_only_where_it_is_known() -> None:
    unknown, known = (RevisionBad(NOW, "t", "why", configuration=c) for c in ("", "c"))
    assert "configuration" not in CODEC.encode(unknown)
    assert [CODEC.decode(CODEC.encode(event)) for event in (unknown, known)] == [unknown, known]
