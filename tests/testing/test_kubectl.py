"""kubectl against the embedded cluster: a client that nobody here wrote.

``kubectl`` of the PATH, and a second one that KUBEX_STREAM_KUBECTL names (it may have arguments: ``/opt/kube kubectl``).
"""

from __future__ import annotations

import hashlib
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from kubex_stream.testing import OLD_PROTOCOLS, Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod

PATIENCE: Final = 60.0
Kubectl = Callable[..., "subprocess.CompletedProcess[bytes]"]
BOX: Final = EmbeddedPod(
    "box",
    containers=(
        EmbeddedContainer("main", ["sh", "-c", "while :; do echo line; sleep .05; done"]),
        EmbeddedContainer("once", ["sh", "-c", "cat; echo eof"], stdin=True, stdin_once=True),
        EmbeddedContainer("shell", ["sh"], stdin=True, tty=True),
    ),
)


def kubectl_words(which: str) -> list[str]:
    if which == "named":
        named = os.environ.get("KUBEX_STREAM_KUBECTL")
        if not named:
            pytest.skip("KUBEX_STREAM_KUBECTL names no second kubectl")
        return shlex.split(named)
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl in the PATH")
    return ["kubectl"]


@pytest.fixture(params=["path", "named"])
def words(request: pytest.FixtureRequest, embedded: EmbeddedCluster, tmp_path: Path) -> list[str]:
    """kubectl, and the arguments by which it finds the cluster and leaves the home directory alone."""
    where = ["--kubeconfig", str(embedded.kubeconfig), "--cache-dir", str(tmp_path / "cache")]
    return [*kubectl_words(request.param), *where]


@pytest.fixture
def kubectl(words: list[str]) -> Kubectl:
    def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*words, *arguments], input=stdin, capture_output=True, timeout=PATIENCE, check=False)

    return run


@pytest.fixture
def box(embedded: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    embedded.add_pod(BOX)
    yield embedded
    embedded.delete_pod("box")


@pytest.mark.usefixtures("box")
def test_get_pods(kubectl: Kubectl) -> None:
    lines = [line.split() for line in kubectl("get", "pods").stdout.decode().splitlines()]
    assert lines[0] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [line[:4] for line in lines[1:]] == [["box", "3/3", "Running", "0"], ["demo", "1/1", "Running", "0"]]
    assert kubectl("get", "pods", "-A", "-o", "name").stdout == b"pod/box\npod/demo\n"
    assert kubectl("get", "pod", "demo", "-o", "jsonpath={.status.phase}").stdout == b"Running"
    assert b"Active" in kubectl("get", "ns", "default").stdout
    assert kubectl("get", "pod", "nope").stderr == b'Error from server (NotFound): pods "nope" not found\n'


def test_wait(kubectl: Kubectl, embedded: EmbeddedCluster) -> None:
    done = kubectl("wait", "--for=condition=Ready", "pod/demo", "--timeout=20s")
    assert (done.returncode, done.stdout) == (0, b"pod/demo condition met\n")
    embedded.add_pod(EmbeddedPod("pending", phase="Pending", scheduled=False))
    late = kubectl("wait", "--for=condition=Ready", "pod/pending", "--timeout=1s")
    embedded.delete_pod("pending")
    assert late.returncode == 1
    assert b"timed out waiting for the condition" in late.stderr


def test_wait_sees_a_pod_go(words: list[str], embedded: EmbeddedCluster) -> None:
    embedded.add_pod(EmbeddedPod("brief"))
    before = len(embedded.requests)
    with subprocess.Popen(
        [*words, "wait", "--for=delete", "pod/brief", "--timeout=30s"], stdout=subprocess.PIPE
    ) as waiting:
        embedded.wait_for(lambda: any(request.flag("watch") for request in embedded.requests[before:]))
        embedded.delete_pod("brief")
        assert waiting.communicate(timeout=PATIENCE)[0] == b"pod/brief condition met\n"
    assert waiting.returncode == 0


@pytest.mark.parametrize("way", ["kubelet", "apiserver"])
def test_exec(kubectl: Kubectl, embedded: EmbeddedCluster, way: str) -> None:
    embedded.behaviour = Behaviour(way=way)  # type: ignore[arg-type]
    # What comes before kubectl 1.32 has made its streams it reports and drops; a real container does not start that fast.
    done = kubectl("exec", "demo", "--", "sh", "-c", "sleep 0.3; echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, b"out\n")
    assert done.stderr == b"err\ncommand terminated with exit code 7\n"
    missing = kubectl("exec", "demo", "--", "/no/such")
    assert missing.returncode == 1
    assert re.search(
        rb"error: Internal error occurred: Internal error occurred: error executing command in container: "
        rb".*stat /no/such: no such file or directory\n",
        missing.stderr,
    )
    assert kubectl("exec", "demo", "--", "sh", "-c", "kill -9 $$").returncode == 137


def test_exec_with_stdin_and_its_end(kubectl: Kubectl) -> None:
    data = os.urandom(5_000_000)
    done = kubectl("exec", "-i", "demo", "--", "sha256sum", stdin=data)
    assert (done.returncode, done.stdout.split()[0].decode()) == (0, hashlib.sha256(data).hexdigest())
    assert kubectl("exec", "-i", "demo", "--", "cat", stdin=data).stdout == data
    assert kubectl("exec", "-i", "demo", "--", "cat", stdin=b"").returncode == 0


def test_exec_refusals(kubectl: Kubectl, embedded: EmbeddedCluster) -> None:
    assert kubectl("exec", "nope", "--", "true").stderr == b'Error from server (NotFound): pods "nope" not found\n'
    unknown = kubectl("exec", "demo", "-c", "zzz", "--", "true")
    assert unknown.returncode == 1
    assert b"container zzz is not valid for pod demo" in unknown.stderr
    embedded.behaviour = Behaviour(rbac="reader")
    forbidden = kubectl("exec", "demo", "--", "true")
    assert forbidden.returncode == 1
    assert b'pods "demo" is forbidden' in forbidden.stderr
    embedded.behaviour = Behaviour(protocols=OLD_PROTOCOLS)
    spdy = kubectl("exec", "demo", "--", "true")
    assert spdy.returncode == 1
    assert b"this cluster speaks WebSocket only, not SPDY/3.1" in spdy.stderr


def _on_terminal(words: list[str], *arguments: str, typed: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """Run kubectl on a terminal of its own; type each text once the one before it has been seen."""
    master, slave = pty.openpty()
    heard = b""
    with subprocess.Popen(
        [*words, *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    ) as process:
        os.close(slave)
        for wanted, text in [*typed, (b"", b"")]:
            while wanted not in heard and (data := _read(master)):
                heard += data
            os.write(master, text)
        while data := _read(master):
            heard += data
        process.wait(PATIENCE)
    os.close(master)
    return process.returncode, heard


def _read(master: int) -> bytes:
    ready, _, _ = select.select([master], [], [], PATIENCE)
    assert ready, "nothing came on the terminal"
    try:
        return os.read(master, 65536)
    except OSError:  # nobody has the other side open any more
        return b""


def test_exec_on_a_terminal(words: list[str]) -> None:
    script = 'echo ready; read word; stty size; echo "got $word"; exit 4'
    code, heard = _on_terminal(words, "exec", "-it", "demo", "--", "sh", "-c", script, typed=[(b"ready", b"hello\n")])
    assert code == 4
    assert b"got hello\r\n" in heard
    assert b"0 0\r\n" in heard
    assert b"command terminated with exit code 4" in heard


def test_attach_sees_what_comes(words: list[str], box: EmbeddedCluster) -> None:
    with subprocess.Popen(
        [*words, "attach", "box", "-c", "main"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as attached:
        assert attached.stdout is not None
        assert attached.stdout.readline() == b"line\n"
        attached.terminate()
    box.wait_for(lambda: not box.open_sessions)


@pytest.mark.usefixtures("box")
def test_attach_with_stdin_once(kubectl: Kubectl) -> None:
    done = kubectl("attach", "-i", "box", "-c", "once", stdin=b"hello\n")
    assert done.returncode == 0
    assert done.stdout == b"hello\neof\n"


def test_attach_to_a_shell(words: list[str], box: EmbeddedCluster) -> None:
    assert len(box.processes("box")) == 3
    typed = [(b"", b"echo 'a'b\n"), (b"ab\r\n", b"exit 5\n")]
    code, heard = _on_terminal(words, "attach", "-it", "box", "-c", "shell", typed=typed)
    assert code == 0  # attach knows no exit codes
    assert b"ab\r\n" in heard


def test_delete(kubectl: Kubectl, embedded: EmbeddedCluster) -> None:
    embedded.add_pod(EmbeddedPod("doomed"))
    done = kubectl("delete", "pod", "doomed")
    assert done.returncode == 0
    assert b'pod "doomed" deleted' in done.stdout
    assert kubectl("get", "pod", "doomed").returncode == 1
