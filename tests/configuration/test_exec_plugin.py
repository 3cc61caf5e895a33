"""Credential plugins: real ones, run as processes."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from kubex_stream.configuration import ClientConfiguration, Credentials
from kubex_stream.errors import ConfigurationError

if TYPE_CHECKING:
    from tests.configuration.conftest import Encode, MakeKubeconfig, OpenDoor, Pki, Plugin

pytestmark = pytest.mark.anyio

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX scripts and terminals")


async def _credentials(kubeconfig: MakeKubeconfig, entry: dict[str, object], **cluster: object) -> Credentials:
    return (await ClientConfiguration.from_mapping(kubeconfig({"exec": entry}, **cluster))).credentials()


async def _fails(credentials: Credentials) -> str:
    with pytest.raises(ConfigurationError) as caught:
        await credentials.headers()
    text = str(caught.value)
    assert text.startswith("user 'dev-user' in the kubeconfig mapping: the credential plugin ")
    assert "hunter2" not in text
    return text


def _ends(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


# ---- what it is asked


@pytest.mark.parametrize("version", [V1, V1BETA1])
async def test_a_plugin_gives_the_token(version: str, kubeconfig: MakeKubeconfig, plugin: Plugin) -> None:
    plugin.says(token="from-plugin", version=version)
    credentials = await _credentials(kubeconfig, plugin.entry(apiVersion=version))
    assert plugin.runs == []  # loading asks nobody
    assert await credentials.headers() == [("Authorization", "Bearer from-plugin")]

    (run,) = plugin.runs
    assert json.loads(str(run["question"])) == {
        "apiVersion": version,
        "kind": "ExecCredential",
        "spec": {"interactive": False},
    }
    assert run["args"] == [plugin.secret_argument]
    assert run["stdin"] == ""
    environment = run["env"]
    assert isinstance(environment, dict)
    assert environment["PLUGIN_SECRET"] == "hunter2-environment"
    assert environment["HOME"] == os.environ["HOME"]


async def test_a_plugin_is_told_about_the_cluster_if_it_wants(
    kubeconfig: MakeKubeconfig, plugin: Plugin, pki: Pki, base64: Encode, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(pki.ca)
    cluster: dict[str, object] = {
        "server": "https://api.example/prefix",
        "certificate_authority": str(tmp_path / "ca.pem"),
        "tls_server_name": "kubernetes",
        "proxy_url": "http://proxy:3128",
        "extensions": [
            {"name": "other", "extension": 1},
            {"name": "client.authentication.k8s.io/exec", "extension": {"audience": ["x"], "n": 1}},
        ],
    }
    credentials = await _credentials(kubeconfig, plugin.entry(provideClusterInfo=True), **cluster)
    await credentials.headers()
    assert json.loads(str(plugin.runs[0]["question"]))["spec"]["cluster"] == {
        "server": "https://api.example/prefix",
        "certificate-authority-data": base64(pki.ca),
        "tls-server-name": "kubernetes",
        "proxy-url": "http://proxy:3128",
        "config": {"audience": ["x"], "n": 1},
    }

    insecure = await _credentials(kubeconfig, plugin.entry(provideClusterInfo=True), insecure_skip_tls_verify=True)
    await insecure.headers()
    assert json.loads(str(plugin.runs[1]["question"]))["spec"]["cluster"] == {
        "server": "https://api.example:6443",
        "insecure-skip-tls-verify": True,
    }


@POSIX
async def test_a_command_with_a_slash_is_a_file_beside_the_kubeconfig(
    kubeconfig: MakeKubeconfig, as_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "kube" / "bin" / "helper"
    script.parent.mkdir(parents=True)
    answer = json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": {"token": "from-script"}})
    script.write_text(f"#!/bin/sh\necho '{answer}'\n")
    script.chmod(0o755)
    entry = {"apiVersion": V1, "command": "./bin/helper", "interactiveMode": "Never"}
    file = as_file(kubeconfig({"exec": entry}), "kube/config")
    configuration = await ClientConfiguration.from_kubeconfig(file)
    assert await configuration.credentials().headers() == [("Authorization", "Bearer from-script")]

    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    by_path = await _credentials(kubeconfig, {**entry, "command": "helper"})
    assert await by_path.headers() == [("Authorization", "Bearer from-script")]


@pytest.mark.parametrize("other", [{"token": "t"}, {"username": "u", "password": "p"}])
async def test_a_plugin_is_not_asked_where_other_credentials_are_given(
    other: dict[str, object], kubeconfig: MakeKubeconfig, plugin: Plugin
) -> None:
    configuration = await ClientConfiguration.from_mapping(kubeconfig({"exec": plugin.entry(), **other}))
    credentials = configuration.credentials()
    await credentials.headers()
    await credentials.ssl_context()
    assert await credentials.refresh() is False
    assert plugin.runs == []


# ---- when it is asked


async def test_an_answer_without_an_end_is_kept(kubeconfig: MakeKubeconfig, plugin: Plugin) -> None:
    credentials = await _credentials(kubeconfig, plugin.entry())
    for _ in range(3):
        await credentials.headers()
        await credentials.ssl_context()
    assert len(plugin.runs) == 1


async def test_an_answer_is_replaced_some_seconds_before_it_ends(kubeconfig: MakeKubeconfig, plugin: Plugin) -> None:
    plugin.says(token="long", expirationTimestamp=_ends(3600))
    credentials = await _credentials(kubeconfig, plugin.entry())
    await credentials.headers()
    await credentials.headers()
    assert len(plugin.runs) == 1

    plugin.says(token="short", expirationTimestamp=_ends(5))
    credentials = await _credentials(kubeconfig, plugin.entry())
    assert await credentials.headers() == [("Authorization", "Bearer short")]
    plugin.says(token="next", expirationTimestamp="2999-12-31T23:59:59.123456789+01:00")
    assert await credentials.headers() == [("Authorization", "Bearer next")]
    assert await credentials.headers() == [("Authorization", "Bearer next")]
    assert len(plugin.runs) == 3


async def test_cancellation_kills_the_plugin(kubeconfig: MakeKubeconfig, plugin: Plugin, open_door: OpenDoor) -> None:
    async with open_door() as door:
        plugin.says(token="never", door=door.port)
        credentials = await _credentials(kubeconfig, plugin.entry())
        async with anyio.create_task_group() as group:
            group.start_soon(credentials.headers)
            stream = await door.knock()
            group.cancel_scope.cancel()
        async with stream:
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()  # the process is gone, so its end is closed
        plugin.says(token="second")
        assert await credentials.headers() == [("Authorization", "Bearer second")]


async def test_other_tasks_go_on_while_a_plugin_runs(
    kubeconfig: MakeKubeconfig, plugin: Plugin, open_door: OpenDoor
) -> None:
    found: list[list[tuple[str, str]]] = []
    async with open_door() as door:
        plugin.says(token="patient", door=door.port)
        credentials = await _credentials(kubeconfig, plugin.entry())

        async def ask() -> None:
            found.append(await credentials.headers())

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            stream = await door.knock()  # the plugin waits until this task, on the same loop, lets it in
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            assert found == []
            await stream.aclose()
    assert found == [[("Authorization", "Bearer patient")]]


# ---- what goes wrong

WRONG_ANSWERS: dict[str, tuple[dict[str, object], str]] = {
    "not JSON": ({"stdout": "hunter2"}, "wrote something that is not JSON to stdout (7 bytes)"),
    "nothing": ({"stdout": ""}, "is not JSON to stdout (0 bytes)"),
    "too deep": ({"stdout": "[" * 100_000}, "is not JSON"),
    "a list": ({"stdout": "[]"}, "not an object of kind ExecCredential"),
    "another kind": ({"kind": "Hunter", "token": "hunter2"}, "not an object of kind ExecCredential"),
    "another version": ({"version": V1BETA1, "token": "hunter2"}, f"exec.apiVersion says ({V1}); make the two agree"),
    "no status": ({"stdout": json.dumps({"kind": "ExecCredential", "apiVersion": V1})}, "without a status"),
    "no credentials": ({}, "gave neither a token nor a client certificate; log in"),
    "empty credentials": ({"token": "", "clientCertificateData": ""}, "gave neither a token nor"),
    "a number": ({"token": 7}, "status.token that is not a string"),
    "no key": ({"clientCertificateData": "hunter2"}, "only one of clientCertificateData and clientKeyData"),
    "no certificate": ({"token": "hunter2", "clientKeyData": "hunter2"}, "only one of clientCertificateData"),
    "no time": ({"token": "hunter2", "expirationTimestamp": "soon"}, "expirationTimestamp that is not RFC 3339"),
    "no zone": ({"token": "hunter2", "expirationTimestamp": "2030-01-01T00:00:00"}, "not RFC 3339"),
    "a broken token": ({"token": "hunter2 hunter2"}, "the token holds spaces"),
    "failure": (
        {"code": 3, "stderr": "please log in\x1b[31m\x07 again"},
        "failed with exit code 3; it said: please log in again",
    ),
    "silence": ({"code": 1}, "failed with exit code 1 and said nothing; run it by hand"),
}


@pytest.mark.parametrize("case", WRONG_ANSWERS)
async def test_a_wrong_answer_is_an_error(case: str, kubeconfig: MakeKubeconfig, plugin: Plugin) -> None:
    orders, message = WRONG_ANSWERS[case]
    plugin.says(**orders)  # type: ignore[arg-type]
    text = await _fails(await _credentials(kubeconfig, plugin.entry()))
    assert message in text


async def test_what_a_plugin_says_on_stderr_is_bounded(kubeconfig: MakeKubeconfig, plugin: Plugin) -> None:
    plugin.says(code=1, stderr="x" * 1_000_000 + " the end")
    text = await _fails(await _credentials(kubeconfig, plugin.entry()))
    assert text.endswith("x the end")
    assert len(text) < 3000


async def test_a_missing_command_shows_the_install_hint(kubeconfig: MakeKubeconfig, plugin: Plugin) -> None:
    entry = plugin.entry(command="no-such-plugin", installHint="Install it:\n  brew\x1b[1m install it")
    text = await _fails(await _credentials(kubeconfig, entry))
    assert "'no-such-plugin' was not found; install it" in text
    assert text.endswith("\nInstall it:\n  brew install it")


@POSIX
async def test_a_command_that_cannot_be_run_says_why(
    kubeconfig: MakeKubeconfig, plugin: Plugin, tmp_path: Path
) -> None:
    file = tmp_path / "helper"
    file.write_text("no program")
    text = await _fails(await _credentials(kubeconfig, plugin.entry(command=str(file))))
    assert "is not executable; make it so (chmod +x)" in text
    file.chmod(stat.S_IRWXU)
    assert "cannot be started (Exec format error)" in await _fails(
        await _credentials(kubeconfig, plugin.entry(command=str(file)))
    )
    assert "null character" in await _fails(await _credentials(kubeconfig, plugin.entry(args=["hunter2\0"])))


@POSIX
async def test_a_plugin_killed_by_a_signal_says_which(kubeconfig: MakeKubeconfig, plugin: Plugin) -> None:
    entry = plugin.entry(command="/bin/sh", args=["-c", "kill -TERM $$"])
    assert "failed with signal SIGTERM" in await _fails(await _credentials(kubeconfig, entry))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"apiVersion": None}, "exec.apiVersion is missing; say which"),
        (
            {"apiVersion": "client.authentication.k8s.io/v1alpha1"},
            f"was removed from Kubernetes in 1.24; write {V1BETA1}",
        ),
        ({"apiVersion": "v1"}, f"exec.apiVersion 'v1' is unknown; {V1} and {V1BETA1} are supported"),
        ({"interactiveMode": None}, "exec.interactiveMode is missing, and"),
        ({"interactiveMode": "Sometimes"}, "must be one of Never, IfAvailable, Always"),
        ({"command": ""}, "exec.command is missing; name the credential plugin"),
        ({"args": "hunter2"}, "exec.args is a string, but must be a list"),
        ({"args": [7002]}, "exec.args is a number, but must be a list of strings"),
        ({"env": [{"value": "hunter2"}]}, "exec.env[0].name is missing"),
        ({"env": {"A": "hunter2"}}, "exec.env is a mapping, but must be a list"),
    ],
)
async def test_a_wrong_entry_is_an_error_at_once(
    change: dict[str, object], message: str, kubeconfig: MakeKubeconfig, plugin: Plugin
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await _credentials(kubeconfig, plugin.entry(**change))
    assert str(caught.value).startswith("user 'dev-user' in the kubeconfig mapping: ")
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_v1beta1_needs_no_interactive_mode(kubeconfig: MakeKubeconfig, plugin: Plugin) -> None:
    given = kubeconfig({"exec": plugin.entry(apiVersion=V1BETA1, interactiveMode=None)})
    found = (await ClientConfiguration.from_mapping(given)).exec_plugin
    assert found is not None
    assert found.interactive_mode == "IfAvailable"


async def test_an_extension_that_is_no_json_is_an_error(kubeconfig: MakeKubeconfig, plugin: Plugin) -> None:
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"x": b"hunter2"}}
    with pytest.raises(ConfigurationError, match="holds what JSON has no form for"):
        await _credentials(kubeconfig, plugin.entry(), extensions=[extension])
