"""What ``kubernetes`` and ``kubernetes_asyncio`` share: the Configuration, the ApiClient and the API objects of a generated client."""

from __future__ import annotations

import importlib
import inspect
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from kubex_stream.configuration.foreign.authorization import LiveAuthorization
from kubex_stream.configuration.foreign.proxies import is_bypassed, with_proxy_headers
from kubex_stream.configuration.foreign.reading import Reader
from kubex_stream.configuration.impersonation import Impersonation
from kubex_stream.configuration.tls import read_file
from kubex_stream.errors import ConfigurationError

__all__ = ("Generated", "find")

_logger = logging.getLogger("kubex_stream")

_Family = Literal["kubernetes", "kubernetes_asyncio"]

#: The names under which a Configuration may keep the token.
_KEYS = ("BearerToken", "authorization")
#: Settings that would make connections stricter than ours can be; some live in a Configuration, some in the pools of an ApiClient.
_STRICTER = ("assert_fingerprint", "ssl_context", "ssl_version", "ssl_minimum_version", "ssl_ciphers")


@dataclass(frozen=True, slots=True)
class Generated:
    """A configured client of one of these packages.

    :ivar package: its name
    :ivar configuration: its Configuration
    :ivar client: its ApiClient, if one was given
    """

    package: str
    configuration: Reader
    client: Reader | None

    def credentials(self) -> object:
        """The value of the Authorization header, hook included: a coroutine where the package's own is one.  May block."""
        ask = self.configuration.get("get_api_key_with_prefix")
        assert callable(ask)
        # One name at a time: not all versions know of another name, or look for a prefix under it.
        found: object = ask(self._key() or _KEYS[0])
        return found

    def has_token(self) -> bool:
        """Is there a token now, be it a good one or not?"""
        return self._key() is not None

    def _key(self) -> str | None:
        keys = self.configuration.mapping("api_key")
        return next((name for name in _KEYS if keys.get(name)), None)

    def fields(self, namespace: str | None, live: LiveAuthorization) -> dict[str, object]:
        """The fields of a ClientConfiguration, the proxy excepted.

        :param live: where the header comes from if there is one
        """
        self._refuse_what_is_stricter()
        self._refuse_a_hook_that_nobody_awaits()
        host = self.configuration.text("host")
        if host is None:
            raise self.configuration.error(
                "host is missing; load a kubeconfig into it, or set the address of the API server"
            )
        fields: dict[str, object] = {"url": host, "impersonate": self._impersonation()}
        if namespace is not None:
            fields["namespace"] = namespace
        if host.strip().lower().startswith("https:"):
            fields |= self._trust() | self._certificate() | {"tls_server_name": self._server_name()}
        return fields | self._authentication(live)

    def proxy(self, url: str) -> str | None:
        """The proxy that its settings name for this server."""
        proxy = self.configuration.text("proxy")
        if proxy is None or is_bypassed(url, self.configuration.text("no_proxy")):
            return None
        if self.configuration.get("proxy_ssl_context") is not None and proxy.lower().startswith("https:"):
            raise self.configuration.error(
                "proxy_ssl_context cannot be carried over; pass an http:// proxy, or a proxy whose certificate the system trusts"
            )
        return with_proxy_headers(proxy, self.configuration.mapping("proxy_headers").items(), self.configuration.label)

    def _authentication(self, live: LiveAuthorization) -> dict[str, object]:
        if self.has_token() or self.configuration.get("refresh_api_key_hook") is not None:
            return {"token": live}
        token = self.configuration.text("access_token") or self._default_headers().get("authorization")
        if token is not None:
            kept = token

            async def read() -> str:
                return kept

            return {"token": LiveAuthorization(live.label, read)}
        username = self.configuration.text("username")
        return {} if username is None else {"username": username, "password": self.configuration.text("password") or ""}

    def _default_headers(self) -> dict[str, str]:
        """The headers that the ApiClient adds to every request, with names in lower case."""
        if self.client is None:
            return {}
        return {str(name).lower(): str(value) for name, value in self.client.mapping("default_headers").items()}

    def _impersonation(self) -> Impersonation | None:
        """Whom the ApiClient's own headers make it act as."""
        headers = {name: value for name, value in self._default_headers().items() if name.startswith("impersonate-")}
        if not headers:
            return None
        start = "impersonate-extra-"
        extra = {
            unquote(name.removeprefix(start)): [value] for name, value in headers.items() if name.startswith(start)
        }
        groups = [headers["impersonate-group"]] if "impersonate-group" in headers else []
        user = headers.get("impersonate-user")
        if not user:
            raise self.configuration.error(
                "there are Impersonate- headers, but no Impersonate-User; name the user to act as"
            )
        return Impersonation(user=user, uid=headers.get("impersonate-uid"), groups=groups, extra=extra)

    def _trust(self) -> dict[str, object]:
        settings = self.configuration
        if settings.get("verify_ssl") is False:
            return {"insecure_skip_tls_verify": True}
        fields, data = settings.file("ssl_ca_cert", "server_ca"), settings.get("ca_cert_data")
        if not data:
            return fields
        known, path = fields.get("server_ca_data"), fields.get("server_ca_file")
        if isinstance(path, Path):
            known = read_file(path, f"{settings.label}: ssl_ca_cert")
        pem = data.encode() if isinstance(data, str) else _pem(data, settings)
        return {"server_ca_data": (known + b"\n" if isinstance(known, bytes) else b"") + pem}

    def _certificate(self) -> dict[str, object]:
        certificate = self.configuration.file("cert_file", "client_cert")
        if not certificate:
            return {}
        # Without a name of its own the key is in the certificate's file.
        key = self.configuration.file("key_file", "client_key") or self.configuration.file("cert_file", "client_key")
        return certificate | key

    def _server_name(self) -> str | None:
        name, wanted = self.configuration.text("tls_server_name"), self.configuration.get("assert_hostname")
        if self.configuration.get("verify_ssl") is False or wanted is None or wanted is True:
            return name
        if not isinstance(wanted, str):
            raise self.configuration.error(
                "assert_hostname=False cannot be carried over; set tls_server_name to a name that is in the server's certificate"
            )
        if name is not None and name != wanted:
            raise self.configuration.error(
                "assert_hostname and tls_server_name differ; only one name can be checked: remove one"
            )
        return wanted

    def _refuse_what_is_stricter(self) -> None:
        for name in _STRICTER:
            if self.configuration.get(name) is not None or self._pool_settings().get(name) is not None:
                raise self.configuration.error(
                    f"{name} is set, which makes connections stricter and cannot be carried over; "
                    "remove it, or pass an ssl_context of your own in ClientOptions"
                )
        if "connector" in self.configuration.mapping("client_session_kwargs"):
            raise self.configuration.error(
                "its session has a connector of its own, so nobody can say how it connects; remove it"
            )
        if self.client is not None and self.client.get("cookie"):
            _logger.warning("%s: its cookie is not sent", self.configuration.label)

    def _refuse_a_hook_that_nobody_awaits(self) -> None:
        hook, caller = self.configuration.get("refresh_api_key_hook"), self.configuration.get("get_api_key_with_prefix")
        if inspect.iscoroutinefunction(hook) and not inspect.iscoroutinefunction(caller):
            raise self.configuration.error(
                f"refresh_api_key_hook is async, which this {self.package} does not await; make it a plain function"
            )

    def _pool_settings(self) -> Mapping[object, object]:
        """What the pools of a kubernetes.client.ApiClient were made with."""
        if self.client is None:
            return {}
        pool = Reader(Reader(self.client.get("rest_client"), "").get("pool_manager"), self.client.label)
        return pool.mapping("connection_pool_kw")


def find(client: object | None, package: _Family) -> Generated:
    """The Configuration of whatever was given.

    :param client: a Configuration, an ApiClient, an API object, or None for the package's default configuration
    :raises ConfigurationError: it is none of these
    """
    given = _default(package) if client is None else client
    family = _family(given)
    if family is not None and family != package:
        raise ConfigurationError(f"this {type(given).__name__} is one for from_{family}; use that")
    holders = [Reader(value, package) for value in (*_held(given), given)]
    api = next((holder for holder in holders if holder.get("configuration") is not None), None)
    settings = Reader(given if api is None else api.get("configuration"), f"{package}.client.Configuration")
    if isinstance(given, type) or settings.get("host") is None or not callable(settings.get("get_api_key_with_prefix")):
        kind = given.__name__ if isinstance(given, type) else type(given).__name__
        raise ConfigurationError(
            f"from_{package} takes a Configuration, an ApiClient or an API object (CoreV1Api) of {package}, or nothing for its "
            f"default configuration, not {kind}"
        )
    if settings.get("is_address_only"):
        raise ConfigurationError(
            "this WsApiClient was made of a ClientConfiguration or a client of this library; use that one, which has everything"
        )
    return Generated(package, settings, api)


def _family(value: object) -> _Family | None:
    """Whose class this is.  The official package has a copy of the asynchronous one inside."""
    for kind in type(value).__mro__:
        module = f"{kind.__module__}."
        if module.startswith(("kubernetes_asyncio.", "kubernetes.aio.")):
            return "kubernetes_asyncio"
        if module.startswith("kubernetes."):
            return "kubernetes"
    return None


def _held(value: object) -> list[object]:
    """The ApiClient of an API object, and of a dynamic client."""
    return [getattr(value, "api_client", None), getattr(value, "client", None)]


def _default(package: _Family) -> object:
    try:
        module = importlib.import_module(f"{package}.client")
    except ImportError:
        raise ConfigurationError(
            f"the package {package} is not installed, so it has no default configuration; pass an object of it"
        ) from None
    reader = Reader(Reader(module, package).get("Configuration"), package)
    get = reader.get("get_default") or reader.get("get_default_copy")
    if reader.get("_default") is None or not callable(get):
        raise ConfigurationError(
            f"{package} has no default configuration yet; call {package}.config.load_kube_config() first, or pass an object of it"
        )
    found: object = get()
    return found


def _pem(data: object, settings: Reader) -> bytes:
    """Bytes are DER to that package, but PEM does no harm."""
    if not isinstance(data, bytes):
        raise settings.error(f"ca_cert_data is a {type(data).__name__}, not PEM in a string or DER in bytes")
    return data if b"-----BEGIN" in data else ssl.DER_cert_to_PEM_cert(data).encode()
