"""What scenarios run against: somewhere with a pod, and commands that do what they want; and the load server, which is one of them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import yaml

from benchmarks.clients.base import Place
from benchmarks.processes import cpu_of, cpus

__all__ = ("Load", "Target", "load_server")

#: Bytes above which glibc asks the kernel for memory of its own, and gives it back: as high as it goes, so that sending costs no page faults.
_MALLOC: Final = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "134217728"}
#: Bytes of an event above which it is a ConfigMap's and not a pod's.
LARGE: Final = 2**16


class Target(Protocol):
    """Something that scenarios run against."""

    def place(self, *, tls: bool, protocol: str = "tunnel") -> Place:
        """Where the pod is."""

    def command(self, scenario: str, frame: int, total: int) -> tuple[str, ...]:
        """What the pod runs."""

    def server_cpu(self) -> float:
        """CPU seconds that the server has used; 0 where nobody knows."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load server, a process of its own."""

    process: int
    plain: str
    tls: str

    def place(self, *, tls: bool, protocol: str = "tunnel") -> Place:
        """Where the pod is."""
        return Place(self.tls if tls else self.plain, protocol=protocol)

    def command(self, scenario: str, frame: int, total: int) -> tuple[str, ...]:
        """What the pod runs."""
        match scenario:
            case "down" | "run" | "busy" | "alone":
                return ("down", str(frame), str(total))
            case "up":
                return ("up", str(total))
            case "duplex":
                return ("duplex", str(frame), str(total))
            case "session":
                return ("exit",)
            case "log_read" | "log_follow":
                return (str(total // frame),)
            case "watch":
                return ("pods" if frame < LARGE else "configmaps", str(total // frame))
            case _:
                return (scenario,)

    def server_cpu(self) -> float:
        """CPU seconds that the server has used."""
        return cpu_of(self.process) or 0.0


def _kubeconfig(folder: str, name: str, url: str, authority: str = "") -> str:
    cluster: dict[str, Any] = {"server": url}
    user: dict[str, str] = {}
    if authority:
        cluster["certificate-authority-data"] = base64.b64encode(authority.encode()).decode()
        user["token"] = "bench"  # without any, kubectl asks for a password
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": cluster}],
        "users": [{"name": "bench", "user": user}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench", "namespace": "default"}}],
        "current-context": "bench",
    }
    path = Path(folder, name)
    path.write_text(yaml.safe_dump(document))
    return str(path)


@contextmanager
def load_server(cpu: int | None = None) -> Generator[Load, None, None]:
    """The load server while the block lasts, on ``cpu`` or the last one that this process may use."""
    cpu = cpus()[-1] if cpu is None else cpu
    command = [sys.executable, "-m", "benchmarks.load", str(cpu)]
    with (
        tempfile.TemporaryDirectory(prefix="kubex-stream-bench-") as folder,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_MALLOC},
            start_new_session=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise SystemExit("the load server did not start; its error stands above")
            said = json.loads(line)
            plain = _kubeconfig(folder, "plain.yaml", f"http://127.0.0.1:{said['plain']}")
            tls = _kubeconfig(folder, "tls.yaml", f"https://127.0.0.1:{said['tls']}", said["ca"])
            yield Load(process.pid, plain, tls)
        finally:
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
