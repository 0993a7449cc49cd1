"""Every kind of notice speaks both languages, and no fact of it is lost."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from logcaster_guard import messages
from logcaster_guard.domain import runs
from logcaster_guard.domain.guardrails import Guardrail
from logcaster_guard.domain.notices import Notice, Severity, Silence
from logcaster_guard.messages.korean import KOREAN, KOREAN_GUARDRAILS, KOREAN_OUTCOMES
from logcaster_guard.messages.languages import ENGLISH_STATES, LABELS, Language, label, state, translated

PACKAGE = Path(__file__).parents[2] / "logcaster_guard"
KIND = re.compile(r"[a-z_]+(\.[a-z_]+)+")
HANGUL = re.compile(r"[가-힣]")
OUTCOMES = (
    *(runs.RECOVERED, runs.NOT_RECOVERED, runs.INCONCLUSIVE, runs.FAILED, runs.ABANDONED),
    *(runs.DESTINATION_BAD, runs.ESCALATED, runs.PUT_BACK, *runs.HARMLESS),
)


def kinds() -> Iterator[str]:
    """Each event name that some code gives a notice: `Notice(event=…)`, and the first word of whoever makes one."""
    yield from messages.OF_A_CHANNEL
    for file in PACKAGE.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            given = [k.value for k in call.keywords if k.arg == "event"] if name in {"Notice", "_of_run"} else []
            given += call.args[:1] if name in {"guard_notice", "_of_problem", "_of_configuration"} else []
            for value in given:
                if isinstance(value, ast.Constant) and isinstance(value.value, str) and KIND.fullmatch(value.value):
                    yield value.value


KINDS = sorted(set(kinds()))


def notice(event: str, **facts: str) -> Notice:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Notice("id", at, event, Severity.INFO, "Title", "Text.", target="shop/web", facts=facts)


def test_the_kinds_are_found() -> None:
    assert {"run.opened", "run.closed", "trigger.refused", "source.failing", "run.crashed", messages.GIVEN_UP} <= set(
        KINDS
    )


def test_no_words_are_left_from_a_kind_that_is_gone() -> None:
    assert set(KOREAN) == set(ENGLISH_STATES) == {*KINDS, "run.asked"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_both_languages(kind: str) -> None:
    english = notice(kind, rule="high_error_rate", outcome=runs.RECOVERED, guardrails="cooldown, frozen")
    assert translated(english, Language.ENGLISH) is english
    korean = translated(english, Language.KOREAN)
    assert HANGUL.search(korean.title)
    assert HANGUL.search(korean.text)
    assert "{" not in korean.title + korean.text
    assert korean.facts.get("detail", "Text.") == "Text."
    assert korean.facts.items() >= english.facts.items()
    assert (korean.id, korean.event, korean.severity, korean.target) == ("id", kind, Severity.INFO, "shop/web")
    assert state(english, Language.ENGLISH)
    assert HANGUL.search(state(english, Language.KOREAN))


def test_every_label_is_in_both_languages() -> None:
    assert set(LABELS[Language.ENGLISH]) == set(LABELS[Language.KOREAN])
    assert set(LABELS) == set(Language)


def test_every_outcome_and_guardrail_has_korean_words() -> None:
    assert set(KOREAN_OUTCOMES) == set(OUTCOMES)
    assert set(KOREAN_GUARDRAILS) == set(Guardrail)


def test_a_run_that_an_attributed_rule_opens_says_which_rule_it_was() -> None:
    facts = {"rule": "high_error_rate", "cause": "rollout", "from": "web:2", "to": "web:1"}
    korean = translated(notice("run.opened", **facts), Language.KOREAN)
    assert korean.title == "shop/web 롤백 시작"
    assert korean.text == (
        "규칙 high_error_rate의 조건이 정해진 시간 동안 계속 충족되어 이전 버전으로 되돌립니다. "
        "현재 버전: web:2, 되돌릴 버전: web:1."
    )
    assert "detail" not in korean.facts


@pytest.mark.parametrize("event", ["run.opened", "people.reminded"])
@pytest.mark.parametrize(
    ("silence", "said"),
    [
        (Silence.CONSENT, "응답이 없으면 2026-01-01T00:05:00Z에 롤백을 시작합니다."),
        (Silence.REFUSAL, "2026-01-01T00:05:00Z까지 승인이 없으면 롤백하지 않습니다."),
        ("", "응답 기한: 2026-01-01T00:05:00Z."),
    ],
)
def test_while_people_are_asked_nothing_has_begun_and_they_are_told_what_silence_means(
    event: str, silence: str, said: str
) -> None:
    until = "2026-01-01T00:05:00Z"
    asked = notice(event, until=until, silence=silence, veto_command="no", approve_command="yes")
    korean = translated(asked, Language.KOREAN)
    assert said in korean.text
    assert "롤백 시작" not in korean.title
    assert state(asked, Language.KOREAN) == "확인 대기 중"
    assert state(asked, Language.ENGLISH) == "waiting for people"


def test_what_korean_says_whole_is_not_said_again_in_english() -> None:
    again = {k for k in KINDS if "detail" in translated(notice(k), Language.KOREAN).facts}
    assert {"run.closed", "trigger.refused"} <= again
    assert not again & {"run.opened", "people.reminded", "run.restored", "config.refused", "request.refused"}


@pytest.mark.parametrize(
    ("event", "outcome", "names"),
    [
        ("run.opened", "", ("To", "되돌릴 버전")),
        ("run.restored", "", ("Restored", "복원한 버전")),
        ("run.closed", runs.RECOVERED, ("Restored", "복원한 버전")),
        ("run.closed", runs.VETOED, ("To", "되돌릴 버전")),
    ],
)
def test_the_version_is_called_restored_once_it_is(event: str, outcome: str, names: tuple[str, str]) -> None:
    told = notice(event, outcome=outcome)
    assert tuple(label(told, "to", language) for language in (Language.ENGLISH, Language.KOREAN)) == names


def test_a_freeze_is_told_only_where_there_is_one() -> None:
    told = [
        translated(notice("run.closed", outcome=runs.FAILED, frozen=frozen), Language.KOREAN).text
        for frozen in ("yes", "no")
    ]
    assert ["동결" in text for text in told] == [True, False]


def test_every_reason_of_a_refusal_is_told() -> None:
    text = translated(notice("trigger.refused", guardrails="cooldown, frozen, new_one"), Language.KOREAN).text
    assert text == f"{KOREAN_GUARDRAILS['cooldown']} {KOREAN_GUARDRAILS['frozen']} new_one"


def test_facts_are_filled_in_and_never_read_as_patterns() -> None:
    title = translated(notice("run.restored", to="{rule}{0}"), Language.KOREAN).title
    assert title == "shop/web: 이전 버전 {rule}{0} 복원 완료"


def test_a_fact_that_an_older_journal_lacks_is_a_dash() -> None:
    assert "현재 버전: -" in translated(notice("run.opened"), Language.KOREAN).text


def test_an_unknown_kind_stays_as_it_is() -> None:
    unknown = notice("something.new")
    assert translated(unknown, Language.KOREAN) is unknown
    assert state(unknown, Language.KOREAN) == ""
