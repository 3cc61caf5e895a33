"""Running the examples of the document, each as a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import Process

from tests.terminals import Pty

__all__ = ("Examples", "type_until_it_ends")

PROGRAM: Final = Path(__file__).with_name("examples.py")


@dataclass(frozen=True, slots=True)
class Examples:
    """Where they run.

    :ivar names: pods, containers and paths, as the environment variables of the program
    """

    kubeconfig: Path
    backend: str
    names: dict[str, str]

    def _environment(self, names: dict[str, str]) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "BACKEND": self.backend, **self.names, **names}

    async def run(self, example: str, **names: str) -> str:
        """What it prints; it has to succeed, and to say nothing on stderr."""
        with anyio.fail_after(90):
            done = await anyio.run_process(
                [sys.executable, str(PROGRAM), example],
                env=self._environment(names),
                stdin=subprocess.DEVNULL,
                check=False,
            )
        assert not done.returncode, done.stderr.decode()
        assert not done.stderr, done.stderr.decode()
        return done.stdout.decode()

    @asynccontextmanager
    async def on_a_terminal(self, example: str, screen: Pty) -> AsyncIterator[Process]:
        """It runs, with the terminal for everything."""
        process = await anyio.open_process(
            [sys.executable, str(PROGRAM), example],
            env=self._environment({}),
            stdin=screen.slave,
            stdout=screen.slave,
            stderr=screen.slave,
            start_new_session=True,
        )
        try:
            yield process
            with anyio.fail_after(60):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await process.aclose()


async def type_until_it_ends(process: Process, screen: Pty) -> None:
    """Press a key now and then: the first one that comes after the end of the shell ends the example."""
    while process.returncode is None:
        screen.type(b"x")
        with anyio.move_on_after(0.3):
            await process.wait()
