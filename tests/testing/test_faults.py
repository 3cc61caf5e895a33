"""The faults that a behaviour asks for."""

from __future__ import annotations

import json

import pytest

from kubex_stream.testing import Behaviour, EmbeddedCluster, HttpFailure, InjectedFrame
from tests.testing.raw_client import (
    BINARY,
    CLOSE,
    CLOSED,
    PING,
    PONG,
    TEXT,
    V4,
    V5,
    Heard,
    RawClient,
    exec_target,
    open_exec,
    run,
    upgrade_headers,
)

SUCCESS = (BINARY, b'\x03{"metadata":{},"status":"Success"}')
OPEN = (BINARY, b"\x01")


@pytest.mark.parametrize("code", [1000, 1001, 1011])
def test_a_close_instead_of_the_status(embedded: EmbeddedCluster, code: int) -> None:
    embedded.behaviour = Behaviour(close_code=code)
    heard = run(embedded, ["echo", "hi"])
    assert heard.frames == [OPEN, (BINARY, b"\x01hi\n"), (CLOSE, code.to_bytes(2, "big"))]


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize(
    ("when", "last"), [("before-status", [OPEN]), ("after-status", [OPEN, SUCCESS])], ids=["before", "after"]
)
def test_a_reset_at_the_status(when: str, last: list[tuple[int, bytes]], tls: bool) -> None:
    with EmbeddedCluster(behaviour=Behaviour(tcp_reset=when), quiet=True, tls=tls) as cluster:  # type: ignore[arg-type]
        heard = run(cluster, ["true"])
    assert (heard.frames, heard.end) == (last, "reset")


def test_a_reset_in_the_middle_of_the_output(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(tcp_reset_after_bytes=100_000)
    heard = run(embedded, ["head", "-c", "200000", "/dev/zero"])
    assert len(heard.channel(1)) == 100_000
    assert heard.end == "reset"


def test_an_end_without_close_and_status(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(tcp_end_before_status=True)
    heard = run(embedded, ["true"])
    assert (heard.frames, heard.end) == ([OPEN], "eof")


def test_a_session_without_an_end(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(no_status=True)
    with open_exec(embedded, ["echo", "hi"]) as client:
        client.until(1, b"hi\n")
        embedded.wait_for(lambda: not embedded.processes())
        client.send(b"?", PING)
        assert client.receive() == (PONG, b"?")
        client.send(b"\x03\xe8", CLOSE)
        assert client.rest().frames == [CLOSED]


def test_a_status_that_comes_late(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(status_delay=0.2)
    with open_exec(embedded, ["true"]) as client:
        embedded.wait_for(lambda: bool(embedded.open_sessions) and not embedded.processes())
        client.send(b"first", PING)
        assert client.rest().frames == [OPEN, (PONG, b"first"), SUCCESS, CLOSED]


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\x00garbage", b'{"status":"Failure","reason":"NonZeroExitCode"}'])
def test_any_other_payload_as_the_status(embedded: EmbeddedCluster, raw: bytes) -> None:
    embedded.behaviour = Behaviour(raw_status=raw)
    assert run(embedded, ["true"]).frames == [OPEN, (BINARY, b"\x03" + raw), CLOSED]


def test_frames_that_no_server_would_send(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(
        inject=(
            InjectedFrame(b"\x01text", opcode=TEXT),
            InjectedFrame(b"\x07unknown channel"),
            InjectedFrame(b"\x01" + bytes(100_000)),
            InjectedFrame(b"\x01last", when="before-status"),
        )
    )
    assert run(embedded, ["true"]).frames == [
        OPEN,
        (TEXT, b"\x01text"),
        (BINARY, b"\x07unknown channel"),
        (BINARY, b"\x01" + bytes(100_000)),
        (BINARY, b"\x01last"),
        SUCCESS,
        CLOSED,
    ]


def test_pings_without_pongs(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(no_pong=True)
    with open_exec(embedded, ["cat"], stdin="true", stdout="true") as client:
        client.send(b"?", PING)
        client.send(b"\0x")
        client.send(b"\xff\0")
        assert client.rest().frames == [OPEN, (BINARY, b"\x01x"), SUCCESS, CLOSED]


@pytest.mark.parametrize("tls", [True, False])
def test_one_byte_at_a_time(tls: bool) -> None:
    with EmbeddedCluster(behaviour=Behaviour(byte_by_byte=True), quiet=True, tls=tls) as cluster:
        heard = run(cluster, ["echo", "hello"])
    assert heard.frames == [OPEN, (BINARY, b"\x01hello\n"), SUCCESS, CLOSED]


def _head(cluster: EmbeddedCluster, protocol: str = V5) -> list[tuple[str, str]]:
    with RawClient(cluster) as client:
        client.request(exec_target(["true"]), upgrade_headers(protocol))
        answer = client.head()
        assert answer.status == 101
        return answer.headers


def test_handshakes_that_a_client_must_refuse(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(subprotocol="v9.channel.k8s.io", accept="nonsense=")
    assert _head(embedded)[2:] == [
        ("Sec-WebSocket-Accept", "nonsense="),
        ("Sec-WebSocket-Protocol", "v9.channel.k8s.io"),
    ]
    embedded.behaviour = Behaviour(omit_headers=("upgrade", "Sec-WebSocket-Protocol"))
    assert [name for name, _ in _head(embedded)] == ["Connection", "Sec-WebSocket-Accept"]


def test_handshakes_that_are_never_answered(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(hang_handshake=True)
    with RawClient(embedded) as client, RawClient(embedded) as other:
        client.request(exec_target(["true"]), upgrade_headers(V5))
        other.request("/version")
        assert other.answer().status == 200
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)


def test_requests_that_are_never_answered(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(hang_requests=True)
    with RawClient(embedded) as client:
        client.request("/version")
        assert run(embedded, ["true"]).frames[-1] == CLOSED
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)


def test_failures_are_counted_from_when_the_behaviour_was_set(embedded: EmbeddedCluster) -> None:
    patience = HttpFailure(429, b"slowly", {"Retry-After": "1"}, times=2, path="/exec")
    for _ in range(2):
        embedded.behaviour = Behaviour(failures=(patience,))
        with RawClient(embedded) as client:
            client.request("/api/v1/namespaces/default/pods/demo")
            assert client.answer().status == 200
            for _ in range(2):
                client.request(exec_target(["true"]), upgrade_headers(V5))
                answer = client.answer()
                assert (answer.status, answer.body, answer.header("Retry-After")) == (429, b"slowly", "1")
            client.request(exec_target(["true"]), upgrade_headers(V5))
            assert client.head().status == 101


def test_a_failure_without_a_length_ends_the_connection(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(failures=(HttpFailure(503, b"overloaded", content_length=False),))
    with RawClient(embedded) as client:
        client.request("/version")
        answer = client.answer()
    assert (answer.status, answer.body, answer.header("Content-Length")) == (503, b"overloaded", None)


@pytest.mark.parametrize(("rbac", "verb"), [("nobody", "list"), ("nobody", "get"), ("reader", "delete")])
def test_users_with_few_rights(embedded: EmbeddedCluster, rbac: str, verb: str) -> None:
    embedded.behaviour = Behaviour(rbac=rbac)  # type: ignore[arg-type]
    target = "/api/v1/namespaces/default/pods" + ("" if verb == "list" else "/demo")
    with RawClient(embedded) as client:
        client.request(target, method="DELETE" if verb == "delete" else "GET")
        answer = client.answer()
    subject = "pods" if verb == "list" else 'pods "demo"'
    assert answer.status == 403
    assert json.loads(answer.body)["message"] == (
        f'{subject} is forbidden: User "{rbac}" cannot {verb} resource "pods" in API group "" in the namespace "default"'
    )


def test_a_reader_may_read(embedded: EmbeddedCluster) -> None:
    embedded.behaviour = Behaviour(rbac="reader")
    with RawClient(embedded) as client:
        client.request("/api/v1/namespaces/default/pods/demo")
        assert client.answer().status == 200


def test_a_fault_is_each_sessions_own(embedded: EmbeddedCluster) -> None:
    """A session keeps the behaviour that was there at its request."""
    embedded.behaviour = Behaviour(close_code=1011)
    with open_exec(embedded, ["cat"], stdin="true", stdout="true") as client:
        heard = Heard([client.receive() or (0, b"")])
        embedded.behaviour = Behaviour(protocols=(V4,))
        client.send(b"\xff\0")
        assert client.rest(heard).frames == [OPEN, (CLOSE, b"\x03\xf3")]
    with RawClient(embedded) as client:
        client.request(exec_target(["true"]), upgrade_headers(V5))
        assert client.answer().status == 403


@pytest.mark.parametrize(
    "fields",
    [{"protocols": ("v9.channel.k8s.io",)}, {"way": "north"}, {"rbac": "king"}],
    ids=lambda each: next(iter(each)),
)
def test_a_behaviour_that_does_not_exist_is_a_value_error(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"v9|north|king"):
        Behaviour(**fields)  # type: ignore[arg-type]
