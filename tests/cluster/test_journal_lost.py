"""The journal's file fails under a guard process that is in the middle of a rollback, or is damaged when one starts."""

from __future__ import annotations

import json
import re
import resource
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest

from logcaster_guard.domain.rules import Action
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.release import Behaviour
from tests.adapters.receiver import receiver, status
from tests.adapters.test_journal_fsync import failing_disk
from tests.adapters.test_journal_sqlite import half, newer
from tests.cluster.case import BAD, GOOD, REPLICAS, Case
from tests.cluster.ending import writes_of
from tests.cluster.environments import BLUE, GREEN
from tests.cluster.harness import Cluster
from tests.cluster.matrix import record
from tests.cluster.test_manual import free_address
from tests.cluster.test_stopping import all_well
from tests.cluster.underway import Underway, underway
from tests.real.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.usefixtures("brief")]
GRADUAL, BLUE_GREEN = Case(Action.GRADUAL), Case(Action.BLUE_GREEN)
SIZE = b'"replicas": %d, "kind": "scale_production"' % REPLICAS


def flipped(path: Path) -> None:
    """One byte, and production would be given no pods in the end."""
    whole = path.read_bytes()
    before, found, after = whole.rpartition(SIZE)
    assert found
    path.write_bytes(before + SIZE.replace(b"%d" % REPLICAS, b"0") + after)


DAMAGES: Mapping[str, Callable[[Path], None]] = {"damaged": flipped, "cut": half, "newer": newer}


def files(made: Underway) -> Mapping[str, bytes]:
    """What the guard keeps, without the lock beside it."""
    found = sorted(p for p in made.scene.folder.glob("journal.db*") if p.suffix != ".lock")
    return {p.name: p.read_bytes() for p in found}


async def written(cluster: Cluster, made: Underway) -> int:
    """How many of the guard's writes were taken."""
    return writes_of(await cluster.read_audit(), made.scene.cluster.namespace).total()


async def asked(address: str, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}{path}") as answer:
        return answer.status, await answer.text()


async def test_with_a_journal_that_cannot_be_trusted_it_leaves_a_shifted_rollback_alone_and_says_what_is_there(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    minimum, address = 2, free_address()
    _, known = await record(cluster, api, rights, GRADUAL, minimum)
    async with receiver(status("200 OK")) as people, underway(cluster, api, rights, GRADUAL, minimum) as made:
        channel = {"name": "people", "url": f"http://127.0.0.1:{people.port}/"}
        made.edit(web={"listen": address}, notify={"webhooks": [channel]})
        await made.daemon.start()
        opened = await made.reached("judge_helper")
        assert await made.daemon.stop() == 0
        path, shifted, before = made.scene.folder / "journal.db", await made.stands(), await written(cluster, made)
        (helper,) = set(shifted["deployments"]) - {objects.DEPLOYMENT}
        shutil.copyfile(path, whole := path.with_name("whole"))
        for count, damage in enumerate(DAMAGES.values(), start=1):
            shutil.copyfile(whole, path)
            damage(path)
            left = files(made)
            await made.daemon.start()
            await made.daemon.until("journal.unavailable", count=count, effect="the guard only watches")
            stranded = await made.daemon.until("run.stranded", count=count)
            assert helper in stranded["detail"]
            assert opened["run"] in stranded["detail"]
            # It has seen the breach, and with a journal would have acted.
            refused = await made.daemon.until("trigger.refused", count=count)
            assert "no_journal" in refused["guardrails"]
            await made.daemon.until("notice.delivered", about="journal.lost", channel="people", count=count)
            code, ready = await asked(address, "/readyz")
            assert (code, "The journal cannot be used" in ready, helper in ready) == (503, True, True)
            assert await made.daemon.stop() == 0
            assert await made.stands() == shifted
            assert files(made) == left
        assert await written(cluster, made) == before
        told = [json.loads(body) for _, _, body in people.requests]
        lost = [n for n in told if n["event"] == "journal.lost"]
        assert [helper in n["text"] for n in lost] == [True] * len(DAMAGES)
        shutil.copyfile(whole, path)
        await made.resumed(opened["run"])
        assert await all_well(cluster, made, minimum, known) == []
    assert (made.samples > 0, made.lowest) == (True, REPLICAS)


@dataclass
class Disk:
    """The disk under the journal of a process that runs."""

    kind: str
    folder: Path
    made: Underway

    @classmethod
    def under(cls, made: Underway, kind: str, folder: Path) -> Disk:
        """Made before the process is started."""
        if kind != "full":
            made.daemon.environment = failing_disk(folder, read_only=kind == "turned read-only")
        return cls(kind, folder, made)

    def fail(self) -> None:
        """From now on it takes nothing."""
        if self.kind == "full":
            log = self.made.scene.folder / "journal.db-wal"
            self._limit(log.stat().st_size)
        else:
            Path(self.made.daemon.environment["FAILING_DISK"]).touch()

    def mend(self) -> None:
        """It works again."""
        if self.kind == "full":
            self._limit(resource.RLIM_INFINITY)
        else:
            Path(self.made.daemon.environment["FAILING_DISK"]).unlink()

    def _limit(self, size: int) -> None:
        process = self.made.daemon.pid
        _, most = resource.prlimit(process, resource.RLIMIT_FSIZE)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size if most < 0 else min(size, most), most))


async def failures(address: str) -> float:
    """How often the journal has failed, as the guard tells."""
    _, metrics = await asked(address, "/metrics")
    (told,) = re.findall(r"^logcaster_guard_journal_failures_total (\S+)$", metrics, re.MULTILINE)
    return float(told)


async def stands_still(cluster: Cluster, made: Underway, disk: Disk, address: str) -> Json:
    """The disk fails, and the guard has tried twice to write down what comes next; what is there all the while."""
    before, already = await made.stands(), len(made.daemon.told("journal.unavailable"))
    writes = await written(cluster, made)
    known = await failures(address)
    disk.fail()
    line = await made.daemon.until(
        "journal.unavailable", count=already + 1, effect="nothing is changed without a journal"
    )

    async def tried_twice() -> bool:
        return await failures(address) >= known + 2

    await until(tried_twice, 60)
    assert "disk" in line["detail"] or "read-only" in line["detail"]
    assert await made.stands() == before
    assert await written(cluster, made) == writes
    return before


@pytest.mark.parametrize("kind", ["full", "cannot sync"])
async def test_half_shifted_it_holds_what_is_there_until_the_disk_takes_something_again(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], tmp_path: Path, kind: str
) -> None:
    minimum, address = 2, free_address()
    _, known = await record(cluster, api, rights, GRADUAL, minimum)
    async with underway(cluster, api, rights, GRADUAL, minimum) as made:
        made.edit(web={"listen": address})
        disk = Disk.under(made, kind, tmp_path)
        await made.daemon.start()
        opened = await made.reached("judge_helper")
        before = await stands_still(cluster, made, disk, address)
        assert before["deployments"][objects.DEPLOYMENT] == (2, objects.image(BAD))
        assert sum(size for size, _ in before["deployments"].values()) == 4
        if kind == "full":
            disk.mend()
            await made.ended(opened["run"])
        else:
            # It is told to end meanwhile, and the next one finds a disk that works.
            assert await made.daemon.stop() == 0
            assert await made.stands() == before
            disk.mend()
            await made.resumed(opened["run"])
        assert await all_well(cluster, made, minimum, known) == []
    assert (made.samples > 0, made.lowest) == (True, REPLICAS)


@pytest.mark.parametrize("kind", ["full", "turned read-only"])
async def test_the_service_is_not_switched_until_the_disk_takes_something_again(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], tmp_path: Path, kind: str
) -> None:
    case = replace(BLUE_GREEN, missing=kind == "full")
    _, known = await record(cluster, api, rights, case, None)
    async with underway(cluster, api, rights, case) as made:
        made.scene.world.releases.register(objects.image(GOOD), Behaviour(ready=False))
        made.edit(web={"listen": (address := free_address())})
        disk = Disk.under(made, kind, tmp_path)
        await made.daemon.start()
        opened = await made.reached("await_environment")
        made.scene.world.releases.register(objects.image(GOOD), Behaviour())
        before = await stands_still(cluster, made, disk, address)
        assert set(before["deployments"]) == {BLUE, GREEN}
        assert before["selector"][objects.ENVIRONMENT] == objects.GREEN
        disk.mend()
        await made.ended(opened["run"])
        assert (await made.stands())["selector"][objects.ENVIRONMENT] == objects.BLUE
        assert await all_well(cluster, made, None, known) == []
    assert (made.samples > 0, made.lowest) == (True, REPLICAS)
