"""A daemon that finds its journal unusable tells people; a command that does tells the person who gave it."""

from __future__ import annotations

from pathlib import Path

import pytest

from logcaster_guard import app
from logcaster_guard.config.loading import load
from tests.real.control_plane import write_kubeconfig

SETTINGS = """\
targets: [{{name: web, namespace: shop, deployment: web, service: web}}]
sources: {{prometheus: {{url: null}}, kubernetes: {{kubeconfig: {folder}/access/kubeconfig, timeout: 1s}}}}
journal: {{path: {folder}/journal.db, blobs: {folder}/blobs}}
"""
RULES = """\
rollback_triggers: [{name: high_error_rate, condition: "error_rate > 5%", duration: 5m, action: alert_only}]
"""


@pytest.mark.parametrize("by_hand", [False, True])
async def test_only_a_daemon_sounds_the_alarm(tmp_path: Path, by_hand: bool) -> None:
    (tmp_path / "access").mkdir()
    write_kubeconfig(tmp_path / "access" / "kubeconfig", "http://127.0.0.1:9", None, "none")
    (tmp_path / "journal.db").write_text("no journal at all")
    files = tmp_path / "guard.yaml", tmp_path / "rollback-rules.yaml"
    files[0].write_text(SETTINGS.format(folder=tmp_path))
    files[1].write_text(RULES)
    loaded = load(*files)
    assert not isinstance(loaded, list), loaded
    async with app.built(loaded, by_hand=by_hand) as guard:
        assert not guard.state.available
        assert guard.journal_down._lost.is_set() is not by_hand
