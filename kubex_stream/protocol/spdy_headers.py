"""Header blocks of SPDY/3.1: name-value pairs, compressed by one zlib stream a direction for the whole connection.

Rules of this file:
- Every block that arrives goes through the decompressor, also that of a stream nobody wants; one that is left out makes all later ones
  unreadable.  The same holds for sending: a block that was compressed has to be sent, in its order.
- What a block may inflate to is limited before it is inflated: a few bytes can stand for gigabytes (CVE-2026-35469 of the Go library).
- Of several values of a name, repeated or joined by NUL, the first counts, as in the Go handlers.
- Compressors differ, so a block is known by what it inflates to, never by its bytes.
Sources: SPDY protocol draft 3.1, sections 2.6.10 and 2.6.10.1; github.com/moby/spdystream spdy/read.go and write.go (what it refuses).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Final

__all__ = ("DICTIONARY", "HeaderCompressor", "HeaderDecompressor", "SpdyError")


class SpdyError(Exception):
    """The peer broke SPDY framing.  Nothing of the connection can be understood from here on."""


# The draft's words, each behind its length; then a tail without lengths.
_WORDS: Final = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow authorization "
    "cache-control connection content-base content-encoding content-language content-length content-location content-md5 content-range "
    "content-type date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified "
    "location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding "
    "upgrade user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin"
)
_TAIL: Final = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Information"
    "204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error"
    "501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, "
    "Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,public"
    "privatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    words = [word.replace("_", " ").encode() for word in _WORDS.split()]
    return b"".join(struct.pack(">I", len(word)) + word for word in words) + _TAIL.encode()


#: The preset dictionary of both directions: 1423 bytes, Adler-32 e3c6a7c2.
DICTIONARY: Final = _dictionary()

_LENGTH: Final = struct.Struct(">I")
#: Names that belong to HTTP connections: spdystream refuses them, the last one only in requests, and drops the connection.
_FORBIDDEN: Final = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding"})
_NEVER_SENT: Final = _FORBIDDEN | {"host"}
#: Headers of one block, either way; Kubernetes has three.
_MOST: Final = 256
#: Bytes of a block that is sent, before compression.  No peer is known to refuse less.
_LARGEST: Final = 64 * 1024


class HeaderCompressor:
    """One direction's sending end."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(9, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)

    def compress(self, headers: Mapping[str, str]) -> bytes:
        """A block; it has to be sent, and before any that is made later.

        :raises ValueError: a name that peers refuse: with capitals, empty, or one that belongs to HTTP connections; text that is no ASCII
            in a name or no Latin-1 in a value; a NUL; or too much of it.  Nothing is compressed then
        """
        if len(headers) > _MOST:
            raise ValueError(f"{len(headers)} headers are too many for a block, which holds {_MOST}")
        parts = [_LENGTH.pack(len(headers))]
        for name, value in headers.items():
            if not name or name != name.lower() or name in _NEVER_SENT:
                raise ValueError(f"{name!r} cannot be the name of a SPDY header")
            if "\0" in name or "\0" in value:
                raise ValueError(f"the SPDY header {name!r} holds a NUL")
            for text in (name.encode("ascii"), value.encode("latin-1")):
                parts += (_LENGTH.pack(len(text)), text)
        raw = b"".join(parts)
        if len(raw) > _LARGEST:
            raise ValueError(f"headers of {len(raw)} bytes are too large for a block, which holds {_LARGEST}")
        return self._zlib.compress(raw) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class HeaderDecompressor:
    """One direction's receiving end.

    :param limit: bytes that one block may inflate to
    """

    def __init__(self, limit: int) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)
        self._limit = limit

    def decompress(self, block: bytes) -> dict[str, str]:
        """The headers of a block.

        :raises SpdyError: no zlib stream, more than the limit, or not what a block holds
        """
        try:
            raw = self._zlib.decompress(block, self._limit + 1)
        except zlib.error as error:
            raise SpdyError(f"a header block that does not inflate: {error}") from None
        if len(raw) > self._limit or self._zlib.unconsumed_tail:
            raise SpdyError(f"a header block of more than {self._limit} bytes")
        if self._zlib.eof:
            raise SpdyError("a header block that ends the compressed stream")
        return _parse(raw)


def _parse(raw: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    try:
        (count,) = _LENGTH.unpack_from(raw)
        if count > _MOST:
            raise SpdyError(f"a block of {count} headers")
        at = _LENGTH.size
        for _ in range(count):
            name, at = _text(raw, at)
            value, at = _text(raw, at)
            if not name or name != name.lower() or name in _FORBIDDEN:
                raise SpdyError("a header without a name, with capitals in it, or one that belongs to HTTP connections")
            headers.setdefault(name, value.partition("\0")[0])
    except struct.error:
        raise SpdyError("a header block that ends in the middle") from None
    if at != len(raw):
        raise SpdyError("a header block with something behind its headers")
    return headers


def _text(raw: bytes, at: int) -> tuple[str, int]:
    (length,) = _LENGTH.unpack_from(raw, at)
    start = at + _LENGTH.size
    if start + length > len(raw):
        raise SpdyError("a header block that ends in the middle")
    return raw[start : start + length].decode("latin-1"), start + length
