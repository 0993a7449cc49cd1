"""A tree is built beside production, compared, exchanged and found again: on each file system that there is."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from logcaster_guard.adapters.files.beside import Beside
from logcaster_guard.adapters.files.build import build
from logcaster_guard.adapters.files.compare import compare
from logcaster_guard.adapters.files.exchange import exchange, fence, look, prune
from logcaster_guard.adapters.files.folder import Folder
from logcaster_guard.adapters.files.linux import clone
from logcaster_guard.domain.errors import NotExchangeable, TreeForeign, TreeRefused, TreeSuperseded, TreeUnavailable
from logcaster_guard.file_trees import Aspect, Exchange, Order, Replaced
from tests.adapters.files.samples import (
    FIRST,
    MIB,
    NOW,
    ROOT,
    Site,
    finished,
    give_acl,
    in_tree,
    names_of,
    small,
    whole,
)
from tests.real.file_systems import SHARING, mount, unmount

LATER = Order("second", 4)


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


def test_production_is_exchanged_and_comes_back(site: Site) -> None:
    small(site.source)
    new, old = in_tree(site.source), in_tree(site.production)
    done = site.exchange(site.build().beside)
    assert (in_tree(site.production), in_tree(site.folder / done.replaced)) == (new, old)
    assert done.replaced == ".data.guard-replaced.20260131T120000Z.first"
    assert site.others == {done.replaced}
    seen = look(site.production)
    assert (seen.ready, seen.unfinished, seen.operation, seen.done, seen.epoch) == ({}, [], "first", True, 3)
    assert seen.replaced == [Replaced(done.replaced, NOW, "first")]
    back = site.exchange(done.replaced, LATER)
    assert (in_tree(site.production), in_tree(site.folder / back.replaced)) == (old, new)


def test_an_operation_is_found_done_and_not_done_again(site: Site) -> None:
    small(site.source)
    built = site.build()
    assert (site.build().found, site.build().beside) == (True, built.beside)
    assert look(site.production).ready == {"first": built.beside}
    done = site.exchange(built.beside)
    again = site.exchange(built.beside)
    assert (again.found, again.replaced) == (True, done.replaced)
    assert site.build().found
    assert (site.production / "link").is_symlink()


def test_who_leads_no_more_changes_nothing(quick_site: Site) -> None:
    small(quick_site.source)
    beside = quick_site.build().beside
    fence(quick_site.production, 4)
    fence(quick_site.production, 4)
    for what in (
        lambda: quick_site.exchange(beside),
        lambda: quick_site.build(Order("other", 3)),
        lambda: finished(prune(quick_site.production, 3, NOW + timedelta(days=1))),
        lambda: fence(quick_site.production, 2),
    ):
        with pytest.raises(TreeSuperseded, match=r"later leader \(epoch 4, and this one has [23]\)"):
            what()
    assert (quick_site.others, set(names_of(quick_site.production))) == ({beside}, {"present"})
    quick_site.exchange(beside, Order("first", 4))
    assert (quick_site.production / "link").is_symlink()


def test_a_leader_that_is_cut_off_while_it_builds_leaves_nothing(quick_site: Site) -> None:
    small(quick_site.source)
    work = build(quick_site.source, quick_site.production, FIRST)
    for _ in range(30):
        next(work)
    assert len(look(quick_site.production).unfinished) == 1
    fence(quick_site.production, 4)
    # Its successor leaves alone what it is still at, and builds the same.
    built = quick_site.build(Order("first", 4))
    assert look(quick_site.production).unfinished == [".data.guard-draft.3.first"]
    with pytest.raises(TreeSuperseded):
        finished(work)
    assert quick_site.others == {built.beside}
    assert quick_site.compare(built.beside).same


def test_the_same_is_not_built_by_two_at_a_time(quick_site: Site) -> None:
    small(quick_site.source)
    first = build(quick_site.source, quick_site.production, FIRST)
    next(first)
    with pytest.raises(TreeUnavailable, match="another process is at work"):
        quick_site.build()
    assert quick_site.compare(finished(first).beside).same


def test_one_operation_puts_one_tree_into_place(quick_site: Site) -> None:
    small(quick_site.source)
    built = quick_site.build()
    quick_site.exchange(built.beside)
    with pytest.raises(TreeForeign, match="operation first was begun with another tree"):
        quick_site.exchange(built.beside, new="another digest")
    with pytest.raises(TreeForeign, match=r"there is no tree \.data\.guard-ready\.second"):
        quick_site.exchange(".data.guard-ready.second", LATER)
    with pytest.raises(TreeForeign, match="there is no tree source"):
        quick_site.exchange("source", LATER)


def test_what_somebody_else_has_put_there_is_not_taken_for_the_guards(quick_site: Site) -> None:
    small(quick_site.source)
    built = quick_site.build()
    quick_site.exchange(built.beside)
    quick_site.production.rename(quick_site.folder / "taken away")
    quick_site.production.mkdir()
    with pytest.raises(TreeForeign, match="neither the tree that operation first found nor the one"):
        quick_site.exchange(built.beside)
    assert not look(quick_site.production).done


@pytest.mark.parametrize("content", ["", "[]", "{", '{"epoch": "3"}', '{"epoch": -1}', '{"more": 1}', "[" * 100_000])
def test_a_marker_of_nobody_knows_whom_stops_everything(quick_site: Site, content: str) -> None:
    (quick_site.folder / ".data.guard-json").write_text(content)
    for what in (lambda: look(quick_site.production), lambda: fence(quick_site.production, 9), quick_site.build):
        with pytest.raises(TreeForeign, match="none of a guard's"):
            what()


def test_a_tree_is_kept_until_it_is_old_and_what_is_unfinished_goes(site: Site) -> None:
    small(site.source)
    replaced = site.exchange(site.build().beside).replaced
    unfinished = site.folder / ".data.guard-draft.1.dead"
    shutil.copytree(site.source, unfinished, symlinks=True)
    assert finished(prune(site.production, 3, NOW)).removed == []
    assert site.others == {replaced}
    assert finished(prune(site.production, 3, NOW + timedelta(seconds=1))).removed == [replaced]
    assert site.others == set()


def test_a_tree_that_no_operation_came_to_use_makes_room_for_the_next(quick_site: Site) -> None:
    small(quick_site.source)
    quick_site.build()
    second = quick_site.build(LATER)
    assert quick_site.others == {second.beside}


def test_what_was_production_is_never_taken_for_a_tree_of_no_use(
    quick_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard dies right after the exchange, and somebody replaces production before it is back."""
    small(quick_site.source)
    old = in_tree(quick_site.production)
    beside = quick_site.build().beside
    monkeypatch.setattr(Beside, "settle", lambda *_: None)
    quick_site.exchange(beside)
    monkeypatch.undo()
    quick_site.production.rename(quick_site.folder / "taken away")
    quick_site.production.mkdir()
    quick_site.build(LATER)
    (replaced,) = look(quick_site.production).replaced
    assert in_tree(quick_site.folder / replaced.beside) == old


def test_more_attributes_than_a_file_can_have_are_told_as_that(site: Site, quick_site: Site) -> None:
    (quick_site.source / "file").touch()
    os.setxattr(quick_site.source / "file", "user.note", bytes(30_000))
    try:
        finished(build(quick_site.source, site.production, FIRST))
    except TreeRefused as error:
        assert "source: file cannot be given its user.note: Argument list too long" in str(error)  # noqa: PT017 - some can


def test_a_mount_point_is_refused_and_a_folder_below_it_is_not(quick_site: Site) -> None:
    small(quick_site.source)
    mount("tmpfs", "tmpfs", quick_site.production)
    try:
        below = quick_site.production / "below"
        below.mkdir()
        for wanted in (quick_site.build, lambda: look(quick_site.production)):
            with pytest.raises(NotExchangeable, match=r"is a mount point.*name a folder below it"):
                wanted()
        finished(build(quick_site.source, below, FIRST))
    finally:
        unmount(quick_site.production)


def test_a_folder_that_is_mounted_from_the_same_file_system_is_refused(quick_site: Site) -> None:
    """So a pod sees a subPath."""
    small(quick_site.source)
    (quick_site.folder / "volume").mkdir()
    mount("none", str(quick_site.folder / "volume"), quick_site.production, "bind")
    try:
        with pytest.raises(NotExchangeable, match="is a mount point"):
            quick_site.build()
    finally:
        unmount(quick_site.production)


def test_a_mount_that_comes_between_is_refused_by_the_call_itself(
    quick_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(quick_site.source)
    beside = quick_site.build().beside
    mount("none", str(quick_site.source), quick_site.production, "bind")
    monkeypatch.setattr(Beside, "check_place", lambda _: None)
    try:
        with pytest.raises(NotExchangeable, match="is a mount point"):
            quick_site.exchange(beside)
    finally:
        unmount(quick_site.production)
    monkeypatch.undo()
    assert not quick_site.exchange(beside).found


def test_a_layer_of_an_image_is_refused(quick_site: Site) -> None:
    layers = [quick_site.folder / name for name in ("lower", "upper", "work", "merged")]
    for layer in layers:
        layer.mkdir()
    lower, upper, work, merged = layers
    (lower / "data").mkdir()
    small(quick_site.source)
    mount("overlay", "overlay", merged, f"lowerdir={lower},upperdir={upper},workdir={work},redirect_dir=off")
    try:
        beside = finished(build(quick_site.source, merged / "data", FIRST)).beside
        with pytest.raises(NotExchangeable, match="is on a layer of another file system"):
            exchange(merged / "data", Exchange(beside, ""), FIRST, NOW)
    finally:
        unmount(merged)


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (lambda p: p.symlink_to("source"), "is a symbolic link: name the folder"),
        (lambda _: None, "is not there: make an empty folder"),
        (Path.touch, "is not there"),
    ],
)
def test_production_is_a_folder(quick_site: Site, made: Callable[[Path], None], match: str) -> None:
    shutil.rmtree(quick_site.production)
    made(quick_site.production)
    with pytest.raises(NotExchangeable, match=match):
        quick_site.build()


@pytest.mark.parametrize("operation", ["", "../x", "a/b", "a" * 65, "a\n"])
def test_the_id_of_an_operation_is_part_of_a_name(quick_site: Site, operation: str) -> None:
    with pytest.raises(ValueError, match="no id of an operation"):
        quick_site.build(Order(operation, 1))


def test_readers_of_one_handle_see_old_or_new_whole(site: Site) -> None:
    trees = {"old": site.production, "new": site.source}
    for content, tree in trees.items():
        for name in ("one", "other"):
            (tree / name).write_text(content)
    beside, seen, ended = site.build().beside, set[str](), threading.Event()

    def sample() -> None:
        while not ended.is_set():
            with Folder.at(site.production) as handle:
                seen.add("".join(read(handle, name) for name in ("one", "other")))

    readers = [threading.Thread(target=sample) for _ in range(2)]
    for reader in readers:
        reader.start()
    exchanges = count()
    while (n := next(exchanges)) < 8 or (len(seen) < 2 and n < 5_000):
        beside = site.exchange(beside, Order(f"n{n}", 3)).replaced
    ended.set()
    for reader in readers:
        reader.join(30)
    assert seen == {"oldold", "newnew"}


def read(folder: Folder, name: str) -> str:
    handle, _ = folder.file(name)
    with open(handle) as file:  # noqa: PTH123 - a handle has no path
        return file.read()
