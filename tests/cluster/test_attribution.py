"""Who is rolled back where many things change at once: exactly the release that did it, and nobody where none did."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.harness import Cluster
from tests.cluster.many_services import BAD, GOOD, NAMES, NEW, WITHIN, street

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CULPRIT, *OTHERS = NAMES
MANY = {CULPRIT: BAD, **dict.fromkeys(OTHERS, NEW)}


async def test_of_ten_rollouts_with_one_bad_exactly_that_one_is_rolled_back(cluster: Cluster, tmp_path: Path) -> None:
    async with street(cluster, tmp_path) as ten:
        await ten.roll(MANY)
        opened = await ten.guard.until("run.opened", within=WITHIN)
        assert opened["evidence"]["cause"] == "rollout"
        await ten.guard.until("run.closed", outcome="recovered", within=WITHIN)
        for name in OTHERS:
            await ten.guard.until("revision.good", target=ten.key(name), count=2, within=WITHIN)
        assert ten.opened() == [CULPRIT]
        assert await ten.versions() == {CULPRIT: GOOD, **dict.fromkeys(OTHERS, NEW)}
        assert not ten.guard.told("trigger.refused")


async def test_a_dependency_that_fails_for_all_ten_rolls_nobody_back(cluster: Cluster, tmp_path: Path) -> None:
    async with street(cluster, tmp_path) as ten:
        await ten.roll(dict.fromkeys(NAMES, NEW))
        ten.world.releases.dependency_failure = 0.4
        refusals = await ten.refused(*NAMES)
        for refusal in refusals:
            assert set(refusal["guardrails"]) <= {"shared_cause", "several_suspects"}
            assert refusal["evidence"]["cause"] in {"shared cause", "several suspects"}
            assert "error_rate" in refusal["evidence"]["attribution"]
        # As long again as it took: whoever would change their mind has had the occasion.
        before = ten.users[CULPRIT].total
        await ten.users[CULPRIT].until(lambda t: t.total > before + 150, WITHIN)
        assert ten.opened() == []
        assert await ten.versions() == dict.fromkeys(NAMES, NEW)
        assert [ten.notices(name) for name in NAMES] == [1] * len(NAMES)


async def test_of_ten_that_a_dependency_fails_only_the_one_that_is_bad_too_is_rolled_back(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with street(cluster, tmp_path) as ten:
        await ten.roll(MANY)
        ten.world.releases.dependency_failure = 0.2
        opened = await ten.guard.until("run.opened", within=WITHIN)
        assert "stands out" in opened["evidence"]["attribution"]
        await ten.refused(*OTHERS)
        ten.world.releases.dependency_failure = 0.0
        await ten.guard.until("run.closed", outcome="recovered", within=2 * WITHIN)
        assert ten.opened() == [CULPRIT]
        assert await ten.versions() == {CULPRIT: GOOD, **dict.fromkeys(OTHERS, NEW)}


@pytest.mark.parametrize("at_fault", ["release", "dependency"])
async def test_old_pods_beside_the_new_ones_tell_which_of_both_it_is(
    cluster: Cluster, tmp_path: Path, at_fault: str
) -> None:
    """New pods that are Ready and not yet available: the rollout stands still, and both kinds serve."""
    async with street(cluster, tmp_path, names=(CULPRIT,), replicas=4, rate=40.0) as one:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 4, "maxUnavailable": 0}}
        await one.roll({CULPRIT: BAD if at_fault == "release" else NEW}, minReadySeconds=300, strategy=strategy)
        if at_fault == "dependency":
            await one.guard.until("revision.live", count=2, within=WITHIN)
            one.world.releases.dependency_failure = 0.4
            [refusal] = await one.refused(CULPRIT)
            assert refusal["guardrails"] == ["shared_cause"]
            assert "of the old pods: alike" in refusal["evidence"]["attribution"]
            assert one.opened() == []
            return
        opened = await one.guard.until("run.opened", within=WITHIN)
        assert "of the old pods: stands out" in opened["evidence"]["attribution"]
        # Its pods are not available for minutes, so that the run goes on.
        await one.guard.until("step.done", step=0, within=WITHIN)
        assert await one.versions() == {CULPRIT: GOOD}
