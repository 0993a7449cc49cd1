from __future__ import annotations

import signal
from collections.abc import Sequence

import pytest

from logcaster_guard.domain import runs
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.release import Behaviour
from tests.cluster.case import BAD
from tests.cluster.daemon import Daemon
from tests.cluster.ending import ending, writes_of
from tests.cluster.harness import Cluster
from tests.cluster.matrix import ONCE
from tests.cluster.scene import Scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.mark.parametrize("moment", ["run.opened", "step.intended", "step.done"])
async def test_killed_for_real(cluster: Cluster, api: ClusterPort, rights: Sequence[Json], moment: str) -> None:
    minimum = 2
    async with Scene.set_up(cluster, api, rights, minimum, pace=Pace(start_delay=0.1, drain=0.6)) as scene:
        scene.world.releases.register(objects.image(BAD), Behaviour(error_rate=0.3))
        await scene.world.network.start()
        await scene.world.traffic.start()
        daemon = Daemon(scene.cluster, scene.folder, network=scene.world.network.url, prometheus=None)
        try:
            await daemon.start()
            opened = await daemon.until("run.opened")
            if moment != "run.opened":
                await daemon.until(moment, step=opened["steps"].index("restore_template"))
            assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
            assert not daemon.told("run.closed")
            await daemon.start()
            await daemon.until("run.resumed", run=opened["run"])
            await daemon.until("run.closed", outcome=runs.RECOVERED)
            await daemon.until("notice.delivered", about="run.closed")
            assert await daemon.stop() == 0
        finally:
            await daemon.stop()
        await scene.world.traffic.until(lambda t: t.window(2).error_share == 0, 15)
        facts = await scene.facts()
    writes = writes_of(await cluster.read_audit(), scene.cluster.namespace)
    assert ending(facts, writes, minimum, ONCE[True], cut_off=True) == ("rolled back once", [])
