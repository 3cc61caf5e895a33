"""What the command says when something is wrong: one line, kubectl's words, exit code 1, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream.testing import Behaviour, EmbeddedCluster, HttpFailure
from tests.cli.conftest import KUBECONFIG, Done, Run
from tests.ports import free_port

Misbehaving = Callable[[Behaviour], AbstractContextManager[EmbeddedCluster]]


def failed(done: Done) -> str:
    """The one line that a failed command says."""
    text = done.stderr.decode()
    assert done.stdout == b""
    assert done.returncode == 1
    assert "Traceback" not in text
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text[:-1]


@pytest.mark.parametrize("backend", ["aiohttp", "httpx"])
def test_no_such_pod(run: Run, backend: str) -> None:
    done = run("exec", "--backend", backend, "nope", "--", "true")
    assert failed(done) == 'Error from server (NotFound): pods "nope" not found'


def test_no_such_container(here: Run) -> None:
    done = here("exec", "-c", "third", "two", "--", "true")
    assert failed(done) == "error: container third is not valid for pod two out of: first, second"


def test_a_completed_pod(here: Run) -> None:
    done = here("exec", "done", "--", "true")
    assert failed(done) == "error: cannot exec into a container in a completed pod; current phase is Succeeded"


def test_a_program_that_does_not_exist(here: Run) -> None:
    said = failed(here("exec", "demo", "--", "/no/such/program"))
    assert said.startswith("error: Internal error occurred: error executing command in container: ")
    assert "no such file or directory" in said


def test_what_cannot_be_a_pod(here: Run) -> None:
    assert failed(here("exec", "UPPER", "--", "true")).startswith("error: 'UPPER' is not the name of a pod: ")


@pytest.mark.parametrize("name", ["a/b/../c", "../b", "node/x", "/x"])
@pytest.mark.parametrize("verb", [("exec", "--", "true"), ("attach",)])
def test_a_kind_that_has_no_pods(parse: Run, name: str, verb: tuple[str, ...]) -> None:
    kind = name.rpartition("/")[0]
    said = failed(parse(verb[0], name, *verb[1:]))
    assert said.startswith(f"error: {kind!r} is no kind of object that has pods; there are pod, svc, deploy, ")


def test_forbidden_names_the_verbs(here: Run, misbehaving: Misbehaving) -> None:
    with misbehaving(Behaviour(rbac="reader")) as cluster:
        said = failed(here("exec", "demo", "--", "true", cluster=cluster))
    assert said.startswith('Error from server (Forbidden): pods "demo" is forbidden: ')
    assert "`create` on `pods/exec`" in said


def test_unauthorized(here: Run, misbehaving: Misbehaving) -> None:
    with misbehaving(Behaviour()) as cluster:
        cluster.behaviour = Behaviour(unauthorized_tokens=frozenset({cluster.token}))
        said = failed(here("exec", "demo", "--", "true", cluster=cluster))
    assert said == "error: You must be logged in to the server (Unauthorized)"


def test_an_answer_that_is_no_status(here: Run, misbehaving: Misbehaving) -> None:
    with misbehaving(Behaviour(failures=(HttpFailure(502, b"<html>bad gateway</html>"),))) as cluster:
        said = failed(here("exec", "demo", "--", "true", cluster=cluster))
    assert said.startswith("error: GET /api/v1/namespaces/default/pods/demo: 502 Bad Gateway")


def test_a_connection_that_breaks(run: Run, misbehaving: Misbehaving) -> None:
    with misbehaving(Behaviour(tcp_end_before_status=True)) as cluster:
        done = run("exec", "demo", "--", "echo", "came", cluster=cluster)
    assert (done.stdout, done.returncode) == (b"came\n", 1)
    assert done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr


def test_a_retry_is_told(here: Run, misbehaving: Misbehaving) -> None:
    busy = HttpFailure(429, b"", headers={"Retry-After": "0"}, times=1)
    with misbehaving(Behaviour(failures=(busy,))) as cluster:
        done = here("exec", "demo", "--", "echo", "came", cluster=cluster)
    assert (done.stdout, done.returncode) == (b"came\n", 0)
    assert done.stderr.startswith(b"kubex-stream: ")
    assert b"429" in done.stderr


def test_nobody_listens(here: Run, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(KUBECONFIG.format(f"https://127.0.0.1:{free_port()}"))
    said = failed(here("--kubeconfig", str(kubeconfig), "exec", "demo", "--", "true"))
    assert said.startswith("Unable to connect to the server: ")
    assert "hidden-token" not in said


def test_no_kubeconfig(here: Run, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert str(missing) in failed(here("--kubeconfig", str(missing), "exec", "demo", "--", "true"))


def test_no_such_context(here: Run) -> None:
    said = failed(here("--context", "nope", "exec", "demo", "--", "true"))
    assert "'nope'" in said
    assert "'embedded'" in said


def test_no_such_backend(here: Run) -> None:
    said = failed(here("exec", "--backend", "nope", "demo", "--", "true"))
    assert said.startswith("error: there is no backend 'nope'; registered are: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("exec", "demo"), "error: you must specify at least one command for the container"),
        (("exec", "demo", "--"), "error: you must specify at least one command for the container"),
        (("exec", "demo", "ls", "--", "ls"), "error: exec POD COMMAND is not supported; write exec POD -- COMMAND"),
        (
            ("exec", "--", "ls"),
            "error: name a pod, or another object that has pods: exec POD -- COMMAND, exec TYPE/NAME -- COMMAND",
        ),
        (("attach",), "error: name one pod, or another object that has pods: attach POD, attach TYPE/NAME"),
        (("attach", "a", "b"), "error: name one pod, or another object that has pods: attach POD, attach TYPE/NAME"),
        (("attach", "demo", "--", "ls"), "error: attach takes no command"),
        (
            ("exec", "demo", "--pod-running-timeout", "0", "--", "ls"),
            "error: --pod-running-timeout must be higher than zero",
        ),
        (
            ("--embedded", "exec", "--context", "x", "demo", "--", "ls"),
            "error: --embedded brings its own cluster; leave out --context",
        ),
        (("backends", "--", "x"), "error: backends takes no command"),
        (("cluster", "--", "x"), "error: cluster takes no command"),
        (("cp", "a"), "error: name a source and a target, as in: kubex-stream cp file demo:/tmp"),
        (
            ("cp", "a", "b"),
            "error: one of src or dest must be a remote file specification, as POD:PATH, and the other one local",
        ),
    ],
)
def test_command_lines_that_make_no_sense(parse: Run, arguments: tuple[str, ...], said: str) -> None:
    assert failed(parse(*arguments)) == said


@pytest.mark.parametrize(
    "arguments", [("nope",), ("--nope",), ("exec", "-x", "demo", "--", "ls"), ("exec", "demo", "-c"), ("cluster", "x")]
)
def test_command_lines_that_the_parser_refuses(parse: Run, arguments: tuple[str, ...]) -> None:
    done = parse(*arguments)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"Error: " in done.stderr
