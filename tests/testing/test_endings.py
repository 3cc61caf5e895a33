"""How an exec ends: clients that leave, stdin that nobody reads, and what v5 can lose."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from kubex_stream.testing import Behaviour, EmbeddedCluster
from tests.testing.raw_client import BINARY, CLOSE, CLOSED, PING, PONG, V4, V5, Heard, RawClient, exit_code, open_exec

IO = {"stdin": "true", "stdout": "true", "stderr": "true"}
TTY = {"stdin": "true", "stdout": "true", "tty": "true"}


def pids(cluster: EmbeddedCluster) -> list[int]:
    return [process.pid for process in cluster.processes()]


def _leave(client: RawClient, how: str) -> None:
    if how == "close":
        client.send(b"\x03\xe8", CLOSE)
        assert client.rest().frames[-1] == CLOSED
    elif how == "fin":
        client.sock.shutdown(socket.SHUT_WR)
    else:
        client.reset()


@pytest.mark.parametrize("how", ["close", "fin", "reset"])
@pytest.mark.parametrize("protocol", [V5, V4, "channel.k8s.io"])
def test_who_lives_when_the_client_leaves(embedded: EmbeddedCluster, protocol: str, how: str) -> None:
    with open_exec(embedded, ["sleep", "1000"], protocol, stdout="true") as client:
        embedded.wait_for(lambda: bool(embedded.processes()))
        (pid,) = pids(embedded)
        _leave(client, how)
        if protocol != V5 and how != "close":
            embedded.wait_for(lambda: not embedded.processes())
            return
    embedded.wait_for(lambda: embedded.connections == 0)
    assert pids(embedded) == [pid]
    os.kill(pid, signal.SIGKILL)
    embedded.wait_for(lambda: not embedded.open_sessions)


def test_a_killed_command_can_be_spared_by_option(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(kill_on_tcp_end=False)
    with open_exec(embedded, ["sleep", "1000"], V4, stdout="true") as client:
        embedded.wait_for(lambda: bool(embedded.processes()))
        client.reset()
    embedded.wait_for(lambda: embedded.connections == 0)
    (pid,) = pids(embedded)
    os.kill(pid, signal.SIGKILL)
    embedded.wait_for(lambda: not embedded.open_sessions)


def test_a_piped_stdin_ends_when_the_client_leaves_and_output_goes_nowhere(embedded: EmbeddedCluster) -> None:
    file = embedded.directory() / "left"
    with open_exec(embedded, ["sh", "-c", "cat; head -c 1000000 /dev/zero; echo done >left"], **IO) as client:
        client.send(b"\0x")
        client.until(1, b"x")
        client.send(b"\x03\xe8", CLOSE)
        client.rest()
    embedded.wait_for(lambda: not embedded.open_sessions)
    assert file.read_text() == "done\n"


def test_a_terminal_notices_nothing_when_the_client_leaves(embedded: EmbeddedCluster) -> None:
    with open_exec(embedded, ["sh", "-c", "echo ready; read x; echo $? >read"], **TTY) as client:
        client.until(1, b"ready")
        (pid,) = pids(embedded)
        client.send(b"\x03\xe8", CLOSE)
        client.rest()
    embedded.wait_for(lambda: embedded.connections == 0)
    assert pids(embedded) == [pid]
    os.kill(pid, signal.SIGKILL)
    embedded.wait_for(lambda: not embedded.open_sessions)
    assert not (embedded.directory() / "read").exists()


def _fill(client: RawClient, size: int) -> None:
    for _ in range(size // 32768):
        client.send(b"\0" + bytes(32768))


@pytest.mark.parametrize("protocol", [V5, V4])
def test_stdin_that_nobody_reads_stops_pongs_until_somebody_does(embedded: EmbeddedCluster, protocol: str) -> None:
    embedded.behaviour = Behaviour(stdin_buffer=100_000)
    fifo = embedded.directory() / f"read-{protocol}"
    os.mkfifo(fifo)
    script = f"read line <{fifo.name}; head -c 524288 | wc -c"
    with open_exec(embedded, ["sh", "-c", script], protocol, **IO) as client:
        client.send(b"early", PING)
        assert client.receive() == (BINARY, b"\x01")
        assert client.receive() == (PONG, b"early")
        _fill(client, 524288)
        client.send(b"late", PING)
        client.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.receive()
        client.sock.settimeout(30)
        fifo.write_text("\n")
        heard = client.rest()
    assert (PONG, b"late") in heard.frames
    assert heard.channel(1) == b"524288\n"


@pytest.mark.parametrize("protocol", [V5, V4])
def test_a_process_that_leaves_much_of_its_stdin_never_gets_a_status(embedded: EmbeddedCluster, protocol: str) -> None:
    fifo = embedded.directory() / f"end-{protocol}"
    os.mkfifo(fifo)
    command = ["sh", "-c", f"read line <{fifo.name}; echo out"]
    for withheld in (True, False):
        embedded.behaviour = Behaviour(stdin_buffer=400_000, status_withheld_above=150_000 if withheld else None)
        with open_exec(embedded, command, protocol, **IO) as client:
            _fill(client, 327680)
            client.send(b"all", PING)
            heard = Heard([client.receive() or (0, b""), client.receive() or (0, b"")])
            assert heard.frames[1] == (PONG, b"all")
            fifo.write_text("\n")
            client.until(1, b"out\n", heard)
            embedded.wait_for(lambda: not embedded.processes())
            if withheld:
                client.send(b"more", PING)
                assert client.receive() == (PONG, b"more")
                client.send(b"\x03\xe8", CLOSE)
                assert client.rest().frames == [CLOSED]
            else:
                assert exit_code(client.rest(heard)) == 0
    embedded.wait_for(lambda: not embedded.open_sessions)


def test_a_little_unread_stdin_does_no_harm(embedded: EmbeddedCluster) -> None:
    with open_exec(embedded, ["true"], **IO) as client:
        _fill(client, 65536)
        assert exit_code(client.rest()) == 0


def test_a_reset_is_noticed_while_stdin_is_blocked(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(stdin_buffer=100_000)
    with open_exec(embedded, ["sleep", "1000"], V4, **IO) as client:
        _fill(client, 393216)
        embedded.wait_for(lambda: bool(embedded.processes()))
        client.reset()
    embedded.wait_for(lambda: not embedded.processes() and not embedded.open_sessions)


@pytest.mark.parametrize("protocol", [V5, V4])
def test_v5_can_lose_what_a_stalled_reader_has_not_read(embedded: EmbeddedCluster, protocol: str) -> None:
    size = 24 * 1024 * 1024
    embedded.behaviour = Behaviour(v5_loss_after=0.2)
    before = embedded.lost_bytes
    with open_exec(embedded, ["head", "-c", str(size), "/dev/zero"], protocol, stdout="true") as client:
        if protocol == V5:
            embedded.wait_for(lambda: embedded.lost_bytes > before)
        heard = client.rest()
    assert exit_code(heard) == 0
    assert len(heard.channel(1)) + embedded.lost_bytes - before == size
