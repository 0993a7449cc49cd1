"""Hostile trees: each is refused by the name of what is wrong, and nothing is left of the attempt."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logcaster_guard.adapters.files.build import build
from logcaster_guard.adapters.files.folder import DEEPEST
from logcaster_guard.adapters.files.links import fault_of
from logcaster_guard.domain.errors import TreeError, TreeRefused, TreeUnavailable
from tests.adapters.files.samples import FIRST, Site, finished, in_tree, small
from tests.real.file_systems import mount, unmount


def listen(path: Path) -> None:
    """A name of a socket may be 107 bytes long."""
    here = Path.cwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(path.name)
    os.chdir(here)


def deep(path: Path) -> None:
    for _ in range(DEEPEST + 1):
        path.mkdir()
        path = path / "d"


def to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a FIFO": (os.mkfifo, "is a FIFO"),
    "a socket": (listen, "is a socket"),
    "a character device": (lambda p: os.mknod(p, stat.S_IFCHR | 0o666, os.makedev(1, 3)), "is a device"),
    "a block device": (lambda p: os.mknod(p, stat.S_IFBLK | 0o666, os.makedev(7, 0)), "is a device"),
    "an absolute link": (to("/etc/passwd"), "is a link to an absolute path"),
    "a link out": (to("../../../outside"), "is a link that leads out"),
    "a link just out": (to("../../.."), "is a link that leads out"),
    "a link down and out": (to("x/../../../../outside"), "goes down and up again"),
    "a link by another link": (to("../link/../../outside"), "goes down and up again"),
    "a link with many dots": (to("./.././../././../outside"), "is a link that leads out"),
    "folders without end": (deep, "lies more than 128 folders deep"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tree_is_refused_by_name(quick_site: Site, name: str) -> None:
    make, said = HOSTILE[name]
    small(quick_site.source)
    (quick_site.folder / "outside").write_text("not to be touched")
    present = in_tree(quick_site.production)
    make(quick_site.source / "below" / "further" / "evil")
    with pytest.raises(TreeRefused, match=f"source: below/further/evil.* {said}"):
        quick_site.build()
    assert quick_site.others == {"outside"}
    assert in_tree(quick_site.production) == present


def test_what_is_mounted_in_a_tree_is_refused(quick_site: Site) -> None:
    small(quick_site.source)
    for kind, source, options in (("tmpfs", "tmpfs", ""), ("none", str(quick_site.production), "bind")):
        mount(kind, source, quick_site.source / "below" / "further", options)
        try:
            with pytest.raises(TreeRefused, match="below/further is on another file system or mounted by itself"):
                quick_site.build()
        finally:
            unmount(quick_site.source / "below" / "further")
    assert quick_site.others == set()


def test_nothing_that_is_mounted_is_removed(quick_site: Site) -> None:
    unfinished = quick_site.folder / ".data.guard-draft.1.dead" / "tree" / "below"
    unfinished.mkdir(parents=True)
    (quick_site.folder / "outside").mkdir()
    (quick_site.folder / "outside" / "kept").touch()
    mount("none", str(quick_site.folder / "outside"), unfinished, "bind")
    try:
        with pytest.raises(TreeRefused, match="below is on another file system"):
            quick_site.build()
    finally:
        unmount(unfinished)
    assert (quick_site.folder / "outside" / "kept").exists()


def test_a_link_in_what_is_removed_is_not_followed(quick_site: Site) -> None:
    unfinished = quick_site.folder / ".data.guard-draft.1.dead"
    unfinished.mkdir()
    (quick_site.folder / "outside").mkdir()
    (quick_site.folder / "outside" / "kept").touch()
    (unfinished / "link").symlink_to("../outside")
    quick_site.build()
    assert (quick_site.folder / "outside" / "kept").exists()
    assert not unfinished.exists()


def test_a_folder_becomes_a_link_while_it_is_copied(quick_site: Site) -> None:
    """What is checked first and opened later is not opened by its path."""
    if quick_site.kind == "disk":
        pytest.skip("no file system can be mounted here on which this folder comes late")
    small(quick_site.source)
    (quick_site.folder / "outside").mkdir()
    (quick_site.folder / "outside" / "secret").write_text("not to be copied")
    work = build(quick_site.source, quick_site.production, FIRST)
    while next(work).doing != "copying":
        pass
    further = quick_site.source / "below" / "further"
    further.rename(quick_site.source / "moved")
    further.symlink_to("../../outside")
    with pytest.raises(TreeError, match=r"below/further"):
        finished(work)
    assert quick_site.others == {"outside"}


def test_the_marker_and_the_lock_are_not_written_through_links(quick_site: Site) -> None:
    outside = quick_site.folder / "outside"
    outside.write_text("not to be touched")
    for name in ("lock", "json", "json.draft"):
        (quick_site.folder / f".data.guard-{name}").symlink_to("outside")
        if name == "json.draft":
            quick_site.build()
        else:
            with pytest.raises(TreeUnavailable, match=f"guard-{name} cannot be used"):
                quick_site.build()
            (quick_site.folder / f".data.guard-{name}").unlink()
    assert outside.read_text() == "not to be touched"


@pytest.mark.parametrize("around", [".", ".."])
def test_a_tree_is_not_copied_into_itself(quick_site: Site, around: str) -> None:
    with pytest.raises(TreeRefused, match="is around the place where its copy would stand"):
        finished(build(quick_site.folder / around, quick_site.production, FIRST))


def test_a_source_is_a_folder(quick_site: Site) -> None:
    (quick_site.folder / "link").symlink_to("source")
    for source in ("link", "data/present", "nowhere"):
        with pytest.raises(TreeUnavailable, match=f"{source} cannot be used"):
            finished(build(quick_site.folder / source, quick_site.production, FIRST))


NAMES = st.sampled_from(["a", "b", "c", "d"])
TARGETS = st.lists(st.sampled_from(["..", ".", "a", "b", "c", "d"]), min_size=1, max_size=5).map("/".join)


@settings(max_examples=60)
@example({("a", "b"): "..", ("c",): "a/b/../d"})
@given(st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map(tuple), TARGETS, max_size=8))
def test_links_that_are_allowed_stay_in_the_tree_however_they_are_combined(
    tmp_path_factory: pytest.TempPathFactory, links: dict[tuple[str, ...], str]
) -> None:
    tree = tmp_path_factory.mktemp("links") / "x" / "y" / "tree"
    tree.mkdir(parents=True)
    made = []
    for path, target in sorted(links.items(), key=lambda link: -len(link[0])):
        if fault_of(target, len(path) - 1) is None:
            place = tree.joinpath(*path)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists() and not place.is_symlink():
                place.symlink_to(target)
                made.append(place)
    for place in made:
        assert Path(os.path.realpath(place)).is_relative_to(tree)


AS_SOMEBODY = """
import encodings.ascii, os, sys  # loaded while it can be read
from pathlib import Path
from logcaster_guard.adapters.files.build import build
from logcaster_guard.domain.errors import TreeError
from logcaster_guard.file_trees import Order
from logcaster_guard.messages.texts import english

english()
os.chdir(sys.argv[1])  # nobody else may come by the folders above
os.setgroups([]); os.setgid(1234); os.setuid(1234)
for n, source in enumerate(("own", "of root", "unreadable")):
    try:
        for _ in build(Path(source), Path("data"), Order(f"n{n}", 1)):
            pass
        print("built", source)
    except TreeError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_what_somebody_may_not_read_or_give_away_is_refused_by_name(quick_site: Site) -> None:
    for name in ("own", "of root", "unreadable"):
        (quick_site.folder / name).mkdir()
        (quick_site.folder / name / "file").touch()
    for path in (quick_site.folder, quick_site.production, *(quick_site.folder / "own").rglob("*")):
        os.chown(path, 1_234, 1_234)
    os.chown(quick_site.folder / "own", 1_234, 1_234)
    (quick_site.folder / "unreadable" / "file").chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", AS_SOMEBODY, str(quick_site.folder)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    built, not_given, not_read = done.stdout.splitlines()
    assert built == "built own"
    assert not_given == (
        "TreeRefused of root: file cannot be given its owner: Operation not permitted: "
        "run the guard as a user that may, or take it away"
    )
    assert not_read == "TreeUnavailable unreadable: file cannot be used: Permission denied"
