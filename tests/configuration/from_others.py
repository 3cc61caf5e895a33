"""What the tests of ``ClientConfiguration.from_…`` share."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream import ClientConfiguration, Pods, create_client
from kubex_stream.testing import EmbeddedCluster

URL = "https://api.example:6443"


def module(name: str) -> Any:
    """These packages are typed in parts, and not all may be there: see ``pytest.importorskip``."""
    return importlib.import_module(name)


@dataclass(frozen=True, slots=True)
class Generated:
    """One of the packages with a generated client."""

    name: str
    derive: Callable[..., ClientConfiguration]

    @property
    def configuration(self) -> Any:
        """Its class of that name."""
        return module(f"{self.name}.client").Configuration

    def made(self, host: str = URL, **settings: object) -> Any:
        """A Configuration with these attributes."""
        made = self.configuration()
        made.host = host
        for name, value in settings.items():
            setattr(made, name, value)
        return made


async def header(configuration: ClientConfiguration) -> str | None:
    """The Authorization header of a new client."""
    return dict(await configuration.credentials().headers()).get("Authorization")


async def said(configuration: ClientConfiguration) -> str:
    """What a command says that is run with this configuration, on any event loop."""
    async with create_client(configuration, backend="httpx") as client:
        done = await Pods(client).exec.run("demo", ["echo", "hello"], encoding="utf-8")
    return done.stdout


def kubeconfig_of(
    cluster: EmbeddedCluster, user: Mapping[str, object] | None = None, proxy: str | None = None
) -> dict[str, Any]:
    """The kubeconfig of a cluster, with another user than its own, or with a proxy."""
    entry = {"server": cluster.url, "certificate-authority-data": b64encode(cluster.ca_pem).decode()}
    if proxy is not None:
        entry["proxy-url"] = proxy
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "dev",
        "contexts": [{"name": "dev", "context": {"cluster": "dev", "user": "dev-user", "namespace": "default"}}],
        "clusters": [{"name": "dev", "cluster": entry}],
        "users": [{"name": "dev-user", "user": {"token": cluster.token} if user is None else user}],
    }


@contextmanager
def their_descriptors_closed() -> Iterator[None]:
    """Close at the end what ``kubernetes_asyncio`` leaves open: the descriptors of its temporary files for certificates."""
    make, made = tempfile.mkstemp, []

    def noted(*args: Any, **settings: Any) -> tuple[int, str]:
        descriptor, name = make(*args, **settings)
        made.append((descriptor, os.fstat(descriptor).st_ino))
        return descriptor, name

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "mkstemp", noted)
        yield
    for descriptor, inode in made:
        with suppress(OSError):
            if os.fstat(descriptor).st_ino == inode:
                os.close(descriptor)
