from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import structlog

from logcaster_guard.domain import runs
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from tests.cluster.case import Case
from tests.cluster.crashes import Point
from tests.cluster.harness import Cluster
from tests.cluster.interference import TO_A_WORKLOAD, Disturbance, DisturbedScene, acts, judged
from tests.cluster.matrix import MATRIX, actions_with_a_strategy, part_of, record, shared

AT_ONCE = 8

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@dataclass(frozen=True)
class Row:
    """What became of a cell."""

    cell: Disturbance
    end: str
    faults: Sequence[str]
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:5.1f} s  {self.cell}: {self.end} {'; '.join(self.faults)}"


def test_the_matrix_is_of_every_strategy() -> None:
    assert actions_with_a_strategy() == {case.action for case in MATRIX}


@pytest.mark.parametrize("minimum", [None, 2], ids=["plain", "autoscaled"])
@pytest.mark.parametrize("case", MATRIX, ids=str)
async def test_people_win_at_every_point_of_a_rollback(  # noqa: PLR0917 - fixtures
    cluster: Cluster,
    api: ClusterPort,
    rights: Sequence[Json],
    case: Case,
    minimum: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)
    with structlog.testing.capture_logs() as log:
        points, _ = await record(cluster, api, rights, case, minimum)
        cells = disturbances(points, case)
        assert len(cells) == len(points) * (len(TO_A_WORKLOAD) * (2 if case.switches else 1) + 2)
        part = part_of(cells, cluster, case, minimum, row=len(acts(case)))
        slots = asyncio.Semaphore(AT_ONCE)

        async def play(cell: Disturbance) -> Row:
            async with slots:
                return await played(cluster, api, rights, case, minimum, cell=cell)

        rows = await asyncio.gather(*map(play, part.played))
    table = "\n".join(map(str, rows))
    ends = Counter(row.end for row in rows)
    sys.stdout.write(f"{case}, {minimum}: {len(points)} points, {part.words}: {dict(ends)}\n{table}\n")
    assert len(rows) == len(part.played)
    assert not [e for e in log if e["event"] in {"run.crashed", "watch.crashed"}]
    assert not [row for row in rows if row.faults], "\n".join(str(row) for row in rows if row.faults)


def disturbances(points: Sequence[Point], case: Case) -> list[Disturbance]:
    """Everything that somebody may do, at every point."""
    return [Disturbance(point, act) for point in points for act in acts(case)]


async def played(
    cluster: Cluster,
    api: ClusterPort,
    rights: Sequence[Json],
    case: Case,
    minimum: int | None,
    *,
    cell: Disturbance,
) -> Row:
    """One guard lives through the rollback, and somebody acts as the cell says."""
    began = time.monotonic()
    end, faults = "never happened", list[str]()
    try:
        async with DisturbedScene.set_up(cluster, api, rights, minimum, case=case) as scene:
            tape, left = await scene.disturbed(cell)
        if tape.began is not None or not shared(case, minimum):
            end, faults = judged(cell, case, minimum, tape, left)
    except Exception as error:  # noqa: BLE001 - one cell's failure must not hide how the others end
        end, faults = "never ended", [f"{type(error).__name__}: {error}"]
    return Row(cell, end, faults, time.monotonic() - began)
