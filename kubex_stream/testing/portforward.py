"""The port-forward endpoint: what is checked, in which order, and who says it.

Rules of this file, in the order of the real server:
1. The API server: the query's ports are numbers (400), the pod (404), the node (400), the upgrade itself (400).  All are Status documents.
2. Which protocol: a name that begins with ``SPDY/3.1+`` and ends with ``.k8s.io``, anywhere in the first header line, means the tunnel;
   everything else goes to the runtime as the older protocol.
3. The tunnel: the kubelet finds the sandbox (500), knows what runs inside (403, a text), then gorilla's handshake (405, 400).
4. The older protocol: the kubelet finds the sandbox (500) and the ports (400, a text), then the handshake of golang.org/x/net/websocket.
5. The runtime: the pod's ports.  Always after the 101.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from kubex_stream.protocol.channels import PROTOCOLS
from kubex_stream.testing import statuses
from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.handshake import accept_upgrade, offered, refuse_handshake, requested_upgrade
from kubex_stream.testing.http import Exchange, RecordedRequest
from kubex_stream.testing.legacy_forward import LegacyForward
from kubex_stream.testing.store import PodState
from kubex_stream.testing.streams import SessionInfo
from kubex_stream.testing.tunnel import Tunnel

if TYPE_CHECKING:
    from kubex_stream.testing.server import Server

__all__ = ("serve_portforward",)

_PREFIX, _SUFFIX = "SPDY/3.1+", ".k8s.io"
_TUNNELLED: Final = "portforward.k8s.io"
_LEGACY: Final = ("", "v4.channel.k8s.io", "v4.base64.channel.k8s.io")
_STOPPED: Final = "rpc error: code = Unknown desc = sandbox container is not running"


def _ports_of(request: RecordedRequest) -> list[int] | str:
    """The ports of a query, or what is wrong with them."""
    ports = []
    for text in (part for value in request.values("ports") for part in value.split(",")):
        if not text.isascii() or not text.isdigit():
            return f'strconv.ParseUint: parsing "{text}": invalid syntax'
        if int(text) > 65535:
            return f'strconv.ParseUint: parsing "{text}": value out of range'
        ports.append(int(text))
    return ports


def _tunnelled(request: RecordedRequest, behaviour: Behaviour) -> list[str]:
    """What a client offers to speak inside of a tunnel; nothing for a client that asks for none."""
    names = [name for name in offered(request) if name.startswith(_PREFIX) and name.endswith(_SUFFIX)]
    return [name.removeprefix(_PREFIX) for name in names] if behaviour.tunnel else []


async def serve_portforward(
    server: Server, exchange: Exchange, behaviour: Behaviour, pod: PodState | None, name: str
) -> None:
    """Serve a request for port-forward, refusal or session.

    :param pod: the pod, None when there is none called ``name``
    """
    request = exchange.request
    ports, upgrade = _ports_of(request), requested_upgrade(request)
    tunnelled = _tunnelled(request, behaviour)
    if isinstance(ports, str):
        await exchange.respond_json(statuses.bad_request(f"cannot convert to []int32: {ports}"))
    elif pod is None:
        await exchange.respond_json(statuses.not_found("pods", name))
    elif not pod.declared.scheduled:
        await exchange.respond_json(statuses.bad_request(f"pod {name} does not have a host assigned"))
    elif not upgrade:
        await exchange.respond_json(statuses.bad_request("Upgrade request required"))
    elif upgrade != "websocket":
        await exchange.respond_json(statuses.bad_request(f"this cluster speaks WebSocket only, not {upgrade.upper()}"))
    elif pod.phase in ("Succeeded", "Failed"):
        await exchange.respond_text(500, _STOPPED)
    elif tunnelled:
        await _tunnel(server, exchange, behaviour, pod, tunnelled)
    else:
        await _legacy(server, exchange, behaviour, pod, ports)


async def _tunnel(
    server: Server, exchange: Exchange, behaviour: Behaviour, pod: PodState, tunnelled: list[str]
) -> None:
    if _TUNNELLED not in tunnelled:
        text = f"unable to upgrade: unable to negotiate protocol: client supports [{' '.join(tunnelled)}], server accepts [{_TUNNELLED}]\n"
        headers = {
            "Content-Length": str(len(text)),
            "Content-Type": "text/plain; charset=utf-8",
            "X-Accepted-Stream-Protocol-Versions": _TUNNELLED,
        }
        await exchange.respond_raw(403, text.encode(), headers)
    elif not await _refuse_tunnel(exchange):
        subprotocol = _PREFIX + _TUNNELLED
        leftover = await accept_upgrade(exchange, subprotocol, behaviour)
        tunnel = Tunnel(exchange.connection, pod, behaviour, leftover, server.count_forwarded)
        with server.session(SessionInfo("portforward", pod.declared.namespace, pod.declared.name, "", subprotocol)):
            await tunnel.run()


async def _refuse_tunnel(exchange: Exchange) -> bool:
    """Answer a request that is no good handshake to gorilla; False for a good one."""
    request = exchange.request
    try:
        key = base64.b64decode(request.header("Sec-WebSocket-Key"), validate=True)
    except binascii.Error:
        key = b""
    text = {"Content-Type": "text/plain; charset=utf-8", "Sec-Websocket-Version": "13"}
    if request.method != "GET":
        body, status = b"Method Not Allowed\n", 405
    elif request.header("Sec-WebSocket-Version") != "13" or len(key) != 16:
        body, status = b"Bad Request\n", 400
    else:
        return False
    await exchange.respond_raw(status, body, {"Content-Length": str(len(body)), **text})
    return True


async def _legacy(server: Server, exchange: Exchange, behaviour: Behaviour, pod: PodState, ports: list[int]) -> None:
    if not ports:
        await exchange.respond_text(400, 'query parameter "port" is required')
        return
    if 0 in ports:
        await exchange.respond_text(400, 'port "0" must be > 0')
        return
    spoken = [name for name in offered(exchange.request) if name in _LEGACY and behaviour.legacy]
    if await refuse_handshake(exchange, spoken=bool(spoken), hop=True):
        return
    row = PROTOCOLS[spoken[0]]
    leftover = await accept_upgrade(exchange, row.name, behaviour)
    session = LegacyForward(exchange.connection, row, pod, ports, behaviour, leftover, server.count_forwarded)
    with server.session(SessionInfo("portforward", pod.declared.namespace, pod.declared.name, "", row.name)):
        await session.run()
