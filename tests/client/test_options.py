"""ClientOptions: defaults, the ``...`` / None / value idiom, what is refused, and what is never shown."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from pydantic import ValidationError

from kubex_stream import ClientOptions, Impersonation, Timeout
from kubex_stream.client import resolve_ws_max_message_size
from kubex_stream.errors import ConfigurationError

DEFAULTS: dict[str, object] = {
    "log_api_warnings": True,
    "timeout": ...,
    "proxy": None,
    "keep_alive": True,
    "keep_alive_timeout": ...,
    "buffer_size": ...,
    "ws_max_message_size": ...,
    "pool_size": ...,
    "pool_size_per_host": ...,
    "trust_env": False,
    "open_timeout": 60.0,
    "close_timeout": 1.0,
    "heartbeat": 10.0,
    "heartbeat_timeout": 60.0,
    "stdin_chunk_size": 65536,
    "stream_buffer_size": 1048576,
    "spool_limit": 1073741824,
    "headers": {},
    "user_agent": None,
    "impersonate": None,
    "ssl_context": None,
    "retries": 3,
}

LIMITS = ["buffer_size", "ws_max_message_size", "pool_size", "pool_size_per_host"]
IDIOM = ["timeout", "keep_alive_timeout", *LIMITS]
SIZES = ["stdin_chunk_size", "stream_buffer_size"]
SECONDS = ["open_timeout", "close_timeout", "heartbeat", "heartbeat_timeout"]
OPTIONAL_SECONDS = ["open_timeout", "heartbeat", "heartbeat_timeout"]
FLAGS = ["log_api_warnings", "keep_alive", "trust_env"]


def options(**given: Any) -> ClientOptions:
    return ClientOptions(**given)


def test_every_field_has_its_documented_default() -> None:
    assert {name: getattr(ClientOptions(), name) for name in ClientOptions.model_fields} == DEFAULTS


@pytest.mark.parametrize("name", IDIOM)
def test_ellipsis_and_none_are_two_values(name: str) -> None:
    assert getattr(options(**{name: ...}), name) is ...
    assert getattr(options(**{name: None}), name) is None
    assert getattr(options(**{name: ...}), name) == getattr(ClientOptions(), name)


@pytest.mark.parametrize("name", [*LIMITS, *SIZES])
def test_a_size_is_kept(name: str) -> None:
    assert getattr(options(**{name: 4096}), name) == 4096


@pytest.mark.parametrize("name", [*LIMITS, *SIZES])
@pytest.mark.parametrize("value", [0, -1, True, "5", 1.5, float("nan")], ids=repr)
def test_a_size_is_a_positive_integer(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        options(**{name: value})


@pytest.mark.parametrize("name", SECONDS)
def test_seconds_may_be_any_positive_number(name: str) -> None:
    assert getattr(options(**{name: 3}), name) == 3.0
    assert getattr(options(**{name: 0.25}), name) == 0.25


@pytest.mark.parametrize("name", [*SECONDS, "timeout"])
@pytest.mark.parametrize(
    "value", [0, -1, -0.5, True, "5", float("nan"), float("inf"), b"5", 10**400], ids=lambda value: repr(value)[:8]
)
def test_seconds_are_positive_and_finite(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        options(**{name: value})


@pytest.mark.parametrize("name", OPTIONAL_SECONDS)
def test_none_turns_off(name: str) -> None:
    assert getattr(options(**{name: None}), name) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("close_timeout", None),
        ("stream_buffer_size", None),
        ("retries", None),
        ("retries", -1),
        ("retries", 101),
        ("retries", True),
        ("retries", 1.0),
        ("spool_limit", -1),
        ("spool_limit", False),
        ("stdin_chunk_size", 16 * 1024 * 1024 + 1),
        ("keep_alive_timeout", -1),
        ("keep_alive_timeout", True),
        ("keep_alive_timeout", "5"),
        ("keep_alive_timeout", float("nan")),
        ("keep_alive_timeout", float("inf")),
        ("user_agent", ""),
        ("user_agent", 5),
        ("impersonate", "jane"),
        ("ssl_context", object()),
        ("headers", ["Accept"]),
        ("headers", {"X-Number": 5}),
        ("proxy", 5),
        ("proxy", ["http://proxy:1"]),
        *((flag, value) for flag in FLAGS for value in (1, "yes", None)),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        options(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("keep_alive_timeout", 0), ("spool_limit", 0), ("retries", 0)])
def test_zero_where_it_means_something(name: str, value: int) -> None:
    assert getattr(options(**{name: value}), name) == 0


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="time_out"):
        options(time_out=5)


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_options_do_not_change(name: str) -> None:
    made = ClientOptions()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, name, DEFAULTS[name])


def test_a_number_is_a_total_timeout() -> None:
    assert ClientOptions(timeout=10).timeout == Timeout(10)
    assert ClientOptions(timeout=0.5).timeout == Timeout(0.5)
    phases = Timeout(connect=3, read=2)
    assert ClientOptions(timeout=phases).timeout is phases


def test_a_dump_can_be_made_into_options_again() -> None:
    made = ClientOptions(timeout=Timeout(10, read=3), retries=1, impersonate=Impersonation(user="jane"))
    assert options(**{**made.model_dump(), "retries": 5}) == made.model_copy(update={"retries": 5})


def test_a_misspelt_phase_of_a_dumped_timeout_is_refused() -> None:
    with pytest.raises(ValidationError, match="timeout"):
        options(timeout={"totall": 5})


@pytest.mark.parametrize(
    ("given", "size"), [(..., 2**21), (None, 0), (1, 1), (8 * 1024 * 1024, 8 * 1024 * 1024)], ids=repr
)
def test_resolve_ws_max_message_size(given: Any, size: int) -> None:
    assert resolve_ws_max_message_size(given) == size
    assert resolve_ws_max_message_size(ClientOptions(ws_max_message_size=given).ws_max_message_size) == size


def test_a_proxy_is_for_all_or_for_a_scheme() -> None:
    url = "http://proxy.example.com:8080"
    assert ClientOptions().proxy_for("https") is None
    assert ClientOptions(proxy=url).proxy_for("http") == ClientOptions(proxy=url).proxy_for("https") == url
    only_https = ClientOptions(proxy={"https": url})
    assert only_https.proxy_for("https") == url
    assert only_https.proxy_for("http") is None
    assert ClientOptions(proxy={"http": url, "https": "http://other"}).proxy_for("http") == url
    assert ClientOptions(proxy={}).proxy_for("https") is None


SECRET = "hunter2"
BAD_PROXIES = [
    "",
    "proxy",
    "proxy:8080",
    f"user:{SECRET}@proxy:8080",
    f"socks5://user:{SECRET}@proxy:1080",
    f"socks5h://user:{SECRET}@proxy",
    f"ftp://user:{SECRET}@proxy",
    f"http://user:{SECRET}@",
    f"http://user:{SECRET}@proxy:port",
    f"http://user:{SECRET}@proxy:99999",
    f"http://user:{SECRET}@proxy:0",
    f"http://user:{SECRET}@[::1",
    f"http://user:{SECRET}@pro xy",
    f"http://user:{SECRET}@pro\nxy",
    f"http://user:{SECRET}\u2100@proxy",  # which Unicode's normal form would change into a slash
]


@pytest.mark.parametrize("proxy", BAD_PROXIES, ids=repr)
@pytest.mark.parametrize("scheme", [None, "http", "https"])
def test_what_is_no_http_proxy_is_refused_without_showing_its_password(proxy: str, scheme: str | None) -> None:
    with pytest.raises(ValidationError, match="SOCKS is not supported") as caught:
        options(proxy=proxy if scheme is None else {scheme: proxy})
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


def test_a_proxy_mapping_has_two_keys_only() -> None:
    with pytest.raises(ValidationError, match="proxy"):
        options(proxy={"all": "http://proxy"})


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"X-Key": f"{SECRET}\r\nX-Other: 1"}, "line break"),
        ({"X-Key": f"{SECRET}\n"}, "line break"),
        ({"X-Key": f"{SECRET}\0"}, "control"),
        ({"X-Key": f"{SECRET}\x1b[2J"}, "control"),
        ({"X-Key": f" {SECRET}"}, "white space"),
        ({"X Key": SECRET}, "not the name of a header"),
        ({"X-Key:": SECRET}, "not the name of a header"),
        ({"": SECRET}, "not the name of a header"),
        ({"X\r\nY": SECRET}, "not the name of a header"),
        ({"Schlüssel": SECRET}, "not the name of a header"),
        ({"x-key": SECRET, "X-Key": SECRET}, "twice"),
        ({"Connection": SECRET}, "transport"),
        ({"content-length": SECRET}, "transport"),
        ({"Transfer-Encoding": SECRET}, "transport"),
        ({"Upgrade": SECRET}, "transport"),
        ({"Sec-WebSocket-Protocol": SECRET}, "transport"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused_without_showing_them(headers: dict[str, str], text: str) -> None:
    with pytest.raises(ValidationError, match=text) as caught:
        ClientOptions(headers=headers)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("agent", ["tool\r\nAuthorization: x", "tool\n", "\x00"])
def test_a_user_agent_cannot_smuggle_a_header(agent: str) -> None:
    with pytest.raises(ValidationError, match="User-Agent"):
        ClientOptions(user_agent=agent)


def test_whom_to_act_as_is_checked_at_once() -> None:
    assert options(impersonate={"user": "jane"}).impersonate == Impersonation(user="jane")
    with pytest.raises(ConfigurationError, match="line break"):
        options(impersonate={"user": "jane\r\nImpersonate-Group: system:masters"})


def test_nothing_secret_is_shown() -> None:
    made = ClientOptions(
        proxy={"https": f"http://user:{SECRET}@proxy"}, headers={"Authorization": f"Bearer {SECRET}"}, timeout=5
    )
    assert SECRET not in repr(made)
    assert SECRET not in str(made)
    assert "total=5.0" in repr(made)
    with pytest.raises(ValidationError) as caught:
        options(proxy=f"http://user:{SECRET}@proxy", headers={"Authorization": SECRET}, unknown=SECRET)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


def test_a_context_is_used_as_it_is() -> None:
    context = ssl.create_default_context()
    assert ClientOptions(ssl_context=context).ssl_context is context
