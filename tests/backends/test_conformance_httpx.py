"""The conformance suite on the httpx backend."""

from __future__ import annotations

import pytest

from kubex_stream.testing.conformance import ALL_CLAIMS, ConformanceTests, Transport

#: A cancelled send that had begun leaves a connection that can only be received from.
CLAIMS = ALL_CLAIMS - {"sends_go_on"}


class TestHttpx(ConformanceTests):
    """Everything is claimed but one."""

    transport = Transport(client="httpx", claims=CLAIMS, loops=("trio",))


@pytest.mark.volume
class TestHttpxElsewhere(ConformanceTests):
    """The same on the other event loops."""

    transport = Transport(client="httpx", claims=CLAIMS, loops=("asyncio", "uvloop"))
