"""The conformance suite on the aiohttp backend."""

from __future__ import annotations

import pytest

from kubex_stream.testing.conformance import ALL_CLAIMS, ConformanceTests, Transport


class TestAioHttp(ConformanceTests):
    """Everything is claimed."""

    transport = Transport(client="aiohttp", claims=ALL_CLAIMS, loops=("asyncio",))


@pytest.mark.volume
class TestAioHttpElsewhere(ConformanceTests):
    """The same on the other event loops."""

    transport = Transport(client="aiohttp", claims=ALL_CLAIMS, loops=("uvloop",))
