"""How far a copy is, on a terminal."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio

from kubex_stream.cli.local import LocalOutput
from kubex_stream.transfer.result import CopyProgress, OnProgress

__all__ = ("transfer_bar",)

#: Seconds between two looks at it.
_TICK = 0.1
_NAME = 30


@asynccontextmanager
async def transfer_bar(wanted: bool | None) -> AsyncGenerator[OnProgress | None, None]:
    """What is told of a copy's progress, and shows it on stderr while the block lasts; a terminal that stands still holds nothing up.

    :param wanted: None: where stderr is a terminal that can
    """
    if wanted is None:
        wanted = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if not wanted:
        yield None
        return
    bar = _Bar()
    failure: Exception | None = None
    output = LocalOutput(2)
    with suppress(OSError), anyio.CancelScope() as patience:
        async with output:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bar.show, output)
                try:
                    yield bar.tell
                except Exception as error:  # noqa: BLE001  # raised again outside of the task group, which would wrap it
                    failure = error
                tasks.cancel_scope.cancel()
            patience.deadline = anyio.current_time() + 1
            await output.send(bar.end())
    if failure is not None:
        raise failure


class _Bar:
    """Draws into memory; somebody else takes it to the terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._screen = io.StringIO()
        console = Console(file=self._screen, force_terminal=True, width=shutil.get_terminal_size().columns)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, auto_refresh=False)
        self._task = self._progress.add_task("", total=None)
        self._progress.start()

    def tell(self, progress: CopyProgress) -> None:
        """Take the news."""
        name = progress.name if len(progress.name) <= _NAME else f"…{progress.name[1 - _NAME :]}"
        shown = "".join(character if character.isprintable() else "?" for character in name)
        self._progress.update(self._task, completed=progress.bytes, total=progress.total, description=shown)

    async def show(self, output: LocalOutput) -> None:
        """Until cancelled, or until nobody looks any more."""
        with suppress(OSError):
            while True:
                self._progress.refresh()
                await output.send(self._drawn())
                await anyio.sleep(_TICK)

    def end(self) -> bytes:
        """The last picture."""
        self._progress.stop()
        return self._drawn()

    def _drawn(self) -> bytes:
        text = self._screen.getvalue()
        self._screen.seek(0)
        self._screen.truncate()
        return text.encode("utf-8", "replace")
