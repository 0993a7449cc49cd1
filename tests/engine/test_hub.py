"""The engine's hub: who gets which message, and in which order."""

from __future__ import annotations

import pytest

from logcaster_guard.engine.hub import Hub, JournalAppended, Message, ReleaseChanged, RuleRefused, RunEnded, RunFound


def test_each_message_reaches_those_who_asked_for_its_kind_and_target_in_the_order_of_their_asking() -> None:
    hub, got = Hub(), list[tuple[str, Message]]()
    hub.subscribe(RunEnded, lambda m: got.append(("first", m)), target="shop/web")
    hub.subscribe(RunEnded, lambda m: got.append(("other", m)), target="shop/api")
    hub.subscribe(ReleaseChanged, lambda m: got.append(("template", m)), target="shop/web")
    hub.subscribe(RunEnded, lambda m: got.append(("second", m)), target="shop/web")
    hub.subscribe(JournalAppended, lambda m: got.append(("journal", m)))
    for message in (RunEnded("shop/web"), JournalAppended("run/r"), RunFound("run/r", "r"), RunEnded("shop/gone")):
        hub.publish(message)
    assert got == [
        ("first", RunEnded("shop/web")),
        ("second", RunEnded("shop/web")),
        ("journal", JournalAppended("run/r")),
    ]


def test_what_a_receiver_publishes_is_delivered_before_the_next_receiver_is_told() -> None:
    hub, got = Hub(), list[str]()
    hub.subscribe(JournalAppended, lambda m: hub.publish(RunFound(m.stream, "r")))
    hub.subscribe(JournalAppended, lambda _: got.append("appended"))
    hub.subscribe(RunFound, lambda _: got.append("found"))
    hub.publish(JournalAppended("run/r"))
    assert got == ["found", "appended"]


def test_a_defect_of_a_receiver_reaches_the_publisher() -> None:
    hub = Hub()
    hub.subscribe(RuleRefused, lambda m: [][len(m.guardrails)], target="t")
    with pytest.raises(IndexError):
        hub.publish(RuleRefused("t", "rule", ("cooldown",)))
