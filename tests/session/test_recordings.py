"""Sessions that a real cluster has carried: the same frames give the same output and ending, and the same calls send the same."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import anyio
import pytest

from kubex_stream import (
    AttachedProcess,
    ClientOptions,
    ConnectionLost,
    ExecProcess,
    KubexClientException,
    OutputStream,
    Pods,
    StartError,
    StatusMissing,
)

from .memory import CLOSE_STDIN, MemoryClient, MemoryConnection
from .recorded import Recording, ReplayConnection, Sent, SteppingReplay

Process = ExecProcess[OutputStream] | AttachedProcess[OutputStream]
#: The client left before there was an ending.
LEFT: Final = "left"
ATTACHED: Final = "attached"

LINES: Final = b"".join(b"%07d\n" % number for number in range(25600))
SHELL: Final = b"\r/ # \x1b[J\r/ # \x1b[Jstty size\r\n24 80\r\n/ # \x1b[6nexit 5\r\n"


@dataclass(frozen=True)
class Expected:
    """What a recording has to give.

    :ivar ending: an exit code, an exception's class, LEFT or ATTACHED
    :ivar ours: whether our own calls can say what its client said, which was sometimes wrong on purpose
    """

    name: str
    ending: int | type[KubexClientException] | str
    stdout: bytes = b""
    stderr: bytes = b""
    ours: bool = True
    query: bool = field(default=True, kw_only=True)

    def __str__(self) -> str:
        return self.name


SESSIONS = [
    Expected("exec-v5-stdout-kubelet", 0, b"hello\n"),
    Expected("exec-v5-stdout-apiserver", 0, b"hello\n"),
    Expected("exec-v5-both-exit7-kubelet", 7, b"out\n", b"err\n"),
    Expected("exec-v5-both-exit7-apiserver", 7, b"out\n", b"err\n"),
    Expected("exec-v5-not-found-kubelet", StartError),
    Expected("exec-v5-not-found-apiserver", StartError),
    Expected("exec-v5-stdin-half-close-kubelet", 0, b"hello world\n"),
    Expected("exec-v5-stdin-half-close-apiserver", 0, b"hello world\n"),
    Expected("exec-v5-tty-resize-kubelet", 3, b"0 0\r\n\r\n40 100\r\n"),
    Expected("exec-v5-tty-resize-apiserver", 3, b"0 0\r\n\r\n40 100\r\n"),
    Expected("exec-v5-container-gone-apiserver", StartError),
    Expected("exec-v5-no-streams-apiserver", StartError, ours=False),
    Expected("exec-v5-signal", 137),
    Expected("exec-v5-stderr-only", 0, b"", b"err\n"),
    Expected("exec-v5-stdin-only", 0),
    Expected("exec-v5-no-output", 0),
    Expected("exec-v5-binary", 0, bytes(range(256)) + b"sch\xc3\xb6n \xe2\x82"),
    Expected("exec-v5-large", 0, LINES),
    Expected("exec-v5-unread-channels", 0, b"ok", ours=False),
    Expected("exec-v5-fragmented", 0, b"abcdefghi", ours=False),
    Expected("exec-v5-unmasked", ConnectionLost, b"abc", ours=False),
    Expected("exec-v5-close-wrong-length", StatusMissing, b"abc", ours=False),
    Expected("exec-v5-ping", 0),
    Expected("exec-v5-client-close", LEFT, b"abc"),
    Expected("exec-v5-tty-half-close", 3, b"a\r\n", ours=False),
    Expected("exec-v5-tty-ctrl-d", 0, b"# echo hi\r\nhi\r\n# \r\n"),
    Expected("exec-v5-offered-last", 0, b"x\n"),
    Expected("exec-v4-both-exit7", 7, b"out\n", b"err\n"),
    Expected("exec-v4-not-found", StartError),
    Expected("exec-v4-close-is-ignored", LEFT, b"abcdef", ours=False),
    Expected("exec-v4-tty", 4, b"# exit 4\r\n"),
    Expected("exec-v4-tty-no-stdin", 0, query=False),
    Expected("attach-v5-output", LEFT, b"line 632\nline 633\n", b"err 632\nerr 633\n"),
    Expected("attach-v5-cat", ATTACHED, b"hello\n"),
    Expected("attach-v5-stdin-once", ATTACHED, b"one\neof\n"),
    Expected("attach-v5-tty-exit5", ATTACHED, SHELL),
    Expected("attach-v5-tty-mismatch-apiserver", StartError),
]
WHOLE_RUNS = [e for e in SESSIONS if e.name.startswith("exec") and e.ending != LEFT and "tty" not in e.name]


def opened(pods: Pods, recording: Recording) -> AbstractAsyncContextManager[Process]:
    """The call that makes the recording's request."""
    query = recording.query
    words = [value for key, value in parse_qsl(urlsplit(recording.target).query) if key == "command"]
    flags = {key: value == "true" for key, value in query if key in ("stdin", "stdout", "stderr", "tty")}
    if not (flags.get("stdin") or flags.get("stdout") or flags.get("stderr")):
        flags["stdout"] = True  # nothing at all is refused before anything is sent
    given: dict[str, Any] = {
        "namespace": "wire",
        "container": dict(query).get("container"),
        "protocols": recording.offered,
        **dict.fromkeys(("stdin", "stdout", "stderr", "tty"), False),
        **flags,
    }
    pod = recording.path.split("/")[6]
    if recording.path.endswith("/attach"):
        attached: AbstractAsyncContextManager[Process] = pods.attach.stream(pod, **given)
        return attached
    executed: AbstractAsyncContextManager[Process] = pods.exec.stream(pod, words, **given)
    return executed


async def say(process: Process, recording: Recording) -> None:
    """Make the calls that the recording's client made."""
    for message in recording.calls:
        if message in (CLOSE_STDIN, b"\x00\x04"):
            await process.stdin.aclose()
        elif message[0] == 4:
            (width, height) = Sent.of([message]).sizes[0]
            await process.resize(width=width, height=height)
        elif message[0] == 0:
            await process.stdin.send(message[1:])


async def converse(
    connection: MemoryConnection, recording: Recording, expected: Expected, *, speaking: bool
) -> MemoryClient:
    """Hold the session, and check what comes out of it."""
    got = {"stdout": bytearray(), "stderr": bytearray()}
    failures: list[KubexClientException] = []

    async def collect(process: Process, name: str) -> None:
        wanted = len(getattr(expected, name))
        try:
            while expected.ending != LEFT or len(got[name]) < wanted:
                got[name] += await getattr(process, name).receive()
        except anyio.EndOfStream:
            return
        except KubexClientException as error:
            failures.append(error)

    async with MemoryClient(connection, options=ClientOptions()) as client:
        with anyio.fail_after(10):
            async with opened(Pods(client), recording) as process:
                async with anyio.create_task_group() as tasks:
                    for name in outputs(recording):
                        tasks.start_soon(collect, process, name)
                    if speaking:
                        await say(process, recording)
                await check_ending(process, expected)
    assert (bytes(got["stdout"]), bytes(got["stderr"])) == (expected.stdout, expected.stderr)
    if isinstance(expected.ending, type):
        assert [type(failure) for failure in failures] == [expected.ending] * len(outputs(recording))
    else:
        assert not failures
    return client


def outputs(recording: Recording) -> list[str]:
    asked = [name for name in ("stdout", "stderr") if (name, "true") in recording.query]
    return asked or ([] if ("stdin", "true") in recording.query else ["stdout"])


async def check_ending(process: Process, expected: Expected) -> None:
    if expected.ending == LEFT:
        assert process.status is None
    elif isinstance(expected.ending, type):
        with pytest.raises(expected.ending):
            await process.wait()
        assert not isinstance(process, ExecProcess) or process.exit_code is None
    elif expected.ending == ATTACHED:
        assert isinstance(process, AttachedProcess)
        await process.wait()
        assert process.status is not None
        assert process.status.status == "Success"
    else:
        assert isinstance(process, ExecProcess)
        assert await process.wait() == expected.ending == process.exit_code


#: Messages that are all there at once, and messages that come frame by frame.
KINDS: Final = (ReplayConnection, SteppingReplay)


@pytest.mark.anyio
@pytest.mark.parametrize("expected", SESSIONS, ids=str)
async def test_a_session_read_at_once_and_frame_by_frame(expected: Expected) -> None:
    recording = Recording(expected.name)
    for kind in KINDS:
        await converse(kind(recording, strict=False), recording, expected, speaking=False)


@pytest.mark.anyio
@pytest.mark.parametrize("expected", [e for e in SESSIONS if e.ours], ids=str)
async def test_the_same_calls_make_the_same_session(expected: Expected) -> None:
    recording = Recording(expected.name)
    for kind in KINDS:
        connection = kind(recording)
        client = await converse(connection, recording, expected, speaking=True)

        assert Sent.of(connection.sent) == recording.sent
        ((request, offered),) = client.handshakes
        assert offered == recording.offered
        target = urlsplit(request.url)
        assert target.path == recording.path
        if expected.query:
            assert sorted(pair for pair in parse_qsl(target.query) if pair[1] != "false") == recording.query
        assert connection.closed_with == 1000


@pytest.mark.anyio
@pytest.mark.parametrize("expected", WHOLE_RUNS, ids=str)
async def test_the_same_sessions_as_a_run(expected: Expected) -> None:
    recording = Recording(expected.name)
    fed = recording.sent.stdin if expected.ours and recording.sent.closes else None
    for kind in KINDS:
        async with MemoryClient(kind(recording, strict=fed is not None)) as client:
            run = Pods(client, "wire").exec.run("one", ["x"], input=fed, protocols=recording.offered)
            if isinstance(expected.ending, type):
                with pytest.raises(expected.ending) as raised:
                    await run
                assert getattr(raised.value, "stdout", None) == expected.stdout
            else:
                done = await run
                assert (done.exit_code, done.stdout, done.stderr) == (expected.ending, expected.stdout, expected.stderr)


def test_every_recorded_session_is_replayed_somewhere() -> None:
    from .recorded import FOLDER

    refused = {"attach-v5-tty-mismatch-kubelet", "exec-v5-container-gone-kubelet", "exec-v5-no-streams-kubelet"}
    other_protocols = {"exec-no-protocol", "exec-v1-base64", "exec-v1-exit7", "exec-v1-ok", "exec-v4-base64"}
    there = {path.stem for path in FOLDER.glob("*.json") if path.stem.startswith(("exec-", "attach-"))}
    assert there == {expected.name for expected in SESSIONS} | refused | other_protocols
