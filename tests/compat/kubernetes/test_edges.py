"""What goes wrong between threads and processes, and what programs of the official client do without a thought."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from kubex_stream.compat.kubernetes import STDOUT_CHANNEL, Watch, WSClient, stream
from kubex_stream.compat.kubernetes.clients import lease_of
from kubex_stream.compat.kubernetes.inbox import End, Inbox
from kubex_stream.compat.kubernetes.loop import background
from kubex_stream.compat.kubernetes.pieces import text_pieces
from kubex_stream.compat.kubernetes.session import Session
from kubex_stream.testing import EmbeddedCluster
from tests.compat.kubernetes.conftest import official
from tests.documents import ROOT

WHERE = ("demo", "default")


@pytest.fixture
def own() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(quiet=True) as cluster:
        yield cluster


def run(program: str, cluster: EmbeddedCluster) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(cluster.kubeconfig)],
        capture_output=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


# Processes ------------------------------------------------------------------------------------------------------------

FORK = """
import os, signal, sys
from kubernetes import client, config
from kubex_stream.compat.kubernetes import Watch
v1 = client.CoreV1Api(config.new_client_from_config(sys.argv[1]))
watch = Watch()
events = watch.stream(v1.list_namespaced_pod, "default")
next(events)
child = os.fork()
if not child:
    signal.alarm(30)
    try:
        next(events)
    except RuntimeError as error:
        watch.stop()
        sys.exit(0 if "before a fork" in str(error) else 2)
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
watch.stop()
print(list(events))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_does_not_wait_for_its_parents_events(own: EmbeddedCluster) -> None:
    assert run(FORK, own) == (0, "0\n[]\n", "")


EXIT = """
import sys, threading
from kubernetes import client, config
from kubex_stream.compat.kubernetes import Watch, stream
v1 = client.CoreV1Api(config.new_client_from_config(sys.argv[1]))
exec_, where = v1.connect_get_namespaced_pod_exec, ("demo", "default")
begun = threading.Barrier(4)

def write():
    session = stream(exec_, *where, command=["sleep", "600"], stdin=True, stdout=True, _preload_content=False)
    begun.wait()
    session.write_stdin(b"x" * 50_000_000)

def follow():
    known = False
    while True:
        for _ in Watch().stream(v1.list_namespaced_pod, "default"):
            if not known:
                begun.wait()
            known = True

def collect():
    session = stream(exec_, *where, command=["sleep", "600"], stdout=True, _preload_content=False)
    begun.wait()
    stream(exec_, *where, command=["sleep", "600"], stdout=True)

for work in (write, follow, collect):
    threading.Thread(target=work, daemon=True).start()
begun.wait()
"""


def test_daemon_threads_that_wait_are_quiet_at_the_end_of_the_program(own: EmbeddedCluster) -> None:
    assert run(EXIT, own) == (0, "", "")


# Threads --------------------------------------------------------------------------------------------------------------


def test_a_generator_may_be_collected_while_the_loop_waits_for_this_thread(v1: Any) -> None:
    session = stream(
        v1.connect_get_namespaced_pod_exec, *WHERE, command=["cat"], stdin=True, stdout=True, _preload_content=False
    )
    inbox = Inbox({STDOUT_CHANNEL: text_pieces()})
    events = Watch().stream(v1.list_namespaced_pod, "default")
    next(events)
    reached = threading.Event()

    def finish() -> None:
        reached.set()
        inbox.finish(End())  # waits until the thread below has left the lock

    def close_inside() -> bool:
        background().call_soon(finish)
        assert reached.wait(30)
        events.close()  # as a collection would
        return True

    waiting = threading.Thread(target=lambda: inbox.wait(close_inside, 0), daemon=True)
    waiting.start()
    waiting.join(30)
    assert not waiting.is_alive()
    session.close()


class _Late(Inbox[str]):
    """Everything, and the end, comes just after somebody has looked."""

    late: Callable[[], object] | None = None

    def wait(self, ready: Callable[[], bool], timeout: float | None) -> bool:
        found = super().wait(ready, timeout)
        late, self.late = self.late, None
        if late is not None:
            late()
        return found


@pytest.fixture
def ending(v1: Any) -> WSClient[str]:
    loop = background()
    inbox = _Late({STDOUT_CHANNEL: text_pieces()})

    def late() -> None:
        inbox.put(STDOUT_CHANNEL, b"one\ntwo\n")
        inbox.finish(End(code=0))

    inbox.late = late
    return WSClient(loop, Session(loop, lease_of(loop, v1.api_client), inbox), inbox, "\n")


def test_output_and_end_that_come_after_a_look_are_not_missed(ending: WSClient[str]) -> None:
    found = ""
    while ending.is_open():
        found += ending.read_stdout(timeout=0)
    assert found == "one\ntwo\n"


def test_a_line_that_comes_after_a_look_is_one_line(ending: WSClient[str]) -> None:
    assert [ending.readline_stdout(timeout=0) for _ in range(3)] == ["one", "two", ""]


# As programs do -------------------------------------------------------------------------------------------------------


def test_a_server_that_may_have_any_name(v1: Any) -> None:
    """The official examples say so; names are checked all the same, and credentials are still that configuration's."""
    given = v1.api_client.configuration
    loose = official.Configuration(host=given.host)
    loose.ssl_ca_cert, loose.assert_hostname = given.ssl_ca_cert, False
    asked = []

    def renew(configuration: Any) -> None:
        asked.append(configuration.host)
        configuration.api_key = dict(given.api_key)

    loose.refresh_api_key_hook = renew
    with official.ApiClient(loose) as api_client:
        exec_ = official.CoreV1Api(api_client).connect_get_namespaced_pod_exec
        assert stream(exec_, *WHERE, command=["echo", "hi"], stdout=True) == "hi\n"
        assert asked
        loose.tls_server_name = "another.example"
        with pytest.raises(official.ApiException, match="certificate"):
            stream(exec_, *WHERE, command=["echo", "hi"], stdout=True)


def test_a_method_with_some_of_its_arguments(v1: Any) -> None:
    pods = partial(v1.list_namespaced_pod, "default", field_selector="metadata.name=demo")
    event = next(Watch().stream(pods, timeout_seconds=30))
    assert event["object"].metadata.name == "demo"
    log = partial(v1.read_namespaced_pod_log, "demo", namespace="default")
    assert next(Watch().stream(log)) == "serving HTTP on port 80"
