"""Interactive sessions, with the test as the server: what is sent and when, and what becomes of the terminal."""

from __future__ import annotations

import json
import os
import sys

import anyio
import pytest

from kubex_stream import ConnectionLost, HalfCloseUnsupported, Observer, StatusMissing, Terminal
from kubex_stream.client import Response
from tests.session.memory import (
    CLOSE_STDIN,
    READY,
    SUCCESS,
    V5,
    EchoConnection,
    MemoryConnection,
    NarrowConnection,
    exited,
    out,
    serving,
)
from tests.terminals import Pty, closing_descriptor, is_raw, session

if sys.platform == "win32":
    pytest.skip("terminals are POSIX", allow_module_level=True)

pytestmark = pytest.mark.anyio

SH = ["sh"]


def resizes(connection: MemoryConnection) -> list[tuple[int, int]]:
    """The sizes that were sent: columns and rows."""
    sizes = [json.loads(message[1:]) for message in connection.sent if message[:1] == b"\x04"]
    return [(size["Width"], size["Height"]) for size in sizes]


def end(connection: MemoryConnection, status: bytes = SUCCESS) -> None:
    """Let the process end."""
    connection.feed(status)
    connection.finish()


class Restored(MemoryConnection):
    """Notes whether the terminal was raw when its closing began."""

    def __init__(self, pty: Pty, *messages: bytes) -> None:
        super().__init__(*messages)
        self._pty = pty
        self.raw_at_close: bool | None = None

    async def close(self, code: int = 1000) -> None:
        if self.raw_at_close is None:
            self.raw_at_close = is_raw(self._pty.slave)
        await super().close(code)


# Sizes ----------------------------------------------------------------------------------------------------------------


async def test_the_size_goes_before_everything_else() -> None:
    connection = MemoryConnection(READY)
    with Pty(columns=91, rows=33) as pty:
        pty.type(
            b"typed before\n"
        )  # the kernel passes it on in its own time, so it may meet the old mode or the new one
        async with serving(connection) as pods, session(pty, pods.exec.interactive, "demo", SH) as running:
            await connection.until(lambda: len(connection.sent) >= 2)
            assert connection.sent[0] == b'\x04{"Width":91,"Height":33}\n'
            assert connection.sent[1] == b"\x00typed before\n"
            end(connection)
            await running.end()
    assert resizes(connection) == [(91, 33)]


async def test_attach_tells_another_size_first() -> None:
    connection = MemoryConnection(READY)
    with Pty(columns=91, rows=33) as pty:
        async with serving(connection) as pods, session(pty, pods.attach.interactive, "demo") as running:
            await connection.until(lambda: len(connection.sent) >= 2)
            end(connection)
            result = await running.end()
    assert resizes(connection) == [(91, 34), (91, 33)]
    assert result.exit_code is None
    assert not result.detached


async def test_of_the_sizes_that_cannot_go_only_the_last_one_does() -> None:
    connection = NarrowConnection(READY, room=1)
    with Pty() as pty:
        async with serving(connection) as pods, session(pty, pods.exec.interactive, "demo", SH) as running:
            await connection.until(lambda: len(connection.sent) == 1)
            pty.resize(100, 50)
            await connection.until(lambda: connection.blocked)
            for columns in range(101, 121):
                pty.resize(columns, 50)
                await anyio.lowlevel.checkpoint()
            connection.widen(100)
            await connection.until(lambda: (120, 50) in resizes(connection))
            end(connection)
            await running.end()
    assert resizes(connection) == [(80, 24), (100, 50), (120, 50)]


# Input ----------------------------------------------------------------------------------------------------------------


async def test_keys_go_as_they_are() -> None:
    everything = bytes(range(256))
    connection = MemoryConnection(READY)
    with Pty() as pty:
        async with serving(connection) as pods, session(pty, pods.exec.interactive, "demo", SH) as running:
            await connection.until(lambda: bool(resizes(connection)))
            pty.type(everything)
            await connection.until(lambda: len(connection.stdin) == 256)
            end(connection)
            await running.end()
    assert connection.stdin == everything


async def test_no_more_is_read_than_the_connection_takes() -> None:
    connection = NarrowConnection(READY, room=1)
    with Pty() as pty:
        async with serving(connection) as pods, session(pty, pods.exec.interactive, "demo", SH) as running:
            await connection.until(lambda: bool(resizes(connection)))
            pty.type(b"on its way")
            await connection.until(lambda: connection.blocked)
            pty.type(b"not yet\r")
            end(connection)
            await running.end()
        assert pty.left() == b"not yet"
    assert connection.stdin == b""


async def test_detaching_works_while_the_connection_takes_nothing() -> None:
    connection = NarrowConnection(READY, room=1)
    with Pty() as pty:
        async with (
            serving(connection) as pods,
            session(pty, pods.exec.interactive, "demo", SH, detach_keys="~,.") as running,
        ):
            await connection.until(lambda: bool(resizes(connection)))
            await pty.paste(b"x" * 20_000 + b"~.mine\r")
            assert (await running.end()).detached
        assert pty.left() == b"mine"
    assert connection.closed_with == 1000


@pytest.mark.parametrize("cut", range(1, 5))
async def test_detach_keys_in_pieces(cut: int) -> None:
    typed = b"ab\x10\x11"
    connection = MemoryConnection(READY)
    with Pty() as pty:
        async with (
            serving(connection) as pods,
            session(pty, pods.attach.interactive, "demo", detach_keys="ctrl-p,ctrl-q") as running,
        ):
            await connection.until(lambda: bool(resizes(connection)))
            pty.type(typed[:cut])
            await connection.until(lambda: connection.stdin == b"ab"[:cut])
            pty.type(typed[cut:])
            assert (await running.end()).detached
    assert connection.stdin == b"ab"


async def test_the_end_of_input_is_a_character() -> None:
    connection = MemoryConnection(READY)
    reader, writer = os.pipe()
    os.write(writer, b"unfinished line")
    os.close(writer)
    with Pty() as pty, closing_descriptor(reader):
        terminal = Terminal(reader, pty.slave)
        async with (
            serving(connection) as pods,
            session(pty, pods.exec.interactive, "demo", SH, terminal=terminal, detach_keys="ctrl-]") as running,
        ):
            # Two: the first only passes on the line that is not finished.
            await connection.until(lambda: connection.stdin == b"unfinished line\x04\x04")
            end(connection)
            await running.end()
    assert CLOSE_STDIN not in connection.sent
    assert resizes(connection) == [(80, 24)], "the size is the screen's"


async def test_without_a_remote_terminal_the_end_of_input_is_an_end() -> None:
    connection = EchoConnection(READY)
    reader, writer = os.pipe()
    os.write(writer, b"hello")
    os.close(writer)
    with Pty() as pty, closing_descriptor(reader):
        async with serving(connection) as pods:
            result = await pods.exec.interactive("demo", ["cat"], tty=False, terminal=Terminal(reader, pty.slave))
        await pty.until(b"hello")
    assert result.exit_code == 0
    assert connection.sent == [b"\x00hello", CLOSE_STDIN]
    assert connection.protocol == V5


async def test_without_a_remote_terminal_v5_is_needed() -> None:
    with Pty() as pty:
        async with serving(Response(403, [], b"")) as pods:
            with pytest.raises(HalfCloseUnsupported):
                await pods.exec.interactive("demo", ["cat"], tty=False, terminal=pty.terminal)
            assert not is_raw(pty.slave)


# Output ---------------------------------------------------------------------------------------------------------------


async def test_a_screen_that_is_stopped_loses_nothing_and_stops_nothing_else() -> None:
    pieces = [b"%06d" % number * 500 for number in range(100)]
    connection = MemoryConnection(READY, *map(out, pieces))
    with Pty() as pty:
        async with serving(connection) as pods, session(pty, pods.exec.interactive, "demo", SH) as running:
            await connection.until(lambda: bool(resizes(connection)))
            # Nobody looks at the screen, so it is full; keys and sizes go all the same.
            pty.type(b"keys")
            await connection.until(lambda: connection.stdin == b"keys")
            pty.resize(100, 50)
            await connection.until(lambda: resizes(connection)[-1] == (100, 50))
            end(connection, exited(3))
            assert not running.over.is_set()
            assert (await pty.until(pieces[-1])) == b"".join(pieces)
            assert (await running.end()).exit_code == 3


async def test_cancelling_does_not_wait_for_a_screen_that_is_stopped() -> None:
    connection = MemoryConnection(READY, out(b"x" * 1_000_000))
    with Pty() as pty:
        async with serving(connection) as pods, session(pty, pods.exec.interactive, "demo", SH) as running:
            await connection.until(lambda: bool(resizes(connection)))
            pty.type(b"keys")
            await connection.until(lambda: connection.stdin == b"keys")
            assert not running.over.is_set()
            running.cancel()
    assert connection.closed_with == 1000


async def test_a_screen_that_nobody_has_any_more_is_an_error() -> None:
    connection = MemoryConnection(READY)
    reader, writer = os.pipe()
    os.close(reader)
    with Pty() as pty, closing_descriptor(writer):
        terminal = Terminal(pty.slave, writer)
        async with (
            serving(connection) as pods,
            session(pty, pods.exec.interactive, "demo", SH, terminal=terminal) as running,
        ):
            connection.feed(out(b"hello"))
            with pytest.raises(BrokenPipeError):
                await running.end()
    assert resizes(connection) == [(80, 24)], "the size is that of the input, where the output has none"


# Endings --------------------------------------------------------------------------------------------------------------


async def test_the_terminal_is_given_back_before_the_session_is_left() -> None:
    with Pty() as pty:
        connection = Restored(pty, READY)
        async with serving(connection) as pods, session(pty, pods.exec.interactive, "demo", SH) as running:
            await connection.until(lambda: bool(resizes(connection)))
            assert is_raw(pty.slave)
            end(connection)
            await running.end()
            assert connection.raw_at_close is False


async def test_a_connection_that_breaks() -> None:
    connection = MemoryConnection(READY, out(b"last words"))
    with Pty() as pty:
        async with serving(connection) as pods, session(pty, pods.exec.interactive, "demo", SH) as running:
            await connection.until(lambda: bool(resizes(connection)))
            connection.lose("the cable was cut")
            with pytest.raises(ConnectionLost, match="the cable was cut"):
                await running.end()
            await pty.until(b"last words")


async def test_an_end_without_a_word_about_the_process() -> None:
    connection = MemoryConnection(READY)
    with Pty() as pty:
        async with serving(connection) as pods, session(pty, pods.exec.interactive, "demo", SH) as running:
            connection.finish()
            with pytest.raises(StatusMissing):
                await running.end()


class Crashing(Observer):
    """A callback that fails at the first keys."""

    def frame(self, path: str, *, sent: bool, channel: int, size: int) -> None:  # noqa: ARG002
        if sent and channel == 0:
            raise ZeroDivisionError("in the callback")


async def test_a_callback_that_crashes() -> None:
    connection = MemoryConnection(READY)
    with Pty() as pty:
        async with (
            serving(connection, observer=Crashing()) as pods,
            session(pty, pods.exec.interactive, "demo", SH) as running,
        ):
            pty.type(b"x")
            with pytest.raises(ZeroDivisionError, match="in the callback"):
                await running.end()


# Arguments ------------------------------------------------------------------------------------------------------------


async def test_arguments_that_make_no_sense_are_told_before_anything_is_sent() -> None:
    with Pty() as pty:
        closed = os.dup(pty.slave)
        os.close(closed)
        async with serving() as pods:
            for given, kind, word in (
                ({"detach_keys": "ctrl-1"}, ValueError, "ctrl-1"),
                ({"detach_keys": "~", "on_cancel": "kill"}, ValueError, "give up one"),
                ({"tty": False, "on_cancel": "kill"}, ValueError, "v4"),
                ({"terminal": 0}, TypeError, "Terminal"),
                ({"terminal": Terminal(closed, pty.slave)}, ValueError, f"input, file descriptor {closed},"),
                ({"terminal": Terminal(pty.slave, closed)}, ValueError, f"output, file descriptor {closed},"),
            ):
                with pytest.raises(kind, match=word):
                    await pods.exec.interactive("demo", SH, **{"terminal": pty.terminal, **given})  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="not a string"):
                await pods.exec.interactive("demo", "sh", terminal=pty.terminal)


async def test_the_result_shows_no_command() -> None:
    connection = MemoryConnection(READY, SUCCESS)
    with Pty() as pty:
        async with serving(connection) as pods:
            result = await pods.exec.interactive("demo", ["secret"], terminal=pty.terminal)
    assert repr(result) == "<InteractiveResult exit_code=0 detached=False>"
