"""What every blob store does, and what the folder does with what happens to folders."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from logcaster_guard.adapters.blobs import FolderBlobs
from logcaster_guard.adapters.kubernetes.blobs import KubernetesBlobs
from logcaster_guard.adapters.kubernetes.stored import Place
from logcaster_guard.domain.errors import BlobMissing, JournalUnavailable
from logcaster_guard.ports import Blobs
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.secrets import Secrets


@pytest.fixture(params=["memory", "folder", "kubernetes"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "folder":
        return FolderBlobs(tmp_path / "state" / "blobs")
    return (
        MemoryBlobs() if request.param == "memory" else KubernetesBlobs(Secrets(), Place("guards", "logcaster-guard"))
    )


@pytest.mark.parametrize("content", [b"", b"release", bytes(range(256)) * 4096])
async def test_content_is_found_under_its_sha256(blobs: Blobs, content: bytes) -> None:
    digest = await blobs.put(content)
    assert digest == hashlib.sha256(content).hexdigest()
    assert await blobs.get(digest) == content


async def test_putting_twice_or_at_once_keeps_one(blobs: Blobs) -> None:
    digests = await asyncio.gather(*(blobs.put(b"same") for _ in range(8)))
    assert len(set(digests)) == 1
    assert await blobs.get(digests[0]) == b"same"


@pytest.mark.parametrize(
    "digest", ["0" * 64, "", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n", "/etc/passwd"]
)
async def test_what_was_never_put_is_missing(blobs: Blobs, digest: str) -> None:
    with pytest.raises(BlobMissing):
        await blobs.get(digest)


async def test_what_is_kept_is_told(blobs: Blobs) -> None:
    assert list(await blobs.digests()) == []
    digests = [await blobs.put(content) for content in (b"one", b"two")]
    assert sorted(await blobs.digests()) == sorted(digests)


async def test_only_what_is_old_and_not_wanted_is_removed(blobs: Blobs) -> None:
    wanted, other = await blobs.put(b"wanted"), await blobs.put(b"other")
    assert await blobs.keep_only({wanted}, older_than=3_600.0) == 0
    assert await blobs.keep_only({wanted}, older_than=-1.0) == 1
    assert await blobs.get(wanted) == b"wanted"
    with pytest.raises(BlobMissing):
        await blobs.get(other)


def place(root: Path, digest: str) -> Path:
    return root / digest[:2] / digest


async def test_a_damaged_blob_is_missing_until_it_is_put_again(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    digest = await blobs.put(b"release")
    place(tmp_path, digest).write_bytes(b"releasf")
    with pytest.raises(BlobMissing, match="damaged"):
        await blobs.get(digest)
    await blobs.put(b"release")
    assert await blobs.get(digest) == b"release"


async def test_links_and_fifos_in_a_blobs_place_are_not_followed(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    digest = await blobs.put(b"release")
    (tmp_path / "elsewhere").write_bytes(b"release")
    place(tmp_path / "blobs", digest).unlink()
    place(tmp_path / "blobs", digest).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BlobMissing):
        await blobs.get(digest)
    place(tmp_path / "blobs", digest).unlink()
    os.mkfifo(place(tmp_path / "blobs", digest))
    with pytest.raises(BlobMissing):
        await blobs.get(digest)


async def test_only_the_owner_may_read_and_no_draft_stays(tmp_path: Path) -> None:
    digest = await FolderBlobs(tmp_path / "blobs").put(b"release")
    files = [p for p in (tmp_path / "blobs").rglob("*") if p.is_file()]
    assert files == [place(tmp_path / "blobs", digest)]
    assert files[0].stat().st_mode & 0o777 == 0o600
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "blobs", files[0].parent)} == {0o700}


async def test_a_folder_that_cannot_be_written_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JournalUnavailable, match=r"blob folder .* cannot be written"):
        await FolderBlobs(tmp_path / "file").put(b"release")
