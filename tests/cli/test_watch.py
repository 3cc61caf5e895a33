"""``kubex-stream watch``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.cli.conftest import COMMAND, Run, environment

At = Callable[[EmbeddedCluster], Run]


def lines(output: bytes) -> list[list[str]]:
    return [line.split() for line in output.decode().splitlines()]


def put(cluster: EmbeddedCluster, name: str, namespace: str = "default", **labels: str) -> None:
    cluster.put_object(
        {"kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"a": "1"}}, namespace
    )


def test_a_table(at: At, pods: EmbeddedCluster) -> None:
    done = at(pods)("watch", "pods", "--timeout", "300ms")
    assert done.returncode == 0
    header, *rows = lines(done.stdout)
    assert header == ["EVENT", "NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [row[:4] for row in rows] == [
        ["ADDED", "annotated", "2/2", "Running"],
        ["ADDED", "demo", "1/1", "Running"],
        ["ADDED", "done", "0/1", "Completed"],
        ["ADDED", "two", "2/2", "Running"],
    ]
    text = done.stdout.decode().splitlines()
    assert {line.index(word) for line, word in zip(text[1:], ["annotated", "demo", "done", "two"], strict=True)} == {
        text[0].index("NAME")
    }, "columns stand below each other"


def test_every_namespace_and_more_columns(at: At, pods: EmbeddedCluster) -> None:
    done = at(pods)("watch", "po", "-A", "-o", "wide", "--timeout", "300ms")
    header, *rows = lines(done.stdout)
    assert header[:3] == ["EVENT", "NAMESPACE", "NAME"]
    assert "NODE" in header
    assert ["ADDED", "other", "elsewhere"] in [row[:3] for row in rows]


def test_json(at: At, pods: EmbeddedCluster) -> None:
    done = at(pods)("watch", "namespaces", "-o", "json", "--timeout", "300ms")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["type"] for event in events} == {"ADDED"}
    assert {event["object"]["metadata"]["name"] for event in events} >= {"default", "kube-system", "other"}


@pytest.mark.parametrize("words", [("pods", "demo"), ("pod/demo",)])
def test_one_object(at: At, pods: EmbeddedCluster, words: tuple[str, ...]) -> None:
    assert at(pods)("watch", *words, "-o", "name", "--timeout", "300ms").stdout == b"ADDED demo\n"


def test_selectors_a_version_and_changes_only(at: At, cluster: EmbeddedCluster) -> None:
    put(cluster, "old", app="web")
    version = cluster.resource_version
    put(cluster, "new", app="web")
    put(cluster, "other", app="db")
    name = ("-o", "name", "--timeout", "300ms")
    assert at(cluster)("watch", "cm", "-l", "app=web", *name).stdout == b"ADDED new\nADDED old\n"
    assert at(cluster)("watch", "cm", "--resource-version", str(version), *name).stdout == b"ADDED new\nADDED other\n"
    assert at(cluster)("watch", "cm", "--field-selector", "metadata.name=old", *name).stdout == b"ADDED old\n"
    assert at(cluster)("watch", "cm", "--watch-only", *name).stdout == b""


def test_a_path(at: At, pods: EmbeddedCluster) -> None:
    done = at(pods)("watch", "/api/v1/namespaces/other/pods", "-o", "name", "--timeout", "300ms")
    assert done.stdout == b"ADDED elsewhere\n"


def test_until_a_signal_and_through_a_broken_connection(cluster: EmbeddedCluster) -> None:
    command = [str(COMMAND), "watch", "cm", "-o", "name"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(cluster.kubeconfig)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        cluster.wait_for(lambda: cluster.open_watches == 1, 30)
        put(cluster, "one")
        assert process.stdout.readline() == b"ADDED one\n"
        cluster.fail_watches("cut")
        put(cluster, "two")
        assert process.stdout.readline() == b"ADDED two\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert b"going on from version" in process.stderr.read()
    cluster.wait_for(lambda: cluster.open_watches == 0)


def test_a_table_through_a_broken_connection(cluster: EmbeddedCluster) -> None:
    command = [str(COMMAND), "watch", "pods", "web-0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(cluster.kubeconfig)
    ) as process:
        assert process.stdout is not None
        cluster.wait_for(lambda: cluster.open_watches == 1, 30)
        assert process.stdout.readline().startswith(b"EVENT")
        assert process.stdout.readline().split()[:4] == [b"ADDED", b"web-0", b"1/1", b"Running"]
        cluster.fail_watches("cut")
        cluster.delete_pod("web-0")
        assert process.stdout.readline().split()[:2] == [b"MODIFIED", b"web-0"]
        assert process.stdout.readline().split()[:2] == [b"DELETED", b"web-0"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("watch",), "error: name a resource: watch pods"),
        (("watch", "pods", "a", "b"), "watch takes one resource, and one name or none"),
        (("watch", "pods", "-o", "yaml"), "--output is table, wide, json or name, not 'yaml'"),
        (("watch", "pods", "--timeout", "soon"), "--timeout takes a time as 30s"),
        (("watch", "pods", "--timeout", "0"), "--timeout must be higher than zero"),
        (("watch", "poods"), "error: the server has no resource 'poods'; did you mean 'pods'?"),
        (("watch", "svc"), "services cannot be watched"),
        (("watch", "pods", "-l", "app is web"), "'app is web' is no term of a label selector"),
        (("watch", "pods", "--field-selector", "phase"), "'phase' is no term of a field selector"),
        (("watch", "pods", "--resource-version", "abc"), "resource_version is a number"),
        (("watch", "pods", "--", "x"), "watch takes no command"),
    ],
)
def test_what_makes_no_sense(at: At, pods: EmbeddedCluster, arguments: tuple[str, ...], text: str) -> None:
    done = at(pods)(*arguments)
    assert (done.returncode, done.stdout) == (1, b"")
    assert text in done.stderr.decode()


def test_a_version_that_is_too_old(at: At, cluster: EmbeddedCluster) -> None:
    put(cluster, "a")
    cluster.compact()
    done = at(cluster)("watch", "cm", "--resource-version", "1")
    assert done.returncode == 1
    assert b"Error from server (Expired): too old resource version: 1" in done.stderr


def test_who_may_not(at: At) -> None:
    with EmbeddedCluster(
        [EmbeddedPod("x", containers=[EmbeddedContainer()])], quiet=True, behaviour=Behaviour(rbac="nobody")
    ) as cluster:
        done = at(cluster)("watch", "pods")
    assert done.returncode == 1
    assert b"Error from server (Forbidden)" in done.stderr
