"""From certificates and keys, in files or in memory, to an ``ssl.SSLContext``.  Everything here blocks: call it in a thread.

- A key that came as data never gets a name on a disk where the system can do without: OpenSSL only loads files, so on Linux it is given
  one in memory.  Elsewhere that is a temporary file which only the owner can read, gone before the function returns.
- The list of authorities is a pool of trust, as in Go's TLS and so in kubectl: whatever stands in it is trusted, a self-signed server
  certificate and an intermediate too, and authorities that were made without the newer X.509 extensions are good enough.
- HTTP/1.1 is all that ALPN offers: a WebSocket handshake needs it, and one context serves REST and WebSocket alike.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from kubex_stream.configuration.certificates import certificate_blocks, has_private_key, is_encrypted_key, not_after
from kubex_stream.configuration.origin import Origin
from kubex_stream.errors import ConfigurationError

__all__ = (
    "KeyPair",
    "TlsMaterial",
    "Watched",
    "add_authorities",
    "add_client_certificate",
    "build_context",
    "read_file",
)

#: What changes when a file does: modification time, size, inode and device; None for a file that is not there.
Watched = tuple[tuple[int, int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A client certificate in memory, with the authorities that may follow it, and its key; both PEM."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """All that a configuration says about TLS.  Data wins over a file."""

    origin: Origin
    ca_file: Path | None = None
    ca_data: bytes | None = field(default=None, repr=False)
    insecure: bool = False
    cert_file: Path | None = None
    cert_data: bytes | None = field(default=None, repr=False)
    key_file: Path | None = None
    key_data: bytes | None = field(default=None, repr=False)

    @property
    def has_certificate_files(self) -> bool:
        """May the client certificate change under our feet?"""
        return (self.cert_file is not None and self.cert_data is None) or (
            self.key_file is not None and self.key_data is None
        )

    def watch(self) -> Watched:
        """The state of the files; equal as long as none of them has changed."""
        return tuple(_stat(path) for path in (self.ca_file, self.cert_file, self.key_file) if path is not None)

    def with_pair(self, pair: KeyPair) -> TlsMaterial:
        """The same with a client certificate that came from elsewhere."""
        return TlsMaterial(
            self.origin, self.ca_file, self.ca_data, self.insecure, cert_data=pair.certificate, key_data=pair.key
        )


def build_context(material: TlsMaterial) -> ssl.SSLContext:
    """A context for talking to the API server.

    :raises ConfigurationError: a file or an entry cannot be used; the text says which and why
    """
    if material.insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif material.ca_data is None and material.ca_file is None:
        context = ssl.create_default_context()  # the authorities of the system
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        add_authorities(context, material)
    add_client_certificate(context, material)
    context.set_alpn_protocols(["http/1.1"])
    return context


def add_authorities(context: ssl.SSLContext, material: TlsMaterial) -> None:
    """Trust the authorities of ``material``, if it names any."""
    cluster = material.origin.cluster
    if material.ca_data is not None:
        where, pem = f"{cluster}: the CA data", material.ca_data
    elif material.ca_file is not None:
        where, pem = (
            f"{cluster}: the CA file {material.ca_file}",
            read_file(material.ca_file, f"{cluster}: the CA file"),
        )
    else:
        return
    blocks = certificate_blocks(pem)
    if not blocks:
        raise ConfigurationError(
            f"{where} holds no PEM certificate (-----BEGIN CERTIFICATE-----); "
            "fetch the cluster's CA again, or leave it out to trust the authorities of this system"
        )
    try:
        context.load_verify_locations(cadata="\n".join(blocks))
    except (ssl.SSLError, ValueError) as exc:
        raise ConfigurationError(
            f"{where} holds a certificate that cannot be read ({_reason(exc)}); fetch the cluster's CA again"
        ) from exc


def add_client_certificate(context: ssl.SSLContext, material: TlsMaterial) -> None:
    """Present the client certificate of ``material``, if it names one."""
    if material.cert_data is None and material.cert_file is None:
        return
    user = material.origin.user
    cert_name, cert = _one(user, "client certificate", material.cert_file, material.cert_data)
    key_name, key = _one(user, "client key", material.key_file, material.key_data)
    _check_certificate(cert_name, cert)
    _check_key(key_name, key)
    with ExitStack() as stack:
        cert_path = stack.enter_context(_as_path(material.cert_file, material.cert_data))
        key_path = stack.enter_context(_as_path(material.key_file, material.key_data))
        try:
            # The password keeps OpenSSL from asking for one at the terminal.
            context.load_cert_chain(cert_path, key_path, password="")
        except (ssl.SSLError, OSError, ValueError) as exc:
            if "MISMATCH" in _reason(exc):
                text = f"{user}: the client certificate and the client key do not belong together"
                raise ConfigurationError(f"{text}; use the key that the certificate was made for") from exc
            raise ConfigurationError(f"{cert_name}, or its key, cannot be loaded ({_reason(exc)})") from exc


def _check_certificate(name: str, pem: bytes) -> None:
    blocks = certificate_blocks(pem)
    if not blocks:
        raise ConfigurationError(f"{name} holds no PEM certificate (-----BEGIN CERTIFICATE-----); fetch it again")
    try:
        end = not_after(blocks[0])
    except ValueError as exc:
        raise ConfigurationError(f"{name} cannot be read ({exc}); fetch it again") from None
    if end <= datetime.now(UTC):
        raise ConfigurationError(
            f"{name} expired on {end:%Y-%m-%d at %H:%M:%S} UTC; get a new one (and check this machine's clock)"
        )


def _check_key(name: str, pem: bytes) -> None:
    if is_encrypted_key(pem):
        raise ConfigurationError(
            f"{name} needs a password, which kubeconfigs cannot give; "
            "store it without one (openssl pkey -in KEY -out PLAINKEY), readable by its owner only"
        )
    if not has_private_key(pem):
        raise ConfigurationError(f"{name} holds no PEM private key (-----BEGIN PRIVATE KEY-----)")


def _one(user: str, what: str, path: Path | None, data: bytes | None) -> tuple[str, bytes]:
    """How errors call it, and its content."""
    if data is not None:
        return f"{user}: the {what} data", data
    if path is None:
        raise ConfigurationError(f"{user}: there is a client certificate but no client key; give both or none")
    return f"{user}: the {what} file {path}", read_file(path, f"{user}: the {what} file")


def read_file(path: Path, what: str) -> bytes:
    """The content of a file that a configuration names.

    :param what: how errors call it, e.g. ``user 'x' in FILE: the token file``
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise ConfigurationError(
            f"{what} {path} cannot be read ({reason}); correct the path or the permissions"
        ) from exc


def _stat(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


def _reason(exc: Exception) -> str:
    """OpenSSL's word for what is wrong.  It holds no part of the input."""
    return str(getattr(exc, "reason", None) or getattr(exc, "strerror", None) or type(exc).__name__)


@contextmanager
def _as_path(path: Path | None, data: bytes | None) -> Iterator[str]:
    """A name under which OpenSSL can open this."""
    if data is None:
        yield str(path)
        return
    with ExitStack() as stack:
        name = _in_memory(stack, data)
        yield _in_temporary_file(stack, data) if name is None else name


def _in_memory(stack: ExitStack, data: bytes) -> str | None:
    """A file that lives in memory and has no name on any disk; None where the system has no such thing."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        file = stack.enter_context(os.fdopen(os.memfd_create("kubex-stream"), "wb"))
    except OSError:
        return None
    file.write(data)
    file.flush()
    name = f"/proc/self/fd/{file.fileno()}"
    return name if os.access(name, os.R_OK) else None  # /proc may be missing, or hidden from us


def _in_temporary_file(stack: ExitStack, data: bytes) -> str:
    descriptor, name = tempfile.mkstemp(prefix="kubex-stream-")  # mode 0600
    stack.callback(os.unlink, name)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return name
