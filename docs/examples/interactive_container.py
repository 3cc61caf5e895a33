"""A shell in a container of your choice; without one in the container that kubectl would choose, and with the first shell that is there.

Usage: python interactive_container.py [POD [CONTAINER]]
"""

import sys
from typing import Any

import anyio

from kubex_stream import Pods, Terminal, create_client

SHELLS = "for shell in bash ash sh; do command -v $shell >/dev/null && exec $shell; done"


def default_container(pod: dict[str, Any]) -> str:
    """The container that the annotation names, or the first one."""
    annotations = pod["metadata"].get("annotations") or {}
    names = [container["name"] for container in pod["spec"]["containers"]]
    chosen = str(annotations.get("kubectl.kubernetes.io/default-container", names[0]))
    if chosen not in names:
        raise SystemExit(f"no container {chosen!r}; there are {', '.join(names)}")
    return chosen


async def main(name: str = "demo", container: str = "", *_: str) -> int:
    async with create_client() as client:
        pods = Pods(client)
        container = container or default_container(await pods.get(name))
        # No terminal here, none there: then the end of the input is one, and not a key that a shell may miss while it starts.
        tty = Terminal().is_terminal
        result = await pods.exec.interactive(name, ["sh", "-c", SHELLS], container=container, tty=tty)
    return result.exit_code or 0


if __name__ == "__main__":
    code = anyio.run(main, *sys.argv[1:])
    if code:
        sys.exit(code)
