"""The ``kubernetes`` package, which has to be installed; it is typed in parts, so it is taken as it is."""

from __future__ import annotations

import importlib
from typing import Any, Final

__all__ = ("client",)

try:
    client: Final[Any] = importlib.import_module("kubernetes.client")
except ModuleNotFoundError as error:
    if error.name not in ("kubernetes", "kubernetes.client"):
        raise
    raise ImportError(
        "kubex_stream.compat.kubernetes stands on the official client, which is not installed: pip install kubernetes"
    ) from error
