"""``kubex-stream attach`` without a terminal here: output, input and its end, and what there is to say."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.cli.conftest import Run, Start
from tests.cli.forwards import failed

#: Answers each line twice: on stdout and on stderr.
ECHO = [
    "sh",
    "-c",
    "while read -r line; do echo out $line; echo err $line >&2; test $line = end && exit 5; done; echo over",
]


@contextmanager
def container(*, stdin: bool = False, stdin_once: bool = False, tty: bool = False) -> Iterator[EmbeddedCluster]:
    """A cluster whose pod ``main`` talks."""
    app = EmbeddedContainer("app", command=ECHO, stdin=stdin, stdin_once=stdin_once, tty=tty)
    pod = EmbeddedPod("main", containers=(app,))
    with EmbeddedCluster((pod,), quiet=True) as cluster:
        yield cluster


@pytest.mark.parametrize("backend", ["aiohttp", pytest.param("httpx", marks=pytest.mark.volume)])
def test_it_ends_with_the_process_and_has_no_exit_code(start: Start, backend: str) -> None:
    with (
        container(stdin=True) as cluster,
        start("attach", "-i", "--backend", backend, "main", cluster=cluster) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"one\nend\n")
        process.stdin.flush()
        assert process.stdout.read() == b"out one\nout end\n"
        assert process.stderr.read() == b"err one\nerr end\n"
        assert process.wait(30) == 0


def test_the_end_of_input_leaves_a_process_that_others_may_attach_to(run: Run) -> None:
    with container(stdin=True) as cluster:
        for _ in range(2):
            done = run("attach", "-i", "main", input=b"", cluster=cluster)
            assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 0)
        assert cluster.processes("main")


def test_the_end_of_input_is_the_processs_where_there_is_one_attacher(run: Run) -> None:
    with container(stdin=True, stdin_once=True) as cluster:
        done = run("attach", "-i", "main", input=b"one\n", cluster=cluster)
    assert (done.stdout, done.stderr, done.returncode) == (b"out one\nover\n", b"err one\n", 0)


def test_a_terminal_in_the_container_and_none_here(start: Start) -> None:
    with container(stdin=True, tty=True) as cluster:
        with start("attach", "-i", "-t", "main", cluster=cluster) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write(b"one\n")
            process.stdin.flush()
            seen = b""
            while not seen.endswith(b"err one\r\n"):
                seen += process.stdout.readline()
            process.stdin.close()
            assert process.wait(30) == 0
            assert process.stderr.read() == (
                b"Unable to use a TTY - input is not a terminal or the right kind of file\n"
            )
        assert cluster.processes("main"), "the end of this input is not the end of whatever runs there"


def test_a_container_without_a_terminal_and_without_stdin(start: Start) -> None:
    with (
        EmbeddedCluster(
            (EmbeddedPod("main", containers=(EmbeddedContainer("app", command=["sleep", "1000000"]),)),), quiet=True
        ) as cluster,
        start("attach", "-it", "main", cluster=cluster) as process,
    ):
        assert process.stderr is not None
        assert process.stderr.readline() == b"error: Unable to use a TTY - container app did not allocate one\n"
        assert process.stderr.readline() == b"container app was made without stdin: what you write there is lost\n"
        cluster.wait_for(lambda: bool(cluster.open_sessions))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == b""


def test_a_completed_pod(pods: EmbeddedCluster, at: Callable[[EmbeddedCluster], Run]) -> None:
    assert failed(at(pods)("attach", "done")) == (
        "error: cannot attach to a container in a completed pod; current phase is Succeeded"
    )


def test_no_such_container(pods: EmbeddedCluster, at: Callable[[EmbeddedCluster], Run]) -> None:
    said = failed(at(pods)("attach", "two", "-c", "third"))
    assert said == "error: container third is not valid for pod two out of: first, second"


def test_what_came_before_a_connection_breaks_is_written(start: Start) -> None:
    """Whoever notices the end first may not take away what others have not taken yet."""
    with container(stdin=True) as cluster:
        cluster.behaviour = Behaviour(tcp_end_before_status=True)
        with start("attach", "-i", "main", cluster=cluster) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write(b"x" * 20_000 + b"\nend\n")
            process.stdin.flush()
            assert process.stdout.read() == b"out " + b"x" * 20_000 + b"\nout end\n"
            assert process.stderr.read().startswith(b"err " + b"x" * 20_000 + b"\nerr end\nerror: ")
            assert process.wait(30) == 1
