"""``kubex-stream port-forward``.

Rules of this file:
- stdout has kubectl's lines and nothing else, so what reads kubectl's reads these; everything else that happens is told on stderr.
- Nothing that forwards waits for somebody to read those lines, and it goes on when nobody does any more.
- One connection's trouble is one line.  The forward ends when its user ends it.
"""

from __future__ import annotations

import logging
import signal
from contextlib import AsyncExitStack, closing
from typing import Final

import anyio

from kubex_stream.api.listener import ConnectionEvent, Listeners
from kubex_stream.api.pods import Pods
from kubex_stream.api.ports import parse_addresses, parse_ports
from kubex_stream.api.targets import Target
from kubex_stream.cli.connection import Log, open_pods
from kubex_stream.cli.failures import reason_of, say
from kubex_stream.cli.lines import Lines
from kubex_stream.cli.settings import PortForwardRequest, Settings, UsageError
from kubex_stream.cli.waiting import wait_until_running
from kubex_stream.errors import ApiError, KubexClientException

__all__ = ("PortForwardCommand",)

_SUBRESOURCE: Final = "/portforward"
_logger = logging.getLogger("kubex_stream")


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
