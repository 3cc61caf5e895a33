"""The bars: what this library has to reach, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ("BARS", "Bar")


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit for some figures.

    :ivar text: what it is about
    :ivar figures: names of figures: chain, comparison, metric
    :ivar at_most: whether less is better
    :ivar best: whether the best of the figures counts
    """

    text: str
    figures: tuple[str, ...]
    limit: float
    at_most: bool = True
    best: bool = False

    @property
    def cluster(self) -> bool:
        """Whether it is one of the second command's."""
        return self.figures[0].startswith("cluster-")


def _named(chain: str, metric: str, *comparisons: str) -> tuple[str, ...]:
    return tuple(f"{chain} {comparison} {metric}" for comparison in comparisons)


def _layer(chain: str, metric: str = "cpu_per_gib", *more: str) -> tuple[str, ...]:
    return _named(chain, metric, *(f"{backend} ÷ bare-{backend}" for backend in ("aiohttp", "picows", *more)))


def _raw(chain: str, *more: str) -> tuple[str, ...]:
    return _named(chain, "throughput", *(f"{backend} ÷ raw" for backend in ("aiohttp", "picows", *more)))


_HTTPX: Final = "httpx ÷ bare-httpx"
_KUBECTL: Final = ("listen-aiohttp ÷ listen-kubectl", "listen-picows ÷ listen-kubectl")
_SESSION: Final = tuple(f"{backend} - bare-{backend}" for backend in ("aiohttp", "picows", "httpx"))

BARS: Final = (
    Bar("CPU/GiB of exec stdout ÷ the bare library's pull loop, 32 KiB, plain", _layer("exec-down-32k-plain"), 1.10),
    Bar("CPU/GiB of exec stdout ÷ the bare library's pull loop, 32 KiB, TLS", _layer("exec-down-32k-tls"), 1.05),
    Bar("CPU/GiB of exec stdout ÷ the bare library's pull loop, 1 KiB, plain", _layer("exec-down-1k-plain"), 1.3),
    Bar("CPU/GiB of exec stdout ÷ the bare library's pull loop, 1 KiB, TLS", _layer("exec-down-1k-tls"), 1.3),
    Bar("exec stdout, best backend, 32 KiB ÷ raw asyncio socket, plain", _raw("exec-down-32k-plain"), 0.6, False, best=True),
    Bar(
        "exec stdout, best backend, 32 KiB ÷ blocking SSL socket, TLS",
        _raw("exec-down-32k-tls", "aiohttp-aiofastnet"), 0.9, False, best=True,
    ),
    Bar(
        "kubernetes_asyncio preload ÷ run(), 256 MiB kept, wall",
        _named("capture-256m", "wall", "kubernetes_asyncio-preload ÷ aiohttp"), 2, False,
    ),
    Bar("capture: growth of time from 16 MiB to 1 GiB, exponent", _named("capture-growth", "exponent", "aiohttp"), 1.05),
    Bar("capture: growth of memory ÷ output", _named("capture-growth", "growth", "aiohttp#1024 MiB"), 1.3),
    Bar("httpx backend ÷ bare httpx-ws, stdout, 32 KiB, plain", _named("httpx-down-32k-plain", "throughput", _HTTPX), 4, False),
    Bar("httpx backend ÷ bare httpx-ws, stdout, 1 KiB, plain", _named("httpx-down-1k-plain", "throughput", _HTTPX), 20, False),
    Bar("httpx backend ÷ bare httpx-ws, stdout, 32 KiB, TLS", _named("httpx-down-32k-tls", "throughput", _HTTPX), 2, False),
    Bar("httpx backend ÷ bare httpx-ws, stdin", _named("httpx-up-plain", "throughput", _HTTPX), 2, False),
    Bar("echo p50 ÷ the bare library's loop", _layer("exec-echo-plain", "p50", "httpx"), 1.15),
    Bar("KiB of an idle session above its bare library's connection", _named("idle-1000", "memory_per_session", *_SESSION), 20),
    Bar("1,000 idle sessions, one process, plain: MiB resident", _named("idle-1000", "rss", "aiohttp", "picows", "httpx"), 100),
    Bar("following a log of 10 million lines: MiB of memory more", _named("log-memory", "grown", "aiohttp", "picows", "httpx"), 4),
    Bar("port-forward listen, tunnel, one connection ÷ kubectl: throughput", _named("forward-down-tunnel", "throughput", *_KUBECTL),
        1.0, False),
    Bar("port-forward listen, tunnel, one connection ÷ kubectl: latency p50", _named("forward-echo-tunnel", "p50", *_KUBECTL), 1.0),
    Bar("real cluster, CPU/GiB of exec stdout ÷ client-go's", _named("cluster-down", "cpu_per_gib", "aiohttp ÷ client-go"), 0.7),
    Bar("real cluster, CPU/GiB of stdin ÷ client-go's", _named("cluster-up", "cpu_per_gib", "aiohttp ÷ client-go"), 1.1),
    Bar("real cluster, CPU/GiB of both at once ÷ client-go's", _named("cluster-duplex", "cpu_per_gib", "aiohttp ÷ client-go"), 0.9),
    Bar("real cluster, CPU/GiB of capture ÷ client-go's", _named("cluster-capture", "cpu_per_gib", "aiohttp ÷ client-go"), 0.2),
)  # fmt: skip
