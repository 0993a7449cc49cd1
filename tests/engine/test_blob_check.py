"""What is wrong with blobs, each in a sentence that says what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from logcaster_guard import saved_snapshots
from logcaster_guard.adapters.blobs import FolderBlobs
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.snapshots import Snapshot
from logcaster_guard.engine.blob_check import blob_flaws

WEB, SETTINGS = ({"kind": kind, "metadata": {"name": "web"}} for kind in ("Deployment", "ConfigMap"))
TAKEN = Snapshot(datetime(2026, 3, 1, tzinfo=UTC), "shop/web", (WEB, SETTINGS))


async def test_what_a_guard_keeps_is_sound(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    await saved_snapshots.save(blobs, TAKEN)
    await blobs.put(Release({"spec": {}}).to_bytes())
    await blobs.put(b'{"format":1,"at":"2026-03-01T00:00:00+00:00","target":"shop/web","manifests":[]}')
    assert await blob_flaws(blobs) == ()


@pytest.mark.parametrize("part", [0, 1])
async def test_a_part_that_is_damaged_or_gone_is_told_with_its_snapshot(tmp_path: Path, part: int) -> None:
    blobs = FolderBlobs(tmp_path)
    name = await saved_snapshots.save(blobs, TAKEN)
    digest = [await blobs.put(p) for p in TAKEN.parts()][part]
    file = tmp_path / digest[:2] / digest
    file.write_bytes(b"[]")
    damaged, lacking = map(str, await blob_flaws(blobs))
    assert f"the blob {digest} in {tmp_path} is damaged" in damaged
    assert f"the snapshot {name[:12]} of shop/web, taken 2026-03-01T00:00:00Z, lacks the blob {digest}" in lacking
    assert "restore it from a backup" in lacking
    file.unlink()
    assert [str(f) for f in await blob_flaws(blobs)] == [lacking]


@pytest.mark.parametrize("content", [b"", b"\x00", b"{}", b"[3]", b'{"format":9,"template":{}}', b'{"template":3}'])
async def test_what_no_guard_of_this_version_has_written_is_told(tmp_path: Path, content: bytes) -> None:
    blobs = FolderBlobs(tmp_path)
    digest = await blobs.put(content)
    [flaw] = map(str, await blob_flaws(blobs))
    assert f"the blob {digest} is no release, no snapshot and no part of one" in flaw
    assert "newer version" in flaw
