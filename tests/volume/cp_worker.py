"""Copies in a process of its own: does one scenario and prints what came of it as JSON.

python cp_worker.py SCENARIO BACKEND LOOP KUBECONFIG DIRECTORY
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import anyio

from kubex_stream import ClientConfiguration, Pods, create_client
from tests.conftest import LOOPS
from tests.volume.worker import forget_peak, resident


async def main(scenario: str, backend: str, kubeconfig: str, directory: Path) -> None:
    configuration = await ClientConfiguration.load(kubeconfig=kubeconfig)
    async with create_client(configuration, backend=backend) as client:
        pods = Pods(client)
        await pods.cp.upload("demo", b"warm", str(directory / "warm"))
        await pods.cp.download("demo", str(directory / "warm"), directory / "warm too")
        forget_peak()
        before = resident()
        start = time.monotonic()
        if scenario == "upload":
            done = await pods.cp.upload("demo", directory / "source", str(directory / "there"), checksum=True)
        else:
            done = await pods.cp.download("demo", str(directory / "source"), directory / "there", checksum=True)
        seconds = time.monotonic() - start
        growth = resident() - before
    sys.stdout.write(json.dumps({"files": done.files, "checked": done.checked, "growth": growth, "seconds": seconds}))


if __name__ == "__main__":
    loop, options = LOOPS[sys.argv[3]]
    arguments = (sys.argv[1], sys.argv[2], sys.argv[4], Path(sys.argv[5]))
    anyio.run(main, *arguments, backend=loop, backend_options=options)
