"""The life of an embedded cluster: on every event loop, with everything gone at its end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import anyio.to_thread
import pytest

from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.testing.raw_client import CLOSED, PING, PONG, V4, RawClient, open_exec, run


@pytest.mark.anyio
async def test_it_runs_on_every_event_loop() -> None:
    async with EmbeddedCluster(quiet=True) as cluster:
        heard = await anyio.to_thread.run_sync(run, cluster, ["echo", "hi"])
        assert heard.channel(1) == b"hi\n"
        kubeconfig = cluster.kubeconfig
        assert kubeconfig.exists()
    assert not kubeconfig.parent.exists()


def test_without_tls_it_speaks_plain_http() -> None:
    with EmbeddedCluster(tls=False, quiet=True) as cluster:
        assert cluster.url.startswith("http://127.0.0.1:")
        assert cluster.ca_pem == b""
        assert run(cluster, ["echo", "hi"]).channel(1) == b"hi\n"
        with pytest.raises(RuntimeError, match="tls=False"):
            cluster.client_certificate()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_it_can_listen_on_ipv6_loopback() -> None:
    with EmbeddedCluster(host="::1", quiet=True) as cluster:
        assert cluster.url.startswith("https://[::1]:")
        assert run(cluster, ["echo", "hi"]).channel(1) == b"hi\n"


def test_the_configuration_is_complete() -> None:
    with EmbeddedCluster(quiet=True, prefix="/p") as cluster:
        configuration = cluster.configuration
        assert str(configuration.url).rstrip("/") == cluster.url
        assert cluster.token not in repr(configuration)


def test_nothing_but_loopback() -> None:
    with pytest.raises(ValueError, match="loopback only"):
        EmbeddedCluster(host="0.0.0.0")


def test_it_warns_on_stderr_unless_told_to_be_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    with EmbeddedCluster() as cluster:
        out, err = capfd.readouterr()
        assert out == ""
        assert cluster.url in err
        assert "runs commands on this machine" in err
        assert cluster.token not in err + repr(cluster)
    with EmbeddedCluster(quiet=True):
        assert capfd.readouterr() == ("", "")


def test_used_before_or_after_its_time_it_says_so() -> None:
    cluster = EmbeddedCluster(quiet=True)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="not running"):
            cluster.processes()
        with pytest.raises(RuntimeError, match="not running"):
            _ = cluster.kubeconfig
        with cluster, pytest.raises(RuntimeError, match="runs already"):
            cluster.start()


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing() -> None:
    before = threading.active_count()
    with EmbeddedCluster(quiet=True) as cluster:
        port = urlsplit(cluster.url).port
        assert port is not None
        with pytest.raises(OSError, match="in use"):
            EmbeddedCluster(quiet=True, port=port).start()
    assert threading.active_count() == before


def _marked(uid: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if uid in (entry / "environ").read_bytes().decode("latin-1"):
                found.append(entry.name)
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
@pytest.mark.parametrize("ending", ["stop", "delete"])
def test_no_process_survives_wherever_it_went(ending: str) -> None:
    script = "sleep 1001 & setsid sleep 1002 & (setsid sh -c 'sleep 1003 & sleep 1004' &) ; echo $KUBEX_STREAM_EMBEDDED_POD; sleep 1005"
    main = EmbeddedContainer(command=["sh", "-c", "sleep 1006 & exec sleep 1007"])
    with EmbeddedCluster([EmbeddedPod("demo", containers=[main])], quiet=True) as cluster:
        with open_exec(cluster, ["sh", "-c", script], stdout="true") as client:
            uid = client.until(1, b"\n").channel(1).decode().strip()
            assert len(_marked(uid)) >= 6
            if ending == "delete":
                cluster.delete_pod("demo")
                assert _marked(uid) == []
    assert _marked(uid) == []


def test_no_descriptor_and_no_thread_survives() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    with EmbeddedCluster(quiet=True) as cluster:  # whatever is made once for the whole process
        run(cluster, ["true"])
    before, threads = descriptors(), threading.active_count()
    for _ in range(3):
        main = EmbeddedContainer(command=["sh"], stdin=True, tty=True)
        with EmbeddedCluster([EmbeddedPod("demo", containers=[main])], quiet=True) as cluster:
            run(cluster, ["no-such-program"], tty="true", stdin="true", stdout="true")
            run(cluster, ["no-such-program"])
            for flags in ({"tty": "true"}, {"stderr": "true"}):
                with open_exec(cluster, ["sleep", "1000"], stdin="true", stdout="true", **flags) as client:
                    client.send(b"", PING)
                    client.receive()
                    client.receive()
            run(cluster, ["true"])
    assert (descriptors(), threading.active_count()) == (before, threads)


def test_a_working_directory_of_ones_own_stays(tmp_path: Path) -> None:
    container = EmbeddedContainer(working_dir=tmp_path)
    with EmbeddedCluster([EmbeddedPod("demo", containers=[container])], quiet=True) as cluster:
        assert cluster.directory() == tmp_path
        run(cluster, ["touch", "made"])
        with pytest.raises(LookupError):
            cluster.directory(container="nope")
    assert (tmp_path / "made").exists()


def test_two_hundred_commands_at_once(module_cluster: EmbeddedCluster) -> None:
    count = 200
    clients: list[RawClient] = []
    try:
        with ThreadPoolExecutor(16) as pool:
            opened = pool.map(
                lambda _: open_exec(module_cluster, ["cat"], stdin="true", stdout="true", stderr="true"), range(count)
            )
            clients.extend(opened)
        module_cluster.wait_for(lambda: len(module_cluster.processes()) == count)
        for number, client in enumerate(clients):
            client.send(b"\0number %d" % number)
            client.send(b"\xff\0")
        for number, client in enumerate(clients):
            heard = client.rest()
            assert heard.channel(1) == b"number %d" % number
            assert heard.frames[-1] == CLOSED
    finally:
        for client in clients:
            client.sock.close()
    module_cluster.wait_for(lambda: not module_cluster.open_sessions)


def test_output_waits_for_a_reader_without_being_collected(module_cluster: EmbeddedCluster) -> None:
    """Back-pressure reaches the process, and other sessions, and this one's pings, go on."""
    with open_exec(module_cluster, ["head", "-c", "100000000", "/dev/zero"], V4, stdout="true") as client:
        assert run(module_cluster, ["echo", "hi"]).channel(1) == b"hi\n"
        module_cluster.wait_for(lambda: len(module_cluster.open_sessions) == 1)
        (info,) = module_cluster.open_sessions
        assert info.command[0] == "head"
        assert len(module_cluster.processes()) == 1
        size = 0
        while (found := client.receive()) is not None and found != CLOSED:
            size += len(found[1]) - 1 if found[1][0] == 1 else 0
        assert size == 100_000_000


def test_wait_for_gives_up(module_cluster: EmbeddedCluster) -> None:
    with pytest.raises(TimeoutError):
        module_cluster.wait_for(lambda: False, timeout=0.01)


def test_pods_that_cannot_be(module_cluster: EmbeddedCluster) -> None:
    with pytest.raises(ValueError, match="exists"):
        module_cluster.add_pod(EmbeddedPod("demo"))
    with pytest.raises(LookupError, match="nope"):
        module_cluster.delete_pod("nope")
    with pytest.raises(ValueError, match="lower-case"):
        EmbeddedPod("No/Such")
    with pytest.raises(ValueError, match="names that differ"):
        EmbeddedPod("x", containers=[EmbeddedContainer(), EmbeddedContainer()])
    with pytest.raises(ValueError, match="no node"):
        EmbeddedPod("x", scheduled=False)
    with pytest.raises(TypeError, match="list of words"):
        EmbeddedContainer(command="sh -c true")
    with pytest.raises(ValueError, match="name a program"):
        EmbeddedContainer(command=[])


def test_a_client_without_trust_is_no_trouble(module_cluster: EmbeddedCluster) -> None:
    url = urlsplit(module_cluster.url)
    with socket.create_connection((url.hostname, url.port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")  # no TLS at all
        sock.settimeout(20)
        while sock.recv(1024):
            pass
    module_cluster.wait_for(lambda: module_cluster.connections == 0)
    assert run(module_cluster, ["true"]).frames[-1] == CLOSED


def test_the_plugin_gives_a_cluster(tmp_path: Path) -> None:
    """As an application's own suite would use it, in a process of its own."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_nothing_heavy_is_loaded():\n"
        "    assert not {'h11', 'trustme'} & set(sys.modules)\n"
        "def test_one(kubex_stream_cluster, kubex_stream_shared_cluster):\n"
        "    assert kubex_stream_cluster.kubeconfig.exists()\n"
        "    assert kubex_stream_cluster is not kubex_stream_shared_cluster\n"
        "    assert kubex_stream_shared_cluster.processes('demo') == ()\n"
    )
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "kubex_stream.testing.plugin"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.decode()
    assert b"2 passed" in done.stdout


def test_the_behaviour_can_be_read_and_set(module_cluster: EmbeddedCluster) -> None:
    module_cluster.behaviour = Behaviour(no_pong=True)
    assert module_cluster.behaviour == Behaviour(no_pong=True)
    module_cluster.behaviour = Behaviour()
    with open_exec(module_cluster, ["cat"], stdin="true", stdout="true") as client:
        client.send(b"x", PING)
        assert [client.receive(), client.receive()][1] == (PONG, b"x")
