"""What goes wrong, on every backend and event loop: each with an error of its own, early where it can be, and nothing lost before it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import anyio.to_thread
import pytest

from kubex_stream import (
    ApiError,
    ClientConfiguration,
    ClientOptions,
    ConnectionFailed,
    ConnectionLost,
    Forbidden,
    HalfCloseUnsupported,
    NotFound,
    Pods,
    ProtocolViolation,
    StartError,
    StatusMissing,
    StreamTimeout,
)
from kubex_stream.testing import (
    OLD_PROTOCOLS,
    Behaviour,
    EmbeddedCluster,
    EmbeddedContainer,
    EmbeddedPod,
    HttpFailure,
    InjectedFrame,
)
from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio

#: Writes to both outputs, and ends with 7.
TALK = ["sh", "-c", "echo out; echo err >&2; exit 7"]
TEXT = 1

Connect: TypeAlias = Callable[..., AbstractAsyncContextManager[Pods]]


@pytest.fixture
def connect(make_client: MakeClient) -> Connect:
    """``async with connect(behaviour, **options) as pods``: a client of an embedded cluster that behaves so."""

    @asynccontextmanager
    async def connected(behaviour: Behaviour | None = None, **options: Any) -> AsyncGenerator[Pods, None]:
        two = EmbeddedPod("two", containers=[EmbeddedContainer("a"), EmbeddedContainer("b")])
        cluster = EmbeddedCluster([EmbeddedPod("demo"), two], behaviour=behaviour or Behaviour(), quiet=True)
        await anyio.to_thread.run_sync(cluster.__enter__)
        try:
            async with make_client(cluster.configuration, ClientOptions(retries=0, **options)) as client:
                yield Pods(client)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(cluster.__exit__, None, None, None)

    return connected


async def test_a_pod_or_container_that_is_not_there(connect: Connect) -> None:
    async with connect() as pods:
        with pytest.raises(NotFound, match='pods "nope" not found'):
            await pods.exec.run("nope", TALK)
        with pytest.raises(NotFound):
            await pods.get("nope")
        with pytest.raises(ApiError, match="container nope is not valid for pod demo"):
            await pods.exec.run("demo", TALK, container="nope")
        with pytest.raises(ApiError, match=r"a container name must be specified for pod two, choose one of: \[a b\]"):
            await pods.exec.run("two", TALK)


async def test_arguments_that_cannot_be_meant(connect: Connect) -> None:
    async with connect() as pods:
        for name in ("a/b", "..", "", "Demo"):
            with pytest.raises(ValueError, match="not the name of a pod"):
                await pods.exec.run(name, TALK)
        with pytest.raises(ValueError, match="command is empty"):
            await pods.exec.run("demo", [])
        with pytest.raises(TypeError, match="not a string"):
            await pods.exec.run("demo", "ls -l")
        with pytest.raises(ValueError, match="on_cancel='kill' works on v4"):
            await pods.exec.run("demo", ["cat"], input=b"", on_cancel="kill")
        with pytest.raises(LookupError):
            await pods.exec.run("demo", TALK, encoding="no-such-encoding")


async def test_a_server_without_v5_where_an_end_of_input_is_needed(connect: Connect) -> None:
    async with connect(Behaviour(protocols=OLD_PROTOCOLS)) as pods:
        with pytest.raises(HalfCloseUnsupported, match="nothing was started"):
            await pods.exec.run("demo", ["cat"], input=b"x")
        assert (await pods.exec.run("demo", TALK)).exit_code == 7


async def test_a_server_that_knows_v5_only(connect: Connect) -> None:
    async with connect(Behaviour(protocols=("v5.channel.k8s.io",))) as pods:
        assert (await pods.exec.run("demo", TALK)).exit_code == 7


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (InjectedFrame(b"\x01text", opcode=TEXT, when="before-status"), "text message"),
        (InjectedFrame(b"\x01" + bytes(5000), when="before-status"), "more than 4096 bytes"),
    ],
    ids=["text", "too-large"],
)
async def test_a_message_that_is_not_allowed(connect: Connect, frame: InjectedFrame, message: str) -> None:
    async with connect(Behaviour(inject=(frame,)), ws_max_message_size=4096) as pods:
        with pytest.raises(ProtocolViolation, match=message) as caught:
            await pods.exec.run("demo", TALK)
    assert (caught.value.stdout, caught.value.stderr) == (b"out\n", b"err\n")


async def test_an_unknown_channel_is_dropped(connect: Connect) -> None:
    async with connect(Behaviour(inject=(InjectedFrame(b"\x07what"),))) as pods:
        done = await pods.exec.run("demo", TALK)
    assert (done.exit_code, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


@pytest.mark.parametrize(
    "status", [b"{", b"garbage", b"{}", b"[]", b'{"status": "Failure", "reason": "NonZeroExitCode"}']
)
async def test_a_status_that_is_none(connect: Connect, status: bytes) -> None:
    async with connect(Behaviour(raw_status=status)) as pods:
        with pytest.raises(ProtocolViolation, match="Status cannot be read") as caught:
            await pods.exec.run("demo", TALK)
    assert (caught.value.stdout, caught.value.raw) == (b"out\n", status)


async def test_a_reset_before_the_status_is_no_exit_code(connect: Connect) -> None:
    async with connect(Behaviour(tcp_end_before_status=True)) as pods:
        with pytest.raises(ConnectionLost) as caught:
            await pods.exec.run("demo", TALK)
    assert (caught.value.stdout, caught.value.stderr) == (b"out\n", b"err\n")


async def test_a_reset_after_the_status_is_the_normal_end(connect: Connect) -> None:
    async with connect(Behaviour(tcp_reset="after-status")) as pods:
        assert (await pods.exec.run("demo", TALK)).exit_code == 7


@pytest.mark.parametrize(("code", "error"), [(1000, StatusMissing), (1001, StatusMissing), (1011, ConnectionLost)])
async def test_a_close_instead_of_the_status(connect: Connect, code: int, error: type[Exception]) -> None:
    async with connect(Behaviour(close_code=code)) as pods:
        with pytest.raises(error, match=str(code)):
            await pods.exec.run("demo", TALK)


async def test_a_403_without_a_body(connect: Connect) -> None:
    failure = HttpFailure(403, path="/exec", content_length=False)
    async with connect(Behaviour(failures=(failure,))) as pods:
        with pytest.raises(Forbidden, match="none of the offered subprotocols") as caught:
            await pods.exec.run("demo", TALK)
    assert caught.value.status is None


@pytest.mark.parametrize("way", ["kubelet", "apiserver"])
async def test_a_program_that_is_not_there(connect: Connect, way: Any) -> None:
    async with connect(Behaviour(way=way)) as pods:
        with pytest.raises(StartError, match="no such file or directory"):
            await pods.exec.run("demo", ["/no/such/program"])


async def test_a_certificate_that_is_not_trusted(make_client: MakeClient, cluster: EmbeddedCluster) -> None:
    untrusted = ClientConfiguration(url=cluster.url, token=cluster.token)
    async with make_client(untrusted) as client:
        with pytest.raises(ConnectionFailed, match="certificate"):
            await Pods(client).exec.run("demo", TALK)


async def test_nobody_listens(make_client: MakeClient) -> None:
    async with make_client(ClientConfiguration(url="http://127.0.0.1:1", token="x")) as client:
        with pytest.raises(ConnectionFailed):
            await Pods(client).exec.run("demo", TALK)


async def test_a_handshake_that_hangs(connect: Connect) -> None:
    async with connect(Behaviour(hang_handshake=True), open_timeout=0.3) as pods:
        with pytest.raises(StreamTimeout, match=r"took longer than 0\.3 s"):
            await pods.exec.run("demo", TALK)


async def test_a_status_that_never_comes_is_bounded_by_timeout(connect: Connect) -> None:
    async with connect(Behaviour(no_status=True)) as pods:
        with pytest.raises(StreamTimeout) as caught:
            await pods.exec.run("demo", TALK, timeout=2)
    assert (caught.value.stdout, caught.value.stderr) == (b"out\n", b"err\n")
