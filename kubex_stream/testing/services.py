"""The Services and workloads of an embedded cluster, as its user declares them: enough to find pods through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kubex_stream.testing.pods import check_name
from kubex_stream.testing.ports import check_number

__all__ = ("EmbeddedService", "EmbeddedServicePort", "EmbeddedWorkload")


@dataclass(frozen=True)
class EmbeddedServicePort:
    """A port of a Service.

    :ivar port: the Service's port
    :ivar target_port: the pods' port, by number or by name; None: the same number
    :ivar name: needed where a Service has several
    :ivar protocol: only TCP can be forwarded
    """

    port: int
    target_port: int | str | None = None
    name: str | None = None
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"

    def __post_init__(self) -> None:
        check_number("a Service's port", self.port)
        if self.protocol not in ("TCP", "UDP", "SCTP"):
            raise ValueError(f"a port's protocol is TCP, UDP or SCTP, not {self.protocol!r}")


@dataclass(frozen=True)
class EmbeddedService:
    """A Service.  Nobody answers at its address: it is there for clients that look up the pods behind it.

    :ivar name: its name
    :ivar namespace: its namespace, which exists with it
    :ivar ports: its ports
    :ivar selector: the labels of its pods; empty: it has none
    :ivar cluster_ip: its address; ``"None"`` for a headless one; None: any address
    :ivar labels: its own labels
    """

    name: str
    namespace: str = "default"
    ports: Sequence[EmbeddedServicePort] = ()
    selector: Mapping[str, str] = field(default_factory=dict)
    cluster_ip: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("a Service's name", self.name)
        check_name("a namespace", self.namespace)
        if len(self.ports) > 1 and len({port.name for port in self.ports} - {None}) != len(self.ports):
            raise ValueError(f"the ports of Service {self.name!r} need names that differ")


@dataclass(frozen=True)
class EmbeddedWorkload:
    """A Deployment, ReplicaSet or StatefulSet.  It starts no pods: it is there for clients that look up the pods it selects.

    :ivar kind: what it is
    :ivar name: its name
    :ivar namespace: its namespace, which exists with it
    :ivar selector: the labels of its pods
    :ivar labels: its own labels
    """

    kind: Literal["Deployment", "ReplicaSet", "StatefulSet"]
    name: str
    namespace: str = "default"
    selector: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in ("Deployment", "ReplicaSet", "StatefulSet"):
            raise ValueError(f"a workload is a Deployment, a ReplicaSet or a StatefulSet, not a {self.kind!r}")
        check_name(f"a {self.kind}'s name", self.name)
        check_name("a namespace", self.namespace)
        if not self.selector:
            raise ValueError(f"{self.kind} {self.name!r} needs a selector")
