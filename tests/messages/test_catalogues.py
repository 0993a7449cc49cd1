"""Every kind of message has whole texts in every language, each of which shows what matters and nothing unknown."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from jinja2 import meta

from logcaster_guard import messages
from logcaster_guard.config.dimensions import NAMES
from logcaster_guard.config.syntax import _TERMINALS
from logcaster_guard.domain import runs
from logcaster_guard.domain.attribution import Cause, Space
from logcaster_guard.domain.database.statement_findings import Counted, Doubt, LossKind, Refusal
from logcaster_guard.domain.ledger import ReleaseStatus
from logcaster_guard.domain.message import Headline, Message, kind_of
from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.examples import example
from logcaster_guard.messages.message_kinds import MESSAGES
from logcaster_guard.messages.record_faults import Remedy
from logcaster_guard.messages.texts import (
    QUOTE,
    STATE,
    TEXT,
    TITLE,
    Language,
    Texts,
    catalogue,
    parameters_of,
    parts_of,
)

PACKAGE = Path(__file__).parents[2] / "logcaster_guard"
KINDS = {kind_of(kind): kind for kind in MESSAGES}
TEXTS = {language: Texts(language) for language in Language}
HANGUL = re.compile(r"[가-힣]")
OURS = re.compile(r"\b(?:the|is|was|has|of|and|not|it)\b")
"""Words of which an English sentence of the guard's has at least one."""

OUTCOMES = (
    *(runs.RECOVERED, runs.NOT_RECOVERED, runs.INCONCLUSIVE, runs.FAILED, runs.ABANDONED),
    *(runs.DESTINATION_BAD, runs.ESCALATED, runs.PUT_BACK, *runs.HARMLESS),
)
WORDS = {
    "outcome": OUTCOMES,
    "after_run": OUTCOMES,
    "release_status": tuple(ReleaseStatus),
    "after_mark": tuple(ReleaseStatus),
    "cause": tuple(Cause),
    "space": tuple(Space),
    "fault": tuple(Fault),
    "remedy": tuple(Remedy),
    "dimension": (*NAMES.values(), "a number"),
    "terminal": tuple(_TERMINALS.values()),
    "statement_refusal": tuple(Refusal),
    "statement_doubt": tuple(Doubt),
    "statement_loss": tuple(LossKind),
    "counted": tuple(Counted),
}
UNSHOWN = {
    "journal.volume": {"fresh"},
    "blobs.absent": {"folder"},
    "blobs.damaged": {"folder"},
    "run.hindered": {"step"},
    "hold.theirs": {"original"},
    "run.restored": {"detail"},
    "evidence": {"cause"},
    "run.opened": {"rule", "attribution", "facts"},
    "run.asked": {"rule", "attribution", "facts"},
    "trigger.refused": {"attribution", "facts"},
}
"""Parameters that a text may leave out: what is told beside it, and what one language alone needs."""


def test_every_kind_is_listed_once_and_no_text_is_left_from_one_that_is_gone() -> None:
    assert len(KINDS) == len(MESSAGES)
    for language in Language:
        assert set(catalogue(language).messages) == {*KINDS, QUOTE}


def test_every_message_that_some_module_defines_is_listed() -> None:
    defined = {
        node.name
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and {getattr(b, "id", "") for b in node.bases} & {"Message", "Headline"}
    }
    assert defined - {"Headline"} == {kind.__name__ for kind in MESSAGES}


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("kind", MESSAGES, ids=kind_of)
def test_every_kind_has_all_its_texts_and_they_show_what_it_holds(kind: type[Message], language: Language) -> None:
    texts, templates = TEXTS[language], catalogue(language).messages[kind_of(kind)]
    assert set(templates) == set(parts_of(kind))
    shown: set[str] = set()
    for part, template in templates.items():
        texts.check(kind, template, example(kind))
        shown |= meta.find_undeclared_variables(texts._templates._environment.parse(template))
        for full in (True, False):
            said = texts.part(example(kind, full=full), part)
            assert "{" not in said
            assert part not in {TITLE, STATE} or "\n" not in said
    assert set(parameters_of(kind)) - shown <= UNSHOWN.get(kind_of(kind), set())


@pytest.mark.parametrize("kind", [k for k in MESSAGES if issubclass(k, Headline)], ids=kind_of)
def test_a_korean_notice_is_korean(kind: type[Message]) -> None:
    korean = TEXTS[Language.KOREAN]
    for part in parts_of(kind):
        said = korean.part(example(kind), part)
        # Why nothing is rolled back stands by itself.
        assert HANGUL.search(said) or (kind_of(kind), part) == ("trigger.refused", TEXT)
        outside = re.sub(r"“[^”]*”|\"[^\"]*\"|docs/\S+", "", said)
        assert not OURS.search(outside)


@pytest.mark.parametrize("group", WORDS)
def test_every_value_that_is_told_has_a_korean_word(group: str) -> None:
    assert {str(value) for value in WORDS[group]} == set(catalogue(Language.KOREAN).words[group])


def test_what_facts_are_called_is_in_every_language() -> None:
    assert len({frozenset(catalogue(language).labels) for language in Language}) == 1


def test_every_notice_is_made_of_a_message() -> None:
    made = {
        getattr(call.func, "attr", getattr(call.func, "id", ""))
        for file in PACKAGE.rglob("*.py")
        if file.parent.name != "messages"
        for call in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(call, ast.Call)
    }
    assert "Notice" not in made
    assert messages.GIVEN_UP in KINDS
