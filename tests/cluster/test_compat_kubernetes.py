"""The official client over this library, on a real cluster."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kubex_stream.compat.kubernetes import STDIN_CHANNEL, Watch, configure, portforward, shutdown, stream
from tests.cluster.conftest import KUBECONFIG

official: Any = importlib.import_module("kubernetes.client")
config: Any = importlib.import_module("kubernetes.config")
official_watch: Any = importlib.import_module("kubernetes.watch")


@pytest.fixture(params=["aiohttp", "httpx", "picows"])
def v1(request: pytest.FixtureRequest, context: str | None) -> Iterator[Any]:
    """The official API, on each backend."""
    configure(backend=request.param)
    api_client = config.new_client_from_config(KUBECONFIG, context=context)
    yield official.CoreV1Api(api_client)
    api_client.close()
    shutdown()
    configure()


def test_commands(v1: Any, namespace: str) -> None:
    exec_, where = v1.connect_get_namespaced_pod_exec, ("box", namespace)
    both: Any = {"container": "main", "stderr": True, "stdin": False, "stdout": True, "tty": False}
    script = ["sh", "-c", "echo out; echo err >&2; exit 7"]
    assert sorted(stream(exec_, *where, command=script, **both).split()) == ["err", "out"]
    with stream(exec_, *where, command=script, _preload_content=False, **both) as session:
        session.run_forever(timeout=60)
        assert (session.read_stdout(), session.read_stderr(), session.returncode) == ("out\n", "err\n", 7)
    fed = stream(exec_, *where, command=["wc", "-c"], _preload_content=False, **{**both, "stdin": True})
    fed.write_stdin(b"x" * 5_000_000)
    fed.close_channel(STDIN_CHANNEL)
    fed.run_forever(timeout=60)
    assert (fed.read_all().strip(), fed.returncode) == ("5000000", 0)
    many = stream(exec_, *where, command=["seq", "1", "300000"], _preload_content=False, **both)
    count = 0
    while many.is_open():
        count += bool(many.readline_stdout(timeout=60))
    assert count == 300_000
    with pytest.raises(official.ApiException) as caught:
        stream(exec_, "nobody", namespace, command=["true"], **both)
    assert caught.value.status == 404


def test_the_documented_watch(v1: Any) -> None:
    """The official documentation's own, with nothing but its import and an end."""
    seen = []
    watch = Watch()
    for e in watch.stream(v1.list_namespace, timeout_seconds=60):
        type_ = e["type"]
        object_ = e["object"]  # object is one of type return_type
        raw_object = e["raw_object"]  # raw_object is a dict
        seen.append((type_, type(object_).__name__, raw_object["kind"]))
        assert object_.metadata.name == raw_object["metadata"]["name"]
        should_stop = object_.metadata.name == "kube-system"
        if should_stop:
            watch.stop()
    assert set(seen) == {("ADDED", "V1Namespace", "Namespace")}


def test_changes_since_a_version(v1: Any, namespace: str) -> None:
    name, maps = "compat", v1.list_namespaced_config_map
    version = maps(namespace).metadata.resource_version
    v1.create_namespaced_config_map(namespace, {"metadata": {"name": name}, "data": {"value": "1"}})
    v1.delete_namespaced_config_map(name, namespace)
    watch = Watch()
    events = watch.stream(maps, namespace, resource_version=version, field_selector=f"metadata.name={name}")
    assert [next(events)["type"], next(events)["type"]] == ["ADDED", "DELETED"]
    events.close()
    assert int(str(watch.resource_version)) > int(version)


def _refusal(events: Iterator[Any]) -> int | None:
    """The status of the error that a watch ends with."""
    try:
        list(events)
    except official.ApiException as error:
        return int(error.status)
    return None


def test_a_version_that_is_too_old(v1: Any) -> None:
    maps, given = v1.list_config_map_for_all_namespaces, {"resource_version": "1", "timeout_seconds": 2}
    theirs = _refusal(official_watch.Watch().stream(maps, **given))
    if theirs is None:
        pytest.skip("this server has been started just now, and still has the changes since version 1")
    assert _refusal(Watch().stream(maps, **given)) == theirs == 410


def test_lines_of_a_log_until_stopped(v1: Any, namespace: str) -> None:
    watch, lines, enough = Watch(), list[str](), threading.Event()

    def read() -> None:
        log = watch.stream(v1.read_namespaced_pod_log, name="box", namespace=namespace, container="main")
        for line in log:
            lines.append(line)
            if len(lines) >= 4:
                enough.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert enough.wait(60)
    watch.stop()
    reader.join(30)
    assert not reader.is_alive()
    assert {"line 1", "err 1"} <= set(lines[:4])


def test_custom_objects(v1: Any) -> None:
    custom = official.CustomObjectsApi(v1.api_client)
    events = list(Watch().stream(custom.list_cluster_custom_object, "apps", "v1", "deployments", timeout_seconds=1))
    assert {event["object"]["kind"] for event in events} <= {"Deployment"}


@pytest.mark.usefixtures("ports")
def test_ports(v1: Any, namespace: str) -> None:
    (pod, *_) = v1.list_namespaced_pod(namespace, label_selector="app=single").items
    forwarded = portforward(v1.connect_get_namespaced_pod_portforward, pod.metadata.name, namespace, ports="8080,9")
    echo = forwarded.socket(8080)
    echo.sendall(b"hello")
    assert echo.recv(5) == b"hello"
    assert forwarded.socket(9).recv(1) == b""
    assert forwarded.error(9)
    forwarded.close()
