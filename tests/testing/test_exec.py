"""Exec on the embedded cluster: processes, terminals, endings, and containerd's habits."""

from __future__ import annotations

import hashlib
import json
import os
import signal

import pytest

from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.testing.raw_client import (
    BINARY,
    CLOSED,
    PING,
    PONG,
    V4,
    V5,
    RawClient,
    exec_target,
    exit_code,
    frame,
    open_exec,
    run,
    upgrade_headers,
)

IO = {"stdin": "true", "stdout": "true", "stderr": "true"}
TTY = {"stdin": "true", "stdout": "true", "tty": "true"}
EOF = b"\xff\x00"


def pids(cluster: EmbeddedCluster) -> list[int]:
    return [process.pid for process in cluster.processes()]


@pytest.mark.parametrize("code", [0, 1, 7, 127, 255])
@pytest.mark.parametrize("protocol", [V5, V4])
def test_exit_codes(embedded: EmbeddedCluster, protocol: str, code: int) -> None:
    heard = run(embedded, ["sh", "-c", f"exit {code}"], protocol)
    assert exit_code(heard) == code
    assert heard.frames[-1] == CLOSED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_death_by_signal_is_128_and_its_number(embedded: EmbeddedCluster, number: signal.Signals) -> None:
    assert exit_code(run(embedded, ["sh", "-c", f"kill -{number.value} $$"])) == 128 + number


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("no-such-program", 'exec: \\"no-such-program\\": executable file not found in $PATH'),
        ("/etc/passwd", 'exec: \\"/etc/passwd\\": permission denied'),
        ("/etc", 'exec: \\"/etc\\": permission denied'),
        ("", 'exec: \\"\\": executable file not found in $PATH'),
        ("bin/none", 'exec: \\"bin/none\\": stat bin/none: no such file or directory'),
    ],
)
@pytest.mark.parametrize("flags", [IO, TTY], ids=["pipes", "tty"])
def test_what_cannot_start_is_told_with_the_words_of_runc(
    embedded: EmbeddedCluster, command: str, text: str, flags: dict[str, str]
) -> None:
    heard = run(embedded, [command], **flags)
    status = heard.channel(3).decode()
    assert "OCI runtime exec failed: exec failed: unable to start container process: " + text in status
    assert json.loads(status)["reason"] == "InternalError"
    assert heard.frames[-1] == CLOSED


def test_no_command_at_all_is_told_after_the_101(embedded: EmbeddedCluster) -> None:
    assert b"OCI runtime exec failed: exec failed: args must not be empty" in run(embedded, []).channel(3)


def test_a_file_that_is_no_program(embedded: EmbeddedCluster) -> None:
    file = embedded.directory() / "noise"
    file.write_bytes(b"\x00\x01\x02 no program")
    file.chmod(0o755)
    assert b'exec: \\"./noise\\": exec format error' in run(embedded, ["./noise"]).channel(3)


def test_the_environment_is_the_containers(embedded: EmbeddedCluster) -> None:
    os.environ["KUBEX_STREAM_TEST_SECRET"] = "x"
    try:
        container = EmbeddedContainer(env={"COLOUR": "blue"})
        embedded.add_pod(EmbeddedPod("env", containers=[container]))
        with open_exec(embedded, ["env"], pod="env", stdout="true") as client:
            lines = client.rest().channel(1).decode().splitlines()
    finally:
        del os.environ["KUBEX_STREAM_TEST_SECRET"]
        embedded.delete_pod("env")
    assert "HOSTNAME=env" in lines
    assert "COLOUR=blue" in lines
    assert any(line.startswith("PATH=") for line in lines)
    assert not [line for line in lines if "SECRET" in line or line.startswith("TERM=")]


def test_a_process_starts_in_the_containers_directory(embedded: EmbeddedCluster) -> None:
    assert run(embedded, ["pwd"]).channel(1).decode().strip() == str(embedded.directory().resolve())


@pytest.mark.parametrize("protocol", [V5, V4, "channel.k8s.io"])
def test_output_is_cut_into_frames_of_at_most_32_kib(embedded: EmbeddedCluster, protocol: str) -> None:
    # In writes that fill the pipe, so that there is more than a frame to read however quick the reader is.
    heard = run(embedded, ["dd", "if=/dev/zero", "bs=65536", "count=16"], protocol)
    assert heard.channel(1) == bytes(1 << 20)
    assert max(len(payload) for _, payload in heard.frames) == 32 * 1024 + 1


def test_stdin_is_taken_to_its_end(embedded: EmbeddedCluster) -> None:
    data = os.urandom(3_000_000)
    with open_exec(embedded, ["sha256sum"], **IO) as client:
        for start in range(0, len(data), 32768):
            client.send(b"\0" + data[start : start + 32768])
        client.send(EOF)
        client.send(EOF)  # idempotent
        heard = client.rest()
    assert heard.channel(1).split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_a_frame_of_32_mib_is_taken_and_a_longer_one_ends_tcp_without_close(embedded: EmbeddedCluster) -> None:
    limit = 32 * 1024 * 1024
    with open_exec(embedded, ["wc", "-c"], **IO) as client:
        client.send(b"\0" + bytes(limit - 1))
        client.send(EOF)
        assert client.rest().channel(1).split() == [str(limit - 1).encode()]
    with open_exec(embedded, ["cat"], **IO) as client:
        client.sock.sendall(frame(b"\0" + bytes(limit))[:20])
        heard = client.rest()
    assert [payload for _, payload in heard.frames] == [b"\x01"]


def test_reserved_bits_and_opcodes_are_data(embedded: EmbeddedCluster) -> None:
    with open_exec(embedded, ["cat"], **IO) as client:
        client.send(b"\0a", BINARY, rsv=4)
        client.send(b"\0b", 3)
        client.send(b"\0c", 1)
        client.send(EOF)
        assert client.rest().channel(1) == b"abc"


@pytest.mark.parametrize("close", [b"\xff", b"\xff\x00\x00", b"\xff\x05", b"\xff\xff"])
def test_a_bad_half_close_ends_the_session(embedded: EmbeddedCluster, close: bytes) -> None:
    with open_exec(embedded, ["cat"], **IO) as client:
        client.send(close)
        heard = client.rest()
    assert heard.frames == [(BINARY, b"\x01"), CLOSED]


def test_the_first_header_line_counts_and_v5_wins_in_it(embedded: EmbeddedCluster) -> None:
    with RawClient(embedded) as client:
        headers = [*upgrade_headers(f"{V4},{V5}"), ("Sec-WebSocket-Protocol", "channel.k8s.io")]
        client.request(exec_target(["true"]), headers)
        assert client.head().header("Sec-WebSocket-Protocol") == V5


def test_the_clients_first_choice_counts_without_v5(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(protocols=(V4, "channel.k8s.io"))
    with RawClient(embedded) as client:
        client.request(exec_target(["true"]), upgrade_headers(f"{V5}, channel.k8s.io, {V4}"))
        assert client.head().header("Sec-WebSocket-Protocol") == "channel.k8s.io"


def test_a_server_without_v5_refuses_it_without_a_body(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(protocols=(V4,))
    with RawClient(embedded) as client:
        client.request(exec_target(["true"]), upgrade_headers(V5))
        answer = client.answer()
    assert (answer.status, answer.body, answer.header("Content-Length")) == (403, b"", None)


def test_the_status_waits_for_all_who_hold_stdout(embedded: EmbeddedCluster) -> None:
    fifo = embedded.directory() / "go"
    os.mkfifo(fifo)
    with open_exec(embedded, ["sh", "-c", "(read line <go; echo late) & echo early"]) as client:
        heard = client.until(1, b"early\n")
        embedded.wait_for(lambda: not embedded.processes())  # the shell has ended; the one in the background has not
        assert not heard.channel(3)
        fifo.write_text("\n")
        client.rest(heard)
    assert heard.channel(1) == b"early\nlate\n"
    assert exit_code(heard) == 0


# -- terminals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [V5, V4])
def test_a_terminal_is_a_controlling_one_with_the_size_it_is_given(embedded: EmbeddedCluster, protocol: str) -> None:
    script = "tty; echo hello >/dev/tty; stty size; read x; stty size; echo $TERM"
    with open_exec(embedded, ["sh", "-c", script], protocol, **TTY) as client:
        heard = client.until(1, b"0 0\r\n")
        client.send(b'\x04{"Width":100,')
        client.send(b'\x04"height":40}{"Width": 120, "Height": 50}\n')
        client.send(b"\0\n")
        client.rest(heard)
    lines = heard.channel(1).decode().split("\r\n")
    assert lines[0].startswith("/dev/")
    assert lines[1:3] == ["hello", "0 0"]
    assert lines[-3:] == ["50 120", "xterm", ""]


def test_ctrl_c_reaches_the_foreground_process(embedded: EmbeddedCluster) -> None:
    with open_exec(embedded, ["sh", "-c", "echo ready; exec sleep 1000"], **TTY) as client:
        heard = client.until(1, b"ready")
        client.send(b"\0\x03")
        client.rest(heard)
    assert exit_code(heard) == 128 + signal.SIGINT


def test_job_control_works_in_a_shell(embedded: EmbeddedCluster) -> None:
    with open_exec(embedded, ["bash", "--norc", "-i"], **TTY) as client:
        client.send(b"\0sleep 1000 & jobs; kill %1; exit 5\n")
        heard = client.rest()
    assert b"Running" in heard.channel(1)
    assert b"no job control" not in heard.channel(1)
    assert exit_code(heard) == 5


@pytest.mark.parametrize("lossy", [True, False])
def test_the_end_of_a_terminals_stdin_is_the_end_of_its_output(embedded: EmbeddedCluster, lossy: bool) -> None:
    embedded.behaviour = Behaviour(tty_output_ends_with_stdin=lossy)
    fifo = embedded.directory() / f"terminal-{lossy}"
    os.mkfifo(fifo)
    script = f"echo one; read x <{fifo.name}; echo two; exit 3"
    with open_exec(embedded, ["sh", "-c", script], **TTY) as client:
        heard = client.until(1, b"one\r\n")
        client.send(EOF)
        client.send(b"taken", PING)
        assert client.receive() == (PONG, b"taken")
        fifo.write_text("\n")
        client.rest(heard)
    assert heard.channel(1) == (b"one\r\n" if lossy else b"one\r\ntwo\r\n")
    assert exit_code(heard) == 3


@pytest.mark.parametrize(("protocol", "lost"), [(V4, True), (V5, False)])
def test_a_terminal_without_stdin_loses_its_output_on_v4(embedded: EmbeddedCluster, protocol: str, lost: bool) -> None:
    heard = run(embedded, ["echo", "hi"], protocol, stdout="true", tty="true")
    assert heard.channel(1) == (b"" if lost else b"hi\r\n")
    embedded.behaviour = Behaviour(tty_output_ends_with_stdin=False)
    assert run(embedded, ["echo", "hi"], protocol, stdout="true", tty="true").channel(1) == b"hi\r\n"


@pytest.mark.parametrize(
    ("protocol", "flags", "sizes"),
    [
        (V5, TTY, [b"\x04nonsense", b'\x04{"Width":1,"Height":1}']),
        (V4, TTY, [b"\x04nonsense", b'\x04{"Width":1,"Height":1}']),
        (V5, IO, [b'\x04{"Width":1,"Height":1}'] * 2),
    ],
    ids=["undecodable-v5", "undecodable-v4", "without-tty-v5"],
)
def test_a_size_that_nobody_takes_blocks_the_receiving(
    embedded: EmbeddedCluster, protocol: str, flags: dict[str, str], sizes: list[bytes]
) -> None:
    with open_exec(embedded, ["sleep", "1000"], protocol, **flags) as client:
        client.send(sizes[0])
        client.send(b"1", PING)
        assert client.receive() == (BINARY, b"\x01")
        assert client.receive() == (PONG, b"1")  # the first one does no harm
        client.send(sizes[1])
        client.send(b"2", PING)
        (pid,) = pids(embedded)
        os.kill(pid, signal.SIGTERM)
        heard = client.rest()
    assert PONG not in [opcode for opcode, _ in heard.frames]
    assert exit_code(heard) == 143


def test_sizes_without_a_terminal_do_no_harm_on_v4(embedded: EmbeddedCluster) -> None:
    with open_exec(embedded, ["cat"], V4, **IO) as client:
        for _ in range(3):
            client.send(b'\x04{"Width":1,"Height":1}')
        client.send(b"\0x")
        client.until(1, b"x")
