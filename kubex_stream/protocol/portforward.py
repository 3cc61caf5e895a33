"""Port-forward: what stands inside of a tunnel, and the older channel pairs; sans-I/O.

In a tunnel every forwarded connection is a pair of SPDY streams with the same request id: one for errors, which only the server writes to,
and one for data.  In the older protocol the ports of the request's query have two channels each, and every channel begins with the port's
number.  It has no way to end one direction, or one port of several, so it is used with one port, which is one connection.
Sources: k8s.io/client-go tools/portforward/portforward.go, k8s.io/cri-streaming portforward/httpstream.go and websocket.go.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

__all__ = (
    "LEGACY_DATA",
    "LEGACY_ERROR",
    "LEGACY_PROTOCOL",
    "TUNNEL_PROTOCOL",
    "Trouble",
    "TroubleKind",
    "check_port",
    "explain",
    "pair_headers",
    "port_frame",
)

#: The WebSocket subprotocol of the tunnel: messages carry a raw SPDY/3.1 byte stream, and their boundaries mean nothing.
TUNNEL_PROTOCOL: Final = "SPDY/3.1+portforward.k8s.io"
#: The older one.  It is called v4, as one of exec's, and v5 is never spoken here.
LEGACY_PROTOCOL: Final = "v4.channel.k8s.io"

#: Channels of the older protocol's first port.
LEGACY_DATA: Final = 0
LEGACY_ERROR: Final = 1

#: What a server's text is about.  ``refused``: nothing listens on the port.  ``reset``: the pod's server ended the connection by force.
#: ``gone``: the pod's network is no more, as the pod was deleted.  ``timeout``: no answer in time.  ``failed``: something else.
TroubleKind = Literal["refused", "reset", "gone", "timeout", "failed"]


class Trouble(NamedTuple):
    """A server's error text, made fit for users."""

    kind: TroubleKind
    text: str


_KNOWN: Final[tuple[tuple[re.Pattern[str], TroubleKind, str], ...]] = (
    (re.compile(r"connection refused", re.I), "refused", "connection refused: nothing in the pod listens on port {port}"),
    (re.compile(r"connection reset by peer", re.I), "reset", "connection reset by the pod's server on port {port}"),
    (re.compile(r"broken pipe", re.I), "reset", "connection closed by the pod's server on port {port} while data was on its way"),
    (re.compile(r"network namespace .*is closed|sandbox .*(not found|not running)|no such container|container .*not running", re.I), "gone",
     "the pod's network is gone: the pod was deleted or has ended"),
    (re.compile(r"timed out waiting for streams|i/o timeout|deadline exceeded", re.I), "timeout", "no answer from port {port} in time"),
)  # fmt: skip
# What names the node's paths, the sandbox's id and the ports of the node: nothing that a user knows.
_NOISE: Final = re.compile(
    r"^error forwarding port \d+ to pod \S*, uid \S*:? ?|^\(conn=[^)]*\) |"
    r"failed to execute portforward in network namespace \"[^\"]*\": |port forward into network namespace \"[^\"]*\": |"
    r"inside namespace \"[^\"]*\",? ?|\b[0-9a-f]{32,64}\b"
)
_LONGEST: Final = 300


def explain(text: str, port: int) -> Trouble:
    """What a server's error text says to a user; ids and paths of the node are left out."""
    for pattern, kind, meaning in _KNOWN:
        if pattern.search(text):
            return Trouble(kind, meaning.format(port=port))
    short = "".join(char if char.isprintable() else " " for char in _NOISE.sub("", text)).strip()
    if len(short) > _LONGEST:
        short = f"{short[:_LONGEST]}…"
    return Trouble("failed", f"port {port}: {short or 'the server gave no reason'}")


def check_port(port: object, what: str = "port") -> int:
    """``port``, when it is the number of one.

    :raises TypeError: it is no integer
    :raises ValueError: it is not from 1 to 65535
    """
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"the {what} must be an integer, not {type(port).__name__}")
    if not 0 < port <= 65535:
        raise ValueError(f"the {what} must be from 1 to 65535, not {port}")
    return port


def pair_headers(port: int, request_id: int) -> tuple[dict[str, str], dict[str, str]]:
    """The headers of a connection's two streams: of the one for errors, which is opened first, and of the one for data."""
    common = {"port": str(port), "requestid": str(request_id)}
    return {"streamtype": "error", **common}, {"streamtype": "data", **common}


def port_frame(port: int) -> bytes:
    """What each of an older connection's channels begins with: the port, little-endian."""
    return port.to_bytes(2, "little")
