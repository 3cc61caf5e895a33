"""``kubex-stream logs`` against an embedded cluster."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from typing import Final

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream.testing import (
    Behaviour,
    EmbeddedCluster,
    EmbeddedContainer,
    EmbeddedPod,
    EmbeddedWorkload,
    HttpFailure,
)
from tests.cli.conftest import Run, Start

At = Callable[[EmbeddedCluster], Run]

WEB: Final = {"app": "web"}
PODS: Final = (
    EmbeddedPod("demo", restart_policy="Always"),
    EmbeddedPod("web-0", labels=WEB, containers=[EmbeddedContainer("app"), EmbeddedContainer("proxy")]),
    EmbeddedPod("web-1", labels=WEB, containers=[EmbeddedContainer("app"), EmbeddedContainer("proxy")]),
    EmbeddedPod("job", containers=[EmbeddedContainer(command=["printf", "one\\ntwo"])]),
    EmbeddedPod("pending", phase="Pending"),
)
START_NS: Final = 1_700_000_000 * 1_000_000_000


@pytest.fixture
def cluster() -> Iterator[EmbeddedCluster]:
    """A cluster of one's own, whose pods have something in their logs."""
    workloads = [EmbeddedWorkload("Deployment", "web", selector=WEB)]
    with EmbeddedCluster(PODS, workloads=workloads, quiet=True) as cluster:
        for number in range(3):
            cluster.write_log(b"line %d\n" % number, time_ns=START_NS + number * 1_000_000_000)
        for pod in ("web-0", "web-1"):
            for container in ("app", "proxy"):
                cluster.write_log(f"{pod} {container}\n".encode() * 12, pod=pod, container=container)
        cluster.wait_for(lambda: cluster.processes("job") == ())
        yield cluster


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["demo"], b"line 0\nline 1\nline 2\n"),
        (["pod/demo", "--tail", "1"], b"line 2\n"),
        (["demo", "main", "--tail=-1", "--limit-bytes", "9"], b"line 0\nli"),
        (["demo", "--since-time", "2023-11-14T22:13:21Z"], b"line 1\nline 2\n"),
        (["demo", "--since", "1h"], b""),
        (["demo", "--tail=1", "--timestamps"], b"2023-11-14T22:13:22.000000000Z line 2\n"),
        (["demo", "--tail=1", "--prefix"], b"[pod/demo/main] line 2\n"),
        (["demo", "--tail=1", "--prefix", "--timestamps"], b"[pod/demo/main] 2023-11-14T22:13:22.000000000Z line 2\n"),
        (["job"], b"one\ntwo"),
        (["-f", "job"], b"one\ntwo"),
        (["web-0", "-c", "proxy", "--tail=2"], b"web-0 proxy\n" * 2),
        (["web-0", "--all-containers", "--tail=1", "--prefix"],
         b"[pod/web-0/app] web-0 app\n[pod/web-0/proxy] web-0 proxy\n"),
        (["-l", "app=web", "-c", "app"], b"web-0 app\n" * 10 + b"web-1 app\n" * 10),
        (["deploy/web", "--all-pods", "-c", "app", "--tail=1"],
         b"[pod/web-0/app] web-0 app\n[pod/web-1/app] web-1 app\n"),
    ],
)  # fmt: skip
def test_what_is_asked_for_and_nothing_else(
    at: At, cluster: EmbeddedCluster, arguments: list[str], expected: bytes
) -> None:
    done = at(cluster)("logs", *arguments)
    assert (done.stdout, done.stderr, done.returncode) == (expected, b"", 0)


def test_the_choice_that_was_made_is_said(at: At, cluster: EmbeddedCluster) -> None:
    done = at(cluster)("logs", "web-0", "--tail=1")
    assert done.stdout == b"web-0 app\n"
    assert done.stderr == b'Defaulted container "app" out of: app, proxy\n'
    done = at(cluster)("logs", "deploy/web", "--tail=1", "-c", "app")
    assert done.stdout in (b"web-0 app\n", b"web-1 app\n")
    assert done.stderr.startswith(b"Found 2 pods, using pod/web-")


def test_no_pods_with_these_labels_is_no_error(at: At, cluster: EmbeddedCluster) -> None:
    done = at(cluster)("logs", "-l", "app=none")
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"No resources found in default namespace.\n", 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], b"name a pod, another object that has pods, or labels"),
        (["demo", "a", "b"], b"name a pod, another object that has pods, or labels"),
        (["demo", "-l", "app=web"], b"only a selector (-l) or a POD name is allowed"),
        (["demo", "main", "-c", "main"], b"only one of -c or a second argument"),
        (["demo", "--since", "1h", "--since-time", "2026-01-01T00:00:00Z"], b"at most one of --since and --since-time"),
        (["demo", "--since-time", "yesterday"], b"--since-time takes a time as"),
        (["demo", "--since-time", "2026-01-01T00:00:00"], b"--since-time takes a time as"),
        (["demo", "--since", "x"], b"--since takes a time as"),
        (["demo", "--tail=-2"], b"--tail must be greater than or equal to -1"),
        (["demo", "--limit-bytes=-1"], b"--limit-bytes must be greater than 0"),
        (["demo", "--max-log-requests", "0"], b"--max-log-requests must be higher than zero"),
        (["demo", "--", "ls"], b"logs takes no command"),
        (["node/demo"], b"'node' is no kind of object that has pods"),
        (["nobody"], b'Error from server (NotFound): pods "nobody" not found'),
        (["demo", "-c", "none"], b"container none is not valid for pod demo out of: main"),
        (["demo", "-p"], b'previous terminated container "main" in pod "demo" not found'),
        (["pending"], b"is waiting to start: ContainerCreating"),
        (["-f", "pending", "--pod-running-timeout", "200ms"], b"has not started within 0.2 s: ContainerCreating"),
        (["-f", "-l", "app=web", "--all-containers", "--max-log-requests", "3"],
         b"4 logs would be followed at once, and --max-log-requests is 3"),
    ],
)  # fmt: skip
def test_what_cannot_be(at: At, cluster: EmbeddedCluster, arguments: list[str], words: bytes) -> None:
    done = at(cluster)("logs", *arguments)
    assert words in done.stderr
    assert done.stderr.count(b"\n") <= 2
    assert (done.stdout, done.returncode) == (b"", 1)


def test_before_the_last_restart(at: At, cluster: EmbeddedCluster) -> None:
    cluster.restart_container()
    cluster.write_log(b"after\n")
    assert at(cluster)("logs", "-p", "demo", "--tail=1").stdout == b"line 2\n"
    assert at(cluster)("logs", "demo").stdout == b"after\n"


def test_following_goes_on_and_says_so(start: Start, cluster: EmbeddedCluster) -> None:
    with start("logs", "-f", "demo", "--tail=1", cluster=cluster) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line 2\n"
        cluster.fail_logs("cut")
        cluster.write_log(b"line 3\n")
        assert process.stdout.readline() == b"line 3\n"
        assert b"demo/main: the log goes on; before, " in process.stderr.readline()
        cluster.restart_container()
        cluster.write_log(b"line 4\n")
        assert process.stdout.readline() == b"line 4\n"
        assert process.stderr.readline() == b"demo/main: the container has been restarted; 1 times by now\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_one_failing_log_among_others(at: At, cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(failures=(HttpFailure(403, b"no", path="/web-0/log"),))
    done = at(cluster)("logs", "-l", "app=web", "-c", "app", "--tail=1", "--ignore-errors")
    assert (done.stdout, done.returncode) == (b"web-1 app\n", 0)
    assert b"web-0/app" in done.stderr
    done = at(cluster)("logs", "-l", "app=web", "-c", "app", "--tail=1")
    assert (done.stdout, done.returncode) == (b"", 1)


def test_a_reader_that_leaves_ends_it(start: Start, cluster: EmbeddedCluster) -> None:
    cluster.write_log(b"x" * 1000 * 1000 + b"\n")
    with start("logs", "-f", "demo", cluster=cluster) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        for _ in range(3):
            cluster.write_log(b"y" * 100_000 + b"\n")
        assert process.wait(20) == 141
