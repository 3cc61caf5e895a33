"""Reading archives in pieces: what tarfile makes of them, whatever the pieces; what is wrong is told, and costs no memory."""

from __future__ import annotations

import io
import itertools
import random
import tarfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream import CopyError
from kubex_stream.transfer.archive import ArchiveReader, Member
from tests.transfer.archives import archive, directory, entry, file, symlink


class Recorder:
    """Keeps everything."""

    def __init__(self) -> None:
        self.members: list[tuple[Member, bytes]] = []
        self._contents = b""

    def begin(self, member: Member) -> None:
        self._member, self._contents = member, b""

    def data(self, piece: memoryview) -> None:
        self._contents += piece

    def end(self) -> None:
        self.members.append((self._member, self._contents))


def read(data: bytes, cuts: list[int] | None = None) -> list[tuple[Member, bytes]]:
    recorder = Recorder()
    reader = ArchiveReader(recorder)
    edges = [0, *sorted(cuts or []), len(data)]
    for start, end in itertools.pairwise(edges):
        reader.feed(data[start:end])
    reader.finish()
    assert reader.position == len(data)
    return recorder.members


ODD = [
    "plain",
    "sp ace",
    "new\nline",
    "-dash",
    "\udcff\udcfe",
    "ü" * 60,
    "n" * 99,
    "n" * 100,
    "n" * 101,
    "d/" * 80 + "x",
    "l" * 600,
]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
@given(seed=st.integers(0, 2**32))
def test_as_tarfile_has_it_in_any_pieces(format: int, seed: int) -> None:
    generator = random.Random(seed)
    entries = [
        generator.choice(
            [
                file(name, generator.randbytes(generator.choice([0, 1, 511, 512, 513, 3000]))),
                directory(name),
                symlink(name, name),
            ]
        )
        for name in generator.sample(ODD, 5)
    ]
    data = archive(*entries, format=format)
    members = read(data, [generator.randrange(len(data)) for _ in range(generator.randrange(20))])
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        expected = []
        for info in tar:
            opened = tar.extractfile(info) if info.isreg() else None
            expected.append(
                (info.name, info.linkname, info.mode, int(info.mtime), b"" if opened is None else opened.read())
            )
    found = [(each.name.rstrip("/"), each.link, each.mode, each.mtime // 10**9, contents) for each, contents in members]
    assert found == expected


def test_pax_times_have_fractions() -> None:
    info = entry("x")
    info.pax_headers = {"mtime": "1000000000.123456789"}
    ((member, _),) = read(archive(info, format=tarfile.PAX_FORMAT))
    assert member.mtime == 1_000_000_000_123_456_789


def test_the_anchor_is_the_last_header_with_what_is_in_front_of_it() -> None:
    data = archive(file("first"), file("n" * 200, b"x" * 100))
    reader = ArchiveReader(Recorder())
    reader.feed(data[: 1024 + 3 * 512 + 50])
    assert reader.anchor is not None
    assert reader.anchor.offset == 1024
    assert reader.anchor.header == data[1024 : 1024 + 3 * 512]


def _long_name(size: int) -> bytes:
    info = entry("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def _negative() -> bytes:
    block = bytearray(entry("x").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 12
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _pax(record: bytes) -> bytes:
    info = entry("x", tarfile.XHDTYPE)
    info.size = len(record)
    return (
        info.tobuf(tarfile.USTAR_FORMAT) + record + bytes(-len(record) % 512) + entry("y").tobuf(tarfile.USTAR_FORMAT)
    )


WRONG = {
    "garbage": b"this is no archive" * 100,
    "zeros, then something": bytes(512) + entry("x").tobuf(),
    "a name of a gigabyte": _long_name(2**30),
    "a name of an exabyte": _long_name(2**60),
    "names without end": _long_name(1024 * 1024 - 4096) + bytes(1024 * 1024 - 4096) + _long_name(8192),
    "a negative size": _negative(),
    "a pax header that is none": _pax(b"nonsense"),
    "a pax header with a length that lies": _pax(b"99999 path=x\n"),
    "a pax header without a line break": _pax(b"8 path=x"),
    "a pax size that is no number": _pax(b"13 size=abcd\n"),
    "a negative pax size": _pax(b"11 size=-5\n"),
    "a pax time that is none": _pax(b"12 mtime=x1\n"),
    "a pax time beyond time": _pax(b"18 mtime=Infinity\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_archive_is_told_and_takes_no_memory(case: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(CopyError, match="tar archive, or a damaged one"):
            read(WRONG[case])
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 100, 512, 700, 1024, 1536])
def test_an_archive_that_is_cut_is_not_complete(size: int) -> None:
    data = archive(file("x", b"x" * 300))
    with pytest.raises(CopyError, match="ends in the middle"):
        read(data[:size])


def test_a_header_that_was_changed_is_found() -> None:
    data = bytearray(archive(file("x")))
    data[0] ^= 1
    with pytest.raises(CopyError, match="bad checksum"):
        read(bytes(data))
