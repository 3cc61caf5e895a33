"""The embedded cluster as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from kubex_stream.testing import Behaviour, EmbeddedContainer, EmbeddedPod, HttpFailure, InjectedFrame
from kubex_stream.testing.__main__ import behaviour_from_json, pods_from_json

PATIENCE = 60.0


@contextmanager
def started(*arguments: str, directory: Path | None = None) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    words = [sys.executable, "-m", "kubex_stream.testing", *arguments]
    environment = os.environ | ({"TMPDIR": str(directory)} if directory else {})
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    command = [
        "sh",
        "-c",
        f"setsid sleep 1000 & echo $! >{pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 1000",
    ]
    pods = json.dumps([{"name": "demo", "containers": [{"command": command}]}])
    directory = tmp_path / "temporary"
    directory.mkdir()
    with started("--pods", pods, directory=directory) as (process, kubeconfig):
        document = yaml.safe_load(kubeconfig.read_text())
        assert document["clusters"][0]["cluster"]["server"].startswith("https://127.0.0.1:")
        assert kubeconfig.stat().st_mode & 0o777 == 0o600
        assert process.stderr is not None
        assert "runs commands on this machine" in process.stderr.readline()
        while not pid_file.exists():
            assert process.poll() is None
        sleeper = int(pid_file.read_text())
        assert _alive(sleeper)
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (0, "", "")
    assert kubeconfig.is_relative_to(directory)
    assert list(directory.iterdir()) == []
    assert not _alive(sleeper)


def test_options() -> None:
    with started("--plain", "--quiet", "--prefix", "/p", "--behaviour", '{"way": "apiserver"}') as (
        process,
        kubeconfig,
    ):
        server = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        assert server.startswith("http://127.0.0.1:")
        assert server.endswith("/p")
        process.terminate()
        assert process.communicate(timeout=PATIENCE) == ("", "")


def test_wrong_options_are_told() -> None:
    words = [sys.executable, "-m", "kubex_stream.testing", "--behaviour", '{"wya": 1}']
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert "invalid behaviour_from_json value" in done.stderr


def test_behaviours_and_pods_from_json() -> None:
    found = behaviour_from_json(
        json.dumps(
            {
                "protocols": ["v4.channel.k8s.io"],
                "failures": [{"status": 429, "body": "x", "times": 2}],
                "inject": [{"payload": "0178", "opcode": 1}],
                "raw_status": "{",
                "unauthorized_tokens": ["old"],
                "close_code": 1011,
            }
        )
    )
    assert found == Behaviour(
        protocols=("v4.channel.k8s.io",),
        failures=(HttpFailure(429, b"x", times=2),),
        inject=(InjectedFrame(b"\x01x", opcode=1),),
        raw_status=b"{",
        unauthorized_tokens=frozenset({"old"}),
        close_code=1011,
    )
    assert pods_from_json(
        '[{"name": "a"}, {"name": "b", "namespace": "n", "containers": [{"command": ["sh"], "tty": true}]}]'
    ) == (
        EmbeddedPod("a", containers=[EmbeddedContainer()]),
        EmbeddedPod("b", "n", containers=[EmbeddedContainer(command=["sh"], tty=True)]),
    )
    with pytest.raises(ValueError, match="no field 'nope'"):
        behaviour_from_json('{"nope": 1}')
    with pytest.raises(ValueError, match="JSON object"):
        behaviour_from_json("[]")
