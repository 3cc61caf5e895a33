"""kubernetes_asyncio's generated APIs and its document's examples over this library, on a real cluster."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from kubernetes_asyncio import client
from kubernetes_asyncio.stream import WsApiClient as TheirClient

from kubex_stream import ClientConfiguration, Pods, create_client
from kubex_stream.api.targets import Target, find_pod
from kubex_stream.compat.kubernetes_asyncio import (
    ERROR_CHANNEL,
    STDERR_CHANNEL,
    STDIN_CHANNEL,
    STDOUT_CHANNEL,
    WsApiClient,
    parse_error_data,
)
from tests.cluster.conftest import KUBECONFIG
from tests.compat.kubernetes_asyncio.running import Examples, type_until_it_ends
from tests.terminals import Pty

pytestmark = pytest.mark.anyio

OUTPUT = {"stdout": True, "stderr": True, "container": "main"}
SCRIPT = ["sh", "-c", "echo out; echo err >&2; exit 7"]


@pytest.fixture(params=["aiohttp", "httpx", "picows"])
def backend(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def anyio_backend() -> str:
    """That package knows asyncio only."""
    return "asyncio"


def kubeconfig(context: str | None, directory: Path) -> Path:
    """The kubeconfig, with this context as its current one: that package's ``load_config`` takes no other."""
    loaded = yaml.safe_load(Path(KUBECONFIG).read_text())
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(loaded if context is None else {**loaded, "current-context": context}))
    return path


async def configured(context: str | None, directory: Path) -> client.Configuration:
    """That package's configuration for a context, by hand: its loader leaves a file open for each certificate."""
    ours = await ClientConfiguration.load(kubeconfig=KUBECONFIG, context=context)
    made = client.Configuration(host=ours.url)
    for name, data, file in (
        ("ssl_ca_cert", ours.server_ca_data, ours.server_ca_file),
        ("cert_file", ours.client_cert_data, ours.client_cert_file),
        ("key_file", ours.client_key_data, ours.client_key_file),
    ):
        if data is not None:
            file = directory / name
            file.write_bytes(data)
        setattr(made, name, None if file is None else str(file))
    return made


@pytest.mark.usefixtures("ports")
async def test_the_examples_of_the_document(context: str | None, backend: str, namespace: str, tmp_path: Path) -> None:
    local = tmp_path / "local.bin"
    local.write_bytes(bytes(range(256)) * 64)
    remote = f"/tmp/{backend}-{context}.bin"
    configuration = await ClientConfiguration.load(kubeconfig=KUBECONFIG, context=context)
    async with create_client(configuration) as ours:
        single = (await find_pod(ours, Target.parse("deploy/single", namespace))).name
        names = {"NAMESPACE": namespace, "POD": single}
        examples = Examples(kubeconfig(context, tmp_path), backend, names)
        printed: dict[str, str] = {}

        async def run(example: str, **more: str) -> None:
            printed[example] = await examples.run(example, **more)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: run("exec_in_pod"))
            tasks.start_soon(lambda: run("attach_to_pod", POD="box", CONTAINER="shell"))
            tasks.start_soon(lambda: run("port_forward", PORT="8086"))
            tasks.start_soon(lambda: run("upload_file_to_pod", LOCAL=str(local), REMOTE=remote))
        uploaded = await Pods(ours, namespace).exec.run(single, ["sha256sum", remote], encoding="ascii")
    assert printed["exec_in_pod"].startswith("STDOUT: Hello from container\n")
    assert printed["exec_in_pod"].endswith("Command completed successfully\n")
    assert "Output: " in printed["attach_to_pod"]
    assert printed["attach_to_pod"].count("No output received") == 5
    assert printed["port_forward"].splitlines()[1:] == ["Received 7 bytes from port 8086"]
    assert printed["upload_file_to_pod"].endswith("File upload completed\n")
    assert uploaded.stdout.split()[0] == hashlib.sha256(local.read_bytes()).hexdigest()
    with Pty(99, 33) as screen:
        async with examples.on_a_terminal("exec_with_resize", screen):
            await screen.until(rb"33 99\r*\n")
        async with examples.on_a_terminal("interactive_shell", screen) as process:
            await screen.until(rb"[$#] (\x1b\[6n)?$")
            screen.type(b"echo $((40 + 2))\r")
            await screen.until(rb"\r\n42\r\n")
            screen.type(b"tty | tr a-z A-Z; exit\r")
            await screen.until(rb"/DEV/PTS/\d+\r\n")
            await type_until_it_ends(process, screen)


async def test_as_the_package_itself(context: str | None, backend: str, namespace: str, tmp_path: Path) -> None:
    async def messages(v1: Any) -> dict[int, bytes]:
        seen: dict[int, bytes] = {}
        async with await v1.connect_get_namespaced_pod_exec(
            "box", namespace, command=SCRIPT, _preload_content=False, **OUTPUT
        ) as websocket:
            async for message in websocket:
                if message.data[1:]:
                    seen[message.data[0]] = seen.get(message.data[0], b"") + message.data[1:]
        return seen

    configuration = await configured(context, tmp_path)
    async with TheirClient(configuration) as theirs, WsApiClient(configuration, backend=backend) as ours:
        expected = await messages(client.CoreV1Api(theirs))
        got = await messages(client.CoreV1Api(ours))
        v1: Any = client.CoreV1Api(ours)
        listed = await v1.list_namespaced_pod(namespace)
    assert got == expected
    assert parse_error_data(got[ERROR_CHANNEL]) == 7
    assert "box" in [pod.metadata.name for pod in listed.items]


async def test_whole_output_and_refusals(context: str | None, backend: str, namespace: str, tmp_path: Path) -> None:
    configuration = await configured(context, tmp_path)
    async with WsApiClient(configuration, backend=backend, preload=True) as ours:
        v1: Any = client.CoreV1Api(ours)
        text = await v1.connect_get_namespaced_pod_exec("box", namespace, command=["seq", "200000"], **OUTPUT)
        assert text == "".join(f"{number}\n" for number in range(1, 200_001))
        for command, pod, status in ((["/no/such/program"], "box", 500), (["true"], "nobody", 404)):
            with pytest.raises(client.ApiException) as caught:
                await v1.connect_get_namespaced_pod_exec(pod, namespace, command=command, **OUTPUT)
            assert caught.value.status == status
            assert re.search("no such file|not found", str(caught.value.body))
        assert json.loads(str(caught.value.body))["reason"] == "NotFound"


async def test_a_slow_reader_and_the_end_of_stdin(
    context: str | None, backend: str, namespace: str, tmp_path: Path
) -> None:
    size = 16 * 1024 * 1024
    async with WsApiClient(await configured(context, tmp_path), backend=backend, heartbeat=1) as ours:
        v1: Any = client.CoreV1Api(ours)
        for stdin in (False, True):  # v4 and v5
            command = ["sh", "-c", f"head -c {size} /dev/zero; echo end >&2; exit 3"]
            response = await v1.connect_get_namespaced_pod_exec(
                "box", namespace, command=command, stdin=stdin, **OUTPUT
            )
            with anyio.move_on_after(5):
                await anyio.sleep_forever()
            seen = {STDOUT_CHANNEL: 0, STDERR_CHANNEL: 0}
            while True:
                channel, data = await response.read_channel(timeout=30)
                if channel == ERROR_CHANNEL:
                    break
                seen[channel] += len(data)
            await response.close()
            assert (seen, int(parse_error_data(data))) == ({STDOUT_CHANNEL: size, STDERR_CHANNEL: 4}, 3)
        async with await v1.connect_get_namespaced_pod_exec(
            "box", namespace, command=["sha256sum"], stdin=True, **OUTPUT
        ) as response:
            await response.write_channel(STDIN_CHANNEL, bytes(size))
            await response.close_stdin()
            digest = (await response.read_channel(timeout=60))[1]
        assert digest.split()[0].decode() == hashlib.sha256(bytes(size)).hexdigest()
