"""What a pod says of its containers."""

from __future__ import annotations

from typing import Any

import pytest

from kubex_stream.logs.status import ContainerView, container_names, default_container, view_of

ENDED = {"terminated": {"exitCode": 1, "reason": "Error"}}
DONE = {"terminated": {"exitCode": 0, "reason": "Completed"}}
BACKING_OFF = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}


def pod(state: dict[str, Any], *, policy: str = "Always", phase: str = "Running", **more: Any) -> dict[str, Any]:
    """A pod of one container."""
    status = {"name": "main", "restartCount": 2, "state": state, "lastState": more.pop("last", {})}
    return {
        "metadata": {"name": "web-0", **more},
        "spec": {"containers": [{"name": "main"}], "restartPolicy": policy},
        "status": {"phase": phase, "containerStatuses": [status]},
    }


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (pod({"running": {}}), "running"),
        (pod(ENDED), "stopped"),
        (pod(DONE), "stopped"),
        (pod(ENDED, policy="OnFailure"), "stopped"),
        (pod(DONE, policy="OnFailure"), "over"),
        (pod(ENDED, policy="Never"), "over"),
        (pod(ENDED, deletionTimestamp="2026-03-01T08:00:00Z"), "over"),
        (pod(ENDED, phase="Failed"), "over"),
        (pod(BACKING_OFF, last=ENDED), "stopped"),
        (pod(BACKING_OFF, last=ENDED, deletionTimestamp="2026-03-01T08:00:00Z"), "over"),
    ],
)
def test_whether_it_will_run_again(given: dict[str, Any], state: str) -> None:
    view = view_of(given, "main")
    assert (view.state, view.restarts, view.started) == (state, 2, True)


def test_what_has_not_started_says_why() -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    assert view_of(pod(waiting), "main") == ContainerView("waiting", 2, "ErrImagePull: no such image", started=False)
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    homeless = {"spec": {"containers": [{"name": "main"}]}, "status": {"phase": "Pending", "conditions": [unscheduled]}}
    assert view_of(homeless, "main") == ContainerView("waiting", 0, "Unschedulable: 0/1 nodes", started=False)
    evicted = {"status": {"phase": "Failed", "reason": "Evicted", "message": "no memory"}}
    assert view_of(evicted, "main") == ContainerView("over", 0, "Evicted: no memory", started=False)


@pytest.mark.parametrize(
    ("kind", "declared", "code", "policy", "state"),
    [
        ("initContainers", {}, 0, "Always", "over"),
        ("initContainers", {}, 1, "Always", "stopped"),
        ("initContainers", {}, 1, "Never", "over"),
        ("initContainers", {"restartPolicy": "Always"}, 0, "Never", "stopped"),  # a sidecar
        ("ephemeralContainers", {}, 1, "Always", "over"),
    ],
)
def test_containers_of_other_kinds(kind: str, declared: dict[str, Any], code: int, policy: str, state: str) -> None:
    given = {
        "spec": {kind: [{"name": "other", **declared}], "restartPolicy": policy},
        "status": {f"{kind[:-1]}Statuses": [{"name": "other", "state": {"terminated": {"exitCode": code}}}]},
    }
    assert view_of(given, "other").state == state


def test_names_and_the_default() -> None:
    spec = {
        "containers": [{"name": "app"}, {"name": "proxy"}],
        "initContainers": [{"name": "init"}],
        "ephemeralContainers": [{"name": "debug"}],
    }
    given: dict[str, Any] = {"metadata": {}, "spec": spec}
    assert container_names(given) == ["init", "app", "proxy", "debug"]
    assert default_container(given) == "app"
    given["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "proxy"}
    assert default_container(given) == "proxy"
    given["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "gone"}
    assert default_container(given) == "app"
