"""Finding backends: ours, a third party's, and those whose library is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubex_stream import BackendNotAvailable, backends, create_client
from kubex_stream.client import load_backend
from kubex_stream.client.event_loops import running_event_loop
from kubex_stream.client.registry import choose_backend

from .memory import CLUSTER

MODULE = """
from typing import ClassVar
from tests.client.memory import MemoryClient

class ThirdClient(MemoryClient):
    event_loops: ClassVar[frozenset[str]] = frozenset({"asyncio"})

not_a_class = 5
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution that registers backends, as pip would."""
    name = f"third_{tmp_path.name.translate(str.maketrans('-[]', '___'))}"

    def install_it(**entries: str) -> None:
        (tmp_path / f"{name}.py").write_text(MODULE)
        (tmp_path / f"{name}_broken.py").write_text("raise RuntimeError('no licence')")
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{key} = {value.replace('HERE', name)}" for key, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(["[kubex_stream.backends]", *lines]))
        monkeypatch.syspath_prepend(tmp_path)

    return install_it


def test_our_own_come_first_and_run_where_they_say() -> None:
    found = {info.name: info for info in backends()}
    assert list(found)[:3] == ["aiohttp", "httpx", "picows"]
    assert found["aiohttp"].event_loops == {"asyncio"}
    assert found["httpx"].event_loops == {"asyncio", "trio"}
    assert found["picows"].event_loops == {"asyncio"}
    assert all(info.available and info.problem is None for info in found.values())


def test_a_third_partys_backend_is_found_like_ours(install: Install) -> None:
    install(zebra="HERE:ThirdClient", anteater="HERE:ThirdClient")
    assert [info.name for info in backends()][:5] == ["aiohttp", "httpx", "picows", "anteater", "zebra"]
    made = create_client(CLUSTER, backend="zebra")
    assert type(made).__name__ == "ThirdClient"
    assert type(made) is load_backend("anteater")


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            "no_such_module_anywhere:Client",
            "No module named 'no_such_module_anywhere'.*install the libraries that third",
        ),
        ("HERE:NoSuchClass", "NoSuchClass"),
        ("HERE_broken:Client", "no licence"),
        ("HERE:not_a_class", "not a subclass of BaseClient"),
        ("json:JSONDecoder", "not a subclass of BaseClient"),
    ],
)
def test_one_that_cannot_be_used_says_why_and_harms_nobody(install: Install, entry: str, text: str) -> None:
    install(third=entry)
    with pytest.raises(BackendNotAvailable, match=text):
        create_client(CLUSTER, backend="third")
    info = next(info for info in backends() if info.name == "third")
    assert not info.available
    assert info.event_loops == frozenset()
    assert choose_backend() is load_backend("aiohttp")


def test_outside_of_an_event_loop_there_is_none() -> None:
    assert running_event_loop() is None


@pytest.mark.anyio
async def test_the_running_event_loop(anyio_backend_name: str) -> None:
    assert running_event_loop() == anyio_backend_name


WITHOUT = """
import json, sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None  # what an import of a missing library meets
import kubex_stream

def answer(call):
    try:
        return type(call()).__name__
    except kubex_stream.BackendNotAvailable as error:
        assert isinstance(error, ImportError)
        return str(error)

async def inside():
    return answer(kubex_stream.create_client)

import asyncio, trio
print(json.dumps({
    "aiohttp": answer(lambda: kubex_stream.create_client(backend="aiohttp")),
    "httpx": answer(lambda: kubex_stream.create_client(backend="httpx")),
    "picows": answer(lambda: kubex_stream.create_client(backend="picows")),
    "outside": answer(kubex_stream.create_client),
    "asyncio": asyncio.run(inside()),
    "trio": trio.run(inside),
    "listed": {info.name: info.problem for info in kubex_stream.backends()},
}))
"""


def without(*libraries: str) -> Any:
    """What a Python without some libraries answers."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, ",".join(libraries)], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


AIOHTTP, HTTPX = "pip install 'kubex-stream[aiohttp]'", "pip install 'kubex-stream[httpx]'"
PICOWS = "pip install 'kubex-stream[picows]'"


def test_without_aiohttp_httpx_serves_everywhere() -> None:
    found = without("aiohttp")
    assert AIOHTTP in found["aiohttp"]
    assert AIOHTTP in found["listed"]["aiohttp"]
    assert PICOWS in found["picows"]
    assert found["listed"]["httpx"] is None
    assert [found[where] for where in ("httpx", "outside", "asyncio", "trio")] == ["HttpxClient"] * 4


@pytest.mark.parametrize("missing", ["httpx", "httpx_ws"])
def test_without_a_library_of_httpx_there_is_none_for_trio(missing: str) -> None:
    found = without(missing)
    assert HTTPX in found["httpx"]
    assert [found[where] for where in ("aiohttp", "outside", "asyncio")] == ["AioHttpClient"] * 3
    assert found["trio"].startswith(f"no backend is available: {HTTPX}")
    assert "'aiohttp' does not run on trio" in found["trio"]


@pytest.mark.parametrize("missing", ["picows", "aiofastnet"])
def test_without_a_library_of_picows_the_others_are_what_they_were(missing: str) -> None:
    found = without(missing)
    assert PICOWS in found["picows"]
    assert [found[where] for where in ("aiohttp", "outside", "asyncio")] == ["AioHttpClient"] * 3
    assert [found[where] for where in ("httpx", "trio")] == ["HttpxClient"] * 2


def test_a_bare_install_names_the_command_for_each() -> None:
    found = without("aiohttp", "httpx")
    for where in ("outside", "asyncio"):
        assert found[where].startswith(f"no backend is available: {AIOHTTP}")
    assert found["trio"].startswith(f"no backend is available: {HTTPX}")
    assert AIOHTTP in found["aiohttp"]
    assert HTTPX in found["httpx"]
