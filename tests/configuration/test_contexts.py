"""The TLS contexts of credentials: when they stay, and when they are made anew."""

from __future__ import annotations

import logging
import os
import shutil
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from kubex_stream.configuration import ClientConfiguration, ExecPlugin
from kubex_stream.errors import ConfigurationError

if TYPE_CHECKING:
    from tests.configuration.conftest import Pki, Plugin

pytestmark = pytest.mark.anyio

URL = "https://api.example:6443"


def _plugin(plugin: Plugin) -> ClientConfiguration:
    entry = plugin.entry()
    made = ExecPlugin.model_validate({key: entry[key] for key in ("command", "args")} | {"interactive_mode": "Never"})
    return ClientConfiguration(url=URL, exec_plugin=made)


async def test_plain_http_has_no_context() -> None:
    assert await ClientConfiguration(url="http://localhost:8080", token="t").credentials().ssl_context() is None


async def test_the_context_stays_the_same_object(pki: Pki) -> None:
    credentials = ClientConfiguration(url=URL, server_ca_data=pki.ca).credentials(reload_interval=0)
    first = await credentials.ssl_context()
    assert isinstance(first, ssl.SSLContext)
    assert await credentials.ssl_context() is first
    assert await credentials.refresh() is False


async def test_a_plugin_gives_the_client_certificate_and_rotates_it(plugin: Plugin, pki: Pki) -> None:
    def says(name: str) -> None:
        certificate, key = pki.client(name)
        plugin.says(clientCertificateData=certificate.decode(), clientKeyData=key.decode())

    says("one")
    credentials = _plugin(plugin).credentials()
    assert await credentials.headers() == []
    first = await credentials.ssl_context()
    assert await credentials.ssl_context() is first
    assert await credentials.refresh() is True  # with the same certificate as before
    assert await credentials.ssl_context() is first

    says("two")
    await credentials.headers()
    assert await credentials.refresh() is True
    second = await credentials.ssl_context()
    assert second is not first
    assert await credentials.ssl_context() is second
    assert len(plugin.runs) == 3


async def test_an_expired_certificate_of_a_plugin_is_named(plugin: Plugin, pki: Pki) -> None:
    certificate, key = pki.client(expired=True)
    plugin.says(clientCertificateData=certificate.decode(), clientKeyData=key.decode())
    with pytest.raises(ConfigurationError, match="client certificate data expired on 2020-02-29"):
        await _plugin(plugin).credentials().ssl_context()


async def test_certificate_files_are_loaded_again_when_they_rotate(
    tmp_path: Path, pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"

    def issue(name: str) -> None:
        for path, content in zip((certificate, key), pki.client(name), strict=True):
            path.write_bytes(content)

    issue("one")
    configuration = ClientConfiguration(url=URL, client_cert_file=certificate, client_key_file=key)
    credentials = configuration.credentials(reload_interval=0)
    slow = configuration.credentials(reload_interval=3600)
    first, slow_first = await credentials.ssl_context(), await slow.ssl_context()
    assert await credentials.ssl_context() is first

    certificate.write_bytes(pki.client("half")[0])  # rotated, but its key is not there yet
    with caplog.at_level(logging.WARNING, "kubex_stream"):
        assert await credentials.ssl_context() is first
    assert "do not belong together" in caplog.text

    issue("two")
    second = await credentials.ssl_context()
    assert second is not first
    assert await slow.ssl_context() is slow_first
    assert await slow.refresh() is True
    assert await slow.ssl_context() is not slow_first

    shutil.copy(certificate, tmp_path / "copy")
    stamp = certificate.stat()
    (tmp_path / "copy").replace(certificate)  # same content, size and time: still another file
    os.utime(certificate, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert await credentials.ssl_context() is not second


async def test_loading_a_context_does_not_hold_up_the_loop(tmp_path: Path, pki: Pki) -> None:
    """The CA comes through a pipe that a task of the same loop writes, so a read on the loop would never end."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(tmp_path / "ca")
    found: list[ssl.SSLContext | None] = []
    credentials = ClientConfiguration(url=URL, server_ca_file=tmp_path / "ca").credentials()

    async def ask() -> None:
        found.append(await credentials.ssl_context())

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        async with await anyio.open_file(tmp_path / "ca", "wb") as pipe:
            await pipe.write(pki.ca)
    assert isinstance(found[0], ssl.SSLContext)
