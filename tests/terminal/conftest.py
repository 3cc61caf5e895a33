"""What tests of terminals have in common."""

from __future__ import annotations

import pytest


@pytest.fixture
def _nothing_left() -> None:
    """Nothing here opens a connection, and looking for what is left takes longer than most of these tests."""
