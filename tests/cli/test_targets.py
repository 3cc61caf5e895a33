"""Which pod ``exec`` and ``attach`` take, where another object is named, and how they wait for one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream.testing import (
    EmbeddedCluster,
    EmbeddedContainer,
    EmbeddedPod,
    EmbeddedService,
    EmbeddedServicePort,
    EmbeddedWorkload,
)
from tests.cli.conftest import Run, Start
from tests.cli.forwards import failed, said

TWO = (EmbeddedContainer("app"), EmbeddedContainer("sidecar"))


def web(name: str, **more: object) -> EmbeddedPod:
    return EmbeddedPod(name, labels={"app": "web"}, containers=TWO, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def objects() -> Iterator[EmbeddedCluster]:
    """A pod that many select, and selectors that find nothing."""
    services = (
        EmbeddedService("web", selector={"app": "web"}, ports=[EmbeddedServicePort(80)]),
        EmbeddedService("nobody", selector={"app": "nobody"}, ports=[EmbeddedServicePort(80)]),
    )
    workloads = tuple(EmbeddedWorkload(kind, "web", selector={"app": "web"}) for kind in ("Deployment", "ReplicaSet"))
    with EmbeddedCluster((web("web-0"),), services=services, workloads=workloads, quiet=True) as cluster:
        yield cluster


@pytest.mark.parametrize(
    "target",
    ["web-0", "pod/web-0", "po/web-0", "svc/web", "service/web", "deploy/web", "deployment.apps/web", "rs/web"],
)
def test_targets(objects: EmbeddedCluster, at: Callable[[EmbeddedCluster], Run], target: str) -> None:
    done = at(objects)("exec", target, "-c", "sidecar", "--", "pwd")
    assert done.stdout.decode().strip() == str(objects.directory("web-0", "sidecar").resolve())
    assert (done.stderr, done.returncode) == (b"", 0)


def test_quiet_says_nothing_but_the_exit_code(objects: EmbeddedCluster, at: Callable[[EmbeddedCluster], Run]) -> None:
    run = at(objects)
    assert run("exec", "web-0", "--", "true").stderr == b'Defaulted container "app" out of: app, sidecar\n'
    assert run("exec", "-q", "web-0", "--", "true").stderr == b""
    assert run("exec", "--quiet", "web-0", "--", "sh", "-c", "exit 4").stderr == (
        b"command terminated with exit code 4\n"
    )


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("svc/nope", 'Error from server (NotFound): services "nope" not found'),
        ("deploy/nope", 'Error from server (NotFound): deployments.apps "nope" not found'),
        ("nope", 'Error from server (NotFound): pods "nope" not found'),
    ],
)
@pytest.mark.parametrize("verb", ["exec", "attach"])
def test_what_is_not_there(
    objects: EmbeddedCluster, at: Callable[[EmbeddedCluster], Run], verb: str, target: str, words: str
) -> None:
    command = ("--", "true") if verb == "exec" else ()
    assert failed(at(objects)(verb, target, *command)) == words


def test_no_pod_in_time(objects: EmbeddedCluster, at: Callable[[EmbeddedCluster], Run]) -> None:
    done = at(objects)("exec", "svc/nobody", "--pod-running-timeout", "200ms", "--", "true")
    assert (done.stdout, done.returncode) == (b"", 1)
    assert done.stderr.decode().splitlines() == [
        "Waiting up to 0.2 s: service/nobody has no running pod",
        "error: service/nobody has no running pod (waited 0.2 s)",
    ]


@pytest.mark.parametrize("verb", ["exec", "attach"])
def test_quiet_waits_without_a_word(objects: EmbeddedCluster, at: Callable[[EmbeddedCluster], Run], verb: str) -> None:
    command = ("--", "true") if verb == "exec" else ()
    done = at(objects)(verb, "-q", "svc/nobody", "--pod-running-timeout", "1ms", *command)
    assert done.stderr == b"error: service/nobody has no running pod (waited 0.001 s)\n"


@pytest.mark.parametrize("pending", [False, True])
def test_a_pod_that_comes_later(start: Start, pending: bool) -> None:
    workload = EmbeddedWorkload("Deployment", "web", selector={"app": "web"})
    first = (web("web-0", phase="Pending"),) if pending else ()
    with (
        EmbeddedCluster(first, workloads=(workload,), quiet=True) as cluster,
        start("exec", "-c", "app", "deploy/web", "--", "echo", "here", cluster=cluster) as process,
    ):
        assert said(process) == "Waiting up to 60 s: deployment/web has no running pod\n"
        cluster.add_pod(web("web-1"))
        assert process.stdout is not None
        assert process.stdout.read() == b"here\n"
        assert process.wait(30) == 0
