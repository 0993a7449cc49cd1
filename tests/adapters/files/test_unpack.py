"""Archives become trees, member by member; a hostile one is refused by what is wrong with it, and touches nothing."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logcaster_guard.adapters.files.compare import compare
from logcaster_guard.adapters.files.unpack import unpack
from logcaster_guard.domain.errors import TreeError, TreeRefused, TreeUnavailable
from logcaster_guard.file_trees import Aspect, Built, UnpackPolicy
from tests.adapters.files.archives import END, extended, folder, hard_link, link, long_name, member, packed
from tests.adapters.files.samples import FIRST, MIB, ROOT, Site, finished, in_tree, run, small
from tests.real.presence import required

POLICY = UnpackPolicy(most_members=1_000, most_bytes=16 * MIB)
GOOD = member(b"good", b"good")


def unpacked(site: Site, archive: bytes, policy: UnpackPolicy = POLICY) -> Built:
    path = site.folder / "archive.tar.gz"
    path.write_bytes(archive)
    try:
        return finished(unpack(path, site.production, FIRST, policy))
    finally:
        path.unlink()


HOSTILE: dict[str, tuple[Sequence[bytes], str]] = {
    "absolute": ([member(b"/etc/evil")], "/etc/evil has an absolute name"),
    "absolute by its prefix": ([member(b"evil", prefix=b"/etc")], "/etc/evil has an absolute name"),
    "absolute by a pax header": ([extended(("path", b"/etc/evil")), member(b"good")], "/etc/evil has an absolute name"),
    "absolute by a long name": ([long_name(b"/etc/evil"), member(b"good")], "/etc/evil has an absolute name"),
    "up": ([member(b"../evil")], r"\.\./evil has a name with \.\."),
    "down and up": ([member(b"a/../../evil")], r"has a name with \.\."),
    "up by a pax header": ([extended(("path", b"../evil")), member(b"good")], r"has a name with \.\."),
    "up, as a folder": ([folder(b"..")], r"has a name with \.\."),
    "a link out": ([link(b"evil", b"../outside")], "evil is a link that leads out"),
    "an absolute link": ([link(b"evil", b"/etc/passwd")], "evil is a link to an absolute path"),
    "a link down and up": ([folder(b"a"), link(b"evil", b"a/../../outside")], "evil is a link that goes down and up"),
    "a link out by a pax header": (
        [extended(("linkpath", b"../../outside")), link(b"evil", b"good")],
        "evil is a link that leads out",
    ),
    "a link to nothing": ([link(b"evil", b"")], "evil is a link to nothing"),
    "a member below a link": ([link(b"evil", b"."), member(b"evil/file")], "evil/file lies below a member that is no"),
    "a folder on a link": ([link(b"evil", b"."), folder(b"evil")], "evil/ lies below a member that is no folder"),
    "a member below a file": ([GOOD, member(b"good/file")], "good/file lies below a member that is no folder"),
    "a link on a folder": ([folder(b"evil"), link(b"evil", b".")], "evil is there twice"),
    "a file twice": ([GOOD, member(b"./good", b"other")], r"\./good is there twice"),
    "a folder twice": ([folder(b"a"), folder(b"./a")], r"\./a/ is there twice"),
    "a file over a link": ([link(b"evil", b"good"), member(b"evil", b"through it")], "evil is there twice"),
    "a hard link out": ([hard_link(b"evil", b"../outside")], r"evil has a name with \.\."),
    "a hard link to /etc": ([hard_link(b"evil", b"/etc/passwd")], "evil has an absolute name"),
    "a hard link to a link": (
        [link(b"a", b"good"), GOOD, hard_link(b"evil", b"a")],
        "evil is a hard link to what is no",
    ),
    "a hard link by a link": (
        [folder(b"d"), member(b"d/f"), link(b"a", b"d"), hard_link(b"evil", b"a/f")],
        "evil is a hard link to what is no file",
    ),
    "a hard link to what comes later": ([hard_link(b"evil", b"good"), GOOD], "evil is a hard link to what is no file"),
    "a hard link to a folder": ([folder(b"d"), hard_link(b"evil", b"d")], "evil is a hard link to what is no file"),
    "a character device": ([member(b"evil", kind=b"3")], "evil is a device"),
    "a block device": ([member(b"evil", kind=b"4")], "evil is a device"),
    "a FIFO": ([member(b"evil", kind=b"6")], "evil is a FIFO"),
    "a kind that nobody knows": ([member(b"evil", kind=b"Z")], "evil is neither a file, a folder nor a link"),
    "a volume's label": ([member(b"evil", kind=b"V")], "evil is neither a file"),
    "a file that ends with a slash": ([member(b"evil/")], "evil/ is neither a file"),
    "setuid": ([member(b"evil", mode=0o4755)], "evil has setuid or setgid"),
    "setgid": ([member(b"evil", mode=0o2755)], "evil has setuid or setgid"),
    "a capability": (
        [extended(("SCHILY.xattr.security.capability", b"x")), member(b"evil")],
        "evil has an extended attribute that is not allowed",
    ),
    "an ACL as text": (
        [extended(("SCHILY.acl.access", b"user::rw-")), member(b"evil")],
        "evil has an access control list",
    ),
    "a name that goes on after its end": ([member(b"good\0/../evil")], r"good\\x00/\.\./evil has a name that goes on"),
    "a pax name with a NUL": ([extended(("path", b"a\0b")), GOOD], r"goes on after its end"),
    "a long name with a NUL": ([long_name(b"a\0b"), GOOD], "goes on after its end"),
    "no name": ([member(b"")], "has no name"),
    "a file without a name": ([member(b"./")], "has no name|neither a file"),
    "a part of 256 bytes": ([long_name(b"e" * 256), GOOD], "has a name that is too long"),
    "a path of 5,000 bytes": ([long_name(b"e/" * 100 + b"x/" * 2_400 + b"f"), GOOD], "folders deep|too long"),
    "a long path of few parts": ([long_name(b"/".join([b"e" * 250] * 20)), GOOD], "has a name that is too long"),
    "folders without end": ([long_name(b"e/" * 129 + b"f"), GOOD], "lies more than 128 folders deep"),
    "an old sparse member": ([member(b"evil", b"x", kind=b"S")], "evil is a sparse member"),
    "a new sparse member": ([extended(("GNU.sparse.major", b"1")), member(b"evil", b"x")], "evil is a sparse member"),
    "more than is allowed": ([member(b"evil", size=17 * MIB)], "evil is larger than is allowed"),
    "an exabyte": ([member(b"evil", size=b"\x80" + (1 << 60).to_bytes(11, "big"))], "evil is larger than is allowed"),
    "a negative size": ([member(b"evil", size=b"\xff" * 12)], "evil has a number that cannot be one"),
    "a size that is none": ([member(b"evil", size=b"12 monkeys!!")], "evil has a number that cannot be one"),
    "a size in another header": (
        [extended(("size", b"1024")), member(b"evil", b"x")],
        "evil has two sizes that differ",
    ),
    "a pax size that is none": ([extended(("size", b"-1")), member(b"evil")], "evil has a number that cannot be one"),
    "an owner of -1": ([extended(("uid", b"4294967295")), member(b"evil")], "evil has a number that cannot be one"),
    "a time without end": ([extended(("mtime", b"1e99")), member(b"evil")], "evil has a number that cannot be one"),
    "a time beyond all": ([member(b"evil", mtime=b"\x80" + b"\x7f" * 11)], "evil has a number that cannot be one"),
    "a link with content": (
        [member(b"evil", b"x", kind=b"2", target=b"good")],
        "evil has content, though it is no file",
    ),
    "a folder with content": ([member(b"evil", b"x", kind=b"5")], "evil has content, though it is no file"),
    "a global pax header": ([extended(("path", b"x"), kind=b"g"), GOOD], "a header that changes every member"),
    "a pax header that says two things": (
        [extended(("path", b"good"), ("path", b"../evil")), GOOD],
        "says the same thing twice",
    ),
    "two pax headers": ([extended(("path", b"a")), extended(("path", b"b")), GOOD], "says the same thing twice"),
    "a pax and a long name": ([long_name(b"a"), extended(("path", b"b")), GOOD], "says the same thing twice"),
    "a pax header that is none": (
        [member(b"pax", b"99 path=x\n", kind=b"x"), GOOD],
        "extended header that cannot be read",
    ),
    "a pax header of a length of 0": ([member(b"pax", b"0 path=x\n", kind=b"x"), GOOD], "header that cannot be read"),
    "a pax header of 2 GiB": ([member(b"pax", size=2 << 30, kind=b"x")], "a header of more than 1 MiB"),
    "a long name of 2 GiB": ([member(b"pax", size=2 << 30, kind=b"L")], "a header of more than 1 MiB"),
    "headers of no member": ([GOOD, long_name(b"a")], "headers that belong to no member"),
    "too many members": ([member(b"%d" % n) for n in range(1_001)], "more members than are allowed"),
    "a second archive": ([GOOD, END, member(b"../evil"), END], "goes on after its end"),
    "one block of zeros": ([GOOD, bytes(512), member(b"../evil")], "goes on after its end"),
    "a wrong checksum": ([GOOD, b"x" + GOOD[1:]], "holds no tar archive, or a damaged one"),
    "no tar archive": ([b"plain text " * 100], "holds no tar archive, or a damaged one"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_by_name_and_nothing_is_touched(quick_site: Site, name: str) -> None:
    members, said = HOSTILE[name]
    small(quick_site.source)
    outside = quick_site.folder / "outside"
    outside.write_text("not to be touched")
    canaries = [in_tree(tree) for tree in (quick_site.source, quick_site.production)]
    with pytest.raises(TreeRefused, match=f"archive.tar.gz.*{said}"):
        unpacked(quick_site, packed(member(b"first", b"first"), *members))
    assert [in_tree(tree) for tree in (quick_site.source, quick_site.production)] == canaries
    assert (quick_site.others, outside.read_text()) == ({"outside"}, "not to be touched")


def bomb() -> bytes:
    """A gigabyte of zeros after one small file."""
    packer = zlib.compressobj(9, wbits=31)
    made = [packer.compress(GOOD + END)]
    made += [packer.compress(bytes(MIB)) for _ in range(1_024)]
    return b"".join([*made, packer.flush()])


WHOLE = packed(folder(b"a"), member(b"a/b", os.urandom(3_000)), GOOD)
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not a gzip file"),
    "another format": (b"PK\x03\x04" + bytes(100), "is not a gzip file"),
    "cut in the middle": (WHOLE[: len(WHOLE) // 2], "is cut short"),
    "cut before its checksum": (WHOLE[:-8], "is cut short"),
    "cut in its checksum": (WHOLE[:-1], "is cut short"),
    "without its end": (packed(GOOD, end=b""), "is cut short"),
    "with half of its end": (packed(GOOD, end=bytes(512)), "is cut short"),
    "with a member that is cut": (packed(GOOD[:-100], end=b""), "is cut short"),
    "another checksum": (WHOLE[:-8] + bytes(4) + WHOLE[-4:], "is damaged: its content does not match its checksum"),
    "another length": (WHOLE[:-4] + bytes(4), "is damaged: its content does not match its checksum"),
    "garbage after it": (WHOLE + b"garbage", "goes on after its end"),
    "zeros after it": (WHOLE + bytes(10), "goes on after its end"),
    "a second stream": (WHOLE + packed(member(b"../evil")), "goes on after its end"),
    "garbage in it": (packed(GOOD, end=END + b"garbage"), "goes on after its end"),
    "a bomb after its end": (bomb(), "unpacks to more bytes than are allowed"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_archive_is_refused_whole(quick_site: Site, name: str) -> None:
    archive, said = BROKEN[name]
    with pytest.raises(TreeRefused, match=f"the archive .*archive.tar.gz {said}"):
        unpacked(quick_site, archive)
    assert quick_site.others == set()


def test_no_cut_and_no_flipped_bit_is_taken_for_the_archive(quick_site: Site) -> None:
    ends = range(0, len(WHOLE), 97)
    for end in ends:
        with pytest.raises(TreeRefused):
            unpacked(quick_site, WHOLE[:end])
    good = unpacked(quick_site, WHOLE).archive
    (quick_site.folder / ".data.guard-ready.first").rename(quick_site.folder / "good")
    for bit in range(3, 8 * len(WHOLE), 8 * len(WHOLE) // 30):
        flipped = bytearray(WHOLE)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            built = unpacked(quick_site, bytes(flipped))
        except TreeRefused:
            continue
        # Of the gzip header some bits tell of nothing that is in the archive; the hash of the file tells them.
        assert bit < 80
        assert built.archive != good
        compared = finished(compare(quick_site.folder / "good", quick_site.folder / built.beside))
        assert {d.aspect for d in compared.differences} <= {Aspect.MODIFIED}
        (quick_site.folder / built.beside).rename(quick_site.folder / f"same{bit}")


@pytest.mark.parametrize("content", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_what_python_packs_is_unpacked_as_it_was(quick_site: Site, content: int) -> None:
    small(quick_site.source)
    if content != tarfile.USTAR_FORMAT:
        (quick_site.source / ("l" * 120)).write_text("long")
        (quick_site.source / "below" / "한글").write_text("korean")
    (quick_site.source / "executable").touch(0o755)
    os.utime(quick_site.source, (0, 1_500_000_000))
    path = quick_site.folder / "made.tar.gz"
    with tarfile.open(path, "w:gz", format=content) as archive:
        archive.add(quick_site.source, ".")
    built = unpacked(quick_site, path.read_bytes())
    assert built.archive == hashlib.sha256(path.read_bytes()).hexdigest()
    # Python packs fractions of a second as floats.
    assert {d.aspect for d in quick_site.compare(built.beside).differences} <= {Aspect.MODIFIED}


def test_what_gnu_tar_packs_is_unpacked_as_it_was(quick_site: Site) -> None:
    small(quick_site.source)
    os.setxattr(quick_site.source / "below" / "1.txt", "user.note", b"kept")
    (quick_site.source / ("l" * 120)).write_text("long")
    (quick_site.source / os.fsdecode(b"not \xff utf-8")).write_text("odd")
    if ROOT:
        os.chown(quick_site.source / "below", 1_234, 5_678)
    (quick_site.source / "below").chmod(0o3770)
    path = quick_site.folder / "made.tar.gz"
    for form in ("--format=gnu", "--format=posix"):
        attributes = ["--xattrs"] if form == "--format=posix" else []
        run(required("tar"), "czf", str(path), form, *attributes, "-C", str(quick_site.source), ".")
        built = unpacked(quick_site, path.read_bytes())
        differences = {(d.path, d.aspect) for d in quick_site.compare(built.beside).differences}
        if attributes:
            assert differences == set()
        else:
            assert {aspect for _, aspect in differences} <= {Aspect.MODIFIED, Aspect.XATTRS}
        (quick_site.folder / built.beside).rename(quick_site.folder / form)


def test_setuid_is_unpacked_where_that_is_allowed(quick_site: Site) -> None:
    policy = UnpackPolicy(most_members=10, most_bytes=MIB, set_id=True)
    built = unpacked(quick_site, packed(member(b"tool", mode=0o4711)), policy)
    assert (quick_site.folder / built.beside / "tool").stat().st_mode & 0o7777 == 0o4711


def test_folders_that_no_member_tells_of_are_made(quick_site: Site) -> None:
    """`tar czf backup.tar.gz /var/lib/logcaster` packs no member for `var`."""
    built = unpacked(quick_site, packed(folder(b"var/lib/data", 0o750), member(b"var/lib/data/x", b"content")))
    made = quick_site.folder / built.beside / "var" / "lib"
    assert (made / "data" / "x").read_text() == "content"
    assert [path.stat().st_mode & 0o7777 for path in (made, made / "data")] == [0o755, 0o750]


def test_an_archive_that_is_no_file_is_refused(quick_site: Site) -> None:
    place = quick_site.folder / "archive.tar.gz"
    makers: Sequence[Callable[[Path], object]] = (os.mkfifo, lambda p: p.symlink_to("outside"), Path.mkdir, Path.exists)
    for make in makers:
        make(place)
        with pytest.raises(TreeError, match=r"archive\.tar\.gz"):
            finished(unpack(place, quick_site.production, FIRST, POLICY))
        if place.is_dir():
            place.rmdir()
        else:
            place.unlink(missing_ok=True)


def test_an_archive_that_is_written_while_it_is_read_is_refused(quick_site: Site) -> None:
    path = quick_site.folder / "archive.tar.gz"
    path.write_bytes(WHOLE)
    work = unpack(path, quick_site.production, FIRST, POLICY)
    next(work)
    os.utime(path)
    with pytest.raises(TreeRefused, match="was written while it was read"):
        finished(work)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=2_048), st.integers(0, 2_600))
def test_whatever_stands_in_an_archive_it_is_unpacked_or_refused(quick_site: Site, noise: bytes, at: int) -> None:
    content = bytearray(extended(("path", b"a")) + member(b"x", b"content") + link(b"l", b"a") + GOOD + END)
    content[at : at + len(noise)] = noise
    try:
        unpacked(quick_site, gzip.compress(bytes(content), 1))
    except (TreeRefused, TreeUnavailable):
        assert quick_site.others == set()
    else:
        (made,) = quick_site.others
        run("rm", "-r", str(quick_site.folder / made))
