"""What the command line said, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kubex_stream.api.forwarder import PortForwardProtocol

__all__ = ("ExecRequest", "PortForwardRequest", "Settings", "UsageError")


class UsageError(Exception):
    """The command line makes no sense; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options that every verb takes.

    :ivar embedded: use an embedded cluster of this process
    :ivar kubeconfig: this file instead of those that kubectl would use
    :ivar context: this context instead of the current one
    :ivar namespace: instead of the context's
    :ivar backend: the backend's name; None takes the best
    :ivar verbosity: how often ``-v`` was given
    """

    embedded: bool = False
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None
    backend: str | None = None
    verbosity: int = 0

    def over(self, other: Settings) -> Settings:
        """These, and where they say nothing, those of ``other``."""
        return Settings(
            embedded=self.embedded or other.embedded,
            kubeconfig=self.kubeconfig if self.kubeconfig is not None else other.kubeconfig,
            context=self.context if self.context is not None else other.context,
            namespace=self.namespace if self.namespace is not None else other.namespace,
            backend=self.backend if self.backend is not None else other.backend,
            verbosity=self.verbosity + other.verbosity,
        )


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """What ``exec`` is to do.

    :ivar pod: its name
    :ivar command: the program and its arguments; may hold secrets
    :ivar container: None: the default one
    :ivar stdin: whether local stdin goes to the command
    """

    pod: str
    command: tuple[str, ...]
    container: str | None
    stdin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PortForwardRequest:
    """What ``port-forward`` is to do.

    :ivar target: as ``web-0``, ``svc/web``
    :ivar ports: as ``8080:80``, ``:80``, ``80``, ``http``
    :ivar addresses: ``localhost``, IP addresses
    :ivar patience: seconds for the pod to run
    :ivar protocol: how connections are carried
    :ivar share: one tunnel for all of them
    """

    target: str
    ports: tuple[str, ...]
    addresses: tuple[str, ...]
    patience: float
    protocol: PortForwardProtocol
    share: bool
