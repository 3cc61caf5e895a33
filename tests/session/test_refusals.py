"""What is refused, before the 101 and after it: one exception for one failure, whichever way the server tells it."""

from __future__ import annotations

import pytest

from kubex_stream import (
    ApiError,
    ClientOptions,
    ConnectionFailed,
    Forbidden,
    KubexClientException,
    NotFound,
    Pods,
    ProtocolViolation,
    StartError,
    TooManyRequests,
)
from kubex_stream.client import Request, Response
from kubex_stream.client.api_errors import api_error

from .memory import SUCCESS, V4, V5, MemoryClient, MemoryConnection, serving
from .recorded import Recording, ReplayConnection

SECRET = "--password=hunter2"
NO_PROTOCOL = Recording("refused-403-protocol").response

# name, class of a request, class of an exec, a part of the text
REFUSED: list[tuple[str, type[ApiError], type[ApiError], str]] = [
    ("refused-400-container-name", ApiError, ApiError, "choose one of: [main cat once shell]"),
    ("refused-400-container-unknown", ApiError, ApiError, "container zzz is not valid for pod box"),
    ("refused-400-pending", ApiError, ApiError, "does not have a host assigned"),
    ("refused-400-no-upgrade", ApiError, ApiError, "Upgrade request required"),
    ("refused-400-version", ApiError, StartError, "missing or bad WebSocket Version"),
    ("refused-403-create", Forbidden, Forbidden, "since Kubernetes 1.35, `create` on `pods/exec`"),
    ("refused-403-rbac", Forbidden, Forbidden, 'cannot get resource "pods/exec"'),
    ("refused-403-protocol", Forbidden, Forbidden, V5),
    ("refused-403-two-lines", Forbidden, Forbidden, V5),
    ("refused-404-pod", NotFound, NotFound, 'pods "nope" not found'),
    ("refused-405-post", ApiError, ApiError, "bad method"),
    ("exec-v5-container-gone-kubelet", ApiError, StartError, 'container not found ("main")'),
    ("exec-v5-no-streams-kubelet", ApiError, StartError, "you must specify at least 1 of stdin, stdout, stderr"),
    ("attach-v5-tty-mismatch-kubelet", ApiError, StartError, "tty and stderr cannot both be true"),
]


@pytest.fixture
def anyio_backend() -> str:
    """One event loop is enough: nothing here waits for anything."""
    return "asyncio"


def check(error: ApiError, recording: Recording, text: str) -> None:
    answer = recording.response
    assert error.status_code == answer.status_code
    assert text in str(error)
    assert SECRET not in str(error)
    assert SECRET not in repr(error)
    if answer.content.startswith(b"{"):
        assert error.status is not None
        assert error.status.code == answer.status_code
        assert error.status.message in str(error)
    else:
        assert error.status is None


@pytest.mark.parametrize(("name", "kind", "_", "text"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_refusal_as_an_api_error(name: str, kind: type[ApiError], _: object, text: str) -> None:
    recording = Recording(name)
    error = api_error(recording.response, method="GET", path=recording.path, subprotocols=[V5])
    assert type(error) is kind
    check(error, recording, text)


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "kind", "exec_kind", "text"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_a_refusal_of_a_handshake(name: str, kind: type[ApiError], exec_kind: type[ApiError], text: str) -> None:
    recording = Recording(name)
    async with MemoryClient(*[recording.response] * 2) as client:
        request = Request(path=recording.path, query=[("command", SECRET)])
        with pytest.raises(ApiError) as raised:
            await client.connect_websocket(request, [V5])
        assert type(raised.value) is kind
        check(raised.value, recording, text)

        with pytest.raises(ApiError) as raised:
            await Pods(client).exec.run("one", ["mysql", SECRET], protocols=[V5])
        assert type(raised.value) is exec_kind
        check(raised.value, recording, text)


async def attached(pods: Pods) -> None:
    async with pods.attach.stream("one", protocols=[V5]) as process:
        await process.wait()


@pytest.mark.anyio
@pytest.mark.parametrize("failure", ["exec-v5-container-gone", "exec-v5-no-streams", "attach-v5-tty-mismatch"])
async def test_the_same_failure_before_and_after_the_101_is_the_same_exception(failure: str) -> None:
    before, after = Recording(f"{failure}-kubelet"), Recording(f"{failure}-apiserver")
    errors = []
    for answer in (before.response, ReplayConnection(after)):
        async with serving(answer) as pods:
            with pytest.raises(StartError) as raised:
                await (
                    attached(pods) if failure.startswith("attach") else pods.exec.run("one", ["true"], protocols=[V5])
                )
            errors.append(raised.value)
    told, status = errors
    assert type(told) is type(status) is StartError
    assert told.status_code == before.response.status_code
    assert status.status_code == 500
    assert status.status is not None
    assert status.status.reason == "InternalError"
    assert before.response.content.decode() in str(status)


@pytest.mark.anyio
async def test_a_start_error_keeps_the_servers_words_and_nothing_else() -> None:
    async with serving(ReplayConnection(Recording("exec-v5-not-found-kubelet"))) as pods:
        with pytest.raises(StartError, match="no such file or directory") as raised:
            await pods.exec.run("one", ["/no/such", SECRET], protocols=[V5])
    assert SECRET not in str(raised.value)


@pytest.mark.anyio
async def test_a_server_that_chose_nothing_is_refused_and_left() -> None:
    connection = ReplayConnection(Recording("exec-no-protocol"))
    async with serving(connection) as pods:
        with pytest.raises(ProtocolViolation, match=r"expected one of v4\.channel\.k8s\.io"):
            await pods.exec.run("one", ["true"], protocols=[V4])
    assert connection.closed
    assert connection.cut


@pytest.mark.anyio
async def test_a_server_that_chose_what_was_not_offered_is_refused_and_left() -> None:
    connection = MemoryConnection(SUCCESS, protocol=V5)
    async with serving(connection) as pods:
        with pytest.raises(ProtocolViolation, match=r"got 'v5\.channel\.k8s\.io'"):
            await pods.exec.run("one", ["true"], protocols=[V4])
    assert connection.closed


# Which subprotocols are offered -----------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("given", "offers"),
    [
        ({"stdin": True}, [[V5, V4]]),
        ({}, [[V4]]),
        ({"tty": True}, [[V4]]),
        ({"stdin": True, "tty": True}, [[V4]]),
        ({"on_cancel": "kill"}, [[V4]]),
        ({"protocols": [V5]}, [[V5]]),
        ({"protocols": (V4, V5)}, [[V4, V5]]),
        ({"stdin": True, "protocols": [V4]}, [[V4]]),
        ({"stdin": True, "protocols": [V4], "on_cancel": "kill"}, [[V4]]),
    ],
    ids=str,
)
async def test_what_is_offered(given: dict[str, object], offers: list[list[str]]) -> None:
    async with MemoryClient(MemoryConnection(SUCCESS)) as client:
        async with Pods(client).exec.stream("one", ["true"], **given) as process:  # type: ignore[call-overload]
            assert process.subprotocol == offers[0][0]
        assert client.offers == offers


@pytest.mark.anyio
async def test_attach_offers_by_the_same_rule() -> None:
    async with MemoryClient(MemoryConnection(SUCCESS), MemoryConnection(SUCCESS)) as client:
        pods = Pods(client)
        async with pods.attach.stream("one", stdin=True):
            pass
        async with pods.attach.stream("one", stdin=True, tty=True):
            pass
        assert client.offers == [[V5, V4], [V4]]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "refusal", [NO_PROTOCOL, Response(400, [], b"unsupported subprotocol")], ids=["server", "gateway"]
)
async def test_v5_is_offered_where_v4_alone_is_refused(refusal: Response) -> None:
    async with MemoryClient(refusal, MemoryConnection(SUCCESS)) as client:
        done = await Pods(client).exec.run("one", ["true"])
        assert done.exit_code == 0
        assert client.offers == [[V4], [V5]]


@pytest.mark.anyio
async def test_a_server_that_refuses_both_is_told_of_with_the_last_offer() -> None:
    async with MemoryClient(NO_PROTOCOL, NO_PROTOCOL) as client:
        with pytest.raises(Forbidden, match=r"none of the offered subprotocols: v5\.channel\.k8s\.io"):
            await Pods(client).exec.run("one", ["true"])
        assert client.offers == [[V4], [V5]]


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["refused-403-create", "refused-404-pod", "refused-400-container-name"])
async def test_a_refusal_for_another_reason_is_not_asked_again(name: str) -> None:
    async with MemoryClient(Recording(name).response) as client:
        with pytest.raises(ApiError):
            await Pods(client).exec.run("one", ["true"])
        assert client.offers == [[V4]]


@pytest.mark.anyio
async def test_kill_is_never_offered_v5_even_where_v4_is_refused() -> None:
    async with MemoryClient(NO_PROTOCOL) as client:
        with pytest.raises(Forbidden):
            await Pods(client).exec.run("one", ["true"], on_cancel="kill")
        assert client.offers == [[V4]]


@pytest.mark.anyio
@pytest.mark.parametrize("error", [ConnectionFailed("no route"), ProtocolViolation("not a WebSocket")], ids=repr)
async def test_what_a_transport_raises_on_opening_is_passed_on(error: KubexClientException) -> None:
    async with serving(error) as pods:
        with pytest.raises(type(error)) as raised:
            await pods.exec.run("one", ["true"])
    assert raised.value is error


@pytest.mark.anyio
async def test_a_busy_server_is_an_error_of_its_own_where_retries_are_off() -> None:
    answer = Response(429, [("retry-after", "60")], b"too many requests")
    async with serving(answer, options=ClientOptions(retries=0)) as pods:
        with pytest.raises(TooManyRequests) as raised:
            await pods.exec.run("one", ["true"])
    assert raised.value.retry_after == 60
