"""``Warning`` headers of the API server, which tell of deprecated APIs (RFC 7234 section 5.5, code 299)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Final

__all__ = ("warn_of",)

# warn-code SP warn-agent SP quoted-string; a header may hold several, separated by commas, and commas may be in the text.
_WARNING: Final = re.compile(r'\d{3} [^ ]+ "((?:[^"\\]|\\.)*)"')


def warn_of(headers: Sequence[tuple[str, str]]) -> None:
    """Turn each warning into a :class:`UserWarning`."""
    for name, value in headers:
        if name == "warning":
            for text in _WARNING.findall(value):
                warnings.warn(re.sub(r"\\(.)", r"\1", text), UserWarning, stacklevel=2)
