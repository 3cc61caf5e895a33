"""Run one command in every running pod of a namespace, at most ten at a time, and report what each said.

Usage: python run_everywhere.py [LABEL_SELECTOR]
"""

import sys

import anyio

from kubex_stream import KubexClientException, Pods, create_client

COMMAND = ["sh", "-c", "echo $HOSTNAME"]


async def main(selector: str | None) -> None:
    slots = anyio.CapacityLimiter(10)
    async with create_client() as client:
        pods = Pods(client)

        async def ask(name: str, container: str) -> None:
            async with slots:
                try:
                    done = await pods.exec.run(name, COMMAND, container=container, encoding="utf-8", timeout=30)
                except KubexClientException as error:  # one pod that fails is no reason to stop
                    print(f"{name}: {error}")
                else:
                    print(f"{name}: {done.stdout.strip()} (exit code {done.exit_code})")

        async with anyio.create_task_group() as tasks:
            for pod in await pods.list(label_selector=selector, field_selector="status.phase=Running"):
                tasks.start_soon(ask, pod["metadata"]["name"], pod["spec"]["containers"][0]["name"])


if __name__ == "__main__":
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else None)
