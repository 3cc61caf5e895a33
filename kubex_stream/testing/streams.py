"""The exec and attach endpoints: what is checked, in which order, and who says it.

Rules of this file, in the order of the real server:
1. The API server: the pod (404), the container and the node (400), the upgrade itself (400).  All are Status documents.
2. The kubelet: at least one stream (400), the container exists (500), attach fits the container's terminal (500).  Plain texts before the
   101 - except for v5 on the API server's way, which answers 101 at once and tells the kubelet's refusal on channel 3.
3. golang.org/x/net/websocket: method (405), key and version (400), subprotocol (403 without a body).
4. The runtime: the command.  Always after the 101, always on channel 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kubex_stream.protocol.channels import PROTOCOLS, V5, ChannelProtocol
from kubex_stream.testing import statuses
from kubex_stream.testing.attach_session import AttachSession
from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.channels_server import ChannelServer
from kubex_stream.testing.exec_session import ExecSession, Streams
from kubex_stream.testing.handshake import accept_upgrade, offered, refuse_handshake, requested_upgrade
from kubex_stream.testing.http import Exchange, RecordedRequest
from kubex_stream.testing.processes import StartFailure, start_process
from kubex_stream.testing.store import ContainerState, PodState

if TYPE_CHECKING:
    from kubex_stream.testing.server import Server

__all__ = ("ProcessInfo", "SessionInfo", "serve_stream")


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """An open session.

    :ivar kind: ``exec``, ``attach`` or ``portforward``
    :ivar namespace: of the pod
    :ivar pod: its name
    :ivar container: its name; of a port-forward none
    :ivar subprotocol: what was negotiated
    :ivar command: the command's words, of exec only
    """

    kind: str
    namespace: str
    pod: str
    container: str
    subprotocol: str
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A process of a pod: main process or started by exec.

    :ivar pid: on this machine
    :ivar command: its words
    """

    pid: int
    command: tuple[str, ...]


def named_container(pod: PodState, wanted: str) -> ContainerState | dict[str, Any]:
    """The container that a request names, or the only one; else the refusal."""
    name = pod.declared.name
    if not wanted and len(pod.containers) > 1:
        names = " ".join(pod.containers)
        return statuses.bad_request(f"a container name must be specified for pod {name}, choose one of: [{names}]")
    found = pod.containers.get(wanted or next(iter(pod.containers)))
    return statuses.bad_request(f"container {wanted} is not valid for pod {name}") if found is None else found


def _choose_container(pod: PodState, wanted: str) -> ContainerState | dict[str, Any]:
    found = named_container(pod, wanted)
    if not isinstance(found, dict) and not pod.declared.scheduled:
        return statuses.bad_request(f"pod {pod.declared.name} does not have a host assigned")
    return found


def _kubelet_refusal(
    kind: str, pod: PodState, container: ContainerState, request: RecordedRequest
) -> tuple[int, str] | None:
    streams = _streams_of(request)
    if not (streams.stdin or streams.stdout or streams.stderr):
        return 400, "you must specify at least 1 of stdin, stdout, stderr"
    name = container.declared.name
    if pod.phase == "Pending" or container.gone:
        where = f"container {name} not found in pod {pod.declared.name}_{pod.declared.namespace}"
        return 500, where if kind == "attach" else f'container not found ("{name}")'
    if kind == "attach" and container.declared.tty and request.flag("stderr") and not request.flag("tty"):
        return 500, "rpc error: code = InvalidArgument desc = tty and stderr cannot both be true"
    return None


def _streams_of(request: RecordedRequest) -> Streams:
    tty = request.flag("tty")
    return Streams(
        stdin=request.flag("stdin"),
        stdout=request.flag("stdout"),
        stderr=request.flag("stderr") and not tty,  # the kubelet drops it silently
        tty=tty,
    )


def _negotiate(request: RecordedRequest, behaviour: Behaviour) -> ChannelProtocol | None:
    """v5 wherever it stands in the list, else the client's first that is spoken here."""
    names = offered(request)
    if V5.name in names and V5.name in behaviour.protocols:
        return V5
    return next((PROTOCOLS[name] for name in names if name in behaviour.protocols), None)


async def serve_stream(
    server: Server, exchange: Exchange, behaviour: Behaviour, pod: PodState | None, kind: str, name: str
) -> None:
    """Serve a request for exec or attach, refusal or session.

    :param pod: the pod, None when there is none called ``name``
    :param kind: ``exec`` or ``attach``
    """
    request = exchange.request
    found = statuses.not_found("pods", name) if pod is None else _choose_container(pod, request.value("container"))
    if isinstance(found, dict):
        await exchange.respond_json(found)
        return
    assert pod is not None
    upgrade = requested_upgrade(request)
    row = _negotiate(request, behaviour)
    translated = behaviour.way == "apiserver" and row is V5
    refused = _kubelet_refusal(kind, pod, found, request)
    if not upgrade:
        await exchange.respond_json(statuses.bad_request("Upgrade request required"))
    elif refused is not None and not translated:
        await exchange.respond_text(*refused)
    elif upgrade != "websocket":
        await exchange.respond_json(statuses.bad_request(f"this cluster speaks WebSocket only, not {upgrade.upper()}"))
    elif not await refuse_handshake(exchange, spoken=row is not None, hop=not translated):
        assert row is not None
        leftover = await accept_upgrade(exchange, row.name, behaviour)
        channels = ChannelServer(exchange.connection, row, behaviour, leftover)
        await channels.open(stdout=_streams_of(request).stdout, stderr=_streams_of(request).stderr)
        if refused is not None:
            await channels.finish(statuses.apiserver_failure(refused[1]))
        else:
            await _serve_session(server, pod, found, channels, kind, request)


async def _serve_session(
    server: Server,
    pod: PodState,
    container: ContainerState,
    channels: ChannelServer,
    kind: str,
    request: RecordedRequest,
) -> None:
    streams, name = _streams_of(request), container.declared.name
    command = tuple(request.values("command")) if kind == "exec" else ()
    info = SessionInfo(kind, pod.declared.namespace, pod.declared.name, name, channels.row.name, command)
    with server.session(info):
        if kind == "exec":
            await _exec(server, pod, container, channels, streams, command)
        elif container.main is None:
            await _idle(channels)
        else:
            streams.tty = container.declared.tty
            await AttachSession(channels, container.main, streams).run()


async def _exec(
    server: Server,
    pod: PodState,
    container: ContainerState,
    channels: ChannelServer,
    streams: Streams,
    command: tuple[str, ...],
) -> None:
    try:
        process = start_process(
            command,
            directory=container.directory,
            env=container.env | ({"TERM": "xterm"} if streams.tty else {}),
            tty=streams.tty,
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
        )
    except StartFailure as error:
        await channels.finish(statuses.exec_failure(channels.row, statuses.start_text(str(error))))
        return
    server.store.track(pod, process)
    try:
        await ExecSession(channels, process, streams, server.watcher, server.count_loss).run()
    finally:
        if process.exit_code is not None:  # otherwise the cluster is ending, and will end the process too
            pod.processes.discard(process)
        server.changed()


async def _idle(channels: ChannelServer) -> None:
    """An attachment to a container where nothing runs: silence, until the client leaves."""
    await channels.receive(_Nobody())
    await channels.close()


class _Nobody:
    async def stdin(self, data: bytes) -> None:
        """Drop input."""

    async def close_stdin(self) -> None:
        """Nothing to end."""

    async def resize(self, data: bytes) -> None:
        """Nothing to resize."""
