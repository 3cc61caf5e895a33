"""The conformance suite on the aiohttp backend."""

from __future__ import annotations

import functools

import pytest

from kubex_stream.testing.conformance import ALL_CLAIMS, ConformanceTests, Transport
from kubex_stream_aiohttp import AioHttpClient


class TestAioHttp(ConformanceTests):
    """Everything is claimed."""

    transport = Transport(client="aiohttp", claims=ALL_CLAIMS, loops=("asyncio",))


@pytest.mark.volume
class TestAioHttpElsewhere(ConformanceTests):
    """The same on the other event loops."""

    transport = Transport(client="aiohttp", claims=ALL_CLAIMS, loops=("uvloop",))


class FastAioHttpClient(AioHttpClient):
    """With the other TLS."""

    __init__ = functools.partialmethod(AioHttpClient.__init__, tls="aiofastnet")


@pytest.mark.volume
class TestAioHttpWithFastTls(ConformanceTests):
    """The same with aiofastnet's TLS."""

    transport = Transport(client=FastAioHttpClient, claims=ALL_CLAIMS, loops=("asyncio", "uvloop"))
