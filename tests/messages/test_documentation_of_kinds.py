"""docs/messages.md names every kind and every parameter."""

from __future__ import annotations

from logcaster_guard.messages.texts import english
from tests.messages.kind_table import PAGE, written


def test_the_table_of_kinds_is_what_make_docs_writes() -> None:
    page = PAGE.read_text("utf-8")
    assert page == written(page)


def test_every_filter_is_described() -> None:
    page = PAGE.read_text("utf-8")
    assert [name for name in english()._templates._environment.filters if f"`{name}" not in page] == []
