"""What real servers have sent, through the table: also the subprotocols that no client of ours offers."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any, Final

import pytest

from kubex_stream.protocol.channels import PROTOCOLS, ChannelProtocol
from kubex_stream.protocol.status import Ending, Exited, Failed, decode_ending

FOLDER: Final = Path(__file__).parent.parent / "recordings"
DATA: Final = (1, 2)  # opcodes: text and binary
EXIT7: Final = (
    "command terminated with non-zero exit code: error executing command [sh -c echo out; exit 7], exit code 7"
)


class Recording:
    """The messages of a recorded session, and the row that it speaks."""

    def __init__(self, name: str) -> None:
        content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
        self.opened = " 101 " in content["response"]["line"]
        chosen = [value for key, value in content["response"]["headers"] if key == "Sec-WebSocket-Protocol"]
        self.row: ChannelProtocol = PROTOCOLS[chosen[0] if chosen else ""]
        whole = [event for event in content.get("events", []) if event.get("opcode") in DATA and event["fin"]]
        self.received = [payload(event) for event in whole if event["dir"] == "in"]
        self.sent = [payload(event) for event in whole if event["dir"] == "out"]
        self.opcodes = {event["opcode"] for event in whole}

    def outputs(self) -> dict[int, bytes]:
        """Everything received, by channel."""
        joined: dict[int, bytes] = {}
        for message in self.received:
            decoded = self.row.decode(message)
            assert decoded is not None
            joined[decoded[0]] = joined.get(decoded[0], b"") + decoded[1]
        return joined

    def ending(self) -> Ending:
        return decode_ending(self.outputs().get(3, b""), json_status=self.row.json_status)[0]


def payload(event: dict[str, Any]) -> bytes:
    return bytes.fromhex(event["hex"]) if "hex" in event else zlib.decompress(bytes.fromhex(event["zlib_hex"]))


SESSIONS = sorted(path.stem for path in FOLDER.glob("*.json") if path.stem.startswith(("exec-", "attach-")))
OPENED = [name for name in SESSIONS if Recording(name).opened]


def test_the_recordings_are_here() -> None:
    assert len(SESSIONS) == 45
    assert len(OPENED) == 42


@pytest.mark.parametrize("name", OPENED)
def test_every_recorded_message_is_read_and_could_be_written(name: str) -> None:
    recording = Recording(name)
    assert recording.opcodes == ({1} if recording.row.base64 else {2})
    for message in recording.received:
        decoded = recording.row.decode(message)
        assert decoded is not None
        assert recording.row.encode(*decoded) == message


@pytest.mark.parametrize(
    ("name", "row", "stdout", "ending"),
    [
        ("exec-v1-ok", "channel.k8s.io", b"hello\n", Exited(0)),
        ("exec-v1-base64", "base64.channel.k8s.io", b"hello\n", Exited(0)),
        ("exec-no-protocol", "", b"hello\n", Exited(0)),
        ("exec-v1-exit7", "channel.k8s.io", b"out\n", Failed(f"Error executing remote command: {EXIT7}")),
        ("exec-v4-base64", "v4.base64.channel.k8s.io", b"abcdef", Exited(0)),
        ("exec-v4-both-exit7", "v4.channel.k8s.io", b"out\n", Exited(7)),
        ("exec-v5-both-exit7-kubelet", "v5.channel.k8s.io", b"out\n", Exited(7)),
        ("exec-v5-both-exit7-apiserver", "v5.channel.k8s.io", b"out\n", Exited(7)),
        ("exec-v5-signal", "v5.channel.k8s.io", b"", Exited(137)),
    ],
)
def test_each_row_with_what_a_server_says_on_it(name: str, row: str, stdout: bytes, ending: Ending) -> None:
    recording = Recording(name)
    assert recording.row.name == row
    assert recording.outputs()[1] == stdout
    assert recording.ending() == ending


@pytest.mark.parametrize("way", ["kubelet", "apiserver"])
def test_a_program_that_is_not_there_has_failed(way: str) -> None:
    ending = Recording(f"exec-v5-not-found-{way}").ending()
    assert isinstance(ending, Failed)
    assert ending.message.startswith("Internal error occurred: Internal error occurred: error executing command")


def test_what_the_server_dropped_is_no_base64() -> None:
    recording = Recording("exec-v4-base64")
    assert [recording.row.decode(message) for message in recording.sent] == [(0, b"abc"), None, (0, b"def")]


def test_what_clients_send_is_what_the_table_writes() -> None:
    recording = Recording("exec-v5-stdin-half-close-kubelet")
    row = recording.row
    assert recording.sent == [row.encode(0, b"hello "), row.encode(0, b"world\n"), row.encode_close(0)]
