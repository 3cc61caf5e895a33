"""Which API server, how to reach it, and as whom: from a kubeconfig, from the pod we run in, or from code."""

from __future__ import annotations

from kubex_stream.configuration.credentials import Credentials
from kubex_stream.configuration.exec_plugin import ExecPlugin
from kubex_stream.configuration.impersonation import Impersonation
from kubex_stream.configuration.model import ClientConfiguration
from kubex_stream.configuration.overrides import Overrides

__all__ = ("ClientConfiguration", "Credentials", "ExecPlugin", "Impersonation", "Overrides")
