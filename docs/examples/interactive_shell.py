"""A shell in a pod, in this terminal; the exit code is the shell's.

Usage: python interactive_shell.py [POD [COMMAND...]]
"""

import sys

import anyio

from kubex_stream import Pods, Terminal, create_client


async def main(pod: str = "demo", *command: str) -> int:
    async with create_client() as client:
        # As kubectl does it: where nobody can type, the command gets no terminal either.
        tty = Terminal().is_terminal
        result = await Pods(client).exec.interactive(pod, command or ("sh",), tty=tty)
    return result.exit_code or 0


if __name__ == "__main__":
    code = anyio.run(main, *sys.argv[1:])
    if code:
        sys.exit(code)
