"""Each phrase that some code says has a text in every language, which shows what the code fills in."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from jinja2 import meta

from logcaster_guard.messages.texts import Language, Phrase, Texts, catalogue, english, phrase
from tests.messages.test_only_catalogues_hold_texts import KEYS

PACKAGE = Path(__file__).parents[2] / "logcaster_guard"
TEXTS = {language: Texts(language) for language in Language}
HANGUL = re.compile(r"[가-힣]")
ENGLISH = re.compile(r"\b(?:the|is|was|has|of|not|than|no|an)\b|\b[a-z]{2,} [a-z]{2,}")
"""What a sentence has, and a key, a name or an example has not."""


def said() -> dict[str, set[str]]:
    """The phrases that the code says, each with the names of its values; the names are plain, so that all are seen."""
    found: dict[str, set[str]] = {}
    texts = {file: file.read_text("utf-8") for file in PACKAGE.rglob("*.py")}
    for file in (f for f, text in texts.items() if "phrase(" in text or "BadTemplate(" in text):
        for call in ast.walk(ast.parse(texts[file])):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in {"phrase", "BadTemplate"}:
                if isinstance(call.args[0], ast.Attribute):
                    continue  # what a `BadTemplate` names, which is seen where that is raised
                names = [c.value for c in _choices(call.args[0]) if isinstance(c, ast.Constant)]
                assert names, f"{file}:{call.lineno}: a phrase whose name is not seen"
                values = {str(k.arg) for k in call.keywords if k.arg is not None}
                for name in names:
                    assert isinstance(name, str)
                    open_ended = any(k.arg is None for k in call.keywords)
                    found[name] = found.get(name, set()) | values | ({"**"} if open_ended else set())
    return found


def _choices(argument: ast.expr) -> list[ast.expr]:
    return [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]


SAID = said()


@pytest.mark.parametrize("language", Language)
def test_no_phrase_is_without_a_text_and_no_text_without_a_phrase(language: Language) -> None:
    assert set(catalogue(language).phrases) == set(SAID)


@pytest.mark.parametrize("name", sorted(SAID))
def test_a_phrase_shows_what_the_code_fills_in(name: str) -> None:
    shown = {}
    for language, texts in TEXTS.items():
        environment = texts._templates._environment
        shown[language] = meta.find_undeclared_variables(environment.parse(catalogue(language).phrases[name]))
    if "**" not in SAID[name]:
        assert shown == dict.fromkeys(Language, SAID[name])
    assert len({frozenset(names) for names in shown.values()}) == 1


@pytest.mark.parametrize("name", sorted(SAID))
def test_no_english_is_left_in_a_korean_phrase(name: str) -> None:
    template, english = (catalogue(language).phrases[name] for language in (Language.KOREAN, Language.ENGLISH))
    said = KEYS.sub(" ", re.sub(r"{[{%].*?[%}]}", "⟦⟧", template))
    assert HANGUL.search(template) or not re.search("[a-z]{3}", said) or template == english
    assert not ENGLISH.search(said) or template == english


def test_a_phrase_is_english_and_told_whole_in_another_language() -> None:
    inner = phrase("explain.unread", signal="error_rate")
    outer = phrase("explain.unknown", held=[inner], since=None)
    assert outer == "Not firing: error_rate cannot be read, and blind is not bad."
    assert english().text(outer) == outer
    assert TEXTS[Language.KOREAN].text(outer) == (
        "발동하지 않음: error_rate을(를) 읽을 수 없음. 확인하지 못한 것을 문제로 보지 않습니다."
    )


def test_what_is_no_phrase_is_quoted() -> None:
    assert not isinstance("words", Phrase)
    assert TEXTS[Language.KOREAN].text("words") == "“words”"
