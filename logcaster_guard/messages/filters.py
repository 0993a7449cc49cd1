"""What a template can do with a parameter: no filter gives more than a little longer text than it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

_HANGUL, _SYLLABLES, _FINALS = 0xAC00, 11_172, 28
_RIEUL = 8
_FINAL, _FINAL_L = "final", "final l"
_DIGITS = {"0": _FINAL, "1": _FINAL_L, "3": _FINAL, "6": _FINAL, "7": _FINAL_L, "8": _FINAL_L}
_NAMES_OF_LETTERS = {"L": _FINAL_L, "R": _FINAL_L, "M": _FINAL, "N": _FINAL}
_LETTERS = {"l": _FINAL_L, "m": _FINAL, "n": _FINAL, **dict.fromkeys("adfhijoqrsuvwxyz", "")}
"""How the last letter of an English word is heard in Korean, where that is the same in every word."""


def instant(at: datetime) -> str:
    """An instant to the second, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def stamp(at: datetime) -> str:
    """An instant as annotations name it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def percent(share: float) -> str:
    """A share of 1 in percent."""
    return f"{share:.0%}"


def number(value: float) -> str:
    """A number without needless zeros."""
    return f"{value:g}"


def join(parts: Iterable[object], separator: str = ", ") -> str:
    """The parts in one line."""
    return separator.join(str(part) for part in parts)


def sentence(text: str) -> str:
    """The text with a capital and a full stop, where it has none."""
    begun = text[:1].upper() + text[1:]
    return begun if not begun or begun.endswith((".", "!", "?")) else begun + "."


def stop(text: str) -> str:
    """The text with a full stop, where it has none."""
    return text if not text or text.rstrip("”").endswith((".", "!", "?")) else text + "."


def clause(text: str) -> str:
    """The text without its full stop, where more of the sentence follows."""
    return text.removesuffix(".")


def josa(word: object, after_final: str, after_vowel: str) -> str:
    """The word with the particle that its last sound asks for: `josa('을', '를')`, `josa('으로', '로')`.

    Where nobody can tell how an English word ends in Korean, both forms: `web을(를)`.
    """
    text = str(word)
    heard = _last_sound(text)
    if heard is None:
        both = after_final[: -len(after_vowel)] if after_final.endswith(after_vowel) else ""
        return f"{text}({both}){after_vowel}" if both else f"{text}{after_final}({after_vowel})"
    takes_vowel = not heard or (heard == _FINAL_L and after_final == "으로")
    return text + (after_vowel if takes_vowel else after_final)


def _last_sound(text: str) -> str | None:
    """Whether the text ends in a consonant (and whether that is ㄹ) or in a vowel (empty); None if nobody can tell."""
    heard = [c for c in text if c.isalnum()]
    if not heard:
        return None
    last = heard[-1]
    position = ord(last) - _HANGUL
    if 0 <= position < _SYLLABLES:
        final = position % _FINALS
        return _FINAL_L if final == _RIEUL else _FINAL if final else ""
    if last.isdigit():
        return _DIGITS.get(last, "")
    if last.isupper() and last.isascii():
        return _NAMES_OF_LETTERS.get(last, "")
    return _FINAL if "".join(heard[-2:]) == "ng" else _LETTERS.get(last)


FILTERS: Mapping[str, Callable[..., str]] = {
    "instant": instant,
    "stamp": stamp,
    "percent": percent,
    "number": number,
    "join": join,
    "sentence": sentence,
    "stop": stop,
    "clause": clause,
    "josa": josa,
}
"""Those of every language, by name."""
