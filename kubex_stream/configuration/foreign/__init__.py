"""From the configured clients of other packages to the fields of a ClientConfiguration: one module for each package.

- Nothing here imports those packages, but to get the default configuration of one when nobody passes an object.
- What such a client would do to the server, the new configuration does: the same address, proxy, authorities, names and credentials.  A
  setting that makes its connections safer and has no counterpart here is refused; one that makes no difference to safety is logged.
- Credentials stay alive: the header is read from the other client for every request, with its refresh hook, and again after a 401.
- No error and no repr shows a value: many are secrets.
"""

from __future__ import annotations

from kubex_stream.configuration.foreign.kr8s import resolve_kr8s
from kubex_stream.configuration.foreign.kubernetes import resolve_kubernetes
from kubex_stream.configuration.foreign.kubernetes_asyncio import resolve_kubernetes_asyncio
from kubex_stream.configuration.foreign.lightkube import resolve_lightkube

__all__ = ("resolve_kr8s", "resolve_kubernetes", "resolve_kubernetes_asyncio", "resolve_lightkube")
