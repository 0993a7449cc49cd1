"""`logcaster-guard snapshots` over a folder as a guard leaves it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from logcaster_guard import saved_snapshots
from logcaster_guard.adapters.blobs import FolderBlobs
from logcaster_guard.cli.main import app
from logcaster_guard.domain.snapshots import Snapshot
from logcaster_guard.ports import Json

WIDE = {"COLUMNS": "200"}


def manifest(image: str, version: str) -> Json:
    return {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "resourceVersion": version},
        "spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}},
        "status": {"observedGeneration": version},
    }


@pytest.fixture
async def names(tmp_path: Path) -> list[str]:
    """The snapshots' names, the older one first; another blob lies beside them."""
    blobs = FolderBlobs(tmp_path / "blobs")
    await blobs.put(b'{"template": {}, "change_cause": null, "applied_template": null}')
    (tmp_path / "guard.yaml").write_text(f"journal: {{path: {tmp_path}/journal.db, blobs: {tmp_path}/blobs}}\n")
    days = [("web:1", 1), ("web:2", 2), ("web:2", 3)]
    return [
        await saved_snapshots.save(
            blobs, Snapshot(datetime(2026, 1, day, tzinfo=UTC), "shop/web", (manifest(image, str(day)),))
        )
        for image, day in days
    ]


def call(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["snapshots", *arguments, "--config", str(folder / "guard.yaml")], env=WIDE)


def test_they_are_listed_the_newest_first(tmp_path: Path, names: list[str]) -> None:
    shown = call(tmp_path, "list").stdout
    assert [line.split()[0] for line in shown.splitlines()[2:]] == [n[:12] for n in reversed(names)]
    assert "2026-01-03 00:00:00Z" in shown
    found = json.loads(call(tmp_path, "list", "--json").stdout)["snapshots"]
    assert [s["name"] for s in found] == list(reversed(names))
    assert [s["images"] for s in found] == [["web:2"], ["web:2"], ["web:1"]]


def test_one_is_shown_as_it_was_saved(tmp_path: Path, names: list[str]) -> None:
    shown = call(tmp_path, "show", names[0][:8])
    assert (shown.exit_code, "image: web:1" in shown.stdout, "namespace: shop" in shown.stdout) == (0, True, True)


def test_a_difference_is_told_without_what_the_api_server_keeps_for_itself(tmp_path: Path, names: list[str]) -> None:
    shown = call(tmp_path, "diff", names[0], names[1])
    assert shown.exit_code == 1
    changed = [line for line in shown.stdout.splitlines() if line[:1] in "+-" and line[:3] not in {"+++", "---"}]
    assert [line.replace(" ", "") for line in changed] == ["--image:web:1", "+-image:web:2"]
    same = call(tmp_path, "diff", names[1], names[2])
    assert (same.exit_code, same.stdout.strip()) == (0, "Nothing differs.")


@pytest.mark.parametrize("which", ["zzz", ""])
def test_a_name_that_fits_none_is_a_sentence(tmp_path: Path, names: list[str], which: str) -> None:
    shown = call(tmp_path, "show", which)
    assert shown.exit_code == 2
    assert names[0][:12] in shown.stderr
    assert "Traceback" not in shown.output


def test_a_folder_that_is_not_there_holds_none(tmp_path: Path) -> None:
    (tmp_path / "guard.yaml").write_text(f"journal: {{path: {tmp_path}/journal.db, blobs: {tmp_path}/none}}\n")
    assert call(tmp_path, "list").stdout.strip() == "No snapshot yet."


def test_a_cluster_that_cannot_be_reached_is_a_sentence(tmp_path: Path, names: list[str]) -> None:
    kubeconfig = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "kubeconfig").write_text(json.dumps(kubeconfig))
    text = f"sources: {{kubernetes: {{kubeconfig: {tmp_path}/kept/kubeconfig}}}}\n"
    (tmp_path / "guard.yaml").write_text((tmp_path / "guard.yaml").read_text() + text)
    shown = call(tmp_path, "diff", names[0])
    assert (shown.exit_code, "Traceback" in shown.output) == (3, False)
