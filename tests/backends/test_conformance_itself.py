"""The suite finds what is wrong, and the documentation names every claim."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from kubex_stream.testing.conformance import CLAIMS, Transport
from tests.documents import ROOT

#: A transport with one defect in each class.
DEFECTS = """
import pytest

from kubex_stream.errors import ConnectionLost
from kubex_stream.testing.conformance import ConformanceTests, Transport
from kubex_stream_aiohttp import AioHttpClient, AioHttpWebSocketConnection


class Polite(AioHttpWebSocketConnection):
    async def receive_bytes(self):
        try:
            return await super().receive_bytes()
        except ConnectionLost:
            raise StopAsyncIteration


class Leaking(AioHttpWebSocketConnection):
    async def close(self, code=1000):
        pass

    async def abort(self):
        pass


class Client(AioHttpClient):
    connection = AioHttpWebSocketConnection

    async def open_websocket(self, request, subprotocols):
        answer = await super().open_websocket(request, subprotocols)
        if isinstance(answer, AioHttpWebSocketConnection):
            answer.__class__ = self.connection
        return answer


class WithPolite(Client):
    connection = Polite


class WithLeaking(Client):
    connection = Leaking


class TestNothing(ConformanceTests):
    transport = Transport(client=Client, loops=("asyncio",))


class TestPolite(ConformanceTests):
    transport = Transport(client=WithPolite, loops=("asyncio",))


class TestLeaking(ConformanceTests):
    patience = 0.5
    transport = Transport(client=WithLeaking, loops=("asyncio",))
"""


def test_defects_are_found(tmp_path: Path) -> None:
    (tmp_path / "test_defects.py").write_text(DEFECTS)
    chosen = "test_the_end_of_tcp_without_a_close and finish or test_a_peer_that_does_not_answer and plain"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "-k", chosen, "test_defects.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path)
    outcomes = {(kind, name) for kind, name in re.findall(r"^(PASSED|FAILED) \S+::(\w+)::", done.stdout, re.MULTILINE)}
    assert outcomes == {
        ("PASSED", "TestNothing"),
        ("PASSED", "TestPolite"),
        ("FAILED", "TestPolite"),
        ("PASSED", "TestLeaking"),
        ("FAILED", "TestLeaking"),
    }, done.stdout


def test_the_page_names_every_claim() -> None:
    page = (ROOT / "docs" / "write-your-own-transport.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE))
    assert {name: rows.get(name) for name in CLAIMS} == dict(CLAIMS)


def test_the_example_is_short_and_public() -> None:
    text = (ROOT / "docs" / "examples" / "websockets_transport.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    assert not re.search(r"^\s*(from|import) .*\b_\w", text, re.MULTILINE)


@pytest.mark.parametrize("wrong", [{"claims": ["tsl"]}, {"loops": ["curio"]}, {"loops": []}, {"clam": []}])
def test_what_does_not_exist_is_not_claimed(wrong: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError):
        Transport.model_validate({"client": "aiohttp", **wrong})
