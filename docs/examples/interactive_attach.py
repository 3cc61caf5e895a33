"""Meet a container's own shell, and leave it running with Ctrl-P Ctrl-Q.

Usage: python interactive_attach.py POD [CONTAINER]; without arguments it shows itself, with an embedded cluster and typing of its own.
"""

import os
import sys

import anyio

from kubex_stream import Pods, Terminal, create_client
from kubex_stream.testing import EmbeddedCluster, EmbeddedContainer, EmbeddedPod

SHELL = EmbeddedContainer("shell", command=["env", "PS1=% ", "sh", "-i"], stdin=True, tty=True)


async def attach(pods: Pods, name: str, container: str | None, terminal: Terminal) -> None:
    result = await pods.attach.interactive(name, container=container, terminal=terminal, detach_keys="ctrl-p,ctrl-q")
    print("\ndetached" if result.detached else "\nthe container has ended")


async def show() -> None:
    keys, typed = os.pipe()
    os.write(typed, b"echo hello\n\x10\x11")
    async with (
        EmbeddedCluster([EmbeddedPod("worker", containers=[SHELL])], quiet=True) as cluster,
        create_client(cluster.configuration) as client,
    ):
        await attach(Pods(client), "worker", "shell", Terminal(input=keys))
    os.close(typed)
    os.close(keys)


async def main(name: str = "", container: str = "", *_: str) -> None:
    if not name:
        await show()
        return
    async with create_client() as client:
        await attach(Pods(client), name, container or None, Terminal())


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
