"""Which container is taken, for pods that an embedded cluster has not."""

from __future__ import annotations

from typing import Any

import pytest

from kubex_stream.cli.containers import DEFAULT_CONTAINER, choose_container
from kubex_stream.cli.usage import UsageError


def pod(annotation: str | None = None, **containers: list[str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "web-0", "namespace": "default"}
    if annotation is not None:
        metadata["annotations"] = {DEFAULT_CONTAINER: annotation}
    return {
        "metadata": metadata,
        "spec": {key: [{"name": name} for name in names] for key, names in containers.items()},
    }


def choose(pod: dict[str, Any], wanted: str | None = None) -> tuple[str, list[str]]:
    told: list[str] = []
    return choose_container(pod, wanted, told.append), told


def test_the_only_one_is_taken_without_a_word() -> None:
    assert choose(pod(containers=["app"])) == ("app", [])


def test_all_kinds_are_listed_in_kubectls_order() -> None:
    found = pod(containers=["app", "log"], initContainers=["setup"], ephemeralContainers=["debug"])
    assert choose(found) == ("app", ['Defaulted container "app" out of: app, log, debug (ephem), setup (init)'])


def test_an_init_container_alone_makes_it_a_choice() -> None:
    assert choose(pod(containers=["app"], initContainers=["setup"]))[1] != []


@pytest.mark.parametrize("wanted", ["log", "setup", "debug"])
def test_any_kind_can_be_named(wanted: str) -> None:
    found = pod(containers=["app", "log"], initContainers=["setup"], ephemeralContainers=["debug"])
    assert choose(found, wanted) == (wanted, [])


def test_the_name_wins_over_the_annotation() -> None:
    assert choose(pod("log", containers=["app", "log"]), "app") == ("app", [])


@pytest.mark.parametrize(("annotation", "wanted"), [("gone", None), (None, "gone"), ("app", "gone")])
def test_a_container_that_is_not_there(annotation: str | None, wanted: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        choose(pod(annotation, containers=["app"], initContainers=["setup"]), wanted)
    assert str(caught.value) == "container gone is not valid for pod web-0 out of: app, setup (init)"


def test_a_pod_without_containers() -> None:
    with pytest.raises(UsageError, match=r"^pod default/web-0 does not have any containers$"):
        choose(pod(containers=[]))
