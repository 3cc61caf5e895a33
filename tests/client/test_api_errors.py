"""From an HTTP error to an exception: the class, the text, and what the text never holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubex_stream import (
    ApiError,
    Forbidden,
    Gone,
    KubexClientException,
    NotFound,
    StartError,
    TooManyRequests,
    Unauthorized,
)
from kubex_stream.client import Response
from kubex_stream.client.api_errors import MAX_ERROR_BODY, api_error

RECORDINGS = Path(__file__).parent.parent / "recordings"
PATH = "/api/v1/namespaces/wire/pods/one/exec"
RBAC = "a role needs the verbs `get` and, since Kubernetes 1.35, `create` on `pods/exec`"

NO_SUBPROTOCOL = "403 Forbidden (the server, or a gateway before it, speaks none of the offered subprotocols: {})"
NO_RIGHT = 'User "nobody" cannot get resource "pods/exec" in API group "" in the namespace "wire"'
NO_REASON = f"no reason given, which is how a missing `create` looks; {RBAC}"
CONTAINERS = "a container name must be specified for pod box, choose one of: [main cat once shell]"

# name, class, text after the path
REFUSALS: list[tuple[str, type[ApiError], str]] = [
    ("refused-400-container-name", ApiError, f"400 Bad Request: {CONTAINERS}"),
    ("refused-400-container-unknown", ApiError, "400 Bad Request: container zzz is not valid for pod box"),
    ("refused-400-no-upgrade", ApiError, "400 Bad Request: Upgrade request required"),
    ("refused-400-pending", ApiError, "400 Bad Request: pod pending does not have a host assigned"),
    ("refused-400-version", ApiError, "400 Bad Request: missing or bad WebSocket Version"),
    ("refused-403-create", Forbidden, f'403 Forbidden: pods "one" is forbidden: {NO_REASON}'),
    ("refused-403-protocol", Forbidden, NO_SUBPROTOCOL.format("v3.channel.k8s.io")),
    ("refused-403-rbac", Forbidden, f'403 Forbidden: pods "one" is forbidden: {NO_RIGHT} ({RBAC})'),
    ("refused-403-two-lines", Forbidden, NO_SUBPROTOCOL.format("foo, v5.channel.k8s.io")),
    ("refused-404-pod", NotFound, '404 Not Found: pods "nope" not found'),
    ("refused-405-post", ApiError, "405 Method Not Allowed: bad method"),
]


@pytest.mark.parametrize(("name", "kind", "text"), REFUSALS)
def test_what_a_real_server_refuses(name: str, kind: type[ApiError], text: str) -> None:
    recorded: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text())
    method, target, _ = recorded["request"]["line"].split()
    offered = [value for key, value in recorded["request"]["headers"] if key == "Sec-WebSocket-Protocol"]
    answer = recorded["response"]
    headers = [(key.lower(), value) for key, value in answer["headers"]]
    response = Response(int(answer["line"].split()[1]), headers, bytes.fromhex(answer["body_hex"]))
    path = target.partition("?")[0]
    error = api_error(response, method=method, path=path, subprotocols=offered)
    assert type(error) is kind
    assert str(error) == f"{method} {path}: {text}"
    assert error.status_code == response.status_code
    assert (error.status is not None) == response.content.startswith(b"{")


def raised(content: bytes, code: int = 500, path: str = PATH, **given: Any) -> ApiError:
    return api_error(Response(code, [], content), method="GET", path=path, **given)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (410, Gone),
        (429, TooManyRequests),
        (409, ApiError),
        (500, ApiError),
    ],
)
def test_the_class_is_the_status_codes(code: int, kind: type[ApiError]) -> None:
    error = raised(b"", code)
    assert type(error) is kind
    assert isinstance(error, KubexClientException)
    assert not isinstance(error, StartError)
    assert (error.status_code, error.status, error.retry_after) == (code, None, None)


def test_the_status_is_kept() -> None:
    content = {
        "kind": "Status",
        "status": "Failure",
        "reason": "Conflict",
        "message": "changed",
        "code": 409,
        "extra": 1,
    }
    error = raised(json.dumps(content).encode(), 409)
    assert error.status is not None
    assert (error.status.reason, error.status.message, error.status.code) == ("Conflict", "changed", 409)
    assert error.status.raw["extra"] == 1


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ""),
        (b" \r\n ", ""),
        (b"upstream connect error", ": upstream connect error"),
        (b"<html>\n  <body>502   Bad\tGateway</body>\n</html>\n", ": <html> <body>502 Bad Gateway</body> </html>"),
        ("zażółć".encode(), ": zażółć"),
        (b"caf\xe9", ": caf\ufffd"),
        (b"\x00\x01\x1b[2Jgone\x7f", ": \ufffd\ufffd\ufffd[2Jgone\ufffd"),
        (b'{"error": "not a Status"}', ': {"error": "not a Status"}'),
        (b'{"kind": "Pod", "status": {"phase": "Running"}}', ': {"kind": "Pod", "status": {"phase": "Running"}}'),
        (b"[]", ": []"),
        (b"null", ": null"),
        (b'"text"', ': "text"'),
        (b'{"kind": "Status"', ': {"kind": "Status"'),
        (b'{"kind": "Status", "status": "Failure"}', ""),
        (b'{"kind": "Status", "message": null}', ""),
        (b'{"kind": "Status", "message": ["odd"]}', ': ["odd"]'),
        (b'{"status": "Failure", "message": "short of a kind"}', ": short of a kind"),
    ],
)
def test_any_body_makes_one_text(content: bytes, text: str) -> None:
    assert str(raised(content)) == f"GET {PATH}: 500 Internal Server Error{text}"


@pytest.mark.parametrize("filler", [b"x", b"\xff", b"{", b"[", b'{"a":', "€".encode()])
def test_a_huge_body_makes_a_short_text(filler: bytes) -> None:
    assert len(str(raised(filler * 10**6))) < 1200


def test_a_status_that_is_longer_than_what_is_read_is_shown_as_text() -> None:
    content = json.dumps({"kind": "Status", "status": "Failure", "message": "x" * MAX_ERROR_BODY}).encode()
    error = raised(content)
    assert error.status is None
    assert len(str(error)) < 1200


@pytest.mark.parametrize(
    ("code", "phrase"), [(418, "I'm a Teapot"), (499, "Unknown"), (599, "Unknown"), (999, "Unknown")]
)
def test_a_code_that_nobody_knows(code: int, phrase: str) -> None:
    assert str(raised(b"", code)).endswith(f": {code} {phrase}")


@pytest.mark.parametrize("subresource", ["exec", "attach", "portforward"])
def test_the_rbac_hint_names_the_subresource(subresource: str) -> None:
    content = b'{"kind":"Status","status":"Failure","message":"no","reason":"Forbidden","code":403}'
    error = raised(content, 403, f"/api/v1/namespaces/x/pods/p/{subresource}")
    assert f"`create` on `pods/{subresource}`" in str(error)


@pytest.mark.parametrize(
    ("code", "path"), [(403, "/api/v1/namespaces/x/pods/exec/log"), (403, "/api/v1/pods"), (404, PATH)]
)
def test_where_it_would_mislead_there_is_no_hint(code: int, path: str) -> None:
    content = b'{"kind":"Status","status":"Failure","message":"no","code":403}'
    assert "role" not in str(raised(content, code, path))


def test_a_refusal_with_a_body_is_not_about_subprotocols() -> None:
    assert "subprotocol" not in str(raised(b"blocked by policy", 403, subprotocols=["v5.channel.k8s.io"]))
    assert "subprotocol" not in str(raised(b"", 403))


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode), st.integers(300, 999))
def test_nothing_that_a_server_sends_breaks_this(content: bytes, code: int) -> None:
    error = raised(content, code)
    assert error.status_code == code
    assert str(error).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = ("kind", "status", "message", "reason", "code", "details")


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(KEYS), JSON),
    st.dictionaries(st.sampled_from(("retryAfterSeconds", "causes")), JSON),
)
def test_no_shape_of_a_status_breaks_it_either(status: dict[str, Any], details: dict[str, Any]) -> None:
    for content in (status, {**status, "kind": "Status", "status": "Failure", "details": details}):
        assert raised(json.dumps(content).encode()).status_code == 500
