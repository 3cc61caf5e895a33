"""Attach on the embedded cluster, and the life of main processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest

from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.testing.raw_client import (
    BINARY,
    CLOSE,
    CLOSED,
    PING,
    PONG,
    V4,
    V5,
    RawClient,
    exec_target,
    run,
    upgrade_headers,
)

EOF = b"\xff\x00"
SUCCESS_V5 = b'{"metadata":{},"status":"Success"}'
POD = EmbeddedPod(
    "box",
    containers=(
        EmbeddedContainer("cat", ["cat"], stdin=True),
        EmbeddedContainer("deaf", ["sh", "-c", "cat; echo end; while :; do sleep 1; done"]),
        EmbeddedContainer("shell", ["sh"], stdin=True, tty=True),
        EmbeddedContainer("idle"),
    ),
)


@pytest.fixture
def box(embedded: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    embedded.add_pod(POD)
    yield embedded
    embedded.delete_pod("box")


def attach(
    cluster: EmbeddedCluster, container: str, protocol: str = V5, *, tty: bool = False, stdin: bool = True
) -> RawClient:
    client = RawClient(cluster)
    flags = {"container": container, "stdout": "true", "stdin": str(stdin).lower(), "tty": str(tty).lower()}
    if not tty:
        flags["stderr"] = "true"
    client.request(exec_target([], pod="box", kind="attach", **flags), upgrade_headers(protocol))
    assert client.head().status == 101
    assert client.receive() == (BINARY, b"\x01")
    return client


@pytest.mark.parametrize("protocol", [V5, V4])
def test_all_attachers_see_all_output_and_any_may_write(box: EmbeddedCluster, protocol: str) -> None:
    with attach(box, "cat", protocol) as one, attach(box, "cat", protocol) as two:
        box.wait_for(lambda: len(box.open_sessions) == 2)
        for client in (one, two):
            client.send(b"", PING)
            assert client.receive() == (PONG, b"")
        one.send(b"\0from one\n")
        heard = [client.until(1, b"from one\n") for client in (one, two)]
        two.send(b"\0from two\n")
        for client, each in zip((one, two), heard, strict=True):
            client.until(1, b"from two\n", each)
        assert heard[0].channel(1) == heard[1].channel(1) == b"from one\nfrom two\n"


def test_the_end_of_stdin_ends_this_attachment_only(box: EmbeddedCluster) -> None:
    with attach(box, "cat") as one, attach(box, "cat") as two:
        one.send(EOF)
        assert one.rest().frames == [(BINARY, b"\x03" + SUCCESS_V5), CLOSED]
        two.send(b"\0still here\n")
        two.until(1, b"still here\n")


def test_a_container_without_stdin_drops_it(box: EmbeddedCluster) -> None:
    with attach(box, "deaf") as client:
        client.send(b"\0x")
        client.send(EOF)
        client.send(b"alive", PING)
        assert client.receive() == (PONG, b"alive")


def test_a_client_who_leaves_leaves_the_process_alone(box: EmbeddedCluster) -> None:
    (cat,) = [process for process in box.processes("box") if process.command == ("cat",)]
    with attach(box, "cat") as client:
        client.send(b"\x03\xe8", CLOSE)
        assert client.rest().frames == [CLOSED]
    with attach(box, "cat", V4) as client:
        client.reset()
    box.wait_for(lambda: not box.open_sessions)
    assert cat in box.processes("box")


def test_the_end_of_the_main_process_is_success_whatever_its_code(box: EmbeddedCluster) -> None:
    with attach(box, "shell", tty=True) as client:
        client.send(b'\x04{"Width":81,"Height":25}')
        client.send(b'\x04{"Width":80,"Height":24}')
        client.send(b"\0stty size; exit 5\n")
        heard = client.rest()
    assert b"24 80\r\n" in heard.channel(1)
    assert heard.channel(3) == SUCCESS_V5
    with RawClient(box) as client:
        client.request("/api/v1/namespaces/default/pods/box")
        statuses = json.loads(client.answer().body)["status"]["containerStatuses"]
        states = {each["name"]: each["state"] for each in statuses}
        assert states["shell"]["terminated"]["exitCode"] == 5
        assert "running" in states["cat"]
        client.request(exec_target(["true"], pod="box", container="shell", stdout="true"), upgrade_headers(V5))
        assert client.answer().body == b'container not found ("shell")'
    with RawClient(box) as client:
        client.request(exec_target([], pod="box", kind="attach", container="shell", stdout="1"), upgrade_headers(V5))
        answer = client.answer()
        assert (answer.status, answer.body) == (500, b"container shell not found in pod box_default")


def test_an_idle_container_is_silent(box: EmbeddedCluster) -> None:
    with attach(box, "idle") as client:
        client.send(b"\0x")
        client.send(EOF)
        client.send(b"alive", PING)
        assert client.receive() == (PONG, b"alive")
        client.send(b"\x03\xe8", CLOSE)
        assert client.rest().frames == [CLOSED]


def test_a_deleted_pod_is_137_for_exec_and_success_for_attach(embedded: EmbeddedCluster) -> None:
    embedded.add_pod(POD)
    with RawClient(embedded) as client, attach(embedded, "cat") as attached:
        target = exec_target(["sh", "-c", "echo up; sleep 1000"], pod="box", container="idle", stdout="true")
        client.request(target, upgrade_headers(V5))
        assert client.head().status == 101
        heard = client.until(1, b"up")
        embedded.delete_pod("box")
        client.rest(heard)
        ended = attached.rest()
    assert json.loads(heard.channel(3))["details"]["causes"][0]["message"] == "137"
    assert ended.frames == [(BINARY, b"\x03" + SUCCESS_V5), CLOSED]
    with pytest.raises(LookupError):
        embedded.processes("box")


def test_a_pod_ends_with_its_main_processes(embedded: EmbeddedCluster) -> None:
    for name, code, phase in (("good", 0, "Succeeded"), ("bad", 3, "Failed")):
        fifo = embedded.directory() / name
        os.mkfifo(fifo)
        container = EmbeddedContainer(command=["sh", "-c", f"read x <{fifo}; exit {code}"])
        embedded.add_pod(EmbeddedPod(name, containers=[container]))
        with RawClient(embedded) as client:
            client.request(
                f"/api/v1/namespaces/default/pods?fieldSelector=metadata.name={name}&watch=1&resourceVersion=1"
            )
            assert client.head().status == 200
            fifo.write_text("\n")
            while f'"phase":"{phase}"'.encode() not in client.buffer:
                assert client.more()
        embedded.delete_pod(name)


def test_a_main_process_that_cannot_start_fails_its_pod(embedded: EmbeddedCluster) -> None:
    embedded.add_pod(EmbeddedPod("broken", containers=[EmbeddedContainer(command=["/no/such"])]))
    with RawClient(embedded) as client:
        client.request("/api/v1/namespaces/default/pods/broken")
        status = json.loads(client.answer().body)["status"]
    embedded.delete_pod("broken")
    assert status["phase"] == "Failed"
    assert status["containerStatuses"][0]["state"]["terminated"]["reason"] == "StartError"
    assert "no such file" in status["containerStatuses"][0]["state"]["terminated"]["message"]


def test_a_slow_attacher_holds_the_process_up(box: EmbeddedCluster) -> None:
    """Back-pressure reaches from a client who does not read to the process, and output is whole when it reads on."""
    size = 30_000_000
    with attach(box, "shell", tty=True) as client:
        client.send(b"\0stty -echo; head -c %d /dev/zero | tr '\\0' x; echo done >flag; exit\n" % size)
        client.until(1, b"xxxx")
        flag = box.directory("box", "shell") / "flag"
        assert not flag.exists()
        rest = client.rest().channel(1)
    assert flag.read_text() == "done\n"
    assert size - 65536 <= rest.count(b"x") < size


def test_faults_concern_attachments_too(box: EmbeddedCluster) -> None:
    box.behaviour = Behaviour(close_code=1011)
    (cat,) = [process.pid for process in box.processes("box") if process.command == ("cat",)]
    with attach(box, "cat") as client:
        os.kill(cat, signal.SIGTERM)
        assert client.rest().frames == [(CLOSE, b"\x03\xf3")]


def test_exec_works_beside_a_main_process(box: EmbeddedCluster) -> None:
    assert run(box, ["echo", "hi"]).channel(1) == b"hi\n"
