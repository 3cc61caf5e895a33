"""Somebody else's descriptors, of every kind: nothing is lost, nothing blocks, and they stay as they were."""

from __future__ import annotations

import os
import socket
import sys
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import anyio
import pytest

if sys.platform == "win32":
    pytest.skip("terminals are POSIX", allow_module_level=True)

from kubex_stream.terminal.descriptors import TerminalInput, TerminalOutput
from tests.terminals import PATIENCE, closing_descriptor

pytestmark = pytest.mark.anyio

DATA = b"".join(b"%07d\n" % number for number in range(20_000))
Pair = tuple[int, int]


def _pipe() -> Pair:
    return os.pipe()


def _sockets() -> Pair:
    one, other = socket.socketpair()
    return one.detach(), other.detach()


def _terminal() -> Pair:
    master, slave = os.openpty()
    tty.setraw(slave)
    return master, slave


def _master() -> Pair:
    # Cannot be opened again, just as a terminal that belongs to another user.
    master, slave = _terminal()
    return slave, master


KINDS: list[Callable[[], Pair]] = [_pipe, _sockets, _terminal, _master]


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__.strip("_"))
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A descriptor to read, and one that can be written."""
    reader, writer = request.param()
    with closing_descriptor(reader), closing_descriptor(writer):
        yield reader, writer


@pytest.fixture
def data(pair: Pair) -> bytes:
    """More than there is room for on the way."""
    # One byte at a time takes its time.
    return DATA[:24_000] if os.isatty(pair[1]) and os.ttyname(pair[1]).endswith("ptmx") else DATA * 8


@contextmanager
def blocking(*descriptors: int) -> Iterator[None]:
    """They are, and stay, blocking."""
    assert all(os.get_blocking(each) for each in descriptors)
    yield
    assert all(os.get_blocking(each) for each in descriptors)


async def read_all(source: TerminalInput, size: int) -> bytes:
    received = bytearray()
    with anyio.fail_after(PATIENCE):
        while len(received) < size:
            data = await source.receive()
            assert data
            received += data
    return bytes(received)


async def test_nothing_is_lost(pair: Pair, data: bytes) -> None:
    with blocking(*pair), closing(TerminalInput(pair[0])) as source, closing(TerminalOutput(pair[1])) as screen:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(screen.send, data)
            # It waits until somebody reads, and others get their turns.
            await anyio.wait_all_tasks_blocked()
            assert await read_all(source, len(data)) == data
        assert source.receive_nowait() is None


async def test_cancelled_while_nobody_reads(pair: Pair, data: bytes) -> None:
    with blocking(*pair), closing(TerminalInput(pair[0])) as source, closing(TerminalOutput(pair[1])) as screen:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(screen.send, data)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        written = b""
        while (piece := source.receive_nowait()) is not None:
            written += piece
        assert 0 < len(written) < len(data)
        assert data.startswith(written)


async def test_a_cancelled_receive_takes_nothing(pair: Pair) -> None:
    with closing(TerminalInput(pair[0])) as source:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(source.receive)
            await anyio.wait_all_tasks_blocked()
            os.write(pair[1], b"hello\n")
            tasks.cancel_scope.cancel()
        assert await read_all(source, 6) == b"hello\n"


@pytest.mark.parametrize("make", [_pipe, _sockets, _terminal], ids=lambda make: make.__name__.strip("_"))
async def test_the_end_of_input(make: Callable[[], Pair]) -> None:
    source, other = make() if make is not _terminal else reversed(make())
    with closing_descriptor(source), closing(TerminalInput(source)) as input:
        os.close(other)
        assert await input.receive() == b""
        assert await input.receive() == b""


async def test_a_file_is_read_and_written_from_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"head" + DATA)
    with ExitStack() as stack:
        descriptor = stack.enter_context(closing_descriptor(os.open(path, os.O_RDWR)))
        assert os.read(descriptor, 4) == b"head"
        source = stack.enter_context(closing(TerminalInput(descriptor)))
        assert await read_all(source, len(DATA)) == DATA
        assert await source.receive() == b""
        await stack.enter_context(closing(TerminalOutput(descriptor))).send(DATA)
    assert path.read_bytes() == b"head" + DATA + DATA


async def test_the_null_device() -> None:
    with closing_descriptor(os.open(os.devnull, os.O_RDWR)) as descriptor:
        with closing(TerminalInput(descriptor)) as source, closing(TerminalOutput(descriptor)) as screen:
            assert await source.receive() == b""
            await screen.send(DATA)


@pytest.mark.parametrize("make", [_pipe, _sockets, _terminal], ids=lambda make: make.__name__.strip("_"))
async def test_nobody_reads_any_more(make: Callable[[], Pair]) -> None:
    reader, writer = make()
    with closing_descriptor(writer), closing(TerminalOutput(writer)) as screen:
        os.close(reader)
        with pytest.raises(OSError, match=r"Broken pipe|Input/output"):
            await screen.send(b"x")
