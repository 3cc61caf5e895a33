"""A terminal of the program's own, whose window changes while a command runs in it: what a terminal emulator does, and a test."""

import fcntl
import os
import struct
import termios

import anyio

from kubex_stream import Pods, Terminal, create_client

COMMAND = ["sh", "-c", "trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done"]


def resize(window: int, *, columns: int, rows: int) -> None:
    fcntl.ioctl(window, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


async def look_for(window: int, text: bytes) -> None:
    seen = b""
    while text not in seen:
        await anyio.wait_readable(window)
        seen += os.read(window, 4096)
    print(text.decode())


async def main() -> None:
    window, terminal = os.openpty()
    resize(window, columns=80, rows=24)
    async with create_client() as client, anyio.create_task_group() as tasks:

        async def session() -> None:
            await Pods(client).exec.interactive(
                "demo", COMMAND, terminal=Terminal(terminal, terminal), on_cancel="kill"
            )

        tasks.start_soon(session)
        await look_for(window, b"24 80")
        resize(window, columns=132, rows=50)
        await look_for(window, b"50 132")
        tasks.cancel_scope.cancel()
    os.close(terminal)
    os.close(window)


if __name__ == "__main__":
    anyio.run(main)
