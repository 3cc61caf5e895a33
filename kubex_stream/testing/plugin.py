"""The pytest plugin: fixtures with an embedded cluster.  Installed with the library; nothing is loaded until a fixture is asked for.

``kubex_stream_cluster``
    a running :class:`~kubex_stream.testing.EmbeddedCluster` for one test, with the ready pod ``demo``.  Sync and async tests on any event
    loop can use it: it lives in a thread of its own.  Tests that want other pods or behaviour change it (``add_pod``, ``behaviour``), or
    make their own.
``kubex_stream_shared_cluster``
    the same for the whole run, a little faster; for tests that leave it as they found it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kubex_stream.testing.cluster import EmbeddedCluster

__all__ = ("kubex_stream_cluster", "kubex_stream_shared_cluster")


@pytest.fixture
def kubex_stream_cluster() -> Iterator[EmbeddedCluster]:
    """An embedded cluster for one test, with the ready pod ``demo``."""
    from kubex_stream.testing.cluster import EmbeddedCluster

    with EmbeddedCluster(quiet=True) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kubex_stream_shared_cluster() -> Iterator[EmbeddedCluster]:
    """An embedded cluster for the whole run, with the ready pod ``demo``; leave it as it was."""
    from kubex_stream.testing.cluster import EmbeddedCluster

    with EmbeddedCluster(quiet=True) as cluster:
        yield cluster
