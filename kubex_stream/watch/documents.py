"""JSON: by orjson where that is installed, by the standard library elsewhere; what is accepted is the same."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any, Final

__all__ = ("FAST", "parse")


def _fast() -> Callable[[bytes], Any] | None:
    try:
        loads: Callable[[bytes], Any] = importlib.import_module("orjson").loads
    except ImportError:
        return None
    return loads


_LOADS: Final = _fast()
_DECODER: Final = json.JSONDecoder()
#: Whether a faster parser than the standard library's is installed: ``pip install orjson``.
FAST: Final = _LOADS is not None


def parse(data: bytes) -> Any:
    """The value of a JSON text.

    :raises ValueError: it is none
    """
    if _LOADS is not None:
        try:
            return _LOADS(data)
        except ValueError:
            pass  # stricter in corners, as with lone surrogates; the slower one decides
    try:
        return _DECODER.decode(data.decode())  # json.loads looks for other encodings first, every time
    except RecursionError:
        raise ValueError("nested too deeply") from None
