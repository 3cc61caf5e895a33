"""The ports that a pod of an embedded cluster has, as its user declares them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final, Literal

__all__ = ("BUILT_IN_SERVICES", "EmbeddedPort", "PortHandler", "PortTarget", "check_number", "check_ports")

#: What a port can serve without a server of your own; :class:`EmbeddedPort` says what each does.
BUILT_IN_SERVICES: Final = ("echo", "http", "sha256", "send", "silent", "reset", "banner", "half")

#: Serves one connection, on the cluster's own event loop (asyncio, in a thread of its own); the connection is closed when it returns.
PortHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PortTarget = str | int | tuple[str, int] | PortHandler

_NAME: Final = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")


@dataclass(frozen=True)
class EmbeddedPort:
    """A port of a pod, and what answers behind it.

    Built-in services: ``"echo"`` gives back what it gets and ends when the client has ended; ``"http"`` is HTTP/1.1 with the pod's name
    at ``/``, N bytes at ``/bytes/N`` and the body of a POST to ``/echo``; ``"sha256"`` answers the hexadecimal digest once the client
    has ended; ``"send"`` reads ``N`` and a newline, sends N bytes and ends; ``"silent"`` never reads and never writes; ``"reset"`` resets
    at once; ``"banner"`` says ``banner`` and ends; ``"half"`` ends its side at once and reads on.

    :ivar number: the port, 1 to 65535
    :ivar target: a built-in service; a TCP port of this machine's loopback, or an address with a port, where a server of yours listens;
        an async function ``(reader, writer)``; None: nobody listens, so connections are refused
    :ivar name: by which Services and clients may call it; at most 15 lower-case letters, digits and '-'
    :ivar protocol: only TCP can be forwarded
    :ivar container: the container whose port it is; None: the pod's first
    """

    number: int
    _: KW_ONLY
    target: PortTarget | None = None
    name: str | None = None
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    container: str | None = None

    def __post_init__(self) -> None:
        check_number("a port", self.number)
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise ValueError(
                f"a port's name is at most 15 lower-case letters, digits and '-', with a letter, not {self.name!r}"
            )
        if self.protocol not in ("TCP", "UDP", "SCTP"):
            raise ValueError(f"a port's protocol is TCP, UDP or SCTP, not {self.protocol!r}")
        target: object = self.target
        if isinstance(target, list):  # as JSON has it
            object.__setattr__(self, "target", tuple(target))
        _check_target(self.target)


def _check_target(target: object) -> None:
    if isinstance(target, str):
        if target not in BUILT_IN_SERVICES:
            raise ValueError(f"no built-in service {target!r}; there are {', '.join(BUILT_IN_SERVICES)}")
    elif isinstance(target, tuple):
        if len(target) != 2 or not isinstance(target[0], str):
            raise ValueError(f'a target address is a pair as ("127.0.0.1", 6379), not {target!r}')
        check_number("a target's port", target[1])
    elif target is not None and not callable(target):
        check_number("a target's port", target)


def check_number(what: str, number: object) -> None:
    """Whether ``number`` can be that of a port.

    :raises ValueError: it cannot
    """
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 65536:
        raise ValueError(f"{what} is a number from 1 to 65535, not {number!r}")


def check_ports(pod: str, containers: Sequence[str], ports: Sequence[EmbeddedPort]) -> None:
    """Whether a pod can have these ports together.

    :raises ValueError: two share a number or a name, or one belongs to no container
    """
    numbers = [(port.number, port.protocol) for port in ports]
    names = [port.name for port in ports if port.name is not None]
    if len(set(numbers)) != len(numbers) or len(set(names)) != len(names):
        raise ValueError(f"the ports of pod {pod!r} need numbers and names that differ")
    for port in ports:
        if port.container is not None and port.container not in containers:
            raise ValueError(
                f"port {port.number} of pod {pod!r} belongs to no container: there is no {port.container!r}"
            )
