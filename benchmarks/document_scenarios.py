"""The chains of what is no WebSocket: logs, which are read and followed, and watches."""

from __future__ import annotations

from typing import Final

from benchmarks.load.logs import LINE
from benchmarks.load.watches import CONFIG_MAP, POD
from benchmarks.plan import MIB, Chain, Figure, Link, ratios

__all__ = ("MEMORY", "document_chains")

#: The chain in whose course memory must not grow.
MEMORY: Final = "log-memory"
_TEN_MILLION: Final = 10_000_000 * LINE / MIB
_SHOWS: Final = ("rate", "cpu_per_item", "cpu_per_gib")
_LAYER: Final = ("aiohttp/bare-aiohttp", "picows/bare-aiohttp", "httpx/bare-httpx")
#: The official clients in both ways, and the others.
_PEERS: Final = (
    "kubernetes-watch",
    "kubernetes-lines",
    "kubernetes_asyncio-watch",
    "kubernetes_asyncio-lines",
    "kr8s",
    "lightkube",
)
#: Those of them that stand on httpx too.
_ON_HTTPX: Final = ("kr8s", "lightkube")
#: Mebibytes that a client takes half a second for, or less: on aiohttp and on httpx, plain and TLS.
_FOLLOWED: Final = {False: (28, 5), True: (16, 3)}
_READ: Final = {False: (256, 96), True: (160, 64)}
_PODS: Final = {False: (32, 16), True: (24, 12)}


def _wire(tls: bool) -> str:
    return "TLS" if tls else "plain"


def _sides(sizes: tuple[float, float], loop: str = "asyncio") -> tuple[Link, ...]:
    """This library on its backends beside the bare libraries; picows takes what is no WebSocket through aiohttp."""
    fast, slow = (("aiohttp", "bare-aiohttp", "picows"), ("bare-httpx", "httpx"))
    return (
        *(Link(client, sizes[0], loop=loop) for client in fast if loop != "trio"),
        *(Link(client, sizes[1], loop=loop) for client in slow),
    )


def _layer(metric: str, links: tuple[Link, ...]) -> tuple[Figure, ...]:
    loop = links[0].key.partition("@")[2]
    keys = {link.key for link in links}
    pairs = ("/".join(f"{name}@{loop}" if loop else name for name in pair.split("/")) for pair in _LAYER)
    return ratios(metric, *(pair for pair in pairs if set(pair.split("/")) <= keys))


def _beside_bare(
    name: str, title: str, scenario: str, frame: int, sizes: tuple[float, float], *, tls: bool = False, loop: str = "asyncio",
    short: int = 0,
) -> Chain:  # fmt: skip
    links = _sides(sizes, loop)
    metric = "cpu_per_gib" if scenario == "log_read" else "cpu_per_item"
    ends = (_wire(tls),) if loop == "asyncio" else (loop, _wire(tls))
    return Chain(
        "-".join((name, *ends)).lower(), ", ".join((title, *ends)), scenario, links, _layer(metric, links), frame, tls,
        short=short, pairs=5 if loop == "asyncio" else 3, clusters=False,
        shows=("throughput", "cpu_per_gib") if scenario == "log_read" else _SHOWS,
    )  # fmt: skip


def _beside_peers(
    name: str, title: str, scenario: str, frame: int, sizes: dict[str, float], *, tls: bool = False, short: int = 0
) -> Chain:
    links = tuple(Link(client, size) for client, size in sizes.items())
    against = [
        f"{one}/{peer}" for one, peers in (("aiohttp", _PEERS), ("httpx", _ON_HTTPX)) for peer in peers if peer in sizes
    ]
    metrics = ("throughput", "cpu_per_gib") if scenario == "log_read" else ("rate", "cpu_per_item")
    return Chain(
        f"{name}-{_wire(tls)}".lower(), f"other clients, {title}, {_wire(tls)}", scenario, links,
        tuple(figure for metric in metrics for figure in ratios(metric, *against)), frame, tls,
        pairs=3, short=short, clusters=False, shows=("throughput", "cpu_per_gib") if scenario == "log_read" else _SHOWS,
    )  # fmt: skip


def _sized(ours: tuple[float, float], *peers: float) -> dict[str, float]:
    """Mebibytes by client, this library's backends first."""
    return {"aiohttp": ours[0], "picows": ours[0], "httpx": ours[1], **dict(zip(_PEERS, peers, strict=True))}


def _logs() -> list[Chain]:
    followed, read = "a log followed, lines of 120 bytes", "a log read whole"
    found = []
    for tls in (False, True):
        half = 0.5 if tls else 1.0
        found += [
            _beside_bare("log-follow", followed, "log_follow", LINE, _FOLLOWED[tls], tls=tls, short=int(not tls)),
            _beside_bare("log-read", read, "log_read", LINE, _READ[tls], tls=tls),
            _beside_peers(
                "peers-log-follow", followed, "log_follow", LINE,
                _sized(_FOLLOWED[tls], *(half * size for size in (24, 24, 16, 28, 5, 5))), tls=tls, short=int(not tls),
            ),
        ]  # fmt: skip
    return [
        *found,
        _beside_peers("peers-log-read", read, "log_read", LINE, {"aiohttp": 256, "httpx": 96, "kubernetes-watch": 128,
                      "kubernetes_asyncio-watch": 128, "kr8s": 32, "lightkube": 32}),
        _beside_bare("log-follow", followed, "log_follow", LINE, _FOLLOWED[False], loop="uvloop"),
        _beside_bare("log-follow", followed, "log_follow", LINE, _FOLLOWED[False], loop="trio"),
    ]  # fmt: skip


def _watches() -> list[Chain]:
    pods, large = f"a watch, pods of {POD / 1024:.1f} KiB", f"a watch, ConfigMaps of {CONFIG_MAP / MIB:.1f} MiB"
    found = []
    for tls in (False, True):
        found += [
            _beside_bare("watch-pods", pods, "watch", POD, _PODS[tls], tls=tls, short=int(not tls)),
            _beside_peers(
                "peers-watch-pods", pods, "watch", POD, _sized(_PODS[tls], 8, 32, 4, 32, 1.5, 24), tls=tls, short=int(not tls)
            ),
        ]  # fmt: skip
    return [
        *found,
        _beside_bare("watch-large", large, "watch", CONFIG_MAP, (128, 96)),
        _beside_peers("peers-watch-large", large, "watch", CONFIG_MAP, _sized((128, 96), 64, 96, 48, 96, 64, 64)),
        _beside_bare("watch-pods", pods, "watch", POD, _PODS[False], loop="uvloop"),
        _beside_bare("watch-pods", pods, "watch", POD, _PODS[False], loop="trio"),
    ]


def _memory() -> Chain:
    clients = ("aiohttp", "picows", "httpx")
    return Chain(
        MEMORY, "memory while a log is followed: 10 million lines", "log_follow",
        tuple(Link(client, _TEN_MILLION) for client in clients), tuple(Figure(client, "", "grown") for client in clients),
        LINE, short=0, clusters=False, shows=("rate", "grown", "rss"),
    )  # fmt: skip


def document_chains() -> list[Chain]:
    """All of them, in the report's order."""
    return [*_logs(), *_watches(), _memory()]
