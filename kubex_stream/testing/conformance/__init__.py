"""The conformance suite of transports: what its author runs with pytest to know that a transport is right.

A test module holds one class, which names the transport and what it claims::

    class TestMine(ConformanceTests):
        transport = Transport(client=MyClient, claims=["tls", "ping", "last_pong"])

and pytest does the rest, on each event loop that the transport runs on.  Needs ``pip install 'kubex-stream[testing]'``; no Kubernetes.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{part}"
        for part in (
            *(
                "base",
                "kinds",
                "raw",
                "answers",
                "handshakes",
                "receiving",
                "cuts",
                "flow",
                "endings",
                "sending",
                "closing",
            ),
            *("leaving", "requests", "streams", "tls", "routes", "sessions"),
        )
    )
)

from kubex_stream.testing.conformance.claims import ALL_CLAIMS, CLAIMS, Claim, Loop, Transport  # noqa: E402
from kubex_stream.testing.conformance.closing import Closing  # noqa: E402
from kubex_stream.testing.conformance.cuts import Cuts  # noqa: E402
from kubex_stream.testing.conformance.endings import Endings  # noqa: E402
from kubex_stream.testing.conformance.flow import Flow  # noqa: E402
from kubex_stream.testing.conformance.handshakes import Handshakes  # noqa: E402
from kubex_stream.testing.conformance.leaving import Leaving  # noqa: E402
from kubex_stream.testing.conformance.payloads import Payloads  # noqa: E402
from kubex_stream.testing.conformance.receiving import Receiving  # noqa: E402
from kubex_stream.testing.conformance.requests import Requests  # noqa: E402
from kubex_stream.testing.conformance.routes import Routes  # noqa: E402
from kubex_stream.testing.conformance.sending import Sending  # noqa: E402
from kubex_stream.testing.conformance.sessions import Sessions  # noqa: E402
from kubex_stream.testing.conformance.streams import Streams  # noqa: E402
from kubex_stream.testing.conformance.tls import Tls  # noqa: E402

__all__ = ("ALL_CLAIMS", "CLAIMS", "Claim", "ConformanceTests", "Loop", "Transport")


class ConformanceTests(
    Handshakes,
    Receiving,
    Payloads,
    Cuts,
    Endings,
    Sending,
    Flow,
    Closing,
    Leaving,
    Requests,
    Streams,
    Tls,
    Routes,
    Sessions,
):
    """Everything that a transport has to do, and what it claims.  Subclass it and set ``transport``."""
