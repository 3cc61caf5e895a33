"""Every test of the client runs on both event loops, without a network."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def _nothing_left() -> None:
    """Nothing here opens a socket, and looking for them takes longer than most of these tests."""
