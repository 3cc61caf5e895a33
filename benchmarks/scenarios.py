"""The scenarios: every chain of the suite."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from benchmarks.document_scenarios import document_chains
from benchmarks.plan import BARRED, CAPTURE, PLAIN, Chain, Figure, Link, ratios

__all__ = ("chains", "with_peer")

#: Mebibytes that a fast client takes half a second for, by frame and TLS.
_FAST: Final = {
    (32768, False): 1024, (4096, False): 768, (1024, False): 256,
    (32768, True): 384, (4096, True): 192, (1024, True): 64,
}  # fmt: skip
#: The same for httpx-ws.
_SLOW: Final = {(32768, False): 160, (1024, False): 8, (32768, True): 80, (1024, True): 8}
_SIDES: Final = ("bare-aiohttp", "aiohttp", "picows", "bare-picows")
_LAYER: Final = ("aiohttp/bare-aiohttp", "picows/bare-picows")
#: Variants of what others measure already: fewer repetitions, and none in a short run.
_ASIDE: Final = frozenset(
    {
        "exec-down-4k-plain", "exec-down-4k-tls", "exec-down-uvloop-tls", "httpx-up-tls", "httpx-down-trio", "httpx-down-tuned",
        "capture-backends", "exec-echo-tls", "exec-echo-plain-uvloop", "exec-up-tls", "exec-duplex-tls", "exec-session-tls",
        "forward-echo-legacy", "forward-session-legacy", "forward-connect-echo-tunnel", "forward-connect-session-tunnel",
        "peers-down-tls", "codec-1k", "idle-200-tls", "forward-down-legacy", "forward-connect-down-tunnel",
    }
)  # fmt: skip
_RATE: Final = ("rate", "cpu_per_session")
_DELAY: Final = ("p50", "p99")
_KEPT: Final = ("wall", "throughput", "growth")


def _wire(tls: bool) -> str:
    return "TLS" if tls else "plain"


def _name(frame: int, tls: bool) -> str:
    return f"{frame // 1024}k-{_wire(tls).lower()}"


def _title(frame: int, tls: bool) -> str:
    return f"frames of {frame // 1024} KiB, {_wire(tls)}"


def _links(*clients: str, mebibytes: float = 0, count: int = 1, loop: str = "asyncio") -> tuple[Link, ...]:
    return tuple(Link(client, mebibytes, count, loop) for client in clients)


def _down(frame: int, tls: bool) -> Chain:
    barred = frame != 4096
    clients = ("bare-aiohttp", "aiohttp", "raw", "picows", "bare-picows")
    links = _links(*clients, *(("aiohttp-aiofastnet",) if tls else ()), mebibytes=_FAST[frame, tls])
    figures = (
        *ratios("cpu_per_gib", *_LAYER),
        *ratios("throughput", "aiohttp/raw", "picows/raw"),
        *(ratios("throughput", "aiohttp-aiofastnet/raw") if tls else ()),
    )
    return Chain(
        f"exec-down-{_name(frame, tls)}", f"exec stdout, {_title(frame, tls)}", "down", links, figures,
        frame, tls, pairs=BARRED if barred else PLAIN,
    )  # fmt: skip


def _down_on(loop: str, tls: bool) -> Chain:
    size = _FAST[32768, tls]
    links = tuple(Link(client, size, loop=loop) for client in _SIDES)
    pairs = tuple("/".join(f"{client}@{loop}" for client in pair.split("/")) for pair in _LAYER)
    title = f"exec stdout on {loop}, {_title(32768, tls)}"
    return Chain(f"exec-down-{loop}-{_wire(tls).lower()}", title, "down", links, ratios("cpu_per_gib", *pairs), tls=tls)


def _httpx_down(frame: int, tls: bool) -> Chain:
    slow, fast = _SLOW[frame, tls], _FAST[frame, tls]
    links = (Link("bare-httpx", slow), Link("httpx", fast / 2))
    return Chain(
        f"httpx-down-{_name(frame, tls)}", f"exec stdout on httpx, {_title(frame, tls)}", "down", links,
        ratios("throughput", "httpx/bare-httpx"), frame, tls, pairs=BARRED,
    )  # fmt: skip


def _httpx() -> list[Chain]:
    found = [_httpx_down(frame, tls) for frame, tls in ((32768, False), (1024, False), (32768, True))]
    for tls in (False, True):
        links = (Link("bare-httpx", 96), Link("httpx", 192))
        found.append(
            Chain(
                f"httpx-up-{_wire(tls).lower()}", f"stdin on httpx, {_wire(tls)}", "up", links,
                ratios("throughput", "httpx/bare-httpx"), tls=tls, pairs=PLAIN if tls else BARRED,
            )
        )  # fmt: skip
    tuned = Chain(
        "httpx-down-tuned", f"exec stdout on httpx, httpx-ws tuned, {_title(32768, False)}", "down",
        (Link("bare-httpx-tuned", 160), Link("httpx", 512)), ratios("throughput", "httpx/bare-httpx-tuned"),
    )  # fmt: skip
    pair = (Link("bare-httpx", 160, loop="trio"), Link("httpx", 512, loop="trio"))
    trio = ratios("throughput", "httpx@trio/bare-httpx@trio")
    return [
        *found,
        tuned,
        Chain("httpx-down-trio", f"exec stdout on httpx and trio, {_title(32768, False)}", "down", pair, trio),
    ]


def _both_ways() -> list[Chain]:
    found = []
    for scenario, title, sizes in (("up", "stdin", (512, 256)), ("duplex", "stdin and stdout at once", (192, 96))):
        for tls in (False, True):
            clients = (*_SIDES, "httpx") if scenario == "duplex" else _SIDES
            links = _links(*clients, mebibytes=sizes[tls])
            name, text = f"exec-{scenario}-{_wire(tls).lower()}", f"{title}, {_wire(tls)}"
            found.append(Chain(name, text, scenario, links, ratios("cpu_per_gib", *_LAYER), tls=tls))
    return found


def _echo(tls: bool, loop: str = "asyncio") -> Chain:
    clients = (*_SIDES, "bare-httpx", "httpx") if loop == "asyncio" else _SIDES
    links = _links(*clients, count=5000, loop=loop)
    end = "" if loop == "asyncio" else f"@{loop}"
    layer = _LAYER if end else (*_LAYER, "httpx/bare-httpx")
    pairs = ["/".join(client + end for client in pair.split("/")) for pair in layer]
    return Chain(
        f"exec-echo-{_wire(tls).lower()}{end.replace('@', '-')}", f"64 bytes there and back, {_wire(tls)}{end.replace('@', ', ')}",
        "echo", links, (*ratios("p50", *pairs), *ratios("p99", *pairs)), tls=tls,
        pairs=PLAIN if tls or end else BARRED, shows=_DELAY,
    )  # fmt: skip


def _setups() -> list[Chain]:
    peers = ("kubernetes_asyncio-preload", "kubernetes", "kr8s", "lightkube")
    pairs = (*_LAYER, "httpx/bare-httpx")
    return [
        Chain(
            f"exec-session-{_wire(tls).lower()}", f"sessions one after the other: connect, run, close, {_wire(tls)}", "session",
            _links(*_SIDES, "bare-httpx", "httpx", *(() if tls else peers), count=100 if tls else 300),
            (*ratios("rate", *pairs), *ratios("cpu_per_session", *pairs)), tls=tls, shows=_RATE,
        )
        for tls in (False, True)
    ]  # fmt: skip


def _many() -> list[Chain]:
    six = (*_SIDES, "bare-httpx", "httpx")
    more = tuple(
        Figure(of, to, "memory_per_session", minus=True)
        for of, to in (("aiohttp", "bare-aiohttp"), ("picows", "bare-picows"), ("httpx", "bare-httpx"))
    )
    alone = tuple(Figure(of, "", "rss") for of in ("aiohttp", "picows", "httpx"))
    shows = ("memory_per_session", "rss", "rate")
    return [
        Chain("idle-1000", "1,000 idle sessions, plain", "idle", _links(*six, count=1000), (*more, *alone), shows=shows),
        Chain("idle-200-tls", "200 idle sessions, TLS", "idle", _links(*six, count=200), more, tls=True, pairs=3, shows=shows),
        Chain(
            "busy-200", f"stdout of 200 sessions at once, {_title(32768, False)}", "busy",
            _links(*_SIDES, "httpx", mebibytes=4, count=200), ratios("cpu_per_gib", *_LAYER),
        ),
    ]  # fmt: skip


def _captures() -> list[Chain]:
    sizes = tuple(Link("aiohttp", size, note=f"{size} MiB") for size in CAPTURE)
    growth = (Figure("aiohttp", "", "exponent"), Figure("aiohttp#1024 MiB", "", "growth"))
    few = {"kubernetes": (2, 4, 8), "kr8s": (2, 4, 8), "lightkube": (16, 64), "kubernetes_asyncio-preload": (16, 256)}
    peers = tuple(Link(client, size, note=f"{size} MiB") for client, sizes in few.items() for size in sizes)
    return [
        Chain(
            "capture-256m", "run() that keeps 256 MiB, plain", "run",
            _links("kubernetes_asyncio-preload", "aiohttp", "bare-aiohttp", mebibytes=256),
            (
                Figure("kubernetes_asyncio-preload", "aiohttp", "wall"), Figure("kubernetes_asyncio-preload", "bare-aiohttp", "wall"),
                *ratios("wall", "aiohttp/bare-aiohttp"),
            ),
            pairs=BARRED, shows=("throughput", "cpu_per_gib", "growth"),
        ),
        Chain(
            "capture-backends", "run() that keeps 256 MiB, each backend, plain", "run",
            _links("aiohttp", "picows", "httpx", mebibytes=256), ratios("wall", "picows/aiohttp", "httpx/aiohttp"),
            shows=("throughput", "cpu_per_gib", "growth"),
        ),
        Chain("capture-growth", "run() from 1 MiB to 1 GiB", "run", sizes, growth, shows=_KEPT, scaled=False),
        Chain(
            "capture-growth-peers", "keeping all output with other clients, as far as their growth lets them", "run", peers,
            tuple(Figure(client, "", "exponent") for client in few), pairs=2, shows=_KEPT, scaled=False,
        ),
    ]  # fmt: skip


def _peers() -> list[Chain]:
    down = (
        Link("aiohttp", 768), Link("kubernetes_asyncio", 768), Link("kubernetes", 8), Link("kr8s", 96), Link("lightkube", 96),
        Link("kubectl", 512), Link("client-go", 512),
    )  # fmt: skip
    up = (
        Link("aiohttp", 256),
        Link("kubernetes_asyncio", 256),
        Link("kubernetes", 64),
        Link("lightkube", 64),
        Link("kubectl", 256),
    )
    echo = _links("aiohttp", "kubernetes_asyncio", "kubernetes", "client-go", count=4000)
    found = []
    for tls in (False, True):
        wire = _wire(tls)
        against = tuple(f"aiohttp/{link.client}" for link in down[1:])
        found.append(
            Chain(
                f"peers-down-{wire.lower()}", f"other clients, stdout, {_title(32768, tls)}", "down", down,
                (*ratios("throughput", *against), *ratios("cpu_per_gib", *against)), tls=tls, pairs=3,
            )
        )  # fmt: skip
    against = tuple(f"aiohttp/{link.client}" for link in up[1:])
    found.append(Chain("peers-up", "other clients, stdin, plain", "up", up, ratios("throughput", *against), pairs=3))
    against = tuple(f"aiohttp/{link.client}" for link in echo[1:])
    figures = ratios("p50", *against)
    found.append(
        Chain(
            "peers-echo", "other clients, 64 bytes there and back, plain", "echo", echo, figures, pairs=3, shows=_DELAY
        )
    )
    return found


def _forward(scenario: str, protocol: str, clients: tuple[str, ...], against: tuple[str, ...], where: str) -> Chain:
    metrics, count, shows = _FORWARD_METRICS[scenario]
    mebibytes = 256 if scenario == "down" else 0
    links = tuple(
        Link(client, mebibytes, count, protocol=protocol, pinned=client.startswith("connect")) for client in clients
    )
    return Chain(
        f"forward{where}-{scenario}-{protocol}", f"port-forward{where.replace('-', ' ')}, {_FORWARDS[scenario]}, {protocol}",
        f"forward_{scenario}", links, tuple(figure for metric in metrics for figure in ratios(metric, *against)),
        pairs=BARRED if against and scenario != "session" else PLAIN, shows=shows,
    )  # fmt: skip


def _forwards() -> list[Chain]:
    listening, connecting = ("listen-aiohttp", "listen-picows"), ("connect-aiohttp", "connect-picows", "connect-httpx")
    measured = ("listen-aiohttp", "listen-kubectl", "listen-picows")
    against = ("listen-aiohttp/listen-kubectl", "listen-picows/listen-kubectl")
    return [
        *(_forward(scenario, "tunnel", measured, against, "") for scenario in _FORWARDS),
        *(_forward(scenario, "tunnel", connecting, (), "-connect") for scenario in _FORWARDS),
        *(_forward(scenario, "legacy", (*listening, *connecting), (), "") for scenario in _FORWARDS),
    ]


_FORWARD_METRICS: Final[dict[str, tuple[tuple[str, ...], int, tuple[str, ...]]]] = {
    "down": (("throughput", "cpu_per_gib"), 1, ("throughput", "cpu_per_gib")),
    "echo": (("p50", "p99"), 2000, _DELAY),
    "session": (("rate",), 100, _RATE),
}
_FORWARDS: Final = {
    "down": "one connection",
    "echo": "64 bytes there and back",
    "session": "connections one after the other",
}


def _alone() -> list[Chain]:
    return [
        Chain(
            f"codec-{frame // 1024}k", f"codec and framer alone, frames of {frame // 1024} KiB", "alone",
            _links("slice", "decode", "encode", "spdy-decode", "spdy-encode", mebibytes=2048 if frame > 1024 else 192),
            ratios("cpu_per_frame", "decode/slice", "encode/slice", "spdy-decode/slice", "spdy-encode/slice"),
            frame, pairs=3, shows=("throughput", "cpu_per_frame"), clusters=False,
        )
        for frame in (32768, 1024)
    ]  # fmt: skip


def chains() -> list[Chain]:
    """All of them, in the report's order."""
    return [replace(chain, pairs=min(chain.pairs, 3), short=0) if chain.name in _ASIDE else chain for chain in _all()]


def _all() -> list[Chain]:
    return [
        *(_down(frame, tls) for frame in (32768, 4096, 1024) for tls in (False, True)),
        *(_down_on("uvloop", tls) for tls in (False, True)),
        *_captures(),
        *_httpx(),
        _echo(tls=False), _echo(tls=True), _echo(tls=False, loop="uvloop"),
        *_many(),
        *_forwards(),
        *_both_ways(),
        *_setups(),
        *_peers(),
        *document_chains(),
        *_alone(),
    ]  # fmt: skip


def with_peer(chain: Chain, name: str) -> Chain:
    """A chain of peers' with one more of them; any other chain as it is."""
    if not chain.name.startswith(("peers-", "capture-256m")):
        return chain
    least = min(link.mebibytes for link in chain.links)
    metric = {"echo": "p50", "log_follow": "rate", "watch": "rate"}.get(chain.scenario, "throughput")
    link = Link(name, least, chain.links[0].count)
    return replace(chain, links=(*chain.links, link), figures=(*chain.figures, *ratios(metric, f"aiohttp/{name}")))
