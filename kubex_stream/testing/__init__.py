"""Everything that a test of a Kubernetes client needs, and no Kubernetes.

    with EmbeddedCluster() as cluster:      # or: async with, on any event loop
        cluster.configuration               # for this library
        cluster.kubeconfig                  # a path, for kubectl and other clients

POSIX only.  Needs ``pip install 'kubex-stream[testing]'``.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubex_stream.testing.behaviour import (
        ALL_PROTOCOLS,
        OLD_PROTOCOLS,
        Behaviour,
        HttpFailure,
        InjectedFrame,
    )
    from kubex_stream.testing.cluster import EmbeddedCluster
    from kubex_stream.testing.command import serve
    from kubex_stream.testing.frames import Frame
    from kubex_stream.testing.http import RecordedRequest
    from kubex_stream.testing.pods import EmbeddedContainer, EmbeddedPod
    from kubex_stream.testing.ports import EmbeddedPort
    from kubex_stream.testing.replay import ReplayServer
    from kubex_stream.testing.scripted import ScriptedPeer, ScriptedServer
    from kubex_stream.testing.services import EmbeddedService, EmbeddedServicePort, EmbeddedWorkload
    from kubex_stream.testing.streams import ProcessInfo, SessionInfo
    from kubex_stream.testing.tls import ClientCertificate

__all__ = (
    "ALL_PROTOCOLS",
    "OLD_PROTOCOLS",
    "Behaviour",
    "ClientCertificate",
    "EmbeddedCluster",
    "EmbeddedContainer",
    "EmbeddedPod",
    "EmbeddedPort",
    "EmbeddedService",
    "EmbeddedServicePort",
    "EmbeddedWorkload",
    "Frame",
    "HttpFailure",
    "InjectedFrame",
    "ProcessInfo",
    "RecordedRequest",
    "ReplayServer",
    "ScriptedPeer",
    "ScriptedServer",
    "SessionInfo",
    "serve",
)

_HOMES = {
    "ALL_PROTOCOLS": "behaviour",
    "OLD_PROTOCOLS": "behaviour",
    "Behaviour": "behaviour",
    "ClientCertificate": "tls",
    "EmbeddedCluster": "cluster",
    "EmbeddedContainer": "pods",
    "EmbeddedPod": "pods",
    "EmbeddedPort": "ports",
    "EmbeddedService": "services",
    "EmbeddedServicePort": "services",
    "EmbeddedWorkload": "services",
    "Frame": "frames",
    "HttpFailure": "behaviour",
    "InjectedFrame": "behaviour",
    "ProcessInfo": "streams",
    "RecordedRequest": "http",
    "ReplayServer": "replay",
    "ScriptedPeer": "scripted",
    "ScriptedServer": "scripted",
    "SessionInfo": "streams",
    "serve": "command",
}


# Loaded when asked for: the pytest plugin lives in this package, and every pytest run imports it.
def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name in ("h11", "trustme"):
            raise ImportError(f"{name} needs {error.name}: pip install 'kubex-stream[testing]'") from error
        if sys.platform == "win32" and error.name in ("fcntl", "termios"):
            raise ImportError(
                f"{name} runs on Linux and macOS only: Windows has no ptys and no process groups"
            ) from error
        raise


def __dir__() -> list[str]:
    return sorted(__all__)
