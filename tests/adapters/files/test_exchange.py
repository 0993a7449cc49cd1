"""A tree takes the place of production, is found there, and comes back; who may not do that is refused."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from logcaster_guard.adapters.files import linux
from logcaster_guard.adapters.files.beside import Beside
from logcaster_guard.adapters.files.build import build
from logcaster_guard.adapters.files.exchange import exchange, fence, look, prune
from logcaster_guard.adapters.files.folder import Folder
from logcaster_guard.domain.errors import NotExchangeable, TreeForeign, TreeSuperseded, TreeUnavailable
from logcaster_guard.file_trees import Exchange, Order, Replaced
from tests.adapters.files.samples import (
    FIRST,
    NOW,
    Site,
    finished,
    in_tree,
    names_of,
    small,
)
from tests.real.file_systems import mount, unmount

LATER = Order("second", 4)


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


def test_a_file_system_that_cannot_exchange_is_told_before_anything_is_copied(
    quick_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS, for one."""
    small(quick_site.source)

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(linux, "exchange_names", refuse)
    work = build(quick_site.source, quick_site.production, FIRST)
    with pytest.raises(
        NotExchangeable, match="cannot exchange two folders in one call: name a folder on another volume"
    ):
        next(work)
    assert quick_site.others == set()


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


@pytest.mark.parametrize("name", ["..", "n" * 121])
def test_production_has_a_name_of_its_own(quick_site: Site, name: str) -> None:
    for path in (quick_site.folder / name, Path("/")):
        with pytest.raises(NotExchangeable, match="needs a name of its own, of at most 120 bytes"):
            look(path)


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
