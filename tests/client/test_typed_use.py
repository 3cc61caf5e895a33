"""Options as an application writes them: mypy checks this file as strictly as the library, and the tests run it."""

from __future__ import annotations

import ssl
from types import EllipsisType

import pytest
from pydantic import ValidationError

from kubex_stream import (
    BaseClient,
    ClientConfiguration,
    ClientOptions,
    Impersonation,
    Observer,
    Timeout,
    create_client,
)
from kubex_stream.core.params import TimeoutTypes

CLUSTER = ClientConfiguration(url="http://cluster.test:8001")


def test_the_options_of_the_documentation() -> None:
    options = ClientOptions(
        log_api_warnings=False,
        timeout=Timeout(total=30.0),
        proxy="http://proxy.corp.example.com:8080",
        keep_alive_timeout=60.0,
        pool_size=50,
        ws_max_message_size=8 * 1024 * 1024,
    )
    assert options.timeout == Timeout(30)
    client: BaseClient = create_client(CLUSTER, options=options, backend="aiohttp")
    assert client.options is options


def test_every_form_that_the_idiom_allows() -> None:
    ClientOptions(timeout=10, proxy="http://proxy:8080", impersonate=Impersonation(user="jane", groups=["dev"]))
    ClientOptions(timeout=2.5, proxy={"https": "http://proxy:8080"}, keep_alive=False, keep_alive_timeout=None)
    ClientOptions(timeout=None, buffer_size=None, ws_max_message_size=None, pool_size=None, pool_size_per_host=None)
    ClientOptions(timeout=..., buffer_size=..., ws_max_message_size=..., pool_size=..., keep_alive_timeout=...)
    ClientOptions(open_timeout=None, close_timeout=2, heartbeat=None, heartbeat_timeout=None, trust_env=True)
    ClientOptions(stdin_chunk_size=4096, stream_buffer_size=1, spool_limit=0, retries=0)
    ClientOptions(headers={"X-Tenant": "blue"}, user_agent="tool/1", ssl_context=ssl.create_default_context())


def test_a_value_of_the_wrong_type_is_an_error_for_mypy_and_at_run_time() -> None:
    with pytest.raises(ValidationError):
        ClientOptions(timeout="10")  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        ClientOptions(pool_size="10")  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        ClientOptions(proxy=["http://proxy"])  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        ClientOptions(tiemout=10)  # type: ignore[call-arg]


def test_a_timeout_is_passed_on_with_its_type() -> None:
    def passed_on(request_timeout: TimeoutTypes | EllipsisType = ...) -> Timeout | None:
        return None if isinstance(request_timeout, EllipsisType) else Timeout.coerce(request_timeout)

    assert passed_on() is None
    assert passed_on(3) == passed_on(3.0) == passed_on(Timeout(3))


def test_an_observer_overrides_what_it_wants() -> None:
    class Counter(Observer):
        retries = 0

        def retried(self, path: str, error: Exception, delay: float) -> None:
            assert path, error
            assert delay >= 0
            self.retries += 1

    counter = Counter()
    assert create_client(CLUSTER, backend="aiohttp", observer=counter).observer is counter
    counter.retried("/api", ValueError(), 0.0)
    assert counter.retries == 1
