"""Credentials that stay fresh: token files, functions, plugins, certificates."""

from __future__ import annotations

import logging
import os
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from kubex_stream.configuration import ClientConfiguration, Credentials, ExecPlugin, Impersonation
from kubex_stream.errors import ConfigurationError

if TYPE_CHECKING:
    from tests.configuration.conftest import MakeKubeconfig, OpenDoor, Plugin

pytestmark = pytest.mark.anyio

URL = "https://api.example:6443"
Headers = list[tuple[str, str]]


def _bearer(token: str) -> Headers:
    return [("Authorization", f"Bearer {token}")]


# ---- what never changes


async def test_no_credentials_are_no_headers() -> None:
    credentials = ClientConfiguration(url=URL).credentials()
    assert await credentials.headers() == []
    assert await credentials.refresh() is False


async def test_a_fixed_token() -> None:
    credentials = ClientConfiguration(url=URL, token="abc").credentials()
    assert await credentials.headers() == _bearer("abc")
    assert await credentials.refresh() is False


async def test_a_user_name_and_password() -> None:
    credentials = ClientConfiguration(url=URL, username="jürgen", password="pass:wörd").credentials()
    ((name, value),) = await credentials.headers()
    scheme, _, rest = value.partition(" ")
    assert (name, scheme, b64decode(rest).decode()) == ("Authorization", "Basic", "jürgen:pass:wörd")
    assert await credentials.refresh() is False


async def test_impersonation_stands_beside_the_authorization() -> None:
    impersonate = Impersonation(user="jane", groups=["a", "b"])
    credentials = ClientConfiguration(url=URL, token="abc", impersonate=impersonate).credentials()
    assert await credentials.headers() == [
        *_bearer("abc"),
        ("Impersonate-User", "jane"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
    ]


# ---- a function


async def test_a_token_function_is_awaited_for_every_header() -> None:
    tokens = iter(["one", "two"])

    async def token() -> str:
        await anyio.lowlevel.checkpoint()
        return next(tokens) + "\n"

    credentials = ClientConfiguration(url=URL, token=token).credentials()
    assert await credentials.headers() == _bearer("one")
    assert await credentials.refresh() is True
    assert await credentials.headers() == _bearer("two")


async def test_a_wrong_token_function_is_an_error() -> None:
    async def number() -> str:
        return 7  # type: ignore[return-value]

    async def empty() -> str:
        return ""

    for function, message in [(lambda: "hunter2", "must be async"), (number, "gave a int"), (empty, "is empty")]:
        credentials = ClientConfiguration(url=URL, token=function).credentials()  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match=message) as caught:
            await credentials.headers()
        assert "hunter2" not in str(caught.value)


async def test_an_error_of_a_token_function_is_passed_on() -> None:
    async def fail() -> str:
        raise LookupError("vault is sealed")

    with pytest.raises(LookupError, match="vault is sealed"):
        await ClientConfiguration(url=URL, token=fail).credentials().headers()


# ---- a file


async def test_a_token_file_is_read_again_when_it_rotates(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    always = ClientConfiguration(url=URL, token_file=file).credentials(reload_interval=0)
    rarely = ClientConfiguration(url=URL, token_file=file).credentials(reload_interval=3600)
    assert await always.headers() == await rarely.headers() == _bearer("one")

    # As the kubelet rotates: a link changes its target, and an old modification time says nothing.
    (tmp_path / "next").write_text("two\n")
    os.utime(tmp_path / "next", (0, 0))
    (tmp_path / "next").replace(file)
    assert await always.headers() == _bearer("two")
    assert await rarely.headers() == _bearer("one")
    assert await rarely.refresh() is True
    assert await rarely.headers() == _bearer("two")


async def test_a_token_file_that_is_gone_for_a_while_keeps_the_last_token(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    credentials = ClientConfiguration(url=URL, token_file=file).credentials(reload_interval=0)
    await credentials.headers()
    file.unlink()
    with caplog.at_level(logging.WARNING, "kubex_stream"):
        assert await credentials.headers() == _bearer("one")
    assert str(file) in caplog.text
    with pytest.raises(ConfigurationError, match="token cannot be read"):
        await credentials.refresh()  # the old one has been refused
    file.write_text("two")
    assert await credentials.headers() == _bearer("two")


async def test_a_token_file_beats_a_token_which_serves_until_it_can_be_read(
    tmp_path: Path, kubeconfig: MakeKubeconfig
) -> None:
    given = kubeconfig({"token": "fixed", "tokenFile": "token"})
    credentials = (await ClientConfiguration.from_mapping(given, base=tmp_path)).credentials(reload_interval=0)
    assert await credentials.headers() == _bearer("fixed")
    (tmp_path / "token").write_text("file")
    assert await credentials.headers() == _bearer("file")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"hunter2\nhunter2", "line breaks"), (b"\xff\xfe", "outside ASCII")],
)
async def test_a_wrong_token_file_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        await ClientConfiguration(url=URL, token_file=tmp_path / "token").credentials().headers()
    assert str(tmp_path / "token") in str(caught.value)
    assert "hunter2" not in str(caught.value)


# ---- a plugin


def _plugin(plugin: Plugin) -> ClientConfiguration:
    entry = plugin.entry()
    made = ExecPlugin.model_validate({key: entry[key] for key in ("command", "args")} | {"interactive_mode": "Never"})
    return ClientConfiguration(url=URL, exec_plugin=made)


async def _refused(credentials: Credentials, everyone_has: Callable[[], None], start: anyio.Event) -> Headers:
    """A request: sends headers, is refused with everybody else, refreshes, and sends the new ones."""
    await credentials.headers()
    everyone_has()
    await start.wait()
    assert await credentials.refresh() is True
    return await credentials.headers()


async def test_tasks_refused_together_cause_one_run(plugin: Plugin, open_door: OpenDoor) -> None:
    credentials = _plugin(plugin).credentials()
    start, sent, found = anyio.Event(), [0], list[Headers]()

    def count() -> None:
        sent[0] += 1

    async def request() -> None:
        found.append(await _refused(credentials, count, start))

    async with open_door() as door, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(request)
        while sent[0] < 20:
            await anyio.lowlevel.checkpoint()
        assert len(plugin.runs) == 1
        plugin.says(token="second", door=door.port)
        start.set()
        stream = await door.knock()
        await anyio.wait_all_tasks_blocked()
        await stream.aclose()
    assert found == [_bearer("second")] * 20
    assert len(plugin.runs) == 2


async def test_tasks_refused_one_after_the_other_with_the_same_credentials_cause_one_run(plugin: Plugin) -> None:
    credentials = _plugin(plugin).credentials()
    starts, sent, found = [anyio.Event() for _ in range(5)], [0], list[Headers]()
    done = [anyio.Event() for _ in range(5)]

    def count() -> None:
        sent[0] += 1

    async def request(index: int) -> None:
        found.append(await _refused(credentials, count, starts[index]))
        done[index].set()

    async with anyio.create_task_group() as group:
        for index in range(5):
            group.start_soon(request, index)
        while sent[0] < 5:
            await anyio.lowlevel.checkpoint()
        plugin.says(token="second")
        for start, end in zip(starts, done, strict=True):
            start.set()
            await end.wait()
    assert found == [_bearer("second")] * 5
    assert len(plugin.runs) == 2


async def test_new_credentials_that_are_refused_too_are_renewed_again(plugin: Plugin) -> None:
    credentials = _plugin(plugin).credentials()
    for count, token in enumerate(["first", "second", "third"], 1):
        plugin.says(token=token)
        assert (await credentials.headers() == _bearer(token)) is (count == 1)
        if count > 1:
            assert await credentials.refresh() is True
        assert await credentials.headers() == _bearer(token)
        assert len(plugin.runs) == count


async def test_two_clients_in_one_task_do_not_mix_up_their_refusals(tmp_path: Path, plugin: Plugin) -> None:
    other = type(plugin)(tmp_path, "other")
    first, second = _plugin(plugin).credentials(), _plugin(other).credentials()
    await first.headers()
    await second.headers()
    assert await first.refresh() is True
    assert (len(plugin.runs), len(other.runs)) == (2, 1)


async def test_tasks_that_wait_for_one_failing_run_share_its_error(plugin: Plugin, open_door: OpenDoor) -> None:
    errors: list[str] = []
    async with open_door() as door:
        plugin.says(code=4, door=door.port)
        credentials = _plugin(plugin).credentials()

        async def request() -> None:
            with pytest.raises(ConfigurationError) as caught:
                await credentials.headers()
            errors.append(str(caught.value))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(request)
            stream = await door.knock()
            await anyio.wait_all_tasks_blocked()
            await stream.aclose()
    assert len(errors) == 5
    assert len(set(errors)) == 1
    assert len(plugin.runs) == 1
    plugin.says(token="better")
    assert await credentials.headers() == _bearer("better")


async def test_a_waiting_task_asks_itself_when_the_asking_one_is_cancelled(plugin: Plugin, open_door: OpenDoor) -> None:
    found: list[Headers] = []
    async with open_door() as door, anyio.create_task_group() as group:
        plugin.says(token="first", door=door.port)
        credentials = _plugin(plugin).credentials()
        scope = anyio.CancelScope()

        async def cancelled() -> None:
            with scope:
                await credentials.headers()

        async def patient() -> None:
            found.append(await credentials.headers())

        group.start_soon(cancelled)
        stream = await door.knock()
        group.start_soon(patient)
        await anyio.wait_all_tasks_blocked()
        plugin.says(token="second")
        scope.cancel()
    await stream.aclose()
    assert found == [_bearer("second")]
    assert len(plugin.runs) == 2


async def test_refreshing_can_be_turned_off(plugin: Plugin) -> None:
    configuration = _plugin(plugin).model_copy(update={"try_refresh_token": False})
    credentials = configuration.credentials()
    await credentials.headers()
    assert await credentials.refresh() is False
    assert len(plugin.runs) == 1
