"""Scripted peers and the replay of recordings."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import pytest

from kubex_stream.testing import ReplayServer, ScriptedPeer, ScriptedServer
from tests.testing.raw_client import BINARY, CLOSE, KEY, V4, V5, Answer, Heard, RawClient, frame, upgrade_headers
from tests.testing.raw_tunnel import TUNNEL, RawTunnel, data_frame

RECORDINGS: Final = Path(__file__).parent.parent / "recordings"
_SESSIONS: Final = sorted([*RECORDINGS.glob("exec-v*.json"), *RECORDINGS.glob("legacy-*.json")])
_REFUSALS: Final = sorted([*RECORDINGS.glob("refused-*.json"), *RECORDINGS.glob("tunnel-403-*.json")])
_TUNNELS: Final = sorted(path for path in RECORDINGS.glob("tunnel-*.json") if "403" not in path.stem)


class Client(RawClient):
    """A raw client of a scripted server."""

    def __init__(self, server: ScriptedServer) -> None:
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        if server.ca_pem:
            context = ssl.create_default_context(cadata=server.ca_pem.decode())
            sock = context.wrap_socket(sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        self.sock, self.buffer, self.prefix, self.token = sock, b"", "", "any"

    def upgrade(self, protocol: str | None = V5) -> Answer:
        self.request("/exec", upgrade_headers(protocol))
        return self.head()


@pytest.mark.parametrize("tls", [False, True])
def test_frames_of_every_kind_go_both_ways(tls: bool) -> None:
    seen = []

    async def script(peer: ScriptedPeer) -> None:
        found = await peer.receive_frame()
        assert found is not None
        seen.append((found.opcode, found.fin, found.rsv, found.masked, found.payload))
        await peer.send(b"\x01a", b"\x01b")
        await peer.send_frame(3, b"odd")
        await peer.send_raw(b"\x89\x01!")
        await peer.close(1011, "because")

    with ScriptedServer(script, tls=tls) as server, Client(server) as client:
        answer = client.upgrade()
        digest = hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        assert answer.header("Sec-WebSocket-Accept") == base64.b64encode(digest).decode()
        assert answer.header("Sec-WebSocket-Protocol") == V5
        client.send(b"hello", BINARY, fin=False, rsv=5)
        heard = client.rest()
    assert heard.frames == [(2, b"\x01a"), (2, b"\x01b"), (3, b"odd"), (9, b"!"), (8, b"\x03\xf3because")]
    assert heard.end == "eof"
    assert seen == [(BINARY, False, 5, True, b"hello")]


@pytest.mark.parametrize("ending", ["end", "reset"])
def test_sudden_endings(ending: str) -> None:
    async def script(peer: ScriptedPeer) -> None:
        await peer.send(b"\x01data")
        await (peer.reset() if ending == "reset" else peer.end())

    with ScriptedServer(script) as server, Client(server) as client:
        client.upgrade()
        assert client.rest() == Heard([(BINARY, b"\x01data")], "reset" if ending == "reset" else "eof")


@pytest.mark.parametrize(
    ("chosen", "offered", "answered"),
    [(None, f"{V4}, {V5}", V4), ("", V5, None), ("v9", V5, "v9"), (V5, None, V5)],
)
def test_the_subprotocol_is_the_scripts_affair(chosen: str | None, offered: str | None, answered: str | None) -> None:
    async def script(peer: ScriptedPeer) -> None:
        assert await peer.receive_message() is None

    with ScriptedServer(script, subprotocol=chosen) as server, Client(server) as client:
        assert client.upgrade(offered).header("Sec-WebSocket-Protocol") == answered
        client.send(b"", CLOSE)


def test_a_script_can_answer_the_request_itself() -> None:
    async def script(peer: ScriptedPeer) -> None:
        assert peer.request.path == "/exec"
        await peer.send_raw(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with ScriptedServer(script, handshake=False) as server, Client(server) as client:
        client.request("/exec", upgrade_headers(V5))
        assert (client.answer().status, server.requests[0].path) == (403, "/exec")


def test_other_requests_get_documents() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await peer.end()

    with ScriptedServer(script, documents={"/pod": {"kind": "Pod"}}) as server, Client(server) as client:
        client.request("/pod")
        assert json.loads(client.answer().body) == {"kind": "Pod"}
        client.request("/other")
        assert client.answer().status == 404


def test_what_goes_wrong_in_a_script_comes_out() -> None:
    async def script(peer: ScriptedPeer) -> None:
        assert await peer.receive_message() == b"what was agreed"

    def talk() -> None:
        with ScriptedServer(script) as server, Client(server) as client:
            client.upgrade()
            client.send(b"something else")
            client.rest()

    with pytest.raises(AssertionError, match="agreed"):
        talk()


def test_a_script_that_waits_ends_with_the_server() -> None:
    async def script(peer: ScriptedPeer) -> None:
        while await peer.receive_message() is not None:
            pass

    with Client(server := ScriptedServer(script).start()) as client:
        client.upgrade()
        server.stop()
        assert client.rest().end == "reset"


@pytest.mark.anyio
async def test_it_runs_on_every_event_loop() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await peer.send(b"hello")

    async with ScriptedServer(script) as server:

        def talk() -> Heard:
            with Client(server) as client:
                client.upgrade()
                return client.rest()

        assert (await anyio.to_thread.run_sync(talk)).frames == [(BINARY, b"hello")]


def _payload(event: dict[str, Any]) -> bytes:
    return bytes.fromhex(event["hex"]) if "hex" in event else zlib.decompress(bytes.fromhex(event["zlib_hex"]))


@pytest.mark.parametrize("path", _SESSIONS, ids=lambda path: path.stem)
@pytest.mark.parametrize("together", [True, False], ids=["at-once", "one-by-one"])
def test_a_recording_is_played_back_byte_for_byte(path: Path, together: bool) -> None:
    recording = json.loads(path.read_text())
    if "body_hex" in recording["response"]:
        pytest.skip("a refusal")
    sent = [
        frame(_payload(event), event["opcode"], fin=event["fin"])
        for event in recording["events"]
        if event["dir"] == "out" and "end" not in event
    ]
    with ReplayServer(path) as server, Client(server) as client:
        answer = client.upgrade()
        assert answer.headers == [tuple(pair) for pair in recording["response"]["headers"]]
        for data in [b"".join(sent)] if together else sent:
            client.sock.sendall(data)
        heard = client.rest()
    expected = [event for event in recording["events"] if event["dir"] == "in"]
    assert heard.frames == [(event["opcode"], _payload(event)) for event in expected if "end" not in event]
    assert heard.end == expected[-1]["end"]


@pytest.mark.parametrize("path", _TUNNELS, ids=lambda path: path.stem)
@pytest.mark.parametrize("step", [1, 11, 100_000])
def test_a_tunnel_is_played_back_however_its_client_cuts(path: Path, step: int) -> None:
    recording = json.loads(path.read_text())
    out = [event for event in recording["events"] if event["dir"] == "out"]
    said = b"".join(_payload(event) for event in out if event["opcode"] == BINARY)
    with ReplayServer(path) as server, Client(server) as client:
        client.upgrade(TUNNEL)
        for start in range(0, len(said), step):
            client.send(said[start : start + step])
        client.send(b"\x03\xe8", CLOSE)
        tunnel = RawTunnel(client)
        heard = list(iter(tunnel.cut, None))
    expected = [event for event in recording["events"] if event["dir"] == "in" and "end" not in event]
    assert heard == [(event["opcode"], event["fin"], _payload(event)) for event in expected]


def test_a_tunnel_is_played_back_step_by_step() -> None:
    with ReplayServer(RECORDINGS / "tunnel-echo-kubelet.json") as server, Client(server) as client:
        client.upgrade(TUNNEL)
        tunnel = RawTunnel(client)
        error, data = tunnel.connect(8080)
        tunnel.send(data_frame(data, b"hel"))
        tunnel.send(data_frame(data, b"lo"))
        tunnel.until(lambda: tunnel.streams[data].data == b"hello")
        tunnel.send(data_frame(data, fin=True))
        tunnel.until(lambda: tunnel.streams[data].ended and tunnel.streams[error].ended)
        client.send(b"\x03\xe8", CLOSE)
        tunnel.rest()


@pytest.mark.parametrize("port", [8080, 8081])
def test_another_tunnel_than_the_recorded_one_comes_out(port: int) -> None:
    def talk() -> None:
        with ReplayServer(RECORDINGS / "tunnel-echo-kubelet.json") as server, Client(server) as client:
            client.upgrade(TUNNEL)
            tunnel = RawTunnel(client)
            frames, _, data = tunnel.pair(port)
            tunnel.send(frames + data_frame(data, b"goodbye"))
            with suppress(ConnectionResetError):
                tunnel.rest()

    with pytest.raises(AssertionError, match="not the recorded one"):
        talk()


@pytest.mark.parametrize("path", _REFUSALS, ids=lambda path: path.stem)
def test_a_refusal_is_played_back(path: Path) -> None:
    recording = json.loads(path.read_text())
    with ReplayServer(path) as server, Client(server) as client:
        client.request("/exec", upgrade_headers(V5))
        answer = client.answer()
    assert answer.line == recording["response"]["line"]
    assert answer.body == bytes.fromhex(recording["response"]["body_hex"])


def test_a_replay_waits_for_the_recorded_input_however_it_is_cut() -> None:
    with ReplayServer(RECORDINGS / "exec-v5-stdin-half-close-kubelet.json") as server, Client(server) as client:
        client.upgrade()
        assert client.receive() == (BINARY, b"\x01")
        for byte in b"hello world\n":
            client.send(bytes((0, byte)))
        assert client.receive() == (BINARY, b"\x01hello world\n")
        client.send(b"\xff\0")
        assert client.rest().frames[-1] == (CLOSE, b"\x03\xe8")


def test_other_input_than_the_recorded_one_comes_out() -> None:
    def talk() -> None:
        with ReplayServer(RECORDINGS / "exec-v5-stdin-half-close-kubelet.json") as server, Client(server) as client:
            client.upgrade()
            client.send(b"\0goodbye")
            client.rest()

    with pytest.raises(AssertionError, match="not the recorded one"):
        talk()
