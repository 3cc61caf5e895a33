"""A consumer that stalls: v5 is read on into a spool, v4 is paused, and neither loses a byte."""

from __future__ import annotations

import logging
import tempfile
from collections import deque
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream import ClientOptions
from kubex_stream.session.buffer import ChannelBuffer

from .memory import READY, SUCCESS, V4, V5, MemoryConnection, err, out, read, serving, small

DESCRIPTORS = Path("/proc/self/fd")
PIECES = [b"%07d " % number * 50 for number in range(500)]
WRITTEN = b"".join(PIECES)

needs_proc = pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="looks for open files in /proc, which is not here")


def open_files(folder: Path) -> list[str]:
    return [str(link.readlink()) for link in DESCRIPTORS.iterdir() if link.is_symlink() and _target(link, folder)]


def _target(link: Path, folder: Path) -> bool:
    try:
        return str(link.readlink()).startswith(str(folder))
    except OSError:
        return False


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where temporary files are made in this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.anyio
async def test_v5_is_read_on_while_the_consumer_stalls_and_nothing_is_lost() -> None:
    connection = MemoryConnection(READY, *map(out, PIECES), SUCCESS, protocol=V5)
    async with serving(connection, options=small(1000)) as pods:
        async with pods.exec.stream("one", ["x"], protocols=[V5]) as process:
            got = await process.stdout.receive()
            await connection.until(lambda: connection.left == 0)
            assert process.statistics.bytes_in == len(WRITTEN)
            assert process.statistics.spooled > len(WRITTEN) - 3000
            got += await read(process.stdout)
            assert got == WRITTEN
            assert await process.wait() == 0


@pytest.mark.anyio
async def test_without_pings_too_v5_is_read_on_within_seconds() -> None:
    connection = MemoryConnection(READY, *map(out, PIECES), SUCCESS, protocol=V5)
    options = ClientOptions(stream_buffer_size=1000, heartbeat=None)
    async with serving(connection, options=options) as pods:
        async with pods.exec.stream("one", ["x"], protocols=[V5]) as process:
            with anyio.fail_after(3):
                await connection.until(lambda: connection.left == 0)
            assert await read(process.stdout) == WRITTEN


@pytest.mark.anyio
async def test_a_consumer_that_goes_on_while_the_spool_grows_gets_everything_in_order() -> None:
    connection = MemoryConnection(READY, protocol=V5)
    async with serving(connection, options=small(1000)) as pods:
        async with pods.exec.stream("one", ["x"], protocols=[V5]) as process:
            got = b""
            fed = 0
            for start in range(0, len(PIECES), 50):
                connection.feed(*map(out, PIECES[start : start + 50]))
                fed += 50 * len(PIECES[0])
                await connection.until(lambda: connection.left == 0)
                while len(got) < fed * 3 // 4:
                    got += await process.stdout.receive(3000)
            connection.feed(SUCCESS)
            got += await read(process.stdout)
        assert got == WRITTEN


@pytest.mark.anyio
async def test_both_outputs_are_spooled_apart() -> None:
    messages = [message for piece in PIECES for message in (out(piece), err(piece[::-1]))]
    connection = MemoryConnection(READY, *messages, SUCCESS, protocol=V5)
    async with serving(connection, options=small(1000)) as pods:
        async with pods.exec.stream("one", ["x"], protocols=[V5]) as process:
            await connection.until(lambda: connection.left == 0)
            assert await read(process.stderr) == b"".join(piece[::-1] for piece in PIECES)
            assert await read(process.stdout) == WRITTEN


@pytest.mark.anyio
async def test_v4_is_paused_at_the_buffers_size_instead() -> None:
    connection = MemoryConnection(READY, *map(out, PIECES), SUCCESS, protocol=V4)
    async with serving(connection, options=small(1000)) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            with pytest.raises(anyio.WouldBlock):
                process.stderr.receive_nowait()  # asks the keeper to read
            await anyio.wait_all_tasks_blocked()
            assert 1000 <= process.statistics.bytes_in <= 1400
            with pytest.raises(anyio.WouldBlock):
                process.stderr.receive_nowait()
            await anyio.wait_all_tasks_blocked()
            assert process.statistics.bytes_in <= 1400
            assert process.statistics.spooled == 0
            assert await read(process.stdout) == WRITTEN


@pytest.mark.anyio
@pytest.mark.parametrize("limit", [0, 20_000])
async def test_at_the_spools_limit_the_stream_is_paused_with_a_warning(
    limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    connection = MemoryConnection(READY, *map(out, PIECES), SUCCESS, protocol=V5)
    with caplog.at_level(logging.WARNING, "kubex_stream"):
        async with serving(connection, options=small(1000, spool_limit=limit)) as pods:
            async with pods.exec.stream("one", ["x", "--secret"], protocols=[V5]) as process:
                for _ in range(3):
                    with pytest.raises(anyio.WouldBlock):
                        process.stderr.receive_nowait()
                    await anyio.wait_all_tasks_blocked()
                assert max(1000, limit) <= process.statistics.bytes_in <= max(1000, limit) + 400
                assert await read(process.stdout) == WRITTEN
    (record,) = caplog.records
    assert "bytes of stdout are waiting for their consumer, more than spool_limit" in record.getMessage()
    assert "--secret" not in record.getMessage()


@pytest.mark.anyio
@needs_proc
@pytest.mark.parametrize("how", ["read", "left", "turned off", "raised"])
async def test_the_spools_file_is_gone_afterwards(how: str, folder: Path) -> None:
    connection = MemoryConnection(READY, *map(out, PIECES), SUCCESS, protocol=V5)
    async with serving(connection, options=small(1000)) as pods:
        scope = pods.exec.stream("one", ["x"], protocols=[V5])
        try:
            async with scope as process:
                await connection.until(lambda: connection.left == 0)
                assert len(open_files(folder)) == 1
                assert list(folder.iterdir()) == []  # it has no name
                if how == "read":
                    assert await read(process.stdout) == WRITTEN
                elif how == "turned off":
                    await process.stdout.aclose()
                    assert open_files(folder) == []
                elif how == "raised":
                    raise LookupError
        except LookupError:
            assert how == "raised"
        assert open_files(folder) == []


@pytest.mark.anyio
async def test_without_a_place_for_the_spool_the_stream_is_paused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a container whose file system is read-only."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    messages = [message for piece in PIECES for message in (out(piece), err(piece))]
    connection = MemoryConnection(READY, *messages, SUCCESS, protocol=V5)
    with caplog.at_level(logging.WARNING, "kubex_stream"):
        async with serving(connection, options=small(1000)) as pods:
            async with pods.exec.stream("one", ["x"], protocols=[V5]) as process:
                for _ in range(3):
                    await connection.until(lambda: connection.taken > 4)
                    await anyio.wait_all_tasks_blocked()
                    assert process.statistics.bytes_in < 5000
                assert process.statistics.spooled == 0
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(read, process.stderr)
                    assert await read(process.stdout) == WRITTEN
                assert await process.wait() == 0
    (record,) = caplog.records
    assert "no temporary file takes them" in record.getMessage()


@needs_proc
def test_a_disk_that_fills_up_loses_nothing(folder: Path) -> None:
    resource = pytest.importorskip("resource")
    signals = pytest.importorskip("signal")
    if not hasattr(signals, "SIGXFSZ"):
        pytest.skip("no limit for the size of files here")
    buffer = ChannelBuffer("stdout", 100)
    pieces = [b"%09d " % number * 10 for number in range(200)]
    previous = signals.signal(signals.SIGXFSZ, signals.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for piece in pieces[:50]:
            buffer.put(piece)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6150, hard))
        for piece in pieces[50:]:
            buffer.put(piece)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signals.signal(signals.SIGXFSZ, previous)
    assert buffer.spool_error is not None
    assert open_files(folder)
    got = b"".join(buffer.take() for _ in iter(lambda: buffer.size, 0))
    buffer.put(b"afterwards")
    assert got + buffer.take() == b"".join(pieces) + b"afterwards"
    buffer.close()


# The buffer itself ----------------------------------------------------------------------------------------------------------


@given(
    capacity=st.integers(1, 50),
    steps=st.lists(st.binary(min_size=1, max_size=30) | st.none(), max_size=60),
)
def test_a_buffer_hands_out_what_was_put_in_in_order(capacity: int, steps: list[bytes | None]) -> None:
    """None takes a piece; everything else is put in."""
    buffer = ChannelBuffer("stdout", capacity)
    expected: deque[int] = deque()
    spooled = False
    for step in steps:
        if step is not None:
            full = buffer.full
            spooled = buffer.put(step)
            assert spooled == full
            expected.extend(step)
        elif buffer.size:
            piece = buffer.take()
            assert piece
            assert list(piece) == [expected.popleft() for _ in piece]
        assert buffer.size == len(expected)
        assert buffer.full == (buffer.size >= capacity)
    rest = b"".join(buffer.take() for _ in iter(lambda: buffer.size, 0))
    assert list(rest) == list(expected)
    buffer.close()


def test_a_closed_buffer_takes_nothing_any_more() -> None:
    buffer = ChannelBuffer("stdout", 10)
    buffer.put(b"x" * 20)
    buffer.put(b"y" * 20)
    buffer.close()
    buffer.put(b"z")
    assert (buffer.size, buffer.closed, buffer.full) == (0, True, False)
    buffer.close()


def test_a_spool_is_read_in_pieces() -> None:
    buffer = ChannelBuffer("stdout", 1)
    buffer.put(b"x")
    buffer.put(bytes(1_000_000))
    buffer.take()
    sizes = []
    while buffer.size:
        sizes.append(len(buffer.take()))
    assert sum(sizes) == 1_000_000
    assert max(sizes) <= 65536
    buffer.close()
