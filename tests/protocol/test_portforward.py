"""Port-forward: what stands inside of a tunnel, and what servers' texts say to a user."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream.protocol.portforward import Trouble, check_port, explain, pair_headers, port_frame

FOLDER: Final = Path(__file__).parent.parent / "recordings"
SANDBOX: Final = "413fcfcd13c02d28550beec92ea82e00cb7eadcd4da46be5e4de0c70f8a9d4e0"
NETNS: Final = "/var/run/netns/cni-1ef358ff-3069-1bbd-5060-c4b401a7f3c4"
UID: Final = "0b1e7f52-9a3c-4d5e-8f60-718293a4b5c6"
HEAD: Final = f"error forwarding port 80 to pod {SANDBOX}, uid : "
CONTAINERD: Final = f'{HEAD}failed to execute portforward in network namespace "{NETNS}": '
CRIO: Final = f'{HEAD}port forward into network namespace "{NETNS}": '
NODE: Final = re.compile(r"[0-9a-f]{8}|/run|/proc|/var|netns|cni|[0-9]{5}|kubepods", re.I)

REFUSED: Final = Trouble("refused", "connection refused: nothing in the pod listens on port 80")
RESET: Final = Trouble("reset", "connection reset by the pod's server on port 80")
PIPE: Final = Trouble("reset", "connection closed by the pod's server on port 80 while data was on its way")
GONE: Final = Trouble("gone", "the pod's network is gone: the pod was deleted or has ended")
LATE: Final = Trouble("timeout", "no answer from port 80 in time")
TOOLS: Final = Trouble("failed", "port 80: the pod's node lacks socat or nsenter, which its container runtime needs")
RUNTIME: Final = Trouble("failed", "port 80: the container runtime of the pod's node does not answer")

TEXTS: Final = [
    # containerd
    (f'{CONTAINERD}failed to connect to localhost:80 inside namespace "{SANDBOX}", IPv4: dial tcp4 127.0.0.1:80: connect: '
     "connection refused IPv6 dial tcp6: address localhost: no suitable address found ", REFUSED),
    (f'{CONTAINERD}failed to connect to localhost:80 inside namespace "{SANDBOX}", IPv4: dial tcp4 127.0.0.1:80: connect: '
     "connection refused IPv6 dial tcp6 [::1]:80: connect: connection refused ", REFUSED),
    (f"{CONTAINERD}writeto tcp4 127.0.0.1:49038->127.0.0.1:80: read tcp4 127.0.0.1:49038->127.0.0.1:80: read: "
     "connection reset by peer", RESET),
    (f"{CONTAINERD}read tcp4 127.0.0.1:38298->127.0.0.1:80: read: connection reset by peer", RESET),
    (f"{CONTAINERD}readfrom tcp4 127.0.0.1:49038->127.0.0.1:80: write tcp4 127.0.0.1:49038->127.0.0.1:80: write: broken pipe", PIPE),
    (f'{HEAD}network namespace for sandbox "{SANDBOX}" is closed', GONE),
    (f"{HEAD}network namespace for sandbox {SANDBOX} is closed", GONE),
    (f'{HEAD}failed to find sandbox "{SANDBOX}" in store: not found', GONE),
    (f'{HEAD}sandbox container "{SANDBOX}" is not running', GONE),
    (f'{CONTAINERD}failed to Statfs "{NETNS}": no such file or directory', GONE),
    (f"{CONTAINERD}dial tcp4 127.0.0.1:80: i/o timeout", LATE),
    (f"{CONTAINERD}dial tcp4 127.0.0.1:80: connect: connection timed out", LATE),
    (f'{CONTAINERD}failed to find socat: exec: "socat": executable file not found in $PATH', TOOLS),
    (f'{CONTAINERD}socat command returns error: exit status 127, stderr: "/snap/x/492/usr/bin/socat: error while loading shared '
     'libraries: libnsl.so.1: cannot open shared object file: No such file or directory\\n"',
     Trouble("failed", "port 80: socat command returns error: exit status 127, stderr: … error while loading shared libraries: "
             'libnsl.so.1: cannot open shared object file: No such file or directory "')),
    # CRI-O
    (f"{CRIO}failed to connect to localhost:80 inside namespace {SANDBOX}: dial tcp 127.0.0.1:80: connect: connection refused", REFUSED),
    (f"{CRIO}readfrom tcp 127.0.0.1:41408->127.0.0.1:80: write tcp 127.0.0.1:41408->127.0.0.1:80: write: broken pipe", PIPE),
    (f"{CRIO}read tcp 127.0.0.1:41408->127.0.0.1:80: read: connection reset by peer", RESET),
    (f'{CRIO}failed to Statfs "{NETNS}": no such file or directory', GONE),
    (f'{HEAD}could not find sandbox "{SANDBOX}"', GONE),
    (f"{HEAD}container is not running", GONE),
    (f"{CRIO}failed to connect to localhost:80 inside namespace {SANDBOX}: dial tcp: lookup localhost: no such host",
     Trouble("failed", "port 80: failed to connect to localhost:80: dial tcp: lookup localhost: no such host")),
    # dockershim and cri-dockerd
    (f"{HEAD}exit status 1: 2019/01/01 00:00:00 socat[12345] E connect(5, AF=2 127.0.0.1:80, 16): Connection refused\n", REFUSED),
    ("error forwarding port 80 to pod web-6d4b75cb6d-x2x7k_default, uid : unable to do port forwarding: socat not found.", TOOLS),
    (f"{HEAD}unable to do port forwarding: nsenter not found", TOOLS),
    (f"{HEAD}container not running ({SANDBOX})", GONE),
    (f"{HEAD}Error response from daemon: No such container: {SANDBOX}", GONE),
    (f"{HEAD}exit status 1", Trouble("failed", "port 80: exit status 1")),
    # the kubelet
    ("(conn=0xc000a1b2c0, request=7) timed out waiting for streams", LATE),
    ("error processing stream for request 3: error stream already assigned",
     Trouble("failed", "port 80: error processing stream for request 3: error stream already assigned")),
    (f'{HEAD}rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix '
     '/run/containerd/containerd.sock: connect: connection refused"', RUNTIME),
    (f"{HEAD}dial unix /run/crio/crio.sock: connect: connection refused", RUNTIME),
    (f"{HEAD}context deadline exceeded", LATE),
    # what nobody has said yet
    ("", Trouble("failed", "port 80: the server gave no reason")),
    (" \n\x00", Trouble("failed", "port 80: the server gave no reason")),
    (HEAD, Trouble("failed", "port 80: the server gave no reason")),
    (f"error forwarding port 80 to pod web, uid {UID}: oh \x1b[31mno\r\nno", Trouble("failed", "port 80: oh [31mno no")),
    ("a b\u202ec tcp/udp i/o: d", Trouble("failed", "port 80: a b c tcp/udp i/o: d")),
    (f'open "{NETNS}", file=/proc/31337/ns/net: bad', Trouble("failed", "port 80: open …, … bad")),
    (f'stat "/var/lib/my pods/{UID}" in kubepods-{UID.replace("-", "_")}.slice of k8s_POD_web_{UID}_0: bad',
     Trouble("failed", "port 80: stat … in … of … bad")),
    (r"open C:\var\lib\pods: bad", Trouble("failed", "port 80: open … bad")),
    (f"unix:///run/containerd/x.sock and ../containerd/{SANDBOX[:12]} of {SANDBOX[:13]}, {SANDBOX.upper()} bad",
     Trouble("failed", "port 80: … and … of … … bad")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "trouble"), TEXTS, ids=range(len(TEXTS)))
def test_what_servers_say(text: str, trouble: Trouble) -> None:
    assert explain(text, 80) == trouble
    assert NODE.search(trouble.text) is None


def recorded_texts() -> list[str]:
    """The texts of the recorded servers, whole."""
    texts: set[str] = set()
    for path in sorted(FOLDER.glob("tunnel-*.json")) + sorted(FOLDER.glob("legacy-*.json")):
        content: dict[str, Any] = json.loads(path.read_text())
        frames = [
            event for event in content.get("events", []) if event["dir"] == "in" and event.get("opcode") in (0, 1, 2)
        ]
        raw = b"".join(
            bytes.fromhex(e["hex"]) if "hex" in e else zlib.decompress(bytes.fromhex(e["zlib_hex"])) for e in frames
        )
        texts |= {found.decode() for found in re.findall(rb"error (?:forwarding|processing)[ -~]+", raw)}
    return sorted(texts)


def test_the_recorded_texts() -> None:
    kinds = set()
    for text in recorded_texts():
        kind, short = explain(text, 4711)
        kinds.add(kind)
        assert NODE.search(short) is None
        assert "4711" in short
    assert kinds == {"refused", "reset", "failed"}


@pytest.mark.parametrize("secret", [SANDBOX, NETNS, UID, f'"{NETNS}"', f"pod{UID}", f"{SANDBOX}.scope", f"x={NETNS};"])
@pytest.mark.parametrize("text", ["{}", "{} bad", "bad {}", "a ({}) b", "[{}]", "a\n{}\nb", "'{}'", "a:{}:b", "é{}é"])
def test_the_node_is_not_named_wherever_it_stands(secret: str, text: str) -> None:
    short = explain(text.format(secret), 80).text
    assert "failed" not in short
    assert NODE.search(short) is None


@given(st.text(max_size=50), st.text(max_size=50))
def test_an_id_never_shows_and_no_text_raises(before: str, behind: str) -> None:
    trouble = explain(f"{before}{SANDBOX}{behind}", 80)
    assert SANDBOX[:12] not in trouble.text
    assert trouble.text.isprintable()


@pytest.mark.parametrize("size", [0, 1, 5, 20, 40, 63])
def test_no_half_of_an_id_shows_where_a_long_text_is_cut(size: int) -> None:
    text = "/" + "x" * (4094 - size) + " " + SANDBOX + " more"
    assert explain(text, 80).text == "port 80: …"


@pytest.mark.parametrize(
    "text",
    [
        "x" * 10**6,
        "word " * 10**5,
        '"' * 10**6,
        "network namespace " * 10**5,
        "sandbox container " * 10**5,
        "failed to statfs " * 10**5,
        "(conn=" * 10**5,
        "error forwarding port " + "1" * 10**6,
        "inside namespace inside namespace " * 10**5,
    ],
    ids=lambda text: text[:20],
)
@pytest.mark.timeout(20)
def test_texts_of_any_length_are_short(text: str) -> None:
    for each in (text, text.replace(" ", "\n")):
        assert len(explain(each, 80).text) < 320


def test_the_number_of_a_port() -> None:
    assert [check_port(1), check_port(65535)] == [1, 65535]
    for wrong in (0, -1, 65536):
        with pytest.raises(ValueError, match=f"the local port must be from 1 to 65535, not {wrong}"):
            check_port(wrong, "local port")
    for other in (True, "80", 80.0, None):
        with pytest.raises(TypeError, match=f"the port must be an integer, not {type(other).__name__}"):
            check_port(other)


def test_the_headers_of_a_pair() -> None:
    assert pair_headers(80, 0) == (
        {"streamtype": "error", "port": "80", "requestid": "0"},
        {"streamtype": "data", "port": "80", "requestid": "0"},
    )


def test_older_channels_begin_with_a_little_endian_port() -> None:
    assert port_frame(8080) == b"\x90\x1f"
    assert port_frame(65535) == b"\xff\xff"
