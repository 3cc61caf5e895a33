"""The conformance suite on the transport of the documentation."""

from __future__ import annotations

import runpy

import pytest

from kubex_stream.testing.conformance import ConformanceTests, Transport
from tests.documents import ROOT

EXAMPLE = runpy.run_path(str(ROOT / "docs" / "examples" / "websockets_transport.py"))


@pytest.mark.volume
class TestWebsockets(ConformanceTests):
    """What it does not claim it leaves out for shortness, or the library has no public means for."""

    transport = Transport(
        client=EXAMPLE["WebsocketsClient"],
        claims=frozenset(
            {
                "tls",
                "client_certificates",
                "proxies",
                "tls_proxies",
                "pool",
                "abort",
                "sends_go_on",
            }
        ),
        loops=("asyncio",),
    )
