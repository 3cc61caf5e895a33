"""A process that has clients do a little of everything: ``document_worker KUBECONFIG CLIENT…`` says as JSON what came."""

from __future__ import annotations

import json
import sys
import warnings

import anyio

from benchmarks.clients import CLIENTS, make_client
from benchmarks.clients.base import Place

LINES = 9000
PODS = 300
CONFIG_MAPS = 3


async def _all(kubeconfig: str, name: str) -> dict[str, int]:
    client = make_client(CLIENTS[name].place, Place(kubeconfig))
    async with client.opened():
        found = {} if name.endswith("-lines") else {"log_read": await client.log_read(LINES)}
        return found | {
            "log_follow": await client.log_follow(LINES),
            "pods": await client.watch("pods", PODS),
            "configmaps": await client.watch("configmaps", CONFIG_MAPS),
        }


def main() -> None:
    warnings.simplefilter("ignore")  # of other people's clients
    kubeconfig, *names = sys.argv[1:]
    sys.stdout.write(json.dumps({name: anyio.run(_all, kubeconfig, name) for name in names}) + "\n")


if __name__ == "__main__":
    main()
