"""Archives that want out: nothing is ever written outside of the target, and what was refused is said.

Each runs on directories that are held open, and on paths, as where a system has no ``openat``.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kubex_stream import CopyError
from kubex_stream.transfer.archive import Member
from kubex_stream.transfer.tree import Directory, Handle, PathDirectory, open_directory
from tests.transfer.archives import (
    Entry,
    archive,
    directory,
    entry,
    extract,
    extractor,
    file,
    hardlink,
    snapshot,
    symlink,
)

if sys.platform == "win32":
    pytest.skip("these names and links are those of POSIX", allow_module_level=True)

Opened = Callable[[str], Handle]


@pytest.fixture(params=[open_directory, PathDirectory], ids=["descriptors", "paths"])
def opened(request: pytest.FixtureRequest) -> Opened:
    value: Opened = request.param
    return value


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """Where a copy goes, beside something that must not change."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_bytes(b"as it was")
    os.chmod(tmp_path / "outside" / "precious", 0o600)
    (tmp_path / "inside").mkdir()
    return tmp_path / "inside"


def check_outside(inside: Path) -> None:
    assert set(os.listdir(inside.parent)) == {"inside", "outside"}
    mode = stat.S_IFREG | 0o600
    assert snapshot(inside.parent / "outside") == {b"precious": (mode, b"as it was")}
    assert set(os.listdir(inside)) <= {"dst"}, "nothing beside what was asked for"


SRC = directory("src")
ESCAPES: dict[str, tuple[list[Entry], str]] = {
    "absolute": ([file("/tmp/evil")], "absolute"),
    "absolute and in the tree": ([SRC, file("/src/evil")], "absolute"),
    "up": ([file("../outside/evil")], r"'\.\.'"),
    "up from inside": ([SRC, file("src/../../outside/evil")], r"'\.\.'"),
    "up and back": ([file("src/../src/evil")], r"'\.\.'"),
    "beside": ([file("other/evil")], "not below"),
    "beside, alone": ([file("evil")], "not below"),
    "nothing": ([file("./")], "not below"),
    "link up, written through": ([SRC, symlink("src/l", "../../outside"), file("src/l/evil")], "leads out"),
    "absolute link, written through": ([SRC, symlink("src/l", "/tmp"), file("src/l/evil")], "absolute"),
    "link inside, written through": ([SRC, directory("src/d"), symlink("src/l", "d"), file("src/l/x")], "in the way"),
    "link inside, made a directory": ([SRC, directory("src/d"), symlink("src/l", "d"), directory("src/l")], "in the way"),
    "file, then below it": ([SRC, file("src/f"), file("src/f/x")], "in the way"),
    "down and up": ([SRC, directory("src/d"), symlink("src/d/l", "e/../../.."), file("src/d/l/x")], "down and then up"),
    "two links": (
        [SRC, directory("src/a"), symlink("src/a/l", ".."), symlink("src/b", "a/l/../../outside"), file("src/b/x")],
        "down and then up",
    ),
    "the tree itself a link": ([symlink("src", "../outside"), file("src/evil")], ""),
    "hard link to outside": ([SRC, hardlink("src/h", "../outside/precious"), file("src/h", b"evil")], r"'\.\.'"),
    "absolute hard link": ([SRC, hardlink("src/h", "/etc/passwd")], "absolute"),
    "hard link beside": ([SRC, hardlink("src/h", "outside/precious")], "not below"),
    "hard link to a link": ([SRC, symlink("src/l", "x"), hardlink("src/h", "src/l")], "no file"),
    "hard link to a directory": ([SRC, directory("src/d"), hardlink("src/h", "src/d")], "no file"),
    "hard link to nothing": ([SRC, hardlink("src/h", "src/nothing")], "No such file"),
    "device": ([SRC, entry("src/dev", tarfile.CHRTYPE)], "a device"),
    "block device": ([SRC, entry("src/dev", tarfile.BLKTYPE)], "a device"),
    "fifo": ([SRC, entry("src/fifo", tarfile.FIFOTYPE)], "a FIFO"),
    "unheard of": ([SRC, entry("src/what", b"Z")], "neither file"),
    "very deep": ([SRC, file("src/" + "d/" * 200 + "x")], "deep"),
    "a long name": ([SRC, file("src/" + "n" * 300)], "name too long"),
    "a directory in the way": ([SRC, directory("src/d"), file("src/d")], "directory"),
}  # fmt: skip


@pytest.mark.parametrize("case", ESCAPES)
def test_escapes_are_refused_and_said(inside: Path, case: str, opened: Opened) -> None:
    entries, reason = ESCAPES[case]
    done = extract(inside, archive(*entries), opened=opened)
    check_outside(inside)
    if reason:
        assert [each for each in done.refusals.kept if re.search(reason, each.reason, re.IGNORECASE)], (
            done.refusals.kept
        )


def test_the_rest_goes_on(inside: Path, opened: Opened) -> None:
    done = extract(inside, archive(SRC, file("../evil"), file("src/good", b"good")), opened=opened)
    assert (inside / "dst" / "good").read_bytes() == b"good"
    assert [(each.name, each.reason) for each in done.refusals.kept] == [("../evil", "'..' in its path")]
    assert (done.files, done.copied) == (1, 4)


def test_what_is_refused_is_counted_and_not_all_kept(inside: Path) -> None:
    done = extract(inside, archive(*(file(f"/{number}") for number in range(1500))))
    assert (done.refusals.count, len(done.refusals.kept)) == (1500, 1000)


# What was there before -----------------------------------------------------------------------------------------------


def test_a_link_that_was_there_is_not_written_through(inside: Path, opened: Opened) -> None:
    (inside / "dst").mkdir()
    os.symlink("../../outside", inside / "dst" / "d")
    done = extract(inside, archive(SRC, directory("src/d"), file("src/d/precious"), file("src/x")), opened=opened)
    check_outside(inside)
    assert done.refusals.count == 2
    assert (inside / "dst" / "x").exists()


def test_a_link_in_place_of_a_file_is_replaced(inside: Path, opened: Opened) -> None:
    (inside / "dst").mkdir()
    os.symlink("../../outside/precious", inside / "dst" / "f")
    extract(inside, archive(SRC, file("src/f", b"new")), opened=opened)
    check_outside(inside)
    assert not (inside / "dst" / "f").is_symlink()
    assert (inside / "dst" / "f").read_bytes() == b"new"


def test_the_tree_itself_a_link_that_was_there(inside: Path, opened: Opened) -> None:
    os.symlink("../outside", inside / "dst")
    done = extract(inside, archive(SRC, file("src/precious")), opened=opened)
    check_outside(inside)
    assert done.refusals.count == 2


def test_a_file_with_another_name_outside_keeps_that(inside: Path, opened: Opened) -> None:
    (inside / "dst").mkdir()
    os.link(inside.parent / "outside" / "precious", inside / "dst" / "f")
    extract(inside, archive(SRC, file("src/f", b"new", mode=0o666)), opened=opened)
    check_outside(inside)
    assert (inside / "dst" / "f").read_bytes() == b"new"


def test_a_directory_that_becomes_a_link_meanwhile(inside: Path) -> None:
    """Somebody else puts a link where the copy has just made a directory; held open, it is still the directory that is written into."""
    with extractor(inside) as made:
        made.begin(Member("src/d", "directory", 0, 0o755, 0))
        made.end()
        os.rename(inside / "dst" / "d", inside / "dst" / "moved")
        os.symlink("../../outside", inside / "dst" / "d")
        made.begin(Member("src/d/evil", "file", 0, 0o644, 0))
        made.end()
        made.finish()
    check_outside(inside)


def test_no_set_uid_comes_along(inside: Path, opened: Opened) -> None:
    extract(inside, archive(directory("src", mode=0o7777), file("src/f", mode=0o6755)), opened=opened)
    assert stat.S_IMODE((inside / "dst" / "f").stat().st_mode) == 0o755
    assert stat.S_IMODE((inside / "dst").stat().st_mode) == 0o777


# Links that may stay -------------------------------------------------------------------------------------------------


def test_links_inside_of_the_tree(inside: Path, opened: Opened) -> None:
    entries = [
        SRC, directory("src/d"), file("src/f", b"f"), symlink("src/l", "f"), symlink("src/d/up", "../f"), symlink("src/dangling", "d/nothing"),
        hardlink("src/d/h", "src/f"), hardlink("src/d/h", "src/f"),
    ]  # fmt: skip
    done = extract(inside, archive(*entries), opened=opened)
    assert (done.refusals.kept, done.links, done.files) == ([], 3, 3)
    top = inside / "dst"
    assert (os.readlink(top / "l"), os.readlink(top / "d" / "up"), os.readlink(top / "dangling")) == (
        "f",
        "../f",
        "d/nothing",
    )
    assert os.path.samefile(top / "d" / "h", top / "f")
    assert sorted(os.listdir(top / "d")) == ["h", "up"], "no temporary names"


def test_a_tree_again_over_itself(inside: Path, opened: Opened) -> None:
    data = archive(
        SRC, directory("src/d", mode=0o555), file("src/f"), symlink("src/l", "f"), hardlink("src/h", "src/f")
    )
    extract(inside, data, opened=opened)
    before = snapshot(inside)
    done = extract(inside, data, opened=opened)
    assert snapshot(inside) == before
    assert done.refusals.count == 0


# Cut and damaged -----------------------------------------------------------------------------------------------------


def test_a_file_that_is_cut_leaves_nothing(inside: Path, opened: Opened) -> None:
    data = archive(SRC, file("src/whole"), file("src/cut", bytes(5000)))
    with pytest.raises(CopyError, match="ends in the middle"):
        extract(inside, data[:3000], opened=opened)
    assert os.listdir(inside / "dst") == ["whole"]


def test_a_size_that_is_no_size(inside: Path) -> None:
    info = entry("src/huge")
    info.size = 10**15
    with pytest.raises(CopyError, match="ends in the middle"):
        extract(inside, info.tobuf(tarfile.GNU_FORMAT) + b"not much")
    assert not list(inside.glob("**/*huge*"))


def pax(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", **records: str) -> tarfile.TarInfo:
    info = entry(name, kind, link=link)
    info.pax_headers = records
    return info


@pytest.mark.parametrize("mtime", ["1e999999", "1e900000", "1e30", "-1e30", "9" * 40])
def test_times_that_no_system_has_are_the_nearest_that_it_has(inside: Path, opened: Opened, mtime: str) -> None:
    """The second one took most of a minute to be made a number, and the others left a temporary file."""
    entries = [
        pax("src", tarfile.DIRTYPE, mtime=mtime), pax("src/f", mtime=mtime), pax("src/l", tarfile.SYMTYPE, link="f", mtime=mtime),
    ]  # fmt: skip
    done = extract(inside, archive(*entries, format=tarfile.PAX_FORMAT), opened=opened)
    assert (done.files, done.links, done.refusals.kept) == (1, 1, [])
    assert sorted(os.listdir(inside / "dst")) == ["f", "l"]


def test_links_that_lead_to_no_name(inside: Path, opened: Opened) -> None:
    nul = pax("l", tarfile.SYMTYPE, link="x", linkpath="a\0b")
    top = hardlink("h", ".")
    for each, reason in ((nul, "NUL"), (top, "no file")):
        done = extract(inside, archive(each, format=tarfile.PAX_FORMAT), base="", top="", opened=opened)
        assert [refused for refused in done.refusals.kept if reason in refused.reason]
    assert os.listdir(inside) == []


def test_a_long_name_that_is_refused_is_not_kept_whole(inside: Path) -> None:
    done = extract(inside, archive(pax("src/f", path="/" + "n" * 900_000), format=tarfile.PAX_FORMAT))
    assert len(done.refusals.kept[0].name) == 4096


class _Unmodifiable(Directory):
    """Gives files whose mode cannot be set."""

    def create(self) -> tuple[str, int]:
        return "temporary", os.open("/proc/self/comm", os.O_WRONLY)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_mode_that_cannot_be_set_is_said_and_nothing_is_closed_twice(inside: Path) -> None:
    done = extract(
        inside, archive(file("f", b"")), base="", top="", opened=lambda path: _Unmodifiable(os.open(path, os.O_RDONLY))
    )
    assert [(each.name, each.reason) for each in done.refusals.kept] == [("f", "Operation not permitted")]
