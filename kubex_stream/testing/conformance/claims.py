"""What the author of a transport says of it: which class, on which event loops, and what it can do beyond what every transport must."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field

from kubex_stream.client import BaseClient, load_backend

__all__ = ("ALL_CLAIMS", "CLAIMS", "LOOPS", "Claim", "Loop", "Transport", "claimed_by", "needs")

Claim: TypeAlias = Literal[
    "tls",
    "client_certificates",
    "prompt_tls_end",
    "proxies",
    "tls_proxies",
    "proxy_hangs_up",
    "ping",
    "last_pong",
    "last_activity",
    "close_code",
    "abort",
    "any_subprotocol",
    "sends_go_on",
    "many_fragments",
    "broken_refusals",
    "pool",
]
Loop: TypeAlias = Literal["asyncio", "uvloop", "trio"]

#: Each claim, and what the suite then expects.
CLAIMS: Final[Mapping[Claim, str]] = {
    "tls": "https:// and wss://: verified, with the context and the server name of the request, HTTP/1.1 only",
    "client_certificates": "a context with a client certificate shows it; another context never reuses a connection of the first",
    "prompt_tls_end": "TCP ends at once when a connection with TLS is left, also when the server never answers the goodbye of TLS",
    "proxies": "http:// proxies: CONNECT for TLS, Basic authentication, refusals",
    "tls_proxies": "https:// proxies",
    "proxy_hangs_up": "a proxy that ends the connection without an answer is an error of the call, and of nothing else",
    "ping": "ping() sends one, and does not wait for another task's blocked send",
    "last_pong": "last_pong is the time of the last pong",
    "last_activity": "last_activity is the time of the last arrival of anything",
    "close_code": "close_code is the code of the peer's Close",
    "abort": "abort() ends TCP at once, without a Close frame",
    "any_subprotocol": "offers subprotocols whose names are no HTTP tokens, as that of the port-forward tunnel, SPDY/3.1+portforward.k8s.io",
    "sends_go_on": "after a cancelled send, others go on (without this, the connection may refuse them)",
    "many_fragments": "a message of 20,000 fragments, in linear time",
    "broken_refusals": "a refusal whose body is cut short, or has neither a length nor an end, gives what came of it",
    "pool": "plain requests reuse connections as keep_alive says, and never have more than pool_size",
}
ALL_CLAIMS: Final[frozenset[Claim]] = frozenset(get_args(Claim))
#: The event loops, as anyio's pytest plugin takes them.
LOOPS: Final[Mapping[Loop, tuple[str, dict[str, Any]]]] = {
    "asyncio": ("asyncio", {"use_uvloop": False}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}

_Test = TypeVar("_Test", bound=Callable[..., object])


class Transport(BaseModel):
    """The transport that a suite is for.

    :raises pydantic.ValidationError: a claim or an event loop that does not exist
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    #: The class, or the name of a backend that is registered.
    client: type[BaseClient] | str
    #: What it can do; see :data:`CLAIMS`.  What is not claimed is not tested.
    claims: frozenset[Claim] = frozenset()
    #: None: those that the class names, and uvloop where that is installed and the class runs on asyncio.
    loops: tuple[Loop, ...] | None = Field(default=None, min_length=1)

    def client_class(self) -> type[BaseClient]:
        """The class itself.

        :raises BackendNotAvailable: there is no backend of this name, or its library is missing
        """
        return load_backend(self.client) if isinstance(self.client, str) else self.client

    def tested_loops(self) -> tuple[Loop, ...]:
        """The event loops that the suite runs on."""
        if self.loops is not None:
            return self.loops
        names = self.client_class().event_loops
        loops: list[Loop] = ["asyncio"] if "asyncio" in names else []
        if loops and find_spec("uvloop") is not None:
            loops.append("uvloop")
        return (*loops, "trio") if "trio" in names else tuple(loops)


def needs(*claims: Claim) -> Callable[[_Test], _Test]:
    """A test for transports that make all of these claims; it is skipped for others."""

    def mark(test: _Test) -> _Test:
        test.__dict__["conformance_claims"] = claims
        return test

    return mark


def claimed_by(test: object) -> tuple[Claim, ...]:
    """What a test is marked with."""
    claims: tuple[Claim, ...] = getattr(test, "conformance_claims", ())
    return claims
