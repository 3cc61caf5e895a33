"""Leaving: a Close and nothing more, or the end of TCP where the process is to be killed; never a wait for the process."""

from __future__ import annotations

import anyio
import pytest

from kubex_stream import ConnectionLost, ExecProcess, OutputStream

from .memory import READY, SUCCESS, V4, V5, MemoryConnection, exited, out, serving

pytestmark = pytest.mark.anyio


async def test_leaving_sends_a_close_and_does_not_wait_for_the_process() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods:
        async with pods.exec.stream("one", ["sleep", "1000"]):
            pass
    assert connection.closed_with == 1000
    assert not connection.cut


async def test_leaving_after_the_end_closes_too() -> None:
    connection = MemoryConnection(SUCCESS)
    async with serving(connection) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            await process.wait()
    assert connection.closed_with == 1000


async def test_leaving_after_a_loss_is_quiet() -> None:
    connection = MemoryConnection(READY)
    connection.lose()
    async with serving(connection) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            with pytest.raises(ConnectionLost):
                await process.wait()


async def test_attach_is_left_with_a_close() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods:
        async with pods.attach.stream("one"):
            pass
    assert connection.closed_with == 1000


async def test_leaving_wakes_whoever_still_receives() -> None:
    connection = MemoryConnection(READY)
    seen: list[str] = []

    async def receive(stream: OutputStream) -> None:
        try:
            await stream.receive()
        except anyio.ClosedResourceError:
            seen.append("closed")

    async with serving(connection) as pods, anyio.create_task_group() as tasks:
        async with pods.exec.stream("one", ["x"]) as process:
            tasks.start_soon(receive, process.stdout)
            tasks.start_soon(receive, process.stderr)
            await anyio.wait_all_tasks_blocked()
    assert seen == ["closed", "closed"]


async def test_nothing_can_be_sent_after_leaving() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods:
        async with pods.exec.stream("one", ["x"], stdin=True) as process:
            pass
        with pytest.raises(anyio.BrokenResourceError):
            await process.stdin.send(b"x")
        await process.stdin.aclose()
    assert connection.sent == []


async def test_what_had_come_but_was_not_read_is_gone_after_leaving() -> None:
    connection = MemoryConnection(READY, out(b"x"), SUCCESS)
    async with serving(connection) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            await process.wait()
        with pytest.raises(anyio.ClosedResourceError):
            await process.stdout.receive()


async def test_a_session_is_entered_once() -> None:
    async with serving(MemoryConnection(SUCCESS), MemoryConnection(SUCCESS)) as pods:
        scope = pods.exec.stream("one", ["x"])
        async with scope:
            pass
        with pytest.raises(RuntimeError, match="opened once"):
            await scope.__aenter__()


# on_cancel="kill" ---------------------------------------------------------------------------------------------------------


async def test_kill_ends_tcp_without_a_close() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods:
        async with pods.exec.stream("one", ["sleep", "1000"], on_cancel="kill") as process:
            assert process.subprotocol == V4
    assert connection.cut
    assert connection.closed_with is None


@pytest.mark.parametrize("ending", [SUCCESS, exited(7)])
async def test_kill_closes_in_order_where_the_process_has_ended(ending: bytes) -> None:
    connection = MemoryConnection(ending)
    async with serving(connection) as pods:
        async with pods.exec.stream("one", ["x"], on_cancel="kill") as process:
            await process.wait()
    assert connection.closed_with == 1000
    assert not connection.cut


async def test_kill_by_cancelling_a_run() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods, anyio.create_task_group() as tasks:

        async def run() -> None:
            await pods.exec.run("one", ["sleep", "1000"], on_cancel="kill")

        tasks.start_soon(run)
        await connection.until(lambda: connection.waiting)
        tasks.cancel_scope.cancel()
    assert connection.cut


async def test_kill_by_an_exception_in_the_block() -> None:
    connection = MemoryConnection(READY)

    async def hold(scope: object) -> ExecProcess[OutputStream]:
        raise LookupError(scope)

    async with serving(connection) as pods:
        async with pods.exec.stream("one", ["x"], on_cancel="kill") as process:
            with pytest.raises(LookupError):
                await hold(process)
    assert connection.cut


@pytest.mark.parametrize("protocols", [[V5], [V5, V4]])
async def test_kill_and_v5_do_not_go_together(protocols: list[str]) -> None:
    async with serving() as pods:
        with pytest.raises(ValueError, match=r"on_cancel='kill' works on v4\.channel\.k8s\.io only"):
            pods.exec.stream("one", ["x"], on_cancel="kill", protocols=protocols)


async def test_kill_and_input_do_not_go_together() -> None:
    async with serving() as pods:
        with pytest.raises(ValueError, match="Give one of them up"):
            await pods.exec.run("one", ["cat"], input=b"x", on_cancel="kill")


async def test_kill_and_stdin_do_not_go_together_unless_v4_is_asked_for() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods:
        with pytest.raises(ValueError, match="Give one of them up"):
            pods.exec.stream("one", ["cat"], stdin=True, on_cancel="kill")
        async with pods.exec.stream("one", ["cat"], stdin=True, on_cancel="kill", protocols=[V4]) as process:
            await process.stdin.send(b"x")
    assert connection.cut


async def test_kill_on_a_terminal_has_an_end_of_stdin() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods:
        async with pods.exec.stream("one", ["sh"], tty=True, on_cancel="kill") as process:
            await process.stdin.aclose()
    assert connection.sent == [b"\x00\x04"]
    assert connection.cut


async def test_a_stream_that_is_closed_gives_nothing_more_to_who_was_waiting_in_it() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["x"]) as process:

        async def receive() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await process.stdout.receive(3)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await connection.until(lambda: connection.waiting)
            await process.stdout.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await process.stdout.receive()
            connection.feed(out(b"too late"), SUCCESS)
        with pytest.raises(anyio.ClosedResourceError):
            await process.stdout.receive()
        assert await process.wait() == 0
