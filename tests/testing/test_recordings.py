"""The embedded cluster says what a real cluster said: every recorded exec, attach, older port-forward and refusal, word for word."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod, EmbeddedPort
from tests.testing.raw_client import CLOSE, PONG, RawClient

RECORDINGS: Final = Path(__file__).parent.parent / "recordings"
_MAIN: Final = ["sh", "-c", "while :; do echo line; echo err >&2; sleep .05; done"]
_ONCE: Final = ["sh", "-c", "while read line; do echo $line; done; echo eof"]
_SHELL: Final = ["sh"]
ECHO: Final = EmbeddedPod(
    "echo",
    "wire",
    ports=[
        EmbeddedPort(number, target=target)
        for number, target in enumerate(("echo", "http", "sha256", "send", "silent", "reset", "banner", "half"), 8080)
    ],
)
PODS: Final = (
    ECHO,
    EmbeddedPod("one", "wire"),
    EmbeddedPod("done", "wire", phase="Succeeded"),
    EmbeddedPod("pending", "wire", phase="Pending", scheduled=False),
    EmbeddedPod(
        "box",
        "wire",
        containers=(
            EmbeddedContainer("main", _MAIN),
            EmbeddedContainer("cat", ["cat"], stdin=True),
            EmbeddedContainer("once", _ONCE, stdin=True, stdin_once=True),
            EmbeddedContainer("shell", _SHELL, stdin=True, tty=True),
        ),
    ),
)
#: Names of files that are about something else, or whose output is another program's.
_OUTPUT_DIFFERS: Final = {"attach-v5-output", "attach-v5-tty-exit5"}


def _names(pattern: str) -> list[str]:
    return sorted(path.stem for path in RECORDINGS.glob(pattern))


def _load(name: str) -> dict[str, Any]:
    recording: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return recording


def _payload(event: dict[str, Any]) -> bytes:
    return bytes.fromhex(event["hex"]) if "hex" in event else zlib.decompress(bytes.fromhex(event["zlib_hex"]))


@pytest.fixture(scope="module")
def wire() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(PODS, quiet=True) as cluster:
        yield cluster


def _behave(cluster: EmbeddedCluster, recording: dict[str, Any]) -> None:
    context = recording["context"]
    behaviour = Behaviour(way="apiserver" if context == "translated" else "kubelet")
    cluster.behaviour = replace(behaviour, rbac=context) if context in ("reader", "nobody") else behaviour


def _ask(client: RawClient, recording: dict[str, Any]) -> None:
    method, target, _ = recording["request"]["line"].split()
    headers = [(name, value) for name, value in recording["request"]["headers"] if name != "Host"]
    client.request(target, headers, method=method)


def _without_ids(data: bytes) -> bytes:
    data = re.sub(rb"network namespace \"/[^\"]+/cni-[-0-9a-f]+\"", b"network namespace NETWORK", data)
    return re.sub(rb"[0-9a-f]{64}", b"ID", data)


class _Talk:
    """What was said on each channel, control frames and the end included, so that the order of channels does not matter."""

    def __init__(self) -> None:
        self.channels: dict[str, bytes] = {}
        self.first: tuple[int, bytes] | None = None
        self.longest = 0
        self.controls: list[tuple[int, bytes]] = []
        self.end = ""

    def add(self, opcode: int, payload: bytes) -> None:
        self.first = self.first or (opcode, payload)
        if opcode >= CLOSE:
            self.controls.append((opcode, payload))
            return
        self.longest = max(self.longest, len(payload))
        key = f"{opcode}/{payload[:1].hex()}"
        self.channels[key] = self.channels.get(key, b"") + payload[1:]

    @property
    def size(self) -> int:
        said = sum(len(_without_ids(data)) for data in self.channels.values())
        return said + sum(opcode in (CLOSE, PONG) for opcode, _ in self.controls)


def _expected(recording: dict[str, Any]) -> _Talk:
    talk = _Talk()
    for event in recording["events"]:
        if event["dir"] == "in" and "end" not in event:
            talk.add(event["opcode"], _payload(event))
        elif event["dir"] == "in":
            talk.end = event["end"]
    return talk


def _replay(client: RawClient, recording: dict[str, Any], *, wait: bool) -> _Talk:
    """Say what the recorded client said, each thing once the server has said what stood before it; a size is waited for too."""
    talk, expected = _Talk(), _Talk()
    for event in recording["events"]:
        if "end" in event:
            continue
        if event["dir"] == "in":
            expected.add(event["opcode"], _payload(event))
            continue
        while wait and talk.size < expected.size:
            found = client.receive()
            assert found is not None, f"ended too early: {talk.channels}"
            talk.add(*found)
        client.send(_payload(event), event["opcode"], fin=event["fin"], masked=event.get("masked", True))
    while (found := client.receive()) is not None:
        talk.add(*found)
    talk.end = "eof"
    return talk


@pytest.mark.parametrize("name", [*_names("exec-*"), *_names("attach-*"), *_names("legacy-*")])
def test_a_session_goes_as_it_was_recorded(wire: EmbeddedCluster, name: str) -> None:
    recording = _load(name)
    _behave(wire, recording)
    if name.startswith("attach-"):
        wire.delete_pod("box", "wire")  # its main processes end in some of these
        wire.add_pod(PODS[-1])
    with RawClient(wire) as client:
        _ask(client, recording)
        if "body_hex" in recording["response"]:
            _check_refusal(client, recording)
            return
        answer = client.head()
        assert answer.line == recording["response"]["line"]
        assert answer.headers == [tuple(pair) for pair in recording["response"]["headers"]]
        talk = _replay(client, recording, wait=name not in _OUTPUT_DIFFERS)
    expected = _expected(recording)
    assert talk.first == expected.first
    assert talk.longest <= 32 * 1024 + 1
    assert talk.controls == expected.controls
    assert talk.end == expected.end
    if name in _OUTPUT_DIFFERS:
        assert talk.channels.get("2/03") == expected.channels.get("2/03")
    else:
        assert {key: _without_ids(data) for key, data in talk.channels.items()} == {
            key: _without_ids(data) for key, data in expected.channels.items()
        }


@pytest.mark.parametrize("name", [*_names("refused-*"), *_names("tunnel-403-*")])
def test_a_refusal_is_the_recorded_one(wire: EmbeddedCluster, name: str) -> None:
    recording = _load(name)
    _behave(wire, recording)
    with RawClient(wire) as client:
        _ask(client, recording)
        _check_refusal(client, recording)


def _check_refusal(client: RawClient, recording: dict[str, Any]) -> None:
    answer, expected = client.answer(), recording["response"]
    assert answer.line == expected["line"]
    assert answer.body == bytes.fromhex(expected["body_hex"])
    # nosniff and the order of headers are not emulated.
    left_out = {"date", "x-content-type-options"}
    assert {(key, value) for key, value in answer.headers if key.lower() not in left_out} == {
        (key, value) for key, value in expected["headers"] if key.lower() not in left_out
    }
    if expected["connection_ended"]:
        assert answer.ended or client.ended()
    else:
        _ask(client, recording)  # the same connection takes another request
        assert client.answer().status == answer.status
