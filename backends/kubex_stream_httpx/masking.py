"""The mask of a client's frames (RFC 6455, 5.3): in C by websockets where its extension was built, and otherwise as fast as Python can."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ("mask", "mask_in_python")


def mask_in_python(payload: bytes | bytearray | memoryview, key: bytes) -> bytes:
    """The same without any help."""
    # One exclusive or of two large numbers: linear, and 60 times slower than C.
    length = memoryview(payload).nbytes
    pattern = (key * (length // 4 + 1))[:length]
    mixed = int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")
    return mixed.to_bytes(length, "little")


_mask: Callable[[bytes | bytearray | memoryview, bytes], bytes]
try:
    from websockets.speedups import apply_mask as _mask
except ImportError:
    _mask = mask_in_python


def mask(payload: bytes | bytearray | memoryview, key: bytes) -> bytes:
    """The payload, masked by four bytes.  Twice is once undone."""
    if isinstance(payload, memoryview) and not payload.c_contiguous:
        payload = payload.tobytes()
    return _mask(payload, key)
