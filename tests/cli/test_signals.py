"""Ctrl-C and its relatives: the command ends at once, says nothing, and leaves nothing behind here."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream.testing import EmbeddedCluster
from tests.cli.conftest import Process, Start

#: Says that it runs, and as which process; then goes on for ever.
FOREVER = ("sh", "-c", "echo $$; exec sleep 1000000")


def first_line(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().rstrip("\n")


def errors(process: Process) -> str:
    assert process.stderr is not None
    return process.stderr.read().decode()


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("backend", "number"),
    [
        ("aiohttp", signal.SIGINT),
        ("aiohttp", signal.SIGTERM),
        ("aiohttp", signal.SIGHUP),
        ("httpx", signal.SIGINT),
        pytest.param("httpx", signal.SIGTERM, marks=pytest.mark.volume),
        pytest.param("httpx", signal.SIGHUP, marks=pytest.mark.volume),
    ],
)
def test_exec_ends_with_the_shells_code(
    pods: EmbeddedCluster, start_script: Start, number: signal.Signals, backend: str
) -> None:
    with start_script("exec", "-i", "--backend", backend, "demo", "--", *FOREVER) as process:
        remote = int(first_line(process))
        process.send_signal(number)
        assert process.wait(30) == 128 + number
        assert errors(process) == ""
    assert is_there(remote), "leaving does not end a remote command"
    os.kill(remote, signal.SIGKILL)
    pods.wait_for(lambda: not pods.processes("demo"))


def test_exec_ends_while_its_output_is_stuck(start_script: Start) -> None:
    with start_script("exec", "demo", "--", "sh", "-c", "echo ready >&2; exec cat /dev/zero") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert errors(process) == ""


def test_a_hangup_that_is_ignored_stays_ignored(start_script: Start) -> None:
    with start_script("exec", "-i", "demo", "--", "sh", "-c", "echo ready; cat", prefix=("nohup",)) as process:
        assert process.stdin is not None
        assert first_line(process) == "ready"
        process.send_signal(signal.SIGHUP)
        process.stdin.write(b"still here\n")
        process.stdin.close()
        assert first_line(process) == "still here"
        assert process.wait(30) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_embedded_cluster_goes_with_the_command(start_script: Start, number: signal.Signals) -> None:
    with start_script("exec", "--embedded", "demo", "--", *FOREVER, cluster=None) as process:
        remote = int(first_line(process))
        process.send_signal(number)
        assert process.wait(30) == 128 + number
        assert "Traceback" not in errors(process)
    assert not is_there(remote)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_cluster_leaves_nothing_behind(start_script: Start, number: signal.Signals) -> None:
    with start_script("cluster", cluster=None) as process:
        kubeconfig = Path(first_line(process))
        assert kubeconfig.is_file()
        with start_script("exec", "--kubeconfig", str(kubeconfig), "demo", "--", *FOREVER, cluster=None) as inside:
            remote = int(first_line(inside))
            assert is_there(remote)
            process.send_signal(number)
            assert process.wait(30) == 0
            assert inside.wait(30) == 1
            assert "Traceback" not in errors(inside)
        warning = errors(process)
    assert not is_there(remote)
    assert not kubeconfig.parent.exists()
    assert "runs commands on this machine" in warning
    assert warning.count("\n") == 1
