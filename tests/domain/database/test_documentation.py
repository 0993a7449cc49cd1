"""docs/database.md names every reason for which a statement is refused, not judged, or counted as a loss."""

from __future__ import annotations

from pathlib import Path

import pytest

from logcaster_guard.domain.database.destinations import SCHEMA_VERSION
from logcaster_guard.domain.database.migrations import MAX_FILE_BYTES
from logcaster_guard.domain.database.statement_findings import Doubt, LossKind, Refusal
from logcaster_guard.domain.database.statements.parsing import DEEPEST

PAGE = (Path(__file__).parents[3] / "docs" / "database.md").read_text("utf-8")


@pytest.mark.parametrize("reason", [*Refusal, *Doubt, *LossKind])
def test_every_reason_is_documented(reason: str) -> None:
    assert any(line.startswith("| ") and f"`{reason}`" in line.split("|")[1] for line in PAGE.splitlines())


def test_the_bounds_are_those_of_the_code() -> None:
    assert f"{MAX_FILE_BYTES >> 10} KiB" in PAGE
    assert f"{DEEPEST:,} words" in PAGE
    assert f"**`{SCHEMA_VERSION}`**" in PAGE
