"""The clients that are measured: this library, the bare libraries underneath, and other clients of Kubernetes."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.clients.base import Client, Place

__all__ = ("CLIENTS", "PROGRAMS", "Kind", "add", "make_client", "missing")

ASYNCIO: Final = ("asyncio", "uvloop")


@dataclass(frozen=True, slots=True)
class Kind:
    """A client that can be measured.

    :ivar place: module and class
    :ivar title: its name in the report
    :ivar needs: modules that have to be there
    :ivar programs: names in :data:`PROGRAMS` of those that have to be there
    :ivar loops: what it runs on
    :ivar clusters: whether it can talk to a real cluster too
    """

    place: str
    title: str
    needs: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    loops: tuple[str, ...] = ASYNCIO
    clusters: bool = True


def _ours(name: str, title: str, place: str, *needs: str, loops: tuple[str, ...] = ASYNCIO) -> dict[str, Kind]:
    return {name: Kind(f"benchmarks.clients.{place}", title, needs, loops=loops)}


def _documents(name: str, title: str, place: str, needs: str) -> dict[str, Kind]:
    return {name: Kind(f"benchmarks.clients.peer_documents:{place}", title, (needs,))}


EVERYWHERE: Final = (*ASYNCIO, "trio")
_PICOWS: Final = ("picows", "aiofastnet")

#: By the names that plans use.  :func:`add` adds to it.
CLIENTS: Final[dict[str, Kind]] = {
    **_ours("aiohttp", "kubex_stream, aiohttp", "ours:AioHttp", "aiohttp"),
    **_ours("aiohttp-aiofastnet", "kubex_stream, aiohttp with aiofastnet", "ours:AioHttpFast", "aiohttp", "aiofastnet"),
    **_ours("picows", "kubex_stream, picows", "ours:Picows", *_PICOWS),
    **_ours("httpx", "kubex_stream, httpx", "ours:Httpx", "httpx_ws", loops=EVERYWHERE),
    "raw": Kind("benchmarks.clients.raw:Raw", "raw socket", clusters=False),
    "bare-aiohttp": Kind("benchmarks.clients.bare_aiohttp:BareAioHttp", "bare aiohttp", ("aiohttp",)),
    "bare-picows": Kind("benchmarks.clients.bare_picows:BarePicows", "bare picows", ("picows",)),
    "bare-httpx": Kind("benchmarks.clients.bare_httpx:BareHttpx", "bare httpx-ws", ("httpx_ws",), loops=EVERYWHERE),
    "bare-httpx-tuned": Kind(
        "benchmarks.clients.bare_httpx:TunedHttpx", "bare httpx-ws, tuned", ("httpx_ws",), loops=EVERYWHERE
    ),
    "kubernetes": Kind("benchmarks.clients.peers:Kubernetes", "kubernetes", ("kubernetes",)),
    "kubernetes_asyncio": Kind(
        "benchmarks.clients.peers:KubernetesAsyncio", "kubernetes_asyncio, streaming", ("kubernetes_asyncio",)
    ),
    "kubernetes_asyncio-preload": Kind(
        "benchmarks.clients.peers:KubernetesAsyncioPreload", "kubernetes_asyncio, preload", ("kubernetes_asyncio",)
    ),
    **_documents("kubernetes-watch", "kubernetes, Watch", "KubernetesWatch", "kubernetes"),
    **_documents("kubernetes-lines", "kubernetes, lines and dicts", "KubernetesLines", "kubernetes"),
    **_documents(
        "kubernetes_asyncio-watch", "kubernetes_asyncio, Watch", "KubernetesAsyncioWatch", "kubernetes_asyncio"
    ),
    **_documents(
        "kubernetes_asyncio-lines",
        "kubernetes_asyncio, lines and dicts",
        "KubernetesAsyncioLines",
        "kubernetes_asyncio",
    ),
    "kr8s": Kind("benchmarks.clients.peers:Kr8s", "kr8s", ("kr8s",)),
    "lightkube": Kind("benchmarks.clients.peers:Lightkube", "lightkube", ("lightkube",)),
    "kubectl": Kind("benchmarks.clients.programs:Kubectl", "kubectl", programs=("KUBECTL",)),
    "client-go": Kind("benchmarks.clients.programs:ClientGo", "client-go", programs=("CLIENT_GO",)),
    **_ours("connect-aiohttp", "connect, aiohttp", "forwards:ConnectAioHttp", "aiohttp"),
    **_ours("connect-picows", "connect, picows", "forwards:ConnectPicows", *_PICOWS),
    **_ours("connect-httpx", "connect, httpx", "forwards:ConnectHttpx", "httpx_ws", loops=EVERYWHERE),
    **_ours("listen-aiohttp", "listen, aiohttp", "forwards:ListenAioHttp", "aiohttp"),
    **_ours("listen-picows", "listen, picows", "forwards:ListenPicows", *_PICOWS),
    "listen-kubectl": Kind("benchmarks.clients.forwards:KubectlListen", "kubectl port-forward", programs=("KUBECTL",)),
    **_ours("slice", "one slice of a message", "alone:Slice"),
    **_ours("decode", "channel codec, decoding", "alone:Decode"),
    **_ours("encode", "channel codec, encoding", "alone:Encode"),
    **_ours("spdy-decode", "SPDY framer, decoding", "alone:SpdyDecode"),
    **_ours("spdy-encode", "SPDY framer, encoding", "alone:SpdyEncode"),
}

#: The programs that clients are, by the environment variable that names another one.
PROGRAMS: Final = {"KUBECTL": "kubectl", "CLIENT_GO": "client-go"}


def missing(name: str) -> str | None:
    """What has to be there before a client can be measured; None where nothing is missing."""
    kind = CLIENTS[name]
    lacking = [module for module in kind.needs if importlib.util.find_spec(module) is None]
    programs = [os.environ.get(program, PROGRAMS[program]) for program in kind.programs]
    lacking += [Path(program).name for program in programs if shutil.which(program) is None]
    return ", ".join(lacking) or None


def add(name: str, place: str) -> None:
    """Measure another client beside the peers.

    :param place: module and class, as ``module:Class``; the class is a :class:`~benchmarks.clients.base.Client`
    """
    CLIENTS[name] = Kind(place, name, (place.partition(":")[0],))


def make_client(place_of_class: str, place: Place) -> Client:
    """A client, not yet opened."""
    module, _, class_name = place_of_class.partition(":")
    made: Client = getattr(importlib.import_module(module), class_name)(place)
    return made
