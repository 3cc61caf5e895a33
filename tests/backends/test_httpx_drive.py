"""Coroutines that are run from outside, so that a cancellation does not end them."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import httpcore
import pytest

from kubex_stream_httpx.drive import Drive, Want

pytestmark = pytest.mark.anyio


class Slow:
    """Gives a byte whenever it is allowed to."""

    def __init__(self) -> None:
        self.allowed = anyio.Event()
        self.asked: list[int] = []

    async def receive(self, max_bytes: int) -> bytes:
        self.asked.append(max_bytes)
        await self.allowed.wait()
        self.allowed = anyio.Event()
        return b"x"


async def test_a_cancelled_drive_goes_on() -> None:
    source = Slow()

    async def wants() -> bytes:
        first = await Want(source, 1)
        await anyio.lowlevel.checkpoint()
        return first + await Want(source, 2)

    drive = Drive(wants())
    for _ in range(3):
        with anyio.move_on_after(0.01) as scope:
            await drive
        assert scope.cancelled_caught
        assert drive.asking
    source.allowed.set()
    with anyio.move_on_after(0.01):
        await drive
    source.allowed.set()
    assert await drive == b"xx"
    assert source.asked == [1, 1, 1, 1, 2, 2]


async def test_a_drive_passes_errors_of_reading_on() -> None:
    class Broken:
        async def receive(self, max_bytes: int) -> bytes:
            raise httpcore.ReadError(str(max_bytes))

    async def wants() -> str:
        try:
            await Want(Broken(), 5)
        except httpcore.ReadError as error:
            return f"seen {error}"
        return "nothing"

    assert await Drive(wants()) == "seen 5"


async def test_a_cancellation_elsewhere_reaches_the_coroutine() -> None:
    seen: list[str] = []

    async def sleeps() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("ended")

    drive = Drive(sleeps())
    with anyio.move_on_after(0.01):
        await drive
    assert seen == ["ended"]
    assert not drive.asking
