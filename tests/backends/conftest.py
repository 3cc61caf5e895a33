"""What the tests about one library share with the conformance suite: prepared requests, certificates."""

from __future__ import annotations

import ssl

import pytest
import trustme

from kubex_stream.testing.conformance import base
from kubex_stream.testing.conformance.base import Prepare

__all__ = ("Prepare", "authority", "client_tls", "prepare", "server_tls")


@pytest.fixture
def prepare() -> Prepare:
    """Requests as the base class gives them to a backend."""
    return base.prepare_request


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs the certificates of these tests."""
    return base.authority()


@pytest.fixture(scope="session")
def server_tls() -> ssl.SSLContext:
    """For a server on loopback that is also called ``cluster.test``."""
    return base.server_context()


@pytest.fixture
def client_tls() -> ssl.SSLContext:
    """Trusts that authority and no other."""
    return base.trusting()
