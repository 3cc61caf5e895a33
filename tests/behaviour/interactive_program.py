"""The smallest application there is: one command in the terminal, and its exit code.

python interactive_program.py BACKEND LOOP COMMAND...
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import anyio

from kubex_stream import ConnectionLost, Pods, create_client


async def main(backend: str, command: Sequence[str]) -> int:
    async with create_client(backend=backend) as client:
        result = await Pods(client).exec.interactive("demo", command, detach_keys="ctrl-p,ctrl-q")
    return 99 if result.exit_code is None else result.exit_code


if __name__ == "__main__":
    backend, loop, *command = sys.argv[1:]
    options = {"use_uvloop": True} if loop == "uvloop" else {}
    try:
        code = anyio.run(
            main, backend, command, backend="trio" if loop == "trio" else "asyncio", backend_options=options
        )
    except ConnectionLost as error:
        os.write(2, f"lost: {error}\n".encode())
        code = 98
    sys.exit(code)
