"""Too little room is told before anything is written; where it ends in the middle, what was built is removed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from logcaster_guard.adapters.files.build import build
from logcaster_guard.adapters.files.unpack import unpack
from logcaster_guard.domain.errors import NoRoom
from logcaster_guard.file_trees import Doing, UnpackPolicy
from tests.adapters.files.archives import member, packed
from tests.adapters.files.samples import FIRST, MIB, Site, finished, in_tree, small
from tests.real.file_systems import mounted
from tests.real.presence import required


@contextmanager
def volume(folder: Path, kind: str, options: str = "") -> Iterator[Site]:
    with mounted(kind, folder, options) as place:
        (place / "site").mkdir()
        yield Site(kind, place / "site")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("size=10m", r"a second tree needs \d+ bytes and \d+ are free: nothing was written"),
        ("size=64m,nr_inodes=30", r"a second tree needs 32 inodes and \d+ are free: nothing was written"),
    ],
)
def test_a_volume_that_is_too_small_is_told_before(tmp_path: Path, quick_site: Site, options: str, said: str) -> None:
    small(quick_site.source)
    with volume(tmp_path, "tmpfs", options) as small_one:
        with pytest.raises(NoRoom, match=said):
            finished(build(quick_site.source, small_one.production, FIRST))
        assert small_one.others == set()


def fill_bytes(folder: Path) -> None:
    room = os.statvfs(folder)
    os.posix_fallocate(os.open(folder / "filler", os.O_WRONLY | os.O_CREAT), 0, room.f_bavail * room.f_frsize)


def fill_inodes(folder: Path) -> None:
    for n in range(os.statvfs(folder).f_favail):
        (folder / f"filler{n}").touch()


@pytest.mark.parametrize(
    ("options", "fill", "said"),
    [("size=40m", fill_bytes, "bytes"), ("size=40m,nr_inodes=300", fill_inodes, "inodes")],
)
def test_a_volume_that_somebody_fills_meanwhile(
    tmp_path: Path, quick_site: Site, options: str, fill: Callable[[Path], None], said: str
) -> None:
    for n in range(40):
        (quick_site.source / str(n)).write_bytes(bytes(range(256)) * 64)
    with volume(tmp_path, "tmpfs", options) as site:
        present = in_tree(site.production)
        work = build(quick_site.source, site.production, FIRST)
        while (at := next(work)).doing != Doing.COPYING or at.entries < 5:
            pass
        fill(site.folder)
        with pytest.raises(NoRoom, match=rf"data: no {said} left at \d+: what was built is removed again"):
            finished(work)
        assert {name for name in site.others if not name.startswith("filler")} == set()
        assert in_tree(site.production) == present


@pytest.fixture
def with_quota(tmp_path: Path) -> Iterator[Site]:
    """6 MiB are all that may be written."""
    btrfs = required("btrfs")
    with mounted("btrfs", tmp_path) as place:
        for command in (
            ("quota", "enable", str(place)),
            ("subvolume", "create", str(place / "site")),
            ("qgroup", "limit", "6M", str(place / "site")),
        ):
            subprocess.run([btrfs, *command], check=True, capture_output=True)
        yield Site("btrfs", place / "site")


def test_a_quota_is_told_as_one(with_quota: Site, quick_site: Site) -> None:
    for n in range(10):
        (quick_site.source / str(n)).write_bytes(os.urandom(MIB))
    with pytest.raises(NoRoom, match=r"data: no quota left at \d: what was built is removed again"):
        finished(build(quick_site.source, with_quota.production, FIRST))
    assert with_quota.others == set()


def test_an_archive_that_does_not_fit_is_told_before_its_member_is_written(tmp_path: Path, quick_site: Site) -> None:
    archive = quick_site.folder / "archive.tar.gz"
    archive.write_bytes(packed(member(b"first"), member(b"large", bytes(30 * MIB))))
    with volume(tmp_path, "tmpfs", "size=40m") as site:
        with pytest.raises(NoRoom, match=r"a second tree needs \d+ bytes"):
            finished(unpack(archive, site.production, FIRST, UnpackPolicy()))
        assert site.others == set()
