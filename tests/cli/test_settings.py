"""The global options: where they may stand, what they mean, and what goes out because of them."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream.cli.settings import Settings
from kubex_stream.cli.usage import UsageError
from kubex_stream.testing import EmbeddedCluster
from tests.cli.conftest import Run
from tests.cli.forwards import failed

At = Callable[[EmbeddedCluster], Run]

# As data --------------------------------------------------------------------------------------------------------------


def test_what_stands_behind_the_verb_wins() -> None:
    before = Settings(context="a", namespace="x", verbosity=1, as_group=["g"], embedded=True)
    behind = Settings(context="b", verbosity=2, as_group=["h"])
    assert behind.over(before) == Settings(context="b", namespace="x", verbosity=3, as_group=["g", "h"], embedded=True)
    assert Settings().over(before) == before


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"kubeconfig": Path("x")}, "--kubeconfig"),
        ({"server": "https://x"}, "--server"),
        ({"insecure_skip_tls_verify": True}, "--insecure-skip-tls-verify"),
        ({"token": "t", "user": "u"}, "--user and --token"),
        ({"proxy_url": "http://p", "cluster": "c"}, "--cluster and --proxy-url"),
    ],
)
def test_an_embedded_cluster_leaves_nothing_to_choose(given: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings(embedded=True, **given).check()
    assert str(caught.value) == f"--embedded brings its own cluster; leave out {named}"


def test_an_embedded_cluster_knows_everybody_else() -> None:
    Settings(embedded=True, namespace="x", backend="b", as_="jane", as_group=["g"], request_timeout="5s").check()


@pytest.mark.parametrize("given", [{"as_group": ["g"]}, {"as_uid": "1"}])
def test_a_group_alone_is_nobody(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^--as-group and --as-uid need --as, "):
        Settings(**given).check()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"token": ""}, "--token"),
        ({"as_": ""}, "--as"),
        ({"as_": "u", "as_group": ["g", ""]}, "--as-group"),
        ({"server": ""}, "--server"),
    ],
)
def test_a_value_that_is_empty(given: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings(**given).check()
    assert str(caught.value) == f"{named} is empty; give it a value, or leave it out"


@pytest.mark.parametrize(("text", "seconds"), [(None, None), ("0", 0), ("5", 5), ("1m30s", 90)])
def test_request_timeouts(text: str | None, seconds: float | None) -> None:
    assert Settings(request_timeout=text).timeout == seconds


def test_secrets_are_not_shown() -> None:
    settings = Settings(token="hunter2", proxy_url="http://u:hunter2@proxy")
    assert "hunter2" not in repr(settings.overrides)
    assert "hunter2" not in repr(settings)


# As options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["before", "behind"])
def test_impersonation_goes_out_with_every_request(pods: EmbeddedCluster, at: At, place: str) -> None:
    given = ("--as", "jane", "--as-group", "a", "--as-group", "b", "--as-uid", "7")
    before, behind = (given, ()) if place == "before" else ((), given)
    seen = len(pods.requests)
    done = at(pods)(*before, "exec", *behind, "demo", "--", "echo", "x")
    assert (done.stdout, done.stderr, done.returncode) == (b"x\n", b"", 0)
    for request in pods.requests[seen:]:
        assert request.header("Impersonate-User") == "jane"
        assert request.header("Impersonate-Uid") == "7"
        assert [value for name, value in request.headers if name == "Impersonate-Group"] == ["a", "b"]


def test_groups_before_and_behind_the_verb_add_up(pods: EmbeddedCluster, at: At) -> None:
    seen = len(pods.requests)
    done = at(pods)("--as=jane", "--as-group=a", "exec", "--as-group=b", "demo", "--", "true")
    assert (done.stderr, done.returncode) == (b"", 0)
    for request in pods.requests[seen:]:
        assert [value for name, value in request.headers if name == "Impersonate-Group"] == ["a", "b"]


def authority(cluster: EmbeddedCluster, folder: Path) -> Path:
    """The embedded cluster's authority as a file."""
    entry = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
    file = folder / "ca.crt"
    data = entry.get("certificate-authority-data")
    file.write_bytes(base64.b64decode(data) if data else Path(entry["certificate-authority"]).read_bytes())
    return file


def test_no_kubeconfig_is_needed(
    pods: EmbeddedCluster, parse: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    url, ca = pods.configuration.url, authority(pods, tmp_path)
    done = parse(
        "-s", url, "--token", pods.token, "--certificate-authority", str(ca), "exec", "demo", "--", "echo", "x"
    )
    assert (done.stdout, done.stderr, done.returncode) == (b"x\n", b"", 0)
    done = parse("exec", "-s", url, "--token", pods.token, "--insecure-skip-tls-verify", "demo", "--", "echo", "x")
    assert (done.stdout, done.returncode) == (b"x\n", 0)


def test_a_wrong_token(pods: EmbeddedCluster, at: At) -> None:
    said = failed(at(pods)("exec", "--token", "hunter2", "demo", "--", "true"))
    assert said == "error: You must be logged in to the server (Unauthorized)"


def test_a_wrong_name_of_the_server(pods: EmbeddedCluster, at: At) -> None:
    said = failed(at(pods)("exec", "--tls-server-name", "other.example", "demo", "--", "true"))
    assert said.startswith("Unable to connect to the server: ")


@pytest.mark.parametrize("kind", ["user", "cluster", "context"])
def test_a_name_that_is_not_in_the_kubeconfig(pods: EmbeddedCluster, at: At, kind: str) -> None:
    said = failed(at(pods)(f"--{kind}", "nope", "exec", "demo", "--", "true"))
    assert said == f"error: {kind} 'nope' is not in {pods.kubeconfig}; there are: 'embedded'"


def test_another_user_and_another_cluster_of_the_kubeconfig(
    pods: EmbeddedCluster, parse: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = yaml.safe_load(pods.kubeconfig.read_text())
    document["users"].append({"name": "right", **{k: v for k, v in document["users"][0].items() if k != "name"}})
    document["clusters"].append({"name": "right", **{k: v for k, v in document["clusters"][0].items() if k != "name"}})
    document["users"][0]["user"] = {"token": "wrong"}
    document["clusters"][0]["cluster"] = {"server": "https://127.0.0.1:1"}
    file = tmp_path / "config"
    file.write_text(json.dumps(document))
    monkeypatch.setenv("KUBECONFIG", str(file))
    done = parse("--cluster", "right", "exec", "--user", "right", "demo", "--", "echo", "x")
    assert (done.stdout, done.stderr, done.returncode) == (b"x\n", b"", 0)


def test_a_proxy_that_is_not_there_is_told_without_its_password(pods: EmbeddedCluster, at: At) -> None:
    said = failed(at(pods)("exec", "--proxy-url", "http://me:hunter2@127.0.0.1:1", "demo", "--", "true"))
    assert said.startswith("Unable to connect to the server: ")
    assert "hunter2" not in said


def test_a_request_timeout_that_passes(at: At) -> None:
    from kubex_stream.testing import Behaviour, HttpFailure

    busy = Behaviour(failures=(HttpFailure(429, b"", headers={"Retry-After": "30"}),))
    with EmbeddedCluster(quiet=True, behaviour=busy) as cluster:
        done = at(cluster)("exec", "--request-timeout", "200ms", "demo", "--", "true")
    assert (done.stdout, done.returncode) == (b"", 1)
    assert done.stderr.decode().splitlines()[-1].startswith("error: ")


def test_no_request_timeout(pods: EmbeddedCluster, at: At) -> None:
    done = at(pods)("exec", "--request-timeout=0", "demo", "--", "echo", "x")
    assert (done.stdout, done.stderr, done.returncode) == (b"x\n", b"", 0)


# -v -------------------------------------------------------------------------------------------------------------------


def test_twice_verbose_shows_the_handshake_and_no_secret(pods: EmbeddedCluster, at: At) -> None:
    done = at(pods)("-v", "exec", "-v", "demo", "--", "echo", "hunter2")
    text = done.stderr.decode()
    assert done.stdout == b"hunter2\n"
    assert (
        "/pods/demo/exec container=main stdin=false stdout=true stderr=true tty=false command=(2 words, not shown)"
        in text
    )
    assert "> Authorization: (not shown)" in text
    assert "> Upgrade: websocket, offering v4.channel.k8s.io" in text
    assert "< 101, v4.channel.k8s.io, after " in text
    assert "user: a token (user 'embedded' in " in text
    assert "hunter2" not in text
    assert pods.token not in text
    assert "bytes on channel" not in text


def test_twice_verbose_shows_a_refusal(pods: EmbeddedCluster, at: At) -> None:
    done = at(pods)("exec", "-vv", "--token", "hunter2", "demo", "--", "true")
    text = done.stderr.decode()
    assert "< 401, " in text
    assert "Traceback" not in text
    assert "hunter2" not in text


def test_three_times_verbose_shows_messages(pods: EmbeddedCluster, at: At) -> None:
    text = at(pods)("exec", "-vvv", "demo", "--", "echo", "hunter2").stderr.decode()
    assert "received 8 bytes on channel 1" in text
    assert "hunter2" not in text
