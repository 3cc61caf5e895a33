"""Programs: kubectl, and client-go itself.  Their CPU time counts, start-up included, and not that of who starts them."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import threading
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.clients.base import Client

__all__ = ("ClientGo", "Kubectl")

_BLOCK: Final = 1024 * 1024


class Kubectl(Client):
    """``kubectl exec``, with pipes."""

    def cpu_clock(self) -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def _start(self, command: Sequence[str], *, stdin: bool = False) -> subprocess.Popen[bytes]:
        place = self.place
        context = ["--context", place.context] if place.context else []
        words = [
            os.environ.get("KUBECTL", "kubectl"), "--kubeconfig", place.kubeconfig, *context, "--namespace", place.namespace,
            "exec", *(["-i"] if stdin else []), place.pod, "--", *command,
        ]  # fmt: skip
        source = subprocess.PIPE if stdin else subprocess.DEVNULL
        return subprocess.Popen(words, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)

    async def down(self, command: Sequence[str]) -> int:
        return self._drain(self._start(command))

    async def up(self, command: Sequence[str], total: int) -> int:
        process = self._start(command, stdin=True)
        _feed(process, total)
        self._drain(process)
        return total

    async def duplex(self, command: Sequence[str], total: int) -> int:
        process = self._start(command, stdin=True)
        threading.Thread(target=_feed, args=(process, total), daemon=True).start()
        return self._drain(process)

    async def session(self, command: Sequence[str]) -> None:
        self._drain(self._start(command))

    def _drain(self, process: subprocess.Popen[bytes]) -> int:
        got = 0
        with process:
            assert process.stdout is not None
            while piece := process.stdout.read(_BLOCK):
                got += len(piece)
        if process.returncode:
            raise RuntimeError(f"kubectl ended with exit code {process.returncode}")
        return got


def _feed(process: subprocess.Popen[bytes], total: int) -> None:
    assert process.stdin is not None
    block = memoryview(bytes(_BLOCK))
    try:
        while total > 0:
            total -= process.stdin.write(block[: min(total, _BLOCK)]) or 0
        process.stdin.close()
    except OSError:  # it has ended
        return


class ClientGo(Client):
    """The program of ``benchmarks/client-go``: client-go's executor in a loop of its own, which measures itself."""

    _cpu = 0.0

    def cpu_clock(self) -> float:
        return self._cpu

    def _run(self, mode: str, command: Sequence[str], number: int = 0) -> dict[str, Any]:
        place = self.place
        words = [
            os.environ.get("CLIENT_GO", "client-go"), "-kubeconfig", place.kubeconfig, "-context", place.context or "",
            "-namespace", place.namespace, "-pod", place.pod, "-mode", mode, "-number", str(number), "--", *command,
        ]  # fmt: skip
        said: dict[str, Any] = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
        self._cpu += said["cpu"]
        return said

    async def down(self, command: Sequence[str]) -> int:
        return int(self._run("down", command)["moved"])

    async def run(self, command: Sequence[str]) -> int:
        return int(self._run("run", command)["moved"])

    async def up(self, command: Sequence[str], total: int) -> int:
        self._run("up", command, total)
        return total

    async def duplex(self, command: Sequence[str], total: int) -> int:
        return int(self._run("duplex", command, total)["moved"])

    async def echo(self, command: Sequence[str], count: int) -> list[float]:
        times: list[float] = self._run("echo", command, count)["times"]
        return times

    async def session(self, command: Sequence[str]) -> None:
        self._run("down", command)
