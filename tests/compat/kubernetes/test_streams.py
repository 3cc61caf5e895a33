"""Commands and attachments: ``stream`` and ``WSClient``."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubex_stream.compat.kubernetes import (
    ERROR_CHANNEL,
    RESIZE_CHANNEL,
    STDIN_CHANNEL,
    StreamConnectionException,
    StreamException,
    StreamTimeoutException,
    WSClient,
    stream,
)
from kubex_stream.compat.kubernetes.inbox import LIMIT
from kubex_stream.errors import ConnectionLost, HalfCloseUnsupported, StdinBroken
from kubex_stream.testing import OLD_PROTOCOLS, Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from kubex_stream.testing.pods import default_pod
from tests.compat.kubernetes.conftest import Connect, official
from tests.documents import ROOT

BOTH: Any = {"stderr": True, "stdin": False, "stdout": True, "tty": False}
WHERE = ("demo", "default")


def opened(v1: Any, *command: str, **more: Any) -> WSClient[str]:
    arguments = {**BOTH, **more}
    return stream(
        v1.connect_get_namespaced_pod_exec, *WHERE, command=list(command), _preload_content=False, **arguments
    )


@pytest.fixture
def faulty(connect: Connect) -> Iterator[tuple[EmbeddedCluster, Any]]:
    """A cluster whose behaviour may be changed, and its API."""
    with EmbeddedCluster(quiet=True) as cluster:
        yield cluster, connect(cluster)


# As the official client does ------------------------------------------------------------------------------------------


def test_the_same_program_with_both() -> None:
    program = Path(__file__).with_name("both.py")
    quitter = EmbeddedContainer(command=("sh", "-c", "printf 'one\\n\\ntwo\\n'"))
    with EmbeddedCluster([default_pod(), EmbeddedPod("quitter", containers=(quitter,))], quiet=True) as cluster:
        found = [
            subprocess.run(
                [sys.executable, "-W", "ignore", program, module, str(cluster.kubeconfig)],
                capture_output=True,
                timeout=60,
                check=True,
                cwd=ROOT,
            ).stdout
            for module in ("kubernetes", "kubex_stream.compat.kubernetes")
        ]
    theirs, ours = (json.loads(each) for each in found)
    assert ours["log"] == ["one", "", "two"]
    theirs["log"] = ours["log"] if theirs["log"] == ["one", "two"] else theirs["log"]  # before 36 empty lines are lost
    assert theirs == ours


@pytest.mark.usefixtures("each_backend")
def test_every_backend(v1: Any) -> None:
    assert stream(v1.connect_get_namespaced_pod_exec, *WHERE, command=["echo", "hi"], **BOTH) == "hi\n"
    with opened(v1, "cat", stdin=True) as session:
        session.write_stdin("x" * 300_000 + "\n")
        assert len(session.readline_stdout(30)) == 300_000
        session.close_channel(STDIN_CHANNEL)
        session.run_forever(30)
        assert session.returncode == 0


def test_attach(connect: Connect) -> None:
    container = EmbeddedContainer(command=("cat",), stdin=True)
    with EmbeddedCluster([EmbeddedPod("cat", containers=(container,))], quiet=True) as cluster:
        attach = connect(cluster).connect_get_namespaced_pod_attach
        with stream(attach, "cat", "default", stdin=True, stdout=True, _preload_content=False) as session:
            session.write_stdin("hello\n")
            assert session.readline_stdout(30) == "hello"
            assert session.returncode is None


def test_a_terminal_and_its_size(v1: Any) -> None:
    with opened(v1, "sh", "-c", "read a; stty size", tty=True, stdin=True) as session:
        session.write_channel(RESIZE_CHANNEL, json.dumps({"Width": 123, "Height": 45}))
        session.write_stdin("\n")
        session.run_forever(30)
        assert "45 123" in session.read_all()


def test_the_usual_loop_sees_everything(v1: Any) -> None:
    session = opened(v1, "sh", "-c", "seq 1 20000; seq 1 100 >&2; exit 2")
    out, err = "", ""
    while session.is_open():
        session.update(timeout=1)
        if session.peek_stdout():
            out += session.read_stdout()
        if session.peek_stderr():
            err += session.read_stderr()
    assert out.split() == [str(number) for number in range(1, 20001)]
    assert len(err.split()) == 100
    assert session.returncode == 2


def test_a_loop_of_lines_sees_the_last_one(v1: Any) -> None:
    session = opened(v1, "sh", "-c", "seq 1 500; printf end")
    lines = []
    while session.is_open():
        session.update(timeout=1)
        lines.append(session.readline_stdout())
    assert [line for line in lines if line] == [*map(str, range(1, 501)), "end"]


def test_a_loop_that_reads_nothing_ends(v1: Any) -> None:
    session = opened(v1, "echo", "unread")
    while session.is_open():
        session.update(timeout=1)
    assert session.read_all() == "unread\n"


# What the official client gets wrong ----------------------------------------------------------------------------------


def test_a_character_split_between_messages_survives(v1: Any) -> None:
    session = opened(v1, "sh", "-c", "printf 'caf\\303'; sleep 0.2; printf '\\251'")
    session.run_forever(30)
    assert session.read_stdout() == "caf\u00e9"
    broken = opened(v1, "printf", "\\303")
    broken.run_forever(30)
    assert broken.read_stdout() == "\ufffd"


def test_more_than_32_mib_of_stdin_in_one_call_while_nobody_reads(v1: Any) -> None:
    size = 34 * 1024 * 1024
    with opened(v1, "cat", stdin=True, stderr=False) as session:
        session.write_stdin(b"y" * size)
        session.close_channel(STDIN_CHANNEL)
        session.run_forever(60)
        assert len(session.read_stdout()) == size


def test_output_that_nobody_asks_for_is_not_taken(v1: Any) -> None:
    with opened(v1, "sh", "-c", "echo begun >&2; yes | head -c 30000000; echo ended >&2") as session:
        assert session.readline_stderr(30) == "begun"
        inbox = session._inbox
        with inbox._changed:
            assert inbox._changed.wait_for(lambda: inbox.unread >= LIMIT, 30)
        assert inbox.unread < 4 * LIMIT  # what waits for the other channel let more come; now it stands
        assert session.peek_stderr() == ""
        total = 0
        while data := session.read_stdout(30):
            total += len(data)
        assert total == 30_000_000
        assert session.readline_stderr(30) == "ended"


def test_killed_by_a_signal(v1: Any) -> None:
    session = opened(v1, "sh", "-c", "kill -9 $$")
    session.run_forever(30)
    assert (session.returncode, session.returncode) == (137, 137)
    assert json.loads(session.read_channel(ERROR_CHANNEL))["reason"] == "NonZeroExitCode"
    assert session.read_channel(ERROR_CHANNEL) == ""
    assert session.returncode == 137


def test_a_command_that_does_not_start(v1: Any) -> None:
    session = opened(v1, "/no/such/program")
    with pytest.raises(official.ApiException, match="no such file") as caught:
        session.run_forever(30)
    assert caught.value.status == 500
    with pytest.raises(official.ApiException, match="no such file"):
        _ = session.returncode
    with pytest.raises(official.ApiException, match="no such file"):
        stream(v1.connect_get_namespaced_pod_exec, *WHERE, command=["/no/such/program"], **BOTH)


def test_the_code_of_a_connection_that_broke_is_no_code(faulty: tuple[EmbeddedCluster, Any]) -> None:
    cluster, v1 = faulty
    cluster.behaviour = Behaviour(tcp_reset="before-status")
    session = opened(v1, "echo", "partial")
    assert session.readline_stdout(30) == "partial"
    with pytest.raises(StreamConnectionException) as caught:
        session.read_stdout(30)
    assert isinstance(caught.value.__cause__, ConnectionLost)
    assert not session.is_open()
    with pytest.raises(official.ApiException):
        _ = session.returncode
    with pytest.raises(official.ApiException) as lost:
        stream(v1.connect_get_namespaced_pod_exec, *WHERE, command=["echo", "partial"], **BOTH)
    assert (lost.value.status, lost.value.stdout) == (0, "partial\n")


def test_no_status_is_never_a_success(faulty: tuple[EmbeddedCluster, Any]) -> None:
    cluster, v1 = faulty
    cluster.behaviour = Behaviour(close_code=1000)
    session = opened(v1, "echo", "hi")
    with pytest.raises(StreamException, match="no exit code"):
        session.run_forever(30)
    assert session.read_all() == "hi\n"
    with pytest.raises(StreamException, match="no exit code"):
        _ = session.returncode


def test_a_timeout_says_so_and_keeps_what_came(v1: Any) -> None:
    exec_, command = v1.connect_get_namespaced_pod_exec, ["sh", "-c", "echo hi; sleep 60"]
    with pytest.raises(StreamTimeoutException) as caught:
        stream(exec_, *WHERE, command=command, _request_timeout=(30, 2), **BOTH)
    assert caught.value.stdout == "hi\n"
    assert isinstance(caught.value, TimeoutError)
    with opened(v1, *command) as session:
        session.run_forever(timeout=0.2)
        assert session.is_open()
        assert session.readline_stdout(30) == "hi"
        assert session.readline_stdout(0.05) == ""


def test_a_line_in_parts_is_not_lost_to_a_timeout(v1: Any) -> None:
    with opened(v1, "cat", stdin=True) as session:
        session.write_stdin("half")
        assert session.peek_stdout(30) == "half"
        assert session.readline_stdout(0.05) == ""
        session.write_stdin(" and half\n")
        assert session.readline_stdout(30) == "half and half"


def test_an_end_of_stdin_that_cannot_be_is_said(faulty: tuple[EmbeddedCluster, Any]) -> None:
    cluster, v1 = faulty
    cluster.behaviour = Behaviour(protocols=OLD_PROTOCOLS)
    with opened(v1, "cat", stdin=True) as session:
        assert session.subprotocol == "v4.channel.k8s.io"
        with pytest.raises(HalfCloseUnsupported):
            session.close_channel(STDIN_CHANNEL)


def test_writing_after_the_end(v1: Any) -> None:
    session = opened(v1, "true", stdin=True)
    session.run_forever(30)
    with pytest.raises(StdinBroken):
        session.write_stdin("late")
    session.close_channel(STDIN_CHANNEL)
    with opened(v1, "sh", "-c", "cat; sleep 60", stdin=True) as ended:
        ended.close_channel(STDIN_CHANNEL)
        ended.close_channel(STDIN_CHANNEL)
        with pytest.raises(StdinBroken, match="stdin was ended"):
            ended.write_stdin("late")


def test_closing_keeps_what_came_and_wakes_who_waits(v1: Any) -> None:
    session = opened(v1, "sh", "-c", "echo hi; sleep 60")
    assert session.peek_stdout(30) == "hi\n"
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.append(session.read_stderr()))
    waiting.start()
    session.close(timeout=3, status=1000)
    waiting.join(30)
    assert found == [""]
    assert (session.is_open(), session.returncode, session.read_all()) == (False, None, "hi\n")
    session.close()


def test_a_session_that_nobody_holds_is_closed(faulty: tuple[EmbeddedCluster, Any]) -> None:
    cluster, v1 = faulty
    session = opened(v1, "sleep", "60")
    assert cluster.connections == 1
    del session
    cluster.wait_for(lambda: not cluster.connections)


# The request ----------------------------------------------------------------------------------------------------------


def test_headers_of_the_client_and_of_the_call(faulty: tuple[EmbeddedCluster, Any]) -> None:
    cluster, v1 = faulty
    v1.api_client.set_default_header("X-Audit", "client")
    v1.api_client.set_default_header("sec-websocket-protocol", "v5.channel.k8s.io")
    newer = "_headers" in inspect.signature(v1.connect_get_namespaced_pod_exec).parameters
    with opened(v1, "cat", **({"_headers": {"X-Reason": "call"}} if newer else {})) as session:
        assert session.subprotocol == "v5.channel.k8s.io"
    headers = {name.lower(): value for name, value in cluster.requests[-1].headers}
    assert (headers["x-audit"], headers.get("x-reason")) == ("client", "call" if newer else None)
    assert headers["user-agent"].startswith("kubex-stream/")


def test_a_refusal_has_status_reason_and_body(v1: Any) -> None:
    with pytest.raises(official.ApiException) as caught:
        stream(v1.connect_get_namespaced_pod_exec, "nobody", "default", command=["true"], **BOTH)
    assert caught.value.status == 404
    assert 'pods "nobody" not found' in caught.value.reason
    assert json.loads(caught.value.body)["reason"] == "NotFound"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"command": []}, "command"),
        ({"command": ["ls"], "stdout": False, "stderr": False}, "at least one"),
        ({"command": ["ls"], "no_such": 1}, "no_such"),
        ({"command": ["ls"], "async_req": True}, "async_req"),
        ({"command": ["ls"], "_request_timeout": -1}, "timeout"),
        ({"command": ["ls"], "_request_timeout": (1, 2, 3)}, "_request_timeout"),
    ],
)
def test_bad_arguments(v1: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        stream(v1.connect_get_namespaced_pod_exec, *WHERE, **{**BOTH, **arguments})


def test_what_is_no_method_of_the_generated_api(v1: Any) -> None:
    with pytest.raises(TypeError, match="method of a generated API"):
        stream(print)
    with pytest.raises(TypeError, match="exec and attach"):
        stream(v1.list_namespaced_pod, "default")


def test_bad_arguments_of_a_session(v1: Any) -> None:
    with opened(v1, "sleep", "60") as session:
        with pytest.raises(ValueError, match="stdin"):
            session.write_channel(7, "")
        with pytest.raises(ValueError, match="stdin"):
            session.close_channel(1)
        with pytest.raises(ValueError, match="size"):
            session.write_channel(RESIZE_CHANNEL, "big")
        with pytest.raises(RuntimeError, match="stdin"):
            session.write_stdin("x")
        for seconds in ("1", True, float("nan")):
            with pytest.raises(TypeError, match="seconds"):
                session.update(seconds)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="number"):
            session.read_channel("stdout")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="text or bytes"):
            session.write_stdin(3)  # type: ignore[arg-type]
