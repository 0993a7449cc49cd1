from __future__ import annotations

from pathlib import Path

import pytest

from logcaster_guard.domain import runs
from logcaster_guard.domain.guardrails import Guardrail

REFUSALS = (Path(__file__).parents[1] / "docs" / "refusals.md").read_text()


@pytest.mark.parametrize("guardrail", list(Guardrail))
def test_every_guardrail_is_documented(guardrail: Guardrail) -> None:
    assert f"| `{guardrail}` |" in REFUSALS


@pytest.mark.parametrize(
    "outcome", [runs.RECOVERED, runs.NOT_RECOVERED, runs.INCONCLUSIVE, runs.FAILED, runs.ABANDONED]
)
def test_every_outcome_is_documented(outcome: str) -> None:
    assert f"| `{outcome}` |" in REFUSALS


def test_every_exit_code_is_documented() -> None:
    for code, meaning in {0: "done", 1: "the outcome is bad", 2: "the input is bad", 3: "could not be reached"}.items():
        told = next(part for part in REFUSALS.split("Exit codes: ")[1].split("; ") if f"`{code}`" in part)
        assert meaning in told
