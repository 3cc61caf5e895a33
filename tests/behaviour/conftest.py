"""Fixtures of the tests of watches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from kubex_stream import Watch, WatchNotice, WatchStream
from tests.behaviour.watching import QUICK

if TYPE_CHECKING:
    from kubex_stream.testing import Behaviour, EmbeddedCluster
    from tests.conftest import MakeClient


def usual() -> Behaviour:
    """With bookmarks that one need not wait for."""
    from kubex_stream.testing import Behaviour

    return Behaviour(watch_bookmark_interval=0.05)


@pytest.fixture(scope="module")
def shared_watched() -> Generator[EmbeddedCluster, None, None]:
    from kubex_stream.testing import EmbeddedCluster

    with EmbeddedCluster(quiet=True, behaviour=usual()) as cluster:
        yield cluster


@pytest.fixture
def watched(shared_watched: EmbeddedCluster) -> Generator[EmbeddedCluster, None, None]:
    """A cluster with an empty namespace ``shop``."""
    shared_watched.behaviour = usual()
    shared_watched.put_object({"kind": "Namespace", "metadata": {"name": "shop"}})
    yield shared_watched
    shared_watched.behaviour = usual()
    shared_watched.delete_object("Namespace", "shop")


@pytest.fixture
def open_watch(make_client: MakeClient, watched: EmbeddedCluster) -> Callable[..., Any]:
    """``async with open_watch("configmaps", …) as (events, notices)``."""

    @asynccontextmanager
    async def opened(
        resource: str = "configmaps", **options: Any
    ) -> AsyncGenerator[tuple[WatchStream[dict[str, Any]], list[WatchNotice]], None]:
        notices: list[WatchNotice] = []
        options = {"namespace": "shop", **options}
        async with make_client(watched.configuration) as client:
            async with Watch(client, backoff=QUICK).stream(resource, notify=notices.append, **options) as events:
                yield events, notices

    return opened
