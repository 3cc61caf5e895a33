"""Embedded clusters for the tests of the embedded cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kubex_stream.testing import Behaviour, EmbeddedCluster


@pytest.fixture(scope="module")
def module_cluster() -> Iterator[EmbeddedCluster]:
    """One cluster for the tests of a module."""
    with EmbeddedCluster(quiet=True) as cluster:
        yield cluster


@pytest.fixture
def embedded(module_cluster: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    """The module's cluster, without any fault at first."""
    module_cluster.behaviour = Behaviour()
    yield module_cluster
    module_cluster.behaviour = Behaviour()
