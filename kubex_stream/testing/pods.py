"""The pods that an embedded cluster is made of, as its user declares them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from kubex_stream.testing.ports import EmbeddedPort, check_ports

__all__ = ("EmbeddedContainer", "EmbeddedPod", "check_name", "default_pod")

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def check_name(what: str, name: str) -> None:
    """Whether Kubernetes would take ``name``.

    :raises ValueError: it would not
    """
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError(f"{what} must be lower-case letters, digits, '-' and '.', as in Kubernetes, not {name!r}")


def _check_words(what: str, words: Sequence[str]) -> None:
    if isinstance(words, str):
        raise TypeError(f'{what} must be a list of words, as ["sh", "-c", "…"], not a single str')


@dataclass(frozen=True)
class EmbeddedContainer:
    """A container: a directory, an environment, and perhaps a main process.  There is no image and no isolation.

    :ivar name: its name
    :ivar command: the main process, that attach meets; None: nothing runs, and exec works
    :ivar working_dir: where its processes start; None: a private temporary directory
    :ivar env: environment variables besides PATH, HOME and HOSTNAME
    :ivar stdin: whether the main process has a stdin; otherwise it reads end-of-file
    :ivar stdin_once: whether the first attacher's end of stdin is passed on to the main process
    :ivar tty: whether the main process has a terminal
    :ivar log: what its log has at first
    :ivar log_max_size: bytes of its log after which that is rotated; a rotated file is only read by those who follow it
    """

    name: str = "main"
    command: Sequence[str] | None = None
    working_dir: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    log: bytes = b""
    log_max_size: int = 10 * 1024 * 1024

    def __post_init__(self) -> None:
        check_name("a container's name", self.name)
        if self.command is not None:
            _check_words("command", self.command)
            if not self.command:
                raise ValueError("command must name a program; leave it out for a container where nothing runs")


@dataclass(frozen=True)
class EmbeddedPod:
    """A pod.

    :ivar name: its name
    :ivar namespace: its namespace, which exists with it
    :ivar containers: at least one
    :ivar labels: for label selectors
    :ivar annotations: ``kubectl.kubernetes.io/default-container``, for instance
    :ivar phase: ``Running``; ``Pending``: nothing runs yet; ``Succeeded``, ``Failed``: its containers are gone
    :ivar scheduled: whether it has a node; a pod without one is Pending
    :ivar ports: what port-forward reaches; any other port is refused
    :ivar restart_policy: ``Always``, ``OnFailure``: a main process that has ended begins again, the first time at once; ``Never``
    :ivar restart_delay: seconds before it begins again another time
    """

    name: str
    namespace: str = "default"
    containers: Sequence[EmbeddedContainer] = (EmbeddedContainer(),)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    phase: Literal["Pending", "Running", "Succeeded", "Failed"] = "Running"
    scheduled: bool = True
    ports: Sequence[EmbeddedPort] = ()
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Never"
    restart_delay: float = 1.0

    def __post_init__(self) -> None:
        check_name("a pod's name", self.name)
        check_name("a namespace", self.namespace)
        names = [container.name for container in self.containers]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"pod {self.name!r} needs containers with names that differ, not {names!r}")
        if self.phase not in ("Pending", "Running", "Succeeded", "Failed"):
            raise ValueError(f"no such phase: {self.phase!r}")
        if self.restart_policy not in ("Always", "OnFailure", "Never"):
            raise ValueError(f"no such restart policy: {self.restart_policy!r}")
        if not self.scheduled and self.phase != "Pending":
            raise ValueError(f"pod {self.name!r} has no node, so its phase is Pending, not {self.phase}")
        check_ports(self.name, names, self.ports)


def default_pod() -> EmbeddedPod:
    """The pod of a cluster that is told nothing else: ready for exec, HTTP on port 80, and on port 7 an echo."""
    ports = (EmbeddedPort(80, target="http", name="http"), EmbeddedPort(7, target="echo", name="echo"))
    container = EmbeddedContainer(log=b"serving HTTP on port 80\nserving an echo on port 7\n")
    return EmbeddedPod("demo", containers=(container,), labels={"app": "demo"}, ports=ports)
