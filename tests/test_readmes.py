"""The Korean README says what the English one says: headings, commands, files and links are the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGLISH = (ROOT / "README.md").read_text("utf-8")
KOREAN = (ROOT / "README.ko.md").read_text("utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HANGUL = re.compile(r"[가-힣]")


def prose(text: str) -> str:
    return FENCE.sub("", text)


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ .+$", prose(text), re.MULTILINE)


def code(text: str) -> list[tuple[str, str]]:
    """Each block with its language; comments are for the readers, the rest is for the machine."""
    blocks = [(language, re.sub(r"[ \t]+#.*$", "", body, flags=re.MULTILINE)) for language, body in FENCE.findall(text)]
    return [(language, body) for language, body in blocks if language != "text"]


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)#]+)[^)]*\)", prose(text))


def names(text: str) -> set[str]:
    """What stands in backquotes: commands, files, keys."""
    return set(re.findall(r"`([^`]+)`", prose(text)))


def test_both_have_the_same_headings_by_level() -> None:
    assert [h.count("#") for h in headings(KOREAN)] == [h.count("#") for h in headings(ENGLISH)]
    assert all(HANGUL.search(h) for h in headings(KOREAN)[1:])


def test_both_have_the_same_commands_and_examples() -> None:
    assert code(KOREAN) == code(ENGLISH)


def test_both_name_the_same_things() -> None:
    assert names(ENGLISH) <= names(KOREAN)
    assert names(KOREAN) - names(ENGLISH) <= {"language: ko"}


def test_both_have_as_many_points_and_paragraphs() -> None:
    assert prose(KOREAN).count("\n- **") == prose(ENGLISH).count("\n- **")
    counts = [len([p for p in prose(t).split("\n\n") if p.strip()]) for t in (KOREAN, ENGLISH)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("text", [ENGLISH, KOREAN], ids=["English", "Korean"])
def test_every_link_leads_somewhere(text: str) -> None:
    assert all((ROOT / link).exists() for link in links(text))


def test_each_links_to_the_other_and_to_the_same_pages() -> None:
    assert set(links(ENGLISH)) - {"README.ko.md"} == set(links(KOREAN)) - {"README.md"}
    assert "README.ko.md" in links(ENGLISH)
    assert "README.md" in links(KOREAN)
