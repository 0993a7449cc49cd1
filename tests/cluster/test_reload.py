"""Rules changed under a running guard, as a ConfigMap mount changes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.release import Behaviour, Releases
from logcaster_guard.sandbox.world import World
from tests.cluster.daemon import RULES, Daemon
from tests.cluster.harness import Cluster
from tests.cluster.test_guard import PACE, role

EDITS = 50
WINDOW = 20.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

WATCHED = f"""\
  - name: watched
    condition: "error_rate > 5%"
    duration: "{WINDOW:.0f}s"
    action: alert_only
"""
FAULTY = RULES + "  - {name: crash_loop, condition: 'restart_cuont > 5', duration: 5, action: alert_only}\n"


def other(number: int) -> str:
    """Rules in which only another rule than the watched one is ever different."""
    return RULES.replace('"restart_count > 5"', f'"restart_count > {5 + number}"') + WATCHED


class Mount:
    """A ConfigMap as the kubelet mounts it: every change is one swap of the link `..data`."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self._version = 0
        folder.mkdir()
        self.put(text)
        (folder / "rollback-rules.yaml").symlink_to("..data/rollback-rules.yaml")

    def put(self, text: str) -> None:
        self._version += 1
        version = self.folder / f"..version_{self._version}"
        version.mkdir()
        (version / "rollback-rules.yaml").write_text(text)
        draft = self.folder / "..data_tmp"
        draft.symlink_to(version.name)
        draft.rename(self.folder / "..data")


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    world = World(
        cluster.node(),
        namespace=cluster.namespace,
        releases=Releases({objects.image("1.0"): Behaviour(error_rate=0.3)}),
        rate=40,
        pace=PACE,
        period=0.1,
    )
    await cluster.grant("guard", role())
    await world.start(traffic=False)
    await world.install("1.0")
    await world.rolled_out(30)
    await world.traffic.start()
    await world.traffic.until(lambda t: t.window(2).total > 40, 20)
    yield world
    await world.stop()


async def test_fifty_edits_of_the_mounted_rules_lose_no_window(cluster: Cluster, world: World, tmp_path: Path) -> None:
    mount = Mount(tmp_path / "rules", other(0))
    daemon = Daemon(cluster, tmp_path, network=world.network.url, prometheus=None, rules=mount.folder)
    await daemon.start()
    pending = await daemon.until("trigger.pending", rule="watched")
    good = bad = 0
    for number in range(1, EDITS + 1):
        if number % 3 == 0:
            mount.put(FAULTY)
            bad += 1
            refused = await daemon.until("config.refused", count=bad)
            assert any("restart_cuont" in fault and "did you mean" in fault for fault in refused["faults"])
        else:
            mount.put(other(number))
            good += 1
            applied = await daemon.until("config.reloaded", count=good)
            assert applied["changed"] == ["crash_loop"]
            assert not applied["added"]
            assert not applied["removed"]
    fired = await daemon.until("trigger.fired", rule="watched")
    lasted = datetime.fromisoformat(fired["timestamp"]) - datetime.fromisoformat(fired["onset"])
    assert fired["onset"] == pending["onset"]
    assert lasted.total_seconds() >= WINDOW - 0.1
    assert len(daemon.told("trigger.pending", rule="watched")) == 1
    assert not daemon.told("trigger.cleared", rule="watched")
    assert not daemon.told("watch.crashed")
    assert await daemon.stop() == 0


async def test_other_settings_begin_the_guard_anew_over_its_journal(
    cluster: Cluster, world: World, tmp_path: Path
) -> None:
    mount = Mount(tmp_path / "rules", other(0))
    daemon = Daemon(cluster, tmp_path, network=world.network.url, prometheus=None, rules=mount.folder)
    await daemon.start()
    await daemon.until("trigger.pending", rule="watched")
    daemon.settings.write_text(daemon.settings.read_text().replace("stable_for: 3s", "stable_for: 4s"))
    await daemon.until("config.settings_changed")
    await daemon.until("guard.started", count=2)
    await daemon.until("trigger.restored", rule="watched")
    assert await daemon.stop() == 0
