"""Wrong arguments: an early and specific error, and no handshake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from kubex_stream import STDOUT, Pods

from .memory import SUCCESS, V4, V5, MemoryClient, MemoryConnection

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """One event loop is enough: nothing here waits for anything."""
    return "asyncio"


@pytest.fixture
async def client() -> AsyncIterator[MemoryClient]:
    async with MemoryClient(MemoryConnection(SUCCESS)) as client:
        yield client


@pytest.mark.parametrize(
    ("command", "kind", "text"),
    [
        ("ls -l", TypeError, r"\['sh', '-c', 'ls \| wc -l'\], not a string"),
        (b"ls", TypeError, "not a string"),
        ([], ValueError, "command is empty"),
        ([""], ValueError, "command is empty"),
        (["ls", 1], TypeError, "a list of strings"),
        ([b"ls"], TypeError, "a list of strings"),
        (None, TypeError, "a list of strings"),
        ({"ls"}, TypeError, "a list of strings"),
    ],
)
async def test_a_command_is_a_list_of_strings(
    client: MemoryClient, command: Any, kind: type[Exception], text: str
) -> None:
    pods = Pods(client)
    with pytest.raises(kind, match=text):
        pods.exec.stream("one", command)
    with pytest.raises(kind, match=text):
        await pods.exec.run("one", command)
    assert client.offers == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../secrets", "Web", "web_0", "-a", "a-", "a" * 254, "a%2fb", "ä"]
)
async def test_names_that_nothing_can_have_are_refused(client: MemoryClient, name: str) -> None:
    pods = Pods(client)
    for kind in ("pod", "container", "namespace"):
        given: dict[str, Any] = {"container": {"container": name}, "namespace": {"namespace": name}}.get(kind, {})
        with pytest.raises(ValueError, match=f"is not the name of a {kind}"):
            pods.exec.stream(name if kind == "pod" else "one", ["x"], **given)
        with pytest.raises(ValueError, match=f"is not the name of a {kind}"):
            pods.attach.stream(name if kind == "pod" else "one", **given)
    with pytest.raises(ValueError, match="is not the name of a namespace"):
        Pods(client, name)
    assert client.offers == []


async def test_a_name_that_is_no_string_is_refused(client: MemoryClient) -> None:
    with pytest.raises(TypeError, match="the pod must be a string, not int"):
        Pods(client).exec.stream(7, ["x"])  # type: ignore[call-overload]  # wrong on purpose


async def test_no_streams_at_all(client: MemoryClient) -> None:
    pods = Pods(client)
    with pytest.raises(ValueError, match="at least one of stdin, stdout and stderr"):
        pods.exec.stream("one", ["x"], stdout=False, stderr=False)
    with pytest.raises(ValueError, match="at least one of stdin, stdout and stderr"):
        await pods.exec.run("one", ["x"], stdout=False, stderr=False)
    with pytest.raises(ValueError, match="at least one of stdin, stdout and stderr"):
        pods.attach.stream("one", stdout=False, stderr=False)
    with pytest.raises(ValueError, match="stderr=STDOUT needs stdout"):
        pods.exec.stream("one", ["x"], stdout=False, stderr=STDOUT)


@pytest.mark.parametrize(
    "protocols",
    [[], ["v3.channel.k8s.io"], ["channel.k8s.io"], ["v4.base64.channel.k8s.io"], [""], [V5, "SPDY/3.1"], V5, ["V5.CHANNEL.K8S.IO"]],
    ids=str,
)  # fmt: skip
async def test_subprotocols_that_no_session_speaks(client: MemoryClient, protocols: Any) -> None:
    pods = Pods(client)
    with pytest.raises(ValueError, match=r"subprotocol"):
        pods.exec.stream("one", ["x"], protocols=protocols)
    with pytest.raises(ValueError, match=r"subprotocol"):
        pods.attach.stream("one", protocols=protocols)


async def test_an_unknown_on_cancel(client: MemoryClient) -> None:
    with pytest.raises(ValueError, match="on_cancel is 'leave' or 'kill', not 'term'"):
        Pods(client).exec.stream("one", ["x"], on_cancel="term")  # type: ignore[call-overload]  # wrong on purpose


@pytest.mark.parametrize("target", ["text", 7, None, object()])
async def test_what_cannot_take_output(client: MemoryClient, target: Any) -> None:
    pods = Pods(client)
    for name in ("stdout", "stderr"):
        with pytest.raises(TypeError, match=f"^{name} must be True, False, a function that takes bytes, or an object"):
            await pods.exec.run("one", ["x"], **{name: target})
    assert client.offers == []


async def test_the_request_says_everything_and_quotes_it(client: MemoryClient) -> None:
    words = ["sh", "-c", "echo a&b=c; echo 'ü+%' #", ""]
    async with Pods(client, "prod").exec.stream("web-0", words, container="app", headers={"X-Trace": "1"}):
        pass
    ((request, _),) = client.handshakes
    target = urlsplit(request.url)
    assert target.path == "/api/v1/namespaces/prod/pods/web-0/exec"
    assert parse_qsl(target.query, keep_blank_values=True) == [
        ("container", "app"),
        *[("command", word) for word in words],
        ("stdin", "false"),
        ("stdout", "true"),
        ("stderr", "true"),
        ("tty", "false"),
    ]
    assert ("X-Trace", "1") in request.headers
    assert ("Accept", "*/*") in request.headers
    assert request.method == "GET"
    assert "echo" not in repr(request)


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ({"tty": True}, {"stdin", "stdout", "tty"}),
        ({"tty": True, "stdin": True, "stderr": True}, {"stdin", "stdout", "tty"}),
        ({"stdin": True}, {"stdin", "stdout", "stderr"}),
        ({"stdout": False}, {"stderr"}),
        ({"stderr": False}, {"stdout"}),
        ({"stderr": STDOUT}, {"stdout", "stderr"}),
    ],
    ids=lambda value: str(sorted(value)) if isinstance(value, set) else str(value),
)
async def test_which_streams_are_asked_for(client: MemoryClient, given: dict[str, Any], flags: set[str]) -> None:
    async with Pods(client).exec.stream("one", ["x"], protocols=[V4], **given):
        pass
    ((request, _),) = client.handshakes
    asked = dict(parse_qsl(urlsplit(request.url).query))
    assert {name for name in ("stdin", "stdout", "stderr", "tty") if asked[name] == "true"} == flags


async def test_a_terminal_has_one_output(client: MemoryClient) -> None:
    async with Pods(client).exec.stream("one", ["sh"], tty=True) as process:
        with pytest.raises(RuntimeError, match="a tty"):
            _ = process.stderr
