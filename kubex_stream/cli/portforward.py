"""``kubex-stream port-forward``.

Rules of this file:
- stdout has kubectl's lines and nothing else, so what reads kubectl's reads these; everything else that happens is told on stderr.
- Nothing that forwards waits for somebody to read those lines, and it goes on when nobody does any more.
- One connection's trouble is one line.  The forward ends when its user ends it.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from typing import Annotated, Final

import anyio
import typer

from kubex_stream.api.forwarder import PortForwardProtocol
from kubex_stream.api.listener import ConnectionEvent, Listeners
from kubex_stream.api.pods import Pods
from kubex_stream.api.ports import parse_addresses, parse_ports
from kubex_stream.api.targets import Target
from kubex_stream.cli.connection import Log, open_pods
from kubex_stream.cli.durations import parse_duration
from kubex_stream.cli.failures import reason_of, say
from kubex_stream.cli.lines import Lines
from kubex_stream.cli.options import Action, CommandLine, add_verb
from kubex_stream.cli.running import run_async
from kubex_stream.cli.settings import Settings, UsageError
from kubex_stream.cli.shared import Names, Patience
from kubex_stream.cli.waiting import wait_until_running
from kubex_stream.errors import ApiError, KubexClientException

__all__ = ("PortForwardCommand", "PortForwardRequest", "add_port_forward")

PROTOCOLS: Final[tuple[PortForwardProtocol, ...]] = ("auto", "tunnel", "legacy")
_SUBRESOURCE: Final = "/portforward"
_logger = logging.getLogger("kubex_stream")


_Addresses = Annotated[
    list[str] | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        show_default="localhost",
        help="Listen on these addresses: localhost or IP addresses, separated by commas.",
    ),
]
_Protocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        metavar="auto|tunnel|legacy",
        autocompletion=lambda: list(PROTOCOLS),
        help="Carry connections in tunnels (Kubernetes 1.30 and later), or in one WebSocket each; auto finds out.",
    ),
]
_Share = Annotated[
    bool,
    typer.Option(
        "--share", metavar="", help="Use one tunnel for all connections; one that nobody reads then stalls the others."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortForwardRequest:
    """What ``port-forward`` is to do.

    :ivar target: as ``web-0``, ``svc/web``
    :ivar ports: as ``8080:80``, ``:80``, ``80``, ``http``
    :ivar addresses: ``localhost``, IP addresses
    :ivar patience: seconds for the pod to run
    :ivar protocol: how connections are carried
    :ivar share: one tunnel for all of them
    """

    target: str
    ports: tuple[str, ...]
    addresses: tuple[str, ...]
    patience: float
    protocol: PortForwardProtocol
    share: bool


def add_port_forward(app: typer.Typer, line: CommandLine) -> None:
    """Add the verb."""

    def port_forward_verb(
        settings: Settings,
        names: Names = None,
        address: _Addresses = None,
        patience: Patience = "1m",
        protocol: _Protocol = "auto",
        share: _Share = False,
    ) -> Action:
        """Forward local ports to a pod, until Ctrl-C.

        A connection that fails is told on stderr, and the forward goes on.  When the pod is replaced, new connections go to the new one.

        TARGET is a pod, or what has pods: NAME, svc/NAME, deploy/NAME, and so on with rs, sts, ds, rc and job.

        \b
        Examples:
          kubex-stream port-forward demo 8080:80          local port 8080 to port 80 of a pod
          kubex-stream port-forward svc/web 80 :https     80 to 80, and any free one to https
          kubex-stream port-forward deploy/web 8080:http --address 0.0.0.0
        """
        line.refuse_words("port-forward")
        command = PortForwardCommand(settings, _request(names or (), address, patience, protocol, share))
        return lambda: run_async(command.run, settings.backend, on_signal=command.on_signal)

    add_verb(
        app,
        line,
        "port-forward",
        port_forward_verb,
        summary="Forward local ports to a pod.",
        usage="[OPTIONS] TARGET [LOCAL:]REMOTE...",
    )


def _request(
    names: Sequence[str], addresses: Sequence[str] | None, patience: str, protocol: str, share: bool
) -> PortForwardRequest:
    if len(names) < 2:
        raise UsageError("name a target and its ports, as in: kubex-stream port-forward svc/web 8080:80")
    found = next((each for each in PROTOCOLS if each == protocol), None)
    if found is None:
        raise UsageError(f"--protocol is one of {', '.join(PROTOCOLS)}, not {protocol!r}")
    return PortForwardRequest(
        target=names[0],
        ports=tuple(names[1:]),
        addresses=tuple(part for each in addresses or ["localhost"] for part in each.split(",")),
        patience=parse_duration(patience, "--pod-running-timeout"),
        protocol=found,
        share=share,
    )


class PortForwardCommand:
    """The verb, once."""

    def __init__(self, settings: Settings, request: PortForwardRequest) -> None:
        self._settings = settings
        self._request = request
        self._forwarding = False

    def on_signal(self, number: int) -> int:
        """The exit code after a signal: as kubectl's, a forward that is interrupted has done what it was for."""
        return 0 if self._forwarding and number == signal.SIGINT else 128 + number

    async def run(self) -> int:
        """Forward until cancelled.

        :raises TypeError, ValueError: a target, a port or an address that is none; nothing is sent
        """
        request = self._request
        Target.parse(request.target, "default")
        parse_ports(request.ports)
        parse_addresses(request.addresses)
        failure: Exception | None = None
        with closing(Lines(1)) as out, closing(Lines(2)) as err:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(out.write)
                tasks.start_soon(err.write)
                try:
                    await self._run(_Teller(request.target, out, err))
                except Exception as error:  # noqa: BLE001  # raised again outside of the task group, which would wrap it
                    failure = error
                tasks.cancel_scope.cancel()
        assert failure is not None
        raise failure

    async def _run(self, teller: _Teller) -> None:
        async with open_pods(self._settings, teller) as pods, AsyncExitStack() as stack:
            try:
                listeners = await self._listen(stack, pods, teller)
            except ApiError as error:
                target = Target.parse(self._request.target, pods.namespace)
                await wait_until_running(pods, target, error, self._request.patience)
                listeners = await self._listen(stack, pods, teller)
            await teller.started(listeners)
            self._forwarding = True
            await anyio.sleep_forever()

    async def _listen(self, stack: AsyncExitStack, pods: Pods, teller: _Teller) -> Listeners:
        request, unavailable = self._request, list[int]()

        def tell_of(port: int, error: OSError) -> None:
            unavailable.append(port)
            say(f"Unable to listen on port {port}: {error.strerror}")

        listeners = pods.portforward.listen(
            request.target,
            request.ports,
            address=request.addresses,
            protocol=request.protocol,
            share=request.share,
            on_event=teller.connection,
            on_unavailable=tell_of,
        )
        try:
            return await stack.enter_async_context(listeners)
        except OSError as error:
            if isinstance(error, KubexClientException) or not unavailable:
                raise
            raise UsageError(
                f"unable to listen on any of the requested ports: {', '.join(map(str, unavailable))}; choose another local one, as 8080:80, "
                "or any that is free, as :80"
            ) from error


class _Teller(Log):
    """Says what happens.

    :param target: as the user names it
    :param out: for kubectl's lines
    :param err: for all others
    """

    def __init__(self, target: str, out: Lines, err: Lines) -> None:
        self._target = target
        self._out = out
        self._err = err
        self._remotes: dict[int, int] = {}
        self._pod = ""
        self._trouble = ""

    async def started(self, listeners: Listeners) -> None:
        """Listeners are there."""
        pod = await listeners.forwarder.pod()
        for listener in listeners:
            remote = self._remotes[listener.local_port] = pod.number(listener.remote)
            for address in listener.addresses:
                shown = f"[{address}]" if ":" in address else address
                self._out.say(f"Forwarding from {shown}:{listener.local_port} -> {remote}")

    def connection(self, event: ConnectionEvent) -> None:
        """Something happened to a connection."""
        local = event.listener.local_port
        if event.kind == "opened":
            self._out.say(f"Handling connection for {local}")
        elif event.error is not None:
            remote = self._remotes.get(local, event.listener.remote_port)
            self._err.say(f"an error occurred forwarding {local} -> {remote}: {reason_of(event.error)}")
        carried = "" if event.kind == "opened" else f": {event.bytes_in} bytes from the pod, {event.bytes_out} to it"
        _logger.info("connection %d for %d from %s %s%s", event.number, local, event.peer, event.kind, carried)

    def opened(self, path: str, subprotocol: str) -> None:
        """A tunnel, or a connection without one, is there."""
        super().opened(path, subprotocol)
        pod = path.removesuffix(_SUBRESOURCE).rpartition("/")[2]
        if self._pod and pod != self._pod:
            self._err.say(f"{self._target}: forwarding to pod {pod} from now on")
        self._pod, self._trouble = pod, ""

    def retried(self, path: str, error: Exception, delay: float) -> None:
        """A connection cannot be made at the moment."""
        super().retried(path, error, delay)
        if not path.endswith(_SUBRESOURCE) or _logger.isEnabledFor(logging.INFO):
            return  # the log has said it
        trouble = reason_of(error)
        if trouble != self._trouble:  # every connection tries, and again and again
            self._err.say(f"{self._target}: {trouble}; trying again")
            self._trouble = trouble
