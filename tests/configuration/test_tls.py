"""The TLS context, proved by handshakes: OpenSSL on both sides, bytes carried by hand."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kubex_stream.configuration.origin import Origin
from kubex_stream.configuration.tls import TlsMaterial, build_context
from kubex_stream.errors import ConfigurationError

if TYPE_CHECKING:
    from tests.configuration.conftest import Pki

ORIGIN = Origin("cluster 'c' in FILE", "user 'u' in FILE")


def handshake(client: ssl.SSLContext, leaf: trustme.LeafCert, name: str, clients: bytes | None = None) -> ssl.SSLObject:
    """Shake hands with a server that shows ``leaf``; returns the server's side."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(server)
    server.set_alpn_protocols(["h2", "http/1.1"])
    if clients is not None:
        server.verify_mode = ssl.CERT_REQUIRED
        server.load_verify_locations(cadata=clients.decode())
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(down, up, server_hostname=name), server.wrap_bio(up, down, server_side=True)]
    waiting = list(sides)
    while waiting:
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    return sides[1]


def shown(server: ssl.SSLObject) -> str:
    """The common name of the client certificate that the server saw."""
    certificate = server.getpeercert()
    assert certificate is not None
    return dict(pair for item in certificate["subject"] for pair in item)["commonName"]  # type: ignore[misc]


@pytest.mark.parametrize("by", ["file", "data"])
def test_the_authorities_are_trusted(by: str, pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "ca").write_bytes(pki.ca)
    given = TlsMaterial(ORIGIN, ca_file=tmp_path / "ca") if by == "file" else TlsMaterial(ORIGIN, ca_data=pki.ca)
    server = handshake(build_context(given), pki.server("api"), "api")
    assert server.selected_alpn_protocol() == "http/1.1"


def test_other_authorities_and_other_names_are_not_trusted(pki: Pki) -> None:
    other = trustme.CA().cert_pem.bytes()
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(build_context(TlsMaterial(ORIGIN, ca_data=other)), pki.server("api"), "api")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(build_context(TlsMaterial(ORIGIN)), pki.server("api"), "api")
    with pytest.raises(ssl.SSLCertVerificationError, match="ostname mismatch"):
        handshake(build_context(TlsMaterial(ORIGIN, ca_data=pki.ca)), pki.server("api"), "other")


def test_skipping_the_verification_skips_it(pki: Pki) -> None:
    handshake(build_context(TlsMaterial(ORIGIN, insecure=True)), pki.server("api"), "other")


def test_an_intermediate_authority_alone_is_trusted_as_by_kubectl(pki: Pki) -> None:
    intermediate = pki.authority.create_child_ca()
    leaf = intermediate.issue_cert("api")
    handshake(build_context(TlsMaterial(ORIGIN, ca_data=intermediate.cert_pem.bytes())), leaf, "api")


@pytest.mark.parametrize("certificate_by", ["file", "data"])
@pytest.mark.parametrize("key_by", ["file", "data"])
def test_the_client_certificate_is_shown(certificate_by: str, key_by: str, pki: Pki, tmp_path: Path) -> None:
    certificate, key = pki.client("jane")
    (tmp_path / "c").write_bytes(certificate)
    (tmp_path / "k").write_bytes(key)
    given = TlsMaterial(
        ORIGIN,
        ca_data=pki.ca,
        cert_file=tmp_path / "c" if certificate_by == "file" else None,
        cert_data=certificate if certificate_by == "data" else None,
        key_file=tmp_path / "k" if key_by == "file" else None,
        key_data=key if key_by == "data" else None,
    )
    assert shown(handshake(build_context(given), pki.server("api"), "api", clients=pki.ca)) == "jane"


def _encrypted(key: bytes, form: pem.PrivateFormat) -> bytes:
    loaded = load_pem_private_key(key, None)
    return loaded.private_bytes(pem.Encoding.PEM, form, pem.BestAvailableEncryption(b"hunter2"))


WRONG: dict[str, tuple[Callable[[bytes, bytes], dict[str, bytes]], str]] = {
    "CA is no PEM": (
        lambda _c, _k: {"ca_data": b"hunter2"},
        "cluster 'c' in FILE: the CA data holds no PEM certificate",
    ),
    "CA is damaged": (
        lambda _c, _k: {"ca_data": b"-----BEGIN CERTIFICATE-----\nhunter2=\n-----END CERTIFICATE-----\n"},
        "cluster 'c' in FILE: the CA data holds a certificate that cannot be read",
    ),
    "certificate is no PEM": (
        lambda _c, k: {"cert_data": b"hunter2", "key_data": k},
        "user 'u' in FILE: the client certificate data holds no PEM certificate",
    ),
    "certificate is damaged": (
        lambda _c, k: {"cert_data": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "key_data": k},
        "user 'u' in FILE: the client certificate data cannot be read (not an X.509 certificate)",
    ),
    "no key": (lambda c, _k: {"cert_data": c}, "user 'u' in FILE: there is a client certificate but no client key"),
    "key is none": (lambda c, _k: {"cert_data": c, "key_data": c}, "client key data holds no PEM private key"),
    "key is damaged": (
        lambda c, _k: {"cert_data": c, "key_data": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"},
        "user 'u' in FILE: the client certificate data, or its key, cannot be loaded",
    ),
    "key has a password": (
        lambda c, k: {"cert_data": c, "key_data": _encrypted(k, pem.PrivateFormat.PKCS8)},
        "user 'u' in FILE: the client key data needs a password",
    ),
    "key has a password in the old form": (
        lambda c, k: {"cert_data": c, "key_data": _encrypted(k, pem.PrivateFormat.TraditionalOpenSSL)},
        "user 'u' in FILE: the client key data needs a password",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_material_is_named(case: str, pki: Pki) -> None:
    make, message = WRONG[case]
    with pytest.raises(ConfigurationError) as caught:
        build_context(TlsMaterial(ORIGIN, **make(*pki.client())))  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_key_of_another_certificate_is_named(pki: Pki) -> None:
    with pytest.raises(ConfigurationError, match=r"^user 'u' in FILE: .* do not belong together"):
        build_context(TlsMaterial(ORIGIN, cert_data=pki.client()[0], key_data=pki.client()[1]))


def test_an_expired_certificate_is_named_with_its_date(pki: Pki, tmp_path: Path) -> None:
    certificate, key = pki.client(expired=True)
    (tmp_path / "c.pem").write_bytes(certificate)
    with pytest.raises(ConfigurationError) as caught:
        build_context(TlsMaterial(ORIGIN, cert_file=tmp_path / "c.pem", key_data=key))
    assert (
        f"user 'u' in FILE: the client certificate file {tmp_path / 'c.pem'} expired on 2020-02-29 at 12:30:00 UTC"
        in str(caught.value)
    )


#: Builds a context from data, and reports every file that was made or opened for writing, and its permissions, while it did.
WATCHED = """
import json, os, sys, tempfile
if sys.argv[3] == "no memory files" and hasattr(os, "memfd_create"):
    del os.memfd_create
from pathlib import Path
from kubex_stream.configuration.origin import Origin
from kubex_stream.configuration.tls import TlsMaterial, build_context
written, modes, folder = [], [], tempfile.gettempdir()
def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        written.append(arguments[0])
    if event == "os.remove":
        modes.append(oct(os.stat(arguments[0]).st_mode & 0o777))
material = TlsMaterial(Origin(), cert_data=Path(sys.argv[1]).read_bytes(), key_data=Path(sys.argv[2]).read_bytes())
sys.addaudithook(hook)
build_context(material)
print(json.dumps([list(written), modes, os.listdir(folder)]))
"""


@pytest.mark.parametrize("system", ["this", "no memory files"])
def test_a_key_given_as_data_is_never_left_on_disk(system: str, pki: Pki, tmp_path: Path) -> None:
    certificate, key = pki.client()
    (tmp_path / "c").write_bytes(certificate)
    (tmp_path / "k").write_bytes(key)
    folder = tmp_path / "temporary"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path / "c"), str(tmp_path / "k"), system],
        env={**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)},
        capture_output=True,
        check=True,
    )
    written, modes, left = json.loads(done.stdout)
    assert left == []
    if system == "this" and sys.platform == "linux":
        assert written == []
    else:
        assert len(modes) == 2  # the certificate and the key, both removed
        if sys.platform != "win32":
            assert modes == ["0o600", "0o600"]
