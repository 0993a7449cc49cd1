"""The syntax of conditions: text to parse tree, or the one sentence that says where it cannot be read."""

from __future__ import annotations

import functools
import re
from importlib import resources

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput, UnexpectedToken

from logcaster_guard.config.dimensions import UNITS, UNITS_MEANT
from logcaster_guard.fields.faults import AllRefused, Refused, quoted
from logcaster_guard.messages.texts import Phrase, phrase

_SHOUTED = re.compile(r"\b(?!(?-i:and|or|not)\b)(?:and|or|not)\b", re.ASCII | re.IGNORECASE)
_FOREIGN = {"&&": "and", "||": "or", "&": "and", "|": "or", "=>": ">=", "=<": "<=", "<>": "!=", "=": "=="}
_FOREIGN |= {
    "!": "not",
    "≥": ">=",
    "≤": "<=",
    "≠": "!=",
    "\N{MULTIPLICATION SIGN}": "*",
    "÷": "/",
    "\N{MINUS SIGN}": "-",
}
_TERMINALS = {
    "NAME": "a signal",
    "NUMBER": "a number",
    "LPAR": "(",
    "RPAR": ")",
    "NOT": "not",
    "COMPARATOR": "a comparison (> >= < <= == !=)",
    "AND": "and",
    "OR": "or",
    "PLUS": "+",
    "MINUS": "-",
    "STAR": "*",
    "SLASH": "/",
    "$END": "the end",
}


def parsed(text: str) -> Tree[Token]:
    """The parse tree, by the rules of `condition.lark`; raises `AllRefused` for the first place that cannot be read."""
    try:
        return _parser().parse(text)
    except UnexpectedInput as error:
        raise AllRefused([_syntax(text, error)]) from None


@functools.cache
def _parser() -> Lark:
    grammar = resources.files(__package__).joinpath("condition.lark").read_text(encoding="utf-8")
    return Lark(grammar, start="condition", parser="lalr", lexer="basic", propagate_positions=True)


def _syntax(text: str, error: UnexpectedInput) -> Refused:
    """One refusal for the first place that cannot be read."""
    at = len(text) if error.pos_in_stream is None else min(error.pos_in_stream, len(text))
    token = error.token if isinstance(error, UnexpectedToken) else None
    if token is not None and token.type == "$END":
        at = len(text)
    shouted = _SHOUTED.search(text)
    if shouted and shouted.start() <= at:
        word = shouted[0]
        meant = phrase("meant.word", word=f'"{word.lower()}"')
        return Refused(_as_is(word), phrase("allowed.lower_case"), meant, offset=shouted.start())
    if at >= len(text):
        return Refused(phrase("found.condition_end"), _expected(error), offset=at)
    found = str(token) if token is not None else text[at]
    return Refused(_as_is(found), _expected(error), _meant(text, at, found), offset=at)


def _as_is(text: str) -> Phrase:
    return phrase("found.as_is", text=quoted(text))


def _expected(error: UnexpectedInput) -> Phrase:
    if isinstance(error, UnexpectedToken):
        accepted = {str(t) for t in error.accepts or error.expected}
        words = [shown for name, shown in _TERMINALS.items() if name in accepted]
        if words:
            return phrase("allowed.here", words=words)
    return phrase("allowed.condition_parts")


def _meant(text: str, at: int, found: str) -> Phrase | None:
    foreign = _FOREIGN.get(text[at : at + 2]) or _FOREIGN.get(text[at])
    if foreign:
        return phrase("meant.word", word=f'"{foreign}"')
    number = re.search(r"([0-9][0-9.]{0,20}) +$", text[:at])
    unit = found if found in UNITS else UNITS_MEANT.get(found.lower())
    return phrase("meant.without_blank", text=f'"{number[1]}{unit}"') if number and unit else None
