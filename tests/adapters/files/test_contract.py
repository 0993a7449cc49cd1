"""A tree is built beside production and compared, on each file system that there is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from logcaster_guard.adapters.files.build import build
from logcaster_guard.adapters.files.compare import compare
from logcaster_guard.adapters.files.linux import clone
from logcaster_guard.domain.errors import TreeRefused
from logcaster_guard.file_trees import Aspect
from tests.adapters.files.samples import (
    FIRST,
    MIB,
    ROOT,
    Site,
    finished,
    give_acl,
    in_tree,
    names_of,
    small,
    whole,
)
from tests.real.file_systems import SHARING


def test_what_is_built_is_the_same_in_everything_that_is_kept(site: Site) -> None:
    whole(site.source)
    before = in_tree(site.source)
    built = site.build()
    compared = site.compare(built.beside)
    assert (compared.differences, compared.first) == ([], before)
    assert compared.second.sha256 == before.sha256
    assert (built.beside, built.found, built.varied, site.others) == (
        ".data.guard-ready.first",
        False,
        [],
        {built.beside},
    )
    assert built.entries == before.entries - 1 == len(names_of(site.source))
    new, old = names_of(site.folder / built.beside), names_of(site.source)
    assert {name: status.st_nlink for name, status in new.items()} == {n: s.st_nlink for n, s in old.items()}
    assert new["below/large too"].st_ino == new["large"].st_ino
    assert all(new[name].st_blocks * 512 < MIB for name in ("sparse", "all hole"))


def test_what_stands_around_production_leaves_no_mark_on_what_is_built(site: Site) -> None:
    small(site.source)
    (site.source / "below").chmod(0o755)
    site.folder.chmod(0o2777)
    if ROOT:
        os.chown(site.folder, -1, 5_678)
    give_acl(site.folder, "default")
    assert site.compare(site.build().beside).same


def test_what_is_built_shares_nothing_that_can_be_written(site: Site) -> None:
    small(site.source)
    before = in_tree(site.source)
    new = site.folder / site.build().beside
    assert not {s.st_ino for s in names_of(new).values()} & {s.st_ino for s in names_of(site.source).values()}
    with (new / "below" / "1.txt").open("r+") as file:
        file.write("in place")
    (new / "below" / "3.txt").chmod(0o777)
    assert in_tree(site.source) == before


def test_blocks_are_shared_where_the_file_system_can(site: Site) -> None:
    (site.source / "large").write_bytes(os.urandom(12 * MIB))
    os.sync()
    before = os.statvfs(site.folder)
    site.build()
    after = os.statvfs(site.folder)
    taken = (before.f_bfree - after.f_bfree) * before.f_frsize
    if site.kind in SHARING or (site.kind == "disk" and can_clone(site)):
        assert taken < 3 * MIB
    elif site.kind == "tmpfs":
        assert taken >= 12 * MIB


def can_clone(site: Site) -> bool:
    with (site.source / "large").open("rb") as one, (site.folder / "other").open("wb") as other, suppress(OSError):
        clone(one.fileno(), other.fileno())
        return True
    return False


def replace_keeping_times(path: Path, content: bytes) -> None:
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def fill_hole(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), bytes(2 * MIB), 0)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def part(path: Path) -> None:
    """Give a name of a file to a file of its own."""
    folder = path.parent.stat()
    status = path.stat()
    shutil.copy2(path, path.with_name("copy"))
    path.with_name("copy").replace(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.utime(path.parent, ns=(folder.st_atime_ns, folder.st_mtime_ns))


def other_target(path: Path) -> None:
    folder, status = path.parent.stat(), path.lstat()
    path.unlink()
    path.symlink_to("below/2.txt")
    if ROOT:
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
        os.setxattr(path, "trusted.note", b"of the link", follow_symlinks=False)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
    os.utime(path.parent, ns=(folder.st_atime_ns, folder.st_mtime_ns))


CHANGES: dict[str, tuple[str, Aspect, Callable[[Path], None]]] = {
    "content of the same size and time": ("below/1.txt", Aspect.CONTENT, lambda p: replace_keeping_times(p, b"FILE 1")),
    "mode": ("below/1.txt", Aspect.MODE, lambda p: p.chmod(0o4644)),
    "a nanosecond": ("sparse", Aspect.MODIFIED, lambda p: os.utime(p, ns=(0, p.stat().st_mtime_ns + 1))),
    "the time of a folder": ("below/further", Aspect.MODIFIED, lambda p: os.utime(p, ns=(0, 1))),
    "an attribute": ("empty", Aspect.XATTRS, lambda p: os.setxattr(p, "user.note", b"a\0c")),
    "an ACL": ("below/6.txt", Aspect.XATTRS, lambda p: os.removexattr(p, "system.posix_acl_access")),
    "a default ACL": ("below/further", Aspect.XATTRS, lambda p: os.removexattr(p, "system.posix_acl_default")),
    "the target of a link": ("link", Aspect.TARGET, other_target),
    "a hard link": ("large", Aspect.LINKS, part),
    "a hole": ("sparse", Aspect.HOLES, fill_hole),
    "something more": ("below/more", Aspect.ADDED, Path.touch),
    "something less": ("below/0.txt", Aspect.MISSING, Path.unlink),
    "a whole folder less": ("alone", Aspect.MISSING, shutil.rmtree),
}
if ROOT:
    CHANGES |= {
        "owner": ("below/1.txt", Aspect.OWNER, lambda p: os.chown(p, 7, -1)),
        "the group of a link": ("link", Aspect.OWNER, lambda p: os.chown(p, -1, 7, follow_symlinks=False)),
        "a capability": ("below/3.txt", Aspect.XATTRS, lambda p: os.removexattr(p, "security.capability")),
        "an attribute of a link": (
            *("link", Aspect.XATTRS),
            lambda p: os.setxattr(p, "trusted.note", b"other", follow_symlinks=False),
        ),
    }


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, str]:
    made = Site("disk", tmp_path_factory.mktemp("twins"))
    whole(made.source)
    return made, made.build().beside


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_found_and_named(twins: tuple[Site, str], tmp_path: Path, change: str) -> None:
    path, aspect, make = CHANGES[change]
    site, beside = twins
    changed = finished_copy(site.source, tmp_path)
    make(changed / path)
    compared = finished(compare(site.folder / beside, changed))
    # Of two names of a file the one that is read last is named.
    found = {(d.path if d.path != "below/large too" else "large", d.aspect) for d in compared.differences}
    assert (path, aspect) in found
    # The time of its folder tells of what came or went; nothing else may differ.
    assert found - {(path, aspect)} <= {(os.path.dirname(path) or ".", Aspect.MODIFIED)}  # noqa: PTH120 - of a relative path
    assert (compared.first.sha256 == compared.second.sha256) == (aspect is Aspect.HOLES)


def finished_copy(source: Path, folder: Path) -> Path:
    (folder / "data").mkdir()
    return folder / finished(build(source, folder / "data", FIRST)).beside


def test_the_digest_does_not_depend_on_the_order_of_entries(site: Site) -> None:
    names = [f"{n:03}" for n in range(60)]
    for folder, order in ((site.source, names), (site.production, reversed(names))):
        for name in order:
            (folder / name).write_text(name)
            os.utime(folder / name, (0, 0))
        os.utime(folder, (0, 0))
    (site.production / "present").unlink()
    os.utime(site.production, (0, 0))
    assert in_tree(site.source) == in_tree(site.production)


def test_of_many_differences_the_first_are_named_and_the_rest_is_counted(quick_site: Site) -> None:
    for n in range(150):
        (quick_site.source / str(n)).touch()
    compared = finished(compare(quick_site.source, quick_site.production))
    # Each of them, what production holds, and the time of the folder.
    assert (len(compared.differences), compared.more) == (100, 52)


def test_more_attributes_than_a_file_can_have_are_told_as_that(site: Site, quick_site: Site) -> None:
    if quick_site.kind == "disk":
        pytest.skip("no file system that holds large attributes can be mounted here")
    (quick_site.source / "file").touch()
    os.setxattr(quick_site.source / "file", "user.note", bytes(30_000))
    try:
        finished(build(quick_site.source, site.production, FIRST))
    except TreeRefused as error:
        assert "source: file cannot be given its user.note: Argument list too long" in str(error)  # noqa: PT017 - some can
