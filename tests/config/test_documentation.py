"""docs/configuration.md against the models: no key missing, none invented, nothing of one told wrong."""

from __future__ import annotations

import re

from logcaster_guard.config.rules import RulesFile
from logcaster_guard.config.sections import SettingsFile
from logcaster_guard.domain.signals import BUILT_IN_UNITS
from tests.config.key_tables import PAGE, rows, written

ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
EXPECTED = {key: (default, meaning) for key, _, default, meaning in [*rows(RulesFile), *rows(SettingsFile)]}


def test_the_tables_of_keys_are_what_make_docs_writes() -> None:
    page = PAGE.read_text("utf-8")
    assert page == written(page)


def test_every_key_is_in_a_table_once() -> None:
    found = [key for key, *_ in ROW.findall(PAGE.read_text("utf-8")) if key not in BUILT_IN_UNITS]
    assert sorted(found) == sorted(EXPECTED)


def test_every_built_in_signal_is_documented_with_its_unit() -> None:
    rows = {name: unit for name, unit, *_ in ROW.findall(PAGE.read_text("utf-8")) if name in BUILT_IN_UNITS}
    assert rows == {name: unit.value for name, unit in BUILT_IN_UNITS.items()}
