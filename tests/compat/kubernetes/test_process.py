"""What holds for a whole process: threads, forks, the end, and the clients that are kept."""

from __future__ import annotations

import concurrent.futures
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kubex_stream import BaseClient, ClientOptions
from kubex_stream.client.registry import load_backend
from kubex_stream.compat.kubernetes import STDIN_CHANNEL, Watch, WSClient, configure, portforward, shutdown, stream
from kubex_stream.compat.kubernetes.loop import background
from kubex_stream.errors import BackendNotAvailable
from kubex_stream.testing import EmbeddedCluster
from tests.compat.kubernetes.conftest import Connect, config, official
from tests.documents import ROOT

WHERE = ("demo", "default")


def opened(v1: Any, *command: str, **more: Any) -> WSClient[str]:
    exec_ = v1.connect_get_namespaced_pod_exec
    return stream(exec_, *WHERE, command=list(command), stdout=True, _preload_content=False, **more)


@pytest.fixture
def own() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(quiet=True) as cluster:
        yield cluster


# Threads --------------------------------------------------------------------------------------------------------------


def test_many_threads_share_one_api(v1: Any) -> None:
    """And plain requests, which go on through the official client meanwhile."""

    def work(number: int) -> tuple[str, str, int | None, int]:
        text = stream(v1.connect_get_namespaced_pod_exec, *WHERE, command=["echo", str(number)], stdout=True)
        session = opened(v1, "sh", "-c", f"read a; echo $a {number}; exit {number}", stdin=True)
        session.write_stdin("said\n")
        session.run_forever(30)
        pods = v1.list_namespaced_pod("default").items
        return text, session.read_stdout(), session.returncode, len(pods)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(40)))
        assert sum(thread.name == "kubex-stream" for thread in threading.enumerate()) == 1
    assert found == [(f"{number}\n", f"said {number}\n", number, 1) for number in range(40)]


def test_one_session_in_several_threads(v1: Any) -> None:
    size = 3_000_000
    with opened(v1, "cat", stdin=True) as session:

        def write() -> None:
            for _ in range(30):
                session.write_stdin("z" * (size // 30))
            session.close_channel(STDIN_CHANNEL)

        writer = threading.Thread(target=write)
        counts = [0, 0]

        def read(which: int) -> None:
            while data := session.read_stdout(30):
                counts[which] += len(data)

        readers = [threading.Thread(target=read, args=(which,)) for which in (0, 1)]
        for thread in (writer, *readers):
            thread.start()
        for thread in (writer, *readers):
            thread.join(60)
        assert sum(counts) == size
        assert session.returncode == 0


def test_watches_and_logs_in_many_threads(v1: Any) -> None:
    def watched(_: int) -> tuple[str, str]:
        watch, log = Watch(), Watch()
        event = next(watch.stream(v1.list_namespaced_pod, "default"))
        line = next(log.stream(v1.read_namespaced_pod_log, "demo", "default"))
        watch.stop()
        log.stop()
        return event["object"].metadata.name, line

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(watched, range(24))) == {("demo", "serving HTTP on port 80")}


def test_peeking_while_output_comes(v1: Any) -> None:
    session = opened(v1, "seq", "1", "200000")
    peeking = threading.Thread(target=lambda: [session.peek_stdout() for _ in range(200)])
    peeking.start()
    session.run_forever(60)
    peeking.join(60)
    assert len(session.read_stdout().split()) == 200_000


def test_who_waits_for_the_loop_inside_of_it_is_told(v1: Any) -> None:
    session = opened(v1, "sleep", "60")
    with session:

        async def inside() -> None:
            session.write_stdin("x")

        with pytest.raises(RuntimeError, match="wait for itself"):
            background().run(inside)


# The end --------------------------------------------------------------------------------------------------------------


def test_shutdown_ends_everything_and_anything_begins_anew(v1: Any) -> None:
    session = opened(v1, "sh", "-c", "echo hi; sleep 60")
    assert session.peek_stdout(30) == "hi\n"
    watch = Watch().stream(v1.list_namespaced_pod, "default")
    next(watch)
    forwarded = portforward(v1.connect_get_namespaced_pod_portforward, *WHERE, ports="7")
    shutdown()
    shutdown()
    assert (session.is_open(), session.read_stdout(30), session.read_stdout(30)) == (True, "hi\n", "")
    assert session.returncode is None
    session.close()
    assert list(watch) == []
    assert (forwarded.connected, forwarded.socket(7).recv(1)) == (False, b"")
    forwarded.close()
    with pytest.raises(RuntimeError, match="closed by shutdown"):
        session.write_stdin("x")
    assert stream(v1.connect_get_namespaced_pod_exec, *WHERE, command=["echo", "new"], stdout=True) == "new\n"


PROGRAM = """
import sys, threading
from kubernetes import client, config
from kubex_stream.compat.kubernetes import Watch, stream
v1 = client.CoreV1Api(config.new_client_from_config(sys.argv[1]))
exec_ = v1.connect_get_namespaced_pod_exec
session = stream(exec_, "demo", "default", command=["sleep", "60"], stdout=True, _preload_content=False)
watch = Watch().stream(v1.list_namespaced_pod, "default")
print(next(watch)["object"].metadata.name)
threading.Thread(target=session.run_forever, daemon=True).start()
begun = threading.Event()
def follow():
    for _ in Watch().stream(v1.list_namespaced_pod, "default"):
        begun.set()
threading.Thread(target=follow, daemon=True).start()
begun.wait(30)
"""


def test_a_program_ends_with_everything_open(own: EmbeddedCluster) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", PROGRAM, str(own.kubeconfig)],
        capture_output=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (0, b"demo\n"), done.stderr.decode()
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    own.wait_for(lambda: not own.connections)


FORK = """
import os, sys
from kubernetes import client, config
from kubex_stream.compat.kubernetes import stream
v1 = client.CoreV1Api(config.new_client_from_config(sys.argv[1]))
exec_ = v1.connect_get_namespaced_pod_exec
session = stream(exec_, "demo", "default", command=["cat"], stdin=True, stdout=True, _preload_content=False)
child = os.fork()
if not child:
    code = 1
    try:
        session.write_stdin("child")
    except RuntimeError as error:
        code = 0 if "before a fork" in str(error) else 2
    if stream(exec_, "demo", "default", command=["echo", "hi"], stdout=True) != "hi\\n":
        code = 3
    sys.exit(code)
_, status = os.waitpid(child, 0)
session.write_stdin("parent\\n")
print(os.waitstatus_to_exitcode(status), session.readline_stdout(30))
session.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_begins_anew_and_leaves_the_parents_alone(own: EmbeddedCluster) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, str(own.kubeconfig)],
        capture_output=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (0, b"0 parent\n"), done.stderr.decode()


MISSING = """
import sys
sys.modules["kubernetes"] = None
try:
    import kubex_stream.compat.kubernetes
except ImportError as error:
    print(error)
"""


def test_without_the_official_client() -> None:
    done = subprocess.run([sys.executable, "-c", MISSING], capture_output=True, timeout=60, check=True, cwd=ROOT)
    assert b"pip install kubernetes" in done.stdout


# Clients --------------------------------------------------------------------------------------------------------------


def counting() -> tuple[type[BaseClient], list[str], threading.Event]:
    """A backend that tells when its clients are opened and closed, and an event that is set when the first is closed."""
    told: list[str] = []
    closed = threading.Event()
    usual: Any = load_backend("aiohttp")

    class Counting(usual):  # type: ignore[misc]
        async def start(self) -> None:
            told.append("opened")
            await super().start()

        async def stop(self) -> None:
            await super().stop()
            told.append("closed")
            closed.set()

    return Counting, told, closed


def echo(v1: Any) -> str:
    return stream(v1.connect_get_namespaced_pod_exec, *WHERE, command=["echo", "hi"], stdout=True)


def test_one_client_for_one_configuration(v1: Any) -> None:
    backend, told, closed = counting()
    configure(backend=backend)
    another = official.CoreV1Api(official.ApiClient(v1.api_client.configuration))
    for each in (v1, another, v1):
        assert echo(each) == "hi\n"
    assert told == ["opened"]
    v1.api_client.configuration.verify_ssl = False
    assert echo(v1) == "hi\n"
    assert closed.wait(30)
    assert sorted(told) == ["closed", "opened", "opened"]
    closed.clear()
    configure(backend=backend, options=ClientOptions(open_timeout=5))
    assert echo(v1) == "hi\n"
    assert closed.wait(30)
    assert sorted(told) == ["closed", "closed", "opened", "opened", "opened"]
    another.api_client.close()


def test_a_client_goes_with_its_owner(own: EmbeddedCluster, connect: Connect) -> None:
    backend, told, closed = counting()
    configure(backend=backend)
    assert connect(own) is not None
    v1 = official.CoreV1Api(config.new_client_from_config(str(own.kubeconfig)))
    session = opened(v1, "cat", stdin=True)
    v1.api_client.close()
    del v1
    gc.collect()
    session.write_stdin("still\n")
    assert session.readline_stdout(30) == "still"
    assert told == ["opened"]
    session.close()
    del session
    gc.collect()
    assert closed.wait(30)
    assert told == ["opened", "closed"]


def test_a_token_that_is_renewed(own: EmbeddedCluster, connect: Connect) -> None:
    v1 = connect(own)
    assert echo(v1) == "hi\n"
    token = own.rotate_token()
    v1.api_client.configuration.refresh_api_key_hook = None
    for name in v1.api_client.configuration.api_key:
        v1.api_client.configuration.api_key[name] = f"Bearer {token}"
    assert echo(v1) == "hi\n"


def test_wrong_settings() -> None:
    with pytest.raises(BackendNotAvailable, match="no backend 'carrier-pigeon'"):
        configure(backend="carrier-pigeon")
    with pytest.raises(TypeError, match="ClientOptions"):
        configure(options={"open_timeout": 5})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="backend"):
        configure(backend=7)  # type: ignore[arg-type]
