from __future__ import annotations

import datetime
from ssl import DER_cert_to_PEM_cert, PEM_cert_to_DER_cert
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream.configuration.certificates import (
    certificate_blocks,
    has_private_key,
    is_encrypted_key,
    not_after,
)

if TYPE_CHECKING:
    from tests.configuration.conftest import Pki


# Before and after 2050 the encoding differs (UTCTime, GeneralizedTime); both are checked against another reader of certificates.
@pytest.mark.parametrize("year", [2031, 2049, 2050, 2051, 9999])
@pytest.mark.parametrize("key_type", list(trustme.KeyType))
def test_the_end_of_a_certificate_is_what_another_reader_finds(pki: Pki, year: int, key_type: trustme.KeyType) -> None:
    end = datetime.datetime(year, 12, 31, 23, 59, 58, tzinfo=datetime.UTC)
    leaf = pki.authority.issue_cert("x.example", not_after=end, key_type=key_type)
    pem = leaf.cert_chain_pems[0].bytes()

    assert not_after(certificate_blocks(pem)[0]) == end == x509.load_pem_x509_certificate(pem).not_valid_after_utc


def test_blocks_are_found_between_comments_in_any_encoding(pki: Pki) -> None:
    pem = "# Zertifizierungsstelle für alle\n".encode("latin-1") + pki.ca + b"\n# and\n" + pki.client()[0]
    assert len(certificate_blocks(pem)) == 2


@given(st.binary(max_size=300))
def test_what_is_no_certificate_is_a_value_error(der: bytes) -> None:
    with pytest.raises(ValueError, match=r"certificate|time data|codec"):
        not_after(DER_cert_to_PEM_cert(der))


def test_a_certificate_cut_at_any_byte_before_its_validity_is_a_value_error(pki: Pki) -> None:
    der = PEM_cert_to_DER_cert(pki.client()[0].decode())
    for size in range(len(der)):
        with pytest.raises(ValueError, match=r"certificate|time data|codec"):
            not_after(DER_cert_to_PEM_cert(der[:size]))


@pytest.mark.parametrize(
    ("pem", "key", "encrypted"),
    [
        (b"-----BEGIN PRIVATE KEY-----\n", True, False),
        (b"-----BEGIN RSA PRIVATE KEY-----\nMII", True, False),
        (b"-----BEGIN EC PRIVATE KEY-----\n", True, False),
        (b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", True, True),
        (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", True, True),
        (b"-----BEGIN PUBLIC KEY-----\n", False, False),
        (b"", False, False),
    ],
)
def test_keys_are_recognised(pem: bytes, key: bool, encrypted: bool) -> None:
    assert (has_private_key(pem), is_encrypted_key(pem)) == (key, encrypted)
