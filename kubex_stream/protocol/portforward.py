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


# Looked for in this order: the first one that is found counts.  No pattern looks further than some hundred characters.
_MEANINGS: Final[tuple[tuple[str, TroubleKind, str], ...]] = (
    (r"\b(socat|nsenter)\W{1,4}(executable file )?not found|failed to find (socat|nsenter)", "failed",
     "port {port}: the pod's node lacks socat or nsenter, which its container runtime needs"),
    (r"dial unix|code = unavailable", "failed", "port {port}: the container runtime of the pod's node does not answer"),
    (r"connection refused", "refused", "connection refused: nothing in the pod listens on port {port}"),
    (r"connection reset by peer", "reset", "connection reset by the pod's server on port {port}"),
    (r"broken pipe", "reset", "connection closed by the pod's server on port {port} while data was on its way"),
    (r"network namespace .{0,300}is closed|sandbox .{0,300}?not (found|running)|container .{0,300}?not running|no such container|"
     r"find (pod )?sandbox|failed to statfs .{0,300}no such file", "gone",
     "the pod's network is gone: the pod was deleted or has ended"),
    (r"timed out|i/o timeout|deadline exceeded", "timeout", "no answer from port {port} in time"),
)  # fmt: skip
_KNOWN: Final = tuple((re.compile(pattern, re.I), kind, meaning) for pattern, kind, meaning in _MEANINGS)
# Who says it, and around what: nothing that a user knows.
_PREAMBLE: Final = re.compile(
    r"^error forwarding port \d+ to pod \S*, uid \S*:? ?|^\(conn=[^)]*\) |"
    r"failed to execute portforward in network namespace \S+: |port forward into network namespace \S+: | inside namespace \S*[^\s:,]"
)
_QUOTED: Final = re.compile(r'"[^":]*"')
#: In the ids of sandboxes and containers, also shortened as Docker does, and in UUIDs.
_ID: Final = re.compile(r"[0-9a-f]{12}", re.I)
#: What may have a slash and is no path: "i/o", "tcp/udp".
_HARMLESS: Final = re.compile(r"[a-z]{1,4}/[a-z]{1,4}[.,:;]?", re.I)
#: Characters of a server's text that are looked at, and that are shown.
_MOST_READ: Final = 4096
_MOST_SHOWN: Final = 300


def explain(text: str, port: int) -> Trouble:
    """What a server's error text says to a user; ids and paths of the node are left out."""
    cut = len(text) > _MOST_READ
    text = "".join(char if char.isprintable() else " " for char in text[:_MOST_READ])
    text = " ".join((text.rpartition(" ")[0] if cut else text).split())  # no half of an id
    for pattern, kind, meaning in _KNOWN:
        if pattern.search(text):
            return Trouble(kind, meaning.format(port=port))
    short = _redacted(text)
    if len(short) > _MOST_SHOWN:
        short = f"{short[:_MOST_SHOWN]}…"
    return Trouble("failed", f"port {port}: {short or 'the server gave no reason'}")


def _redacted(text: str) -> str:
    plain = _PREAMBLE.sub("", text.replace("\\n", " ").replace('\\"', '"'))
    plain = _QUOTED.sub(lambda found: "…" if _names_the_node(found[0]) else found[0], plain)
    return " ".join("…" if _names_the_node(word) else word for word in plain.split())


def _names_the_node(word: str) -> bool:
    return bool(_ID.search(word) or "\\" in word or ("/" in word and not _HARMLESS.fullmatch(word)))


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
