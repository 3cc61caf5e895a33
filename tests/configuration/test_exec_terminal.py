"""Credential plugins that may ask a user, with and without a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

if TYPE_CHECKING:
    from tests.configuration.conftest import MakeKubeconfig, Plugin

pytestmark = pytest.mark.anyio

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX scripts and terminals")


#: Asks a plugin, as a program of its own, so that it can have another standard input.
ASKING = """
import anyio, json, sys
from kubex_stream.configuration import ClientConfiguration
from kubex_stream.errors import ConfigurationError
async def main():
    configuration = await ClientConfiguration.from_kubeconfig(sys.argv[1])
    try:
        print((await configuration.credentials().headers())[0][1])
    except ConfigurationError as exc:
        print("ERROR", exc)
anyio.run(main, backend=sys.argv[2])
"""


async def _ask_from(stdin: int, file: Path, backend: str) -> tuple[str, str]:
    done = await anyio.run_process([sys.executable, "-c", ASKING, str(file), backend], stdin=stdin)
    return done.stdout.decode(), done.stderr.decode()


@POSIX
@pytest.mark.parametrize("mode", ["Never", "IfAvailable", "Always"])
@pytest.mark.parametrize("terminal", [True, False])
async def test_interactive_mode(
    mode: str,
    terminal: bool,
    kubeconfig: MakeKubeconfig,
    plugin: Plugin,
    as_file: Callable[..., Path],
    anyio_backend: str,
) -> None:
    file = as_file(kubeconfig({"exec": plugin.entry(interactiveMode=mode)}))
    plugin.says(token="t", stderr="go to the login page")
    read, write = os.openpty() if terminal else os.pipe()
    try:
        stdout, stderr = await _ask_from(write if terminal else read, file, anyio_backend)
    finally:
        os.close(read)
        os.close(write)

    if mode == "Always" and not terminal:
        assert "(interactiveMode Always), but standard input is not a terminal" in stdout
        assert plugin.runs == []
        return
    interactive = terminal and mode != "Never"
    (run,) = plugin.runs
    assert stdout == "Bearer t\n"
    assert json.loads(str(run["question"]))["spec"]["interactive"] is interactive
    assert run["stdin"] == (None if interactive else "")  # None: it has the terminal
    assert ("go to the login page" in stderr) is interactive
