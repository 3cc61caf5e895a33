"""PEM and the little of X.509 that is needed: when a certificate ends.

The standard library reads certificates in public only after a handshake, or when they are authorities, so the end of a client
certificate is found by a walk over its DER.  RFC 5280, 4.1:

    Certificate ::= SEQUENCE { tbsCertificate, … }
    TBSCertificate ::= SEQUENCE { [0] version (may be absent), serialNumber, signature, issuer, validity, … }
    Validity ::= SEQUENCE { notBefore, notAfter }, each a UTCTime (two digits of year, 50 is 1950) or a GeneralizedTime (four)
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime

__all__ = ("certificate_blocks", "has_private_key", "is_encrypted_key", "not_after")

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
_ENCRYPTED_KEY = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: *4, *ENCRYPTED", re.MULTILINE)

_SEQUENCE, _EXPLICIT_0, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18


def certificate_blocks(pem: bytes) -> list[str]:
    """The certificates of a PEM file, without the comments between them."""
    return [block.decode("ascii", "replace") for block in _CERTIFICATE.findall(pem)]


def has_private_key(pem: bytes) -> bool:
    """Does this hold a private key of any kind?"""
    return _KEY.search(pem) is not None


def is_encrypted_key(pem: bytes) -> bool:
    """Does the private key want a password?  Both the PKCS#8 and the traditional form."""
    return _ENCRYPTED_KEY.search(pem) is not None


def not_after(block: str) -> datetime:
    """The end of a certificate's validity.

    :param block: one certificate in PEM
    :raises ValueError: it is not a certificate
    """
    try:
        certificate = _expect(_read(ssl.PEM_cert_to_DER_cert(block), 0), _SEQUENCE)
        fields = _children(_expect(_read(certificate, 0), _SEQUENCE), 6)
        validity = fields[4] if fields[0][0] == _EXPLICIT_0 else fields[3]
        tag, content = _children(_expect(validity, _SEQUENCE), 2)[1]
        return _time(tag, content.decode("ascii"))
    except IndexError:
        raise ValueError("the certificate is cut short") from None


def _read(der: bytes, start: int) -> tuple[int, bytes]:
    """The element at ``start``: its tag and its content."""
    tag, length, begin = der[start], der[start + 1], start + 2
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(der[start + 2 : begin], "big")
    if begin + length > len(der):
        raise IndexError
    return tag, der[begin : begin + length]


def _children(content: bytes, count: int) -> list[tuple[int, bytes]]:
    """At most ``count`` elements of a sequence."""
    found: list[tuple[int, bytes]] = []
    rest = content
    while rest and len(found) < count:
        element = _read(rest, 0)
        found.append(element)
        header = 2 + (rest[1] & 0x7F if rest[1] & 0x80 else 0)
        rest = rest[header + len(element[1]) :]
    return found


def _expect(element: tuple[int, bytes], tag: int) -> bytes:
    if element[0] != tag:
        raise ValueError("not an X.509 certificate")
    return element[1]


def _time(tag: int, text: str) -> datetime:
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("not an X.509 certificate")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
