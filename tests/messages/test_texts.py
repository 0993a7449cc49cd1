"""Messages in words: languages, what the outside said, what operators override, and notices of earlier versions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from logcaster_guard import messages
from logcaster_guard.domain.conditions import Comparator, Compare, Number, SignalRef
from logcaster_guard.domain.guardrails import Guardrail, Refusal
from logcaster_guard.domain.measurements import NoDataRead
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.reasons import ChangeRefused, NotMadeInTime, Quiet, RuleMet
from logcaster_guard.domain.rules import Action, Rule
from logcaster_guard.domain.signals import Target
from logcaster_guard.messages.filters import josa
from logcaster_guard.messages.run_headlines import RollbackBegins, RollbackEnded
from logcaster_guard.messages.texts import Language, Texts, english
from logcaster_guard.messages.words import told

KOREAN = Texts(Language.KOREAN)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BEGINS = RollbackBegins("shop/web", "r", RuleMet("r", "error_rate > 5%", 300.0), ("web:2",), ("web:1",), None)


def begun(message: RollbackBegins = BEGINS) -> Notice:
    return told(message, Severity.WARNING, id="i", at=AT, facts={"to": "web:1"})


def test_the_journal_keeps_english_and_a_channel_tells_the_same_in_its_language() -> None:
    notice = begun()
    assert notice.title == "Rolling back shop/web"
    assert notice.text == "Rule r (error_rate > 5%) has been met for 5m. Rolling back from web:2 to web:1."
    korean = KOREAN.notice(notice)
    assert korean.title == "shop/web 롤백 시작"
    assert korean.text == (
        "규칙 r의 조건(error_rate > 5%)이 5분 동안 계속 충족되었습니다. 이전 버전으로 되돌립니다. "
        "현재 버전: web:2, 되돌릴 버전: web:1."
    )
    assert replace(korean, title=notice.title, text=notice.text) == notice
    assert english().notice(notice) == notice
    assert (english().state(notice), KOREAN.state(notice)) == ("rolling back", "롤백 진행 중")


def test_a_notice_of_an_earlier_version_is_delivered_as_that_wrote_it() -> None:
    old = Notice("i", AT, "run.opened", Severity.WARNING, "Rolling back shop/web", "Rule r has been met.")
    assert KOREAN.notice(old) is old
    assert KOREAN.state(old) == ""


def test_what_the_outside_said_is_quoted_and_never_read_as_a_template() -> None:
    refused = ChangeRefused('deployments "web" is forbidden {{ 7 * 7 }} {% raw %}')
    assert english().text(refused) == 'the change was refused: deployments "web" is forbidden {{ 7 * 7 }} {% raw %}'
    assert KOREAN.text(refused) == '변경이 거부되었습니다: “deployments "web" is forbidden {{ 7 * 7 }} {% raw %}”'


def test_a_reason_within_a_reason_is_told_in_the_same_language() -> None:
    assert KOREAN.text(NotMadeInTime(Quiet())) == (
        "제한 시간 안에 변경하지 못했습니다: 롤백 뒤로 규칙의 조건이 충족되지 않았습니다."
    )


def test_a_notice_about_another_one_names_it_by_its_title() -> None:
    lost = messages.notice_lost(begun(), "ops", "HTTP 404", AT)
    assert '"Rolling back shop/web" could not be sent on ops' in lost.text
    assert '"shop/web 롤백 시작"' in KOREAN.notice(lost).text
    old = replace(begun(), message=None)
    assert "“Rolling back shop/web”" in KOREAN.notice(messages.notice_lost(old, "ops", "HTTP 404", AT)).text


@pytest.mark.parametrize(
    ("kind", "outcome", "called"),
    [
        ("run.opened", "", ("To", "되돌릴 버전")),
        ("run.restored", "", ("Restored", "복원한 버전")),
        ("run.closed", "recovered", ("Restored", "복원한 버전")),
        ("run.closed", "vetoed", ("To", "되돌릴 버전")),
    ],
)
def test_the_version_is_called_restored_once_it_is(kind: str, outcome: str, called: tuple[str, str]) -> None:
    notice = Notice("i", AT, kind, Severity.INFO, "t", "x", facts={"outcome": outcome})
    assert (english().label("to", notice), KOREAN.label("to", notice)) == called


def test_a_freeze_is_told_only_where_there_is_one() -> None:
    closed = RollbackEnded("shop/web", "failed", Quiet(), None, True, "resume", "annotate", None)
    for message in (closed, replace(closed, frozen=False)):
        assert ("동결" in KOREAN.part(message, "text")) is message.frozen
        assert ("frozen" in english().part(message, "text")) is message.frozen


def test_an_override_stands_in_the_place_of_one_text_and_leaves_the_others() -> None:
    own = Texts(Language.KOREAN, {"run.opened": {"title": "[긴급] {{ target|josa('을', '를') }} 되돌립니다"}})
    assert own.notice(begun()).title == "[긴급] shop/web을(를) 되돌립니다"
    assert own.notice(begun()).text == KOREAN.notice(begun()).text


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("서비스", ("서비스를", "서비스로", "서비스가")),
        ("규칙", ("규칙을", "규칙으로", "규칙이")),
        ("채널", ("채널을", "채널로", "채널이")),
        ("v1", ("v1을", "v1로", "v1이")),
        ("v2", ("v2를", "v2로", "v2가")),
        ("v3", ("v3을", "v3으로", "v3이")),
        ("pod", ("pod를", "pod로", "pod가")),
        ("main", ("main을", "main으로", "main이")),
        ("HPA", ("HPA를", "HPA로", "HPA가")),
        ("SQL", ("SQL을", "SQL로", "SQL이")),
        ("web", ("web을(를)", "web(으)로", "web이(가)")),
        ("규칙(r3)", ("규칙(r3)을", "규칙(r3)으로", "규칙(r3)이")),
        ("", ("을(를)", "(으)로", "이(가)")),
    ],
)
def test_a_particle_is_that_of_the_last_sound(word: str, said: tuple[str, str, str]) -> None:
    assert (josa(word, "을", "를"), josa(word, "으로", "로"), josa(word, "이", "가")) == said


def test_why_a_signal_has_no_value_is_told_in_each_language() -> None:
    evidence: dict[str, Reason] = {"error_rate": NoDataRead("empty", ""), "p95_latency": "1.2s", "attribution": "words"}
    rule = Rule(
        "r", "error_rate > 5%", Compare(Comparator.GT, SignalRef("error_rate"), Number(0.05)), 60.0, Action.IMMEDIATE
    )
    notice = messages.refused(
        Target("web", "shop", "web"), rule, [Refusal(Guardrail.COOLDOWN, Quiet())], evidence, None,
        id="i", at=AT, onset=AT,
    )  # fmt: skip
    assert notice.facts["error_rate"] == "no data: empty"
    assert {name: KOREAN.notice(notice).facts[name] for name in evidence} == {
        "error_rate": "데이터 없음: 결과 없음",
        "p95_latency": "1.2s",
        "attribution": "words",
    }
