"""The chains of the second command: what they measure on a real cluster, beside client-go where it is there."""

from __future__ import annotations

from benchmarks.plan import BARRED, PLAIN, Chain, Figure, Link, ratios

__all__ = ("cluster_chains",)

_GO = ("aiohttp/client-go", "picows/client-go", "aiohttp/kubectl")


def _chain(name: str, title: str, scenario: str, links: tuple[Link, ...], pairs: int = BARRED) -> Chain:
    figures = (*ratios("cpu_per_gib", *_GO), *ratios("throughput", *_GO))
    kept = {link.key for link in links}
    figures = tuple(figure for figure in figures if figure.of in kept and figure.to in kept)
    return Chain(f"cluster-{name}", f"real cluster, {title}", scenario, links, figures, pairs=pairs)


def _streams() -> list[Chain]:
    down = (
        *(Link(client, 96) for client in ("kubectl", "aiohttp", "client-go", "picows", "httpx", "kubernetes_asyncio", "bare-aiohttp")),
        *(Link(client, 24) for client in ("kr8s", "lightkube", "bare-httpx")),
    )  # fmt: skip
    up = tuple(
        Link(client, 48) for client in ("kubectl", "aiohttp", "client-go", "picows", "httpx", "kubernetes_asyncio")
    )
    duplex = tuple(Link(client, 24) for client in ("kubectl", "aiohttp", "client-go", "picows", "httpx"))
    capture = tuple(
        Link(client, 64) for client in ("kubernetes_asyncio-preload", "aiohttp", "client-go", "picows", "httpx")
    )
    return [
        _chain("down", "stdout", "down", down),
        _chain("up", "stdin", "up", up),
        _chain("duplex", "stdin and stdout at once", "duplex", duplex),
        _chain("capture", "all output kept", "run", capture),
    ]


def _many() -> list[Chain]:
    """Fewer sessions than against the load server: each is a process in the pod, with a shim of the runtime's."""
    idle = tuple(
        Link(client, count=100)
        for client in ("bare-aiohttp", "aiohttp", "bare-picows", "picows", "bare-httpx", "httpx")
    )
    above = tuple(
        Figure(backend, f"bare-{backend}", "memory_per_session", minus=True)
        for backend in ("aiohttp", "picows", "httpx")
    )
    busy = tuple(Link(client, 16, count=20) for client in ("bare-aiohttp", "aiohttp", "bare-picows", "picows", "httpx"))
    against = ratios("cpu_per_gib", "aiohttp/bare-aiohttp", "picows/bare-picows")
    return [
        Chain("cluster-idle-100", "real cluster, 100 idle sessions", "idle", idle, above, pairs=PLAIN,
              shows=("memory_per_session", "rss", "rate")),
        Chain("cluster-busy-20", "real cluster, stdout of 20 sessions at once", "busy", busy, against, pairs=PLAIN),
    ]  # fmt: skip


def cluster_chains() -> list[Chain]:
    """All of them, in the report's order."""
    echo = tuple(
        Link(client, count=1000)
        for client in ("bare-aiohttp", "aiohttp", "client-go", "picows", "bare-picows", "httpx")
    )
    session = tuple(
        Link(client, count=10) for client in ("bare-aiohttp", "aiohttp", "picows", "httpx", "kubernetes", "kubectl")
    )
    listening = ("listen-aiohttp", "listen-kubectl", "listen-picows")
    against = ("listen-aiohttp/listen-kubectl", "listen-picows/listen-kubectl")
    forward = (
        *(Link(client, 96, pinned=False) for client in listening),
        Link("connect-aiohttp", 96),
        Link("connect-picows", 96),
    )
    forward_echo = tuple(Link(link.client, count=500, pinned=link.pinned) for link in forward)
    return [
        *_streams(),
        Chain("cluster-echo", "real cluster, 64 bytes there and back", "echo", echo,
              ratios("p50", "aiohttp/bare-aiohttp", "aiohttp/client-go"), shows=("p50", "p99")),
        Chain("cluster-session", "real cluster, sessions one after the other", "session", session,
              ratios("rate", "aiohttp/bare-aiohttp"), pairs=PLAIN, shows=("rate", "cpu_per_session")),
        *_many(),
        Chain("cluster-forward-down", "real cluster, port-forward, one connection", "forward_down", forward,
              (*ratios("throughput", *against), *ratios("cpu_per_gib", *against)), pairs=PLAIN),
        Chain("cluster-forward-echo", "real cluster, port-forward, 64 bytes there and back", "forward_echo", forward_echo,
              ratios("p50", *against), pairs=PLAIN, shows=("p50", "p99")),
    ]  # fmt: skip
