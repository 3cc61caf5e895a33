"""The conformance suite on the picows backend."""

from __future__ import annotations

import pytest

from kubex_stream.testing.conformance import ALL_CLAIMS, ConformanceTests, Transport


class TestPicows(ConformanceTests):
    """Everything is claimed."""

    transport = Transport(client="picows", claims=ALL_CLAIMS, loops=("uvloop",))


@pytest.mark.volume
class TestPicowsElsewhere(ConformanceTests):
    """The same on the other event loops."""

    transport = Transport(client="picows", claims=ALL_CLAIMS, loops=("asyncio",))
