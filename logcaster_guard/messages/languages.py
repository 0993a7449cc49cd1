"""Notices in the language that their readers asked for.

The journal keeps every notice in English; a channel's words are made of its facts when it is delivered, so that a
change of language holds for what is still owed too. Where the English text says more than the Korean words do, it is
kept as the fact `detail`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from logcaster_guard.domain import manual
from logcaster_guard.domain.notices import Notice
from logcaster_guard.domain.runs import INCONCLUSIVE, NOT_RECOVERED, RECOVERED
from logcaster_guard.messages.korean import (
    KOREAN,
    KOREAN_CAUSES,
    KOREAN_GUARDRAILS,
    KOREAN_MARKS,
    KOREAN_OUTCOMES,
    KOREAN_SILENCE,
    KOREAN_STATUSES,
)


class Language(StrEnum):
    """What notices can be told in."""

    ENGLISH = "en"
    KOREAN = "ko"


ENGLISH_STATES: Mapping[str, str] = {
    "run.opened": "rolling back",
    "run.asked": "waiting for people",
    "people.reminded": "waiting for people",
    "run.restored": "rolled back, being verified",
    "run.closed": "{outcome}",
    "run.crashed": "stopped, needs a restart of the guard",
    "hold.not_given_back": "needs a person",
    "hold.held_up": "still giving back",
    "hold.theirs": "left as somebody else set it",
    "run.hindered": "stands still",
    "marks.unproven": "left alone, needs a person",
    "owner.suspended": "rolled back, GitOps owner suspended",
    "owner.resumed": "GitOps owner at work",
    "owner.not_resumed": "needs a person",
    "trigger.refused": "not rolled back",
    "decision.postponed": "fired, not decided yet",
    "request.refused": "not rolled back",
    "answer.denied": "an answer did not count",
    "revision.marked": "{standing}",
    "target.frozen": "frozen",
    "target.thawed": "guarded again",
    "source.failing": "blind",
    "source.recovered": "seeing again",
    "workload.unseen": "not seen",
    "workload.seen": "seen again",
    "trigger.blind": "rules see nothing",
    "trigger.seeing": "rules see again",
    "polls.missed": "falling behind",
    "polls.kept": "keeping up again",
    "source.lagging": "data is late",
    "source.caught_up": "data is in time",
    "clock.skewed": "clocks differ",
    "clock.agrees": "clocks agree",
    "journal.lost": "only watched",
    "journal.failing": "nothing can be changed",
    "journal.growing": "at work",
    "journal.recovered": "at work again",
    "blobs.failing": "releases cannot be saved",
    "blobs.recovered": "releases are saved again",
    "notice.given_up": "a notice was lost",
    "channel.failing": "a channel takes no notices",
    "notice.left_out": "notices were left out",
    "config.reloaded": "new rules in force",
    "config.refused": "old configuration in force",
    "config.settings_changed": "new settings in force",
}

_ENGLISH_SAYS_MORE = frozenset(
    {"run.closed", "run.crashed", "trigger.refused", "source.failing", "source.recovered", "journal.lost"}
    | {"journal.failing", "notice.given_up", "channel.failing"}
)
"""Kinds whose Korean words leave out something that the English text tells, which is then kept as the fact `detail`."""

LABELS: Mapping[Language, Mapping[str, str]] = {
    Language.ENGLISH: {
        "target": "Target",
        "rule": "Rule",
        "condition": "Condition",
        "measured": "Measured",
        "from": "From",
        "to": "To",
        "restored": "Restored",
        "version": "Version",
        "state": "State",
        "since": "Breach since",
        "at": "Time",
        "strategy": "Strategy",
        "guardrails": "Refused by",
        "attribution": "Cause",
        "detail": "Detail",
        "channel": "Channel",
        "more": "{count} more in the guard's log",
        "repeated": "Sent again, as no answer came the first time: it may stand here twice.",
    },
    Language.KOREAN: {
        "target": "대상",
        "rule": "규칙",
        "condition": "조건",
        "measured": "측정값",
        "from": "문제 버전",
        "to": "되돌릴 버전",
        "restored": "복원한 버전",
        "version": "현재 버전",
        "state": "상태",
        "since": "문제 시작",
        "at": "시각",
        "strategy": "방식",
        "guardrails": "거부 사유",
        "attribution": "원인 판단",
        "detail": "상세(원문)",
        "channel": "채널",
        "more": "나머지 {count}개는 가드의 로그에 있습니다",
        "repeated": "처음 보냈을 때 응답이 없어 다시 보냅니다. 같은 알림이 두 번 보일 수 있습니다.",
    },
}
"""What facts are called before people."""


def translated(notice: Notice, language: Language) -> Notice:
    """The notice in `language`; a kind without words in it stays as it is."""
    words = KOREAN.get(_kind(notice)) if language is Language.KOREAN else None
    if words is None:
        return notice
    facts = _facts(notice)
    original = {"detail": notice.text} if notice.event in _ENGLISH_SAYS_MORE else {}
    return replace(
        notice,
        title=words.title.format_map(facts),
        text=words.text.format_map(facts),
        facts={**notice.facts, **_korean_attribution(notice.facts), **original},
    )


def state(notice: Notice, language: Language) -> str:
    """What the target is going through, in a word or two; empty for a kind that nothing is known of."""
    words = KOREAN.get(_kind(notice))
    pattern = ENGLISH_STATES.get(_kind(notice), "")
    if language is Language.KOREAN and words is not None:
        pattern = words.state
    return pattern.format_map(_facts(notice))


def label(notice: Notice, fact: str, language: Language) -> str | None:
    """What a fact of this notice is called before people; None for one that has no name."""
    restored = notice.event == "run.restored" or notice.facts.get("outcome") in {RECOVERED, NOT_RECOVERED, INCONCLUSIVE}
    return LABELS[language].get("restored" if fact == "to" and restored else fact)


def _kind(notice: Notice) -> str:
    """The key of its words: while people are only asked, nothing has begun."""
    return "run.asked" if notice.event == "run.opened" and "until" in notice.facts else notice.event


def _korean_cause(facts: Mapping[str, str]) -> str:
    """Why a run was opened: by its rule, or because somebody asked for it."""
    rule = facts.get("rule", "-")
    if rule == manual.RULE:
        return "담당자의 요청에 따라"
    return f"규칙 {rule}의 조건이 정해진 시간 동안 계속 충족되어"


def _korean_attribution(facts: Mapping[str, str]) -> Mapping[str, str]:
    """What the breach is put down to; the measurements stay as they are."""
    said = KOREAN_CAUSES.get(facts.get("cause", ""))
    if said is None:
        return {}
    return {"attribution": f"{said} (근거: {facts.get('attribution', '-')})"}


def _korean_question(facts: Mapping[str, str]) -> str:
    """How people answer, where the notice asks them something, and what follows if they do not."""
    if "until" not in facts:
        return ""
    silence = KOREAN_SILENCE.get(facts.get("silence", ""), "응답 기한: {until}.").format(until=facts["until"])
    return f" {silence} 거부: {_korean_ways(facts, 'veto')} . 승인: {_korean_ways(facts, 'approve')} ."


def _korean_ways(facts: Mapping[str, str], key: str) -> str:
    """The guard's own command, and kubectl's; a notice of an older journal knows kubectl's only."""
    return " 또는 ".join(facts[k] for k in (f"{key}_command", key) if k in facts) or "-"


def _korean_freeze(facts: Mapping[str, str]) -> str:
    """That the target is frozen, and how it is lifted."""
    if facts.get("frozen") != "yes":
        return ""
    how = f" 해제: {_korean_ways(facts, 'resume')} ." if "resume" in facts else ""
    return f" 사람이 해제할 때까지 대상을 동결합니다.{how}"


def _korean_leftover(facts: Mapping[str, str]) -> str:
    """What the next deployment leaves in place, and what mends it."""
    if "leftover" not in facts:
        return ""
    stays = f" 복원한 버전에만 있는 항목({facts['leftover']})은 다음 배포 후에도 남습니다." if facts["leftover"] else ""
    if "helm_rollback" not in facts:
        return f"{stays} 필요 없으면 다음 배포 전에 복원한 버전의 매니페스트를 먼저 적용하거나 직접 제거해 주세요."
    return (
        f"{stays} Helm은 여전히 문제 버전을 배포된 것으로 기록하고 있습니다. "
        f"맞추려면: {facts['helm_rollback']} , 리비전 확인: {facts['helm_history']} ."
    )


def _korean_veto(facts: Mapping[str, str]) -> str:
    """Until when a veto holds for the release, and how it is lifted."""
    if "vetoed_until" not in facts:
        return ""
    return (
        f" {facts['vetoed_until']}까지 이 릴리스는 롤백하지 않습니다. 담당자가 불량으로 표시하거나 직접 롤백하면 "
        "해제됩니다."
    )


class _Facts(dict[str, str]):
    """Facts to fill in; one that an older journal does not tell is a dash."""

    def __missing__(self, key: str) -> str:
        return "-"


def _facts(notice: Notice) -> _Facts:
    facts = notice.facts
    word, sentence = KOREAN_OUTCOMES.get(facts.get("outcome", ""), (facts.get("outcome", "-"), notice.text))
    standing_word, standing_sentence = KOREAN_STATUSES.get(facts.get("standing", ""), ("미확인", ""))
    names = [n.strip() for n in facts.get("guardrails", "").split(",") if n.strip()]
    made = {
        "target": notice.target,
        "text": notice.text,
        "outcome_words": word,
        "outcome_sentence": sentence,
        "leftover_sentence": _korean_leftover(facts),
        "frozen_sentence": _korean_freeze(facts),
        "veto_sentence": _korean_veto(facts),
        "question": _korean_question(facts),
        "because": _korean_cause(facts),
        "guardrail_sentences": " ".join(KOREAN_GUARDRAILS.get(n, n) for n in names).format_map(_Facts(facts))
        or notice.text,
        "notice_title": notice.title,
        "mark_words": KOREAN_MARKS.get(facts.get("mark", ""), "-"),
        "words_or_none": facts.get("words") or "없음",
        "standing_words": standing_word,
        "standing_sentence": standing_sentence,
    }
    return _Facts({**facts, **made})
