"""``kubex-stream exec`` against an embedded cluster: output, input, exit codes, containers."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream.testing import Behaviour, EmbeddedCluster
from tests.cli.conftest import COMMAND, KUBECONFIG, Run, Start, environment

EVERY_BYTE = bytes(range(256)) * 64


@pytest.mark.parametrize("backend", ["aiohttp", pytest.param("httpx", marks=pytest.mark.volume)])
def test_output_errors_and_exit_code_are_those_of_the_command(run: Run, backend: str) -> None:
    done = run("exec", "--backend", backend, "demo", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert done.stdout == b"out\n"
    assert done.stderr == b"err\ncommand terminated with exit code 7\n"
    assert done.returncode == 7


def test_success_says_nothing_of_its_own(here: Run) -> None:
    done = here("exec", "demo", "--", "printf", "no newline")
    assert (done.stdout, done.stderr, done.returncode) == (b"no newline", b"", 0)


def test_a_killed_command_is_128_and_its_signal(here: Run) -> None:
    done = here("exec", "demo", "--", "sh", "-c", "kill -9 $$")
    assert (done.stderr, done.returncode) == (b"command terminated with exit code 137\n", 137)


@pytest.mark.parametrize("backend", ["aiohttp", "httpx"])
def test_stdin_passes_every_byte_and_its_end(run: Run, backend: str) -> None:
    done = run("--backend", backend, "exec", "-i", "demo", "--", "cat", input=EVERY_BYTE)
    assert (done.stdout, done.stderr, done.returncode) == (EVERY_BYTE, b"", 0)


def test_stdin_from_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_bytes(EVERY_BYTE)
    with file.open("rb") as stdin:
        done = run("exec", "-i", "demo", "--", "cat", stdin=stdin)
    assert (done.stdout, done.returncode) == (EVERY_BYTE, 0)


def test_stdin_from_the_null_device(run: Run) -> None:
    done = run("exec", "-i", "demo", "--", "sh", "-c", "cat; echo ended", stdin=subprocess.DEVNULL)
    assert (done.stdout, done.returncode) == (b"ended\n", 0)


def test_without_the_option_there_is_no_stdin(run: Run) -> None:
    done = run("exec", "demo", "--", "sh", "-c", "cat; echo ended", input=b"never sent")
    assert (done.stdout, done.returncode) == (b"ended\n", 0)


@pytest.mark.parametrize(("closed", "stdout"), [("<&-", b"out\n"), (">&-", b""), ("2>&-", b"out\n")])
def test_a_closed_descriptor_is_like_the_null_device(pods: EmbeddedCluster, closed: str, stdout: bytes) -> None:
    script = f"\"$0\" exec -i demo -- sh -c 'cat; echo out; echo err >&2; exit 3' {closed}"
    done = subprocess.run(
        ["sh", "-c", script, COMMAND],
        input=b"",
        capture_output=True,
        timeout=60,
        check=False,
        env=environment(pods.kubeconfig),
    )
    assert done.stdout == stdout
    assert done.stderr == (b"" if closed == "2>&-" else b"err\ncommand terminated with exit code 3\n")
    assert done.returncode == 3


def test_stdin_that_goes_on_does_not_hold_up_the_end(start_script: Start) -> None:
    with start_script("exec", "-i", "demo", "--", "head", "-n", "1") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.read() == b"one\n"
        assert process.wait(30) == 0


def test_a_conversation_is_not_delayed(start_script: Start) -> None:
    with start_script("exec", "-i", "demo", "--", "cat") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in (b"first\n", b"second\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line
        process.stdin.close()
        assert process.wait(30) == 0


def test_much_of_everything(run: Run) -> None:
    given = EVERY_BYTE * 256
    done = run("exec", "-i", "demo", "--", "sh", "-c", "tee /dev/stderr", input=given)
    for came in (done.stdout, done.stderr):
        assert len(came) == len(given)
        assert hashlib.sha256(came).digest() == hashlib.sha256(given).digest()


def test_a_stalled_reader_does_not_stall_the_connection(pods: EmbeddedCluster, start_script: Start) -> None:
    """All output is taken from the server while nobody reads this command's stdout, and comes out once somebody does."""
    size = 8 * 1024 * 1024
    with start_script("exec", "-i", "demo", "--", "sh", "-c", f"head -c {size} /dev/zero; echo end >&2") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.close()
        assert process.stderr.readline() == b"end\n"
        pods.wait_for(lambda: not pods.open_sessions, timeout=60)
        assert len(process.stdout.read()) == size
        assert process.wait(30) == 0


def test_what_came_before_a_connection_breaks_is_written(start: Start) -> None:
    """More than the pipe holds, and read when the connection has ended."""
    with (
        EmbeddedCluster(quiet=True, behaviour=Behaviour(tcp_end_before_status=True)) as cluster,
        start("exec", "demo", "--", "head", "-c", "200000", "/dev/zero", cluster=cluster) as process,
    ):
        cluster.wait_for(lambda: any("/exec" in each.path for each in cluster.requests) and not cluster.open_sessions)
        assert process.stdout is not None
        assert len(process.stdout.read()) == 200_000
        assert process.wait(30) == 1


@pytest.mark.parametrize("command", ["yes", "yes | head -c 1000000"])
def test_nobody_reads_stdout_any_more(start_script: Start, command: str) -> None:
    with start_script("exec", "demo", "--", "sh", "-c", command) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"y\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_an_error(pods: EmbeddedCluster) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [COMMAND, "exec", "demo", "--", "echo", "x"],
            stdout=full, stderr=subprocess.PIPE, timeout=60, check=False, env=environment(pods.kubeconfig),
        )  # fmt: skip
    assert (done.stderr, done.returncode) == (b"error: [Errno 28] No space left on device\n", 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("-n", "other", "exec", "elsewhere"),
        ("exec", "-n", "other", "elsewhere"),
        ("exec", "elsewhere", "--namespace", "other"),
        ("-n", "wrong", "exec", "-n", "other", "pod/elsewhere"),
    ],
)
def test_options_stand_before_or_after_the_verb(
    pods: EmbeddedCluster, at: Callable[[EmbeddedCluster], Run], arguments: tuple[str, ...]
) -> None:
    done = at(pods)(*arguments, "--", "echo", "found")
    assert (done.stdout, done.stderr, done.returncode) == (b"found\n", b"", 0)


def test_what_follows_the_dashes_is_the_commands(here: Run) -> None:
    done = here("exec", "demo", "--", "printf", "%s|", "-i", "--", "-n", "--help", "")
    assert (done.stdout, done.returncode) == (b"-i|--|-n|--help||", 0)


def test_kubeconfig_option(run: Run, pods: EmbeddedCluster) -> None:
    done = run(
        "--kubeconfig", str(pods.kubeconfig), "exec", "--context", "embedded", "demo", "--", "echo", "x", cluster=None
    )
    assert (done.stdout, done.stderr, done.returncode) == (b"x\n", b"", 0)


def test_the_first_container_is_the_default_and_that_is_said(
    pods: EmbeddedCluster, at: Callable[[EmbeddedCluster], Run]
) -> None:
    done = at(pods)("exec", "two", "--", "echo", "x")
    assert (done.stdout, done.returncode) == (b"x\n", 0)
    assert done.stderr == b'Defaulted container "first" out of: first, second\n'


def test_the_annotated_container_is_the_default(pods: EmbeddedCluster, at: Callable[[EmbeddedCluster], Run]) -> None:
    done = at(pods)("exec", "annotated", "--", "pwd")
    assert done.stdout.decode().strip() == str(pods.directory("annotated", "second").resolve())
    assert (done.stderr, done.returncode) == (b"", 0)


def test_a_container_by_name(pods: EmbeddedCluster, at: Callable[[EmbeddedCluster], Run]) -> None:
    done = at(pods)("exec", "-c", "second", "two", "--", "pwd")
    assert done.stdout.decode().strip() == str(pods.directory("two", "second").resolve())
    assert (done.stderr, done.returncode) == (b"", 0)


def test_the_proxy_of_the_environment_is_used(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(KUBECONFIG.format("https://cluster.invalid:6443"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        proxy = {"HTTPS_PROXY": f"http://127.0.0.1:{listener.getsockname()[1]}"}
        command = [str(COMMAND), "exec", "demo", "--", "true"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment(kubeconfig, proxy)) as process:
            asked, _ = listener.accept()
            with asked, asked.makefile("rb") as request:
                assert request.readline() == b"CONNECT cluster.invalid:6443 HTTP/1.1\r\n"
                asked.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            assert process.stderr is not None
            assert process.stderr.read().startswith(b"Unable to connect to the server: ")
            assert process.wait(30) == 1


def test_verbose_tells_of_the_stream_and_hides_the_command(here: Run) -> None:
    done = here("exec", "-v", "demo", "--", "echo", "s3cret")
    assert done.stdout == b"s3cret\n"
    assert b"v4.channel.k8s.io" in done.stderr
    assert b"s3cret" not in done.stderr


def test_an_old_server_cannot_end_stdin(run: Run) -> None:
    from kubex_stream.testing import OLD_PROTOCOLS

    with EmbeddedCluster(quiet=True, behaviour=Behaviour(protocols=OLD_PROTOCOLS)) as old:
        done = run("exec", "-i", "demo", "--", "cat", input=b"x", cluster=old)
        assert done.stdout == b""
        assert done.stderr.startswith(b"error: ")
        assert b"v5.channel.k8s.io" in done.stderr
        assert done.returncode == 1
        assert run("exec", "demo", "--", "echo", "x", cluster=old).stdout == b"x\n"
