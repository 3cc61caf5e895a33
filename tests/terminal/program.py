"""A program that takes the terminal as a session does, and tells what it hears.

    python program.py LOOP [HOW]

``q`` ends it, ``x`` makes it fail, ``f`` forks a child that ends at once.  HOW is what the application does about SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import anyio

# Only the package's terminals are wanted, and importing all of it takes longer than everything else here.
package = types.ModuleType("kubex_stream")
package.__path__ = [str(Path(__file__).parents[2] / "kubex_stream")]
sys.modules["kubex_stream"] = package

from kubex_stream.terminal.device import Terminal  # noqa: E402
from kubex_stream.terminal.taking import take  # noqa: E402

OPTIONS: dict[str, tuple[str, dict[str, object]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}


def say(text: str) -> None:
    os.write(1, f"<{text}>\r\n".encode())


def handled(number: int, frame: FrameType | None) -> None:
    say(f"handled {number} in {type(frame).__name__}")


def leaves(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    sys.exit(3)


def leaves_at_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    os._exit(4)


HANDLERS: dict[str, Callable[[int, FrameType | None], object]] = {
    "returns": handled,
    "leaves": leaves,
    "leaves-at-once": leaves_at_once,
}


async def cancel_at_sigterm(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def session() -> None:
    with take(Terminal(), raw=True) as taken:
        async with anyio.create_task_group() as tasks:

            async def follow() -> None:
                while True:
                    resumed = await taken.signals.news()
                    say(f"news {taken.terminal.size} {resumed}")

            tasks.start_soon(follow)
            say(f"ready {os.getpid()}")
            while (key := await taken.input.receive(1)) not in (b"q", b""):
                if key == b"x":
                    raise ZeroDivisionError
                if key == b"f":
                    if os.fork() == 0:
                        os.kill(os.getpid(), signal.SIGTERM)
                    os.wait()  # noqa: ASYNC222
                say(f"key {key!r}")
            tasks.cancel_scope.cancel()


async def main(how: str) -> None:
    async with anyio.create_task_group() as tasks:
        if how == "cancels":
            tasks.start_soon(cancel_at_sigterm, tasks.cancel_scope)
            await anyio.wait_all_tasks_blocked()
        await session()
        tasks.cancel_scope.cancel()


def run(loop: str, how: str) -> None:
    backend, options = OPTIONS[loop]
    anyio.run(main, how, backend=backend, backend_options=options)


if __name__ == "__main__":
    loop, how = sys.argv[1], sys.argv[2]
    if how in HANDLERS:
        signal.signal(signal.SIGTERM, HANDLERS[how])
    if how == "thread":
        thread = threading.Thread(target=run, args=(loop, how))
        thread.start()
        thread.join()
    else:
        run(loop, how)
