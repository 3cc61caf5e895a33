"""``python -m kubex_stream.testing``: an embedded cluster in a process of its own, for tests of memory and speed."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from typing import Any

from kubex_stream.testing.behaviour import Behaviour, HttpFailure, InjectedFrame
from kubex_stream.testing.cluster import EmbeddedCluster
from kubex_stream.testing.command import serve
from kubex_stream.testing.pods import EmbeddedContainer, EmbeddedPod
from kubex_stream.testing.ports import EmbeddedPort

__all__ = ("behaviour_from_json", "main", "pods_from_json")


def _converted(key: str, value: Any) -> Any:
    if key == "failures":
        return tuple(HttpFailure(**{**each, "body": each.get("body", "").encode()}) for each in value)
    if key == "inject":
        return tuple(InjectedFrame(**{**each, "payload": bytes.fromhex(each["payload"])}) for each in value)
    if key == "raw_status":
        return None if value is None else value.encode()
    if key == "unauthorized_tokens":
        return frozenset(value)
    return tuple(value) if isinstance(value, list) else value


def behaviour_from_json(text: str) -> Behaviour:
    """A behaviour from a JSON object of its fields; payloads of injected frames are hexadecimal, bodies and raw Status are text.

    :raises ValueError: no JSON object, or a field that a behaviour does not have
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("a behaviour is a JSON object of its fields")
    known = {field.name for field in fields(Behaviour)}
    if unknown := sorted(value.keys() - known):
        raise ValueError(f"a behaviour has no field {unknown[0]!r}; it has {', '.join(sorted(known))}")
    return Behaviour(**{key: _converted(key, each) for key, each in value.items()})


def pods_from_json(text: str) -> tuple[EmbeddedPod, ...]:
    """Pods from a JSON list of objects with the fields of :class:`EmbeddedPod`; containers and ports likewise."""
    pods = []
    for each in json.loads(text):
        containers = [EmbeddedContainer(**container) for container in each.pop("containers", [{}])]
        ports = tuple(EmbeddedPort(port.pop("number"), **port) for port in each.pop("ports", []))
        pods.append(EmbeddedPod(containers=containers, ports=ports, **each))
    return tuple(pods)


def main(arguments: list[str] | None = None) -> None:
    """Serve an embedded cluster until SIGINT or SIGTERM; the first line on stdout is the kubeconfig's path."""
    parser = argparse.ArgumentParser(prog="python -m kubex_stream.testing", description=main.__doc__)
    parser.add_argument("--behaviour", type=behaviour_from_json, default=Behaviour(), metavar="JSON")
    parser.add_argument("--pods", type=pods_from_json, default=None, metavar="JSON")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--prefix", default="")
    parser.add_argument("--plain", action="store_true", help="HTTP without TLS")
    parser.add_argument("--quiet", action="store_true", help="no warning on stderr")
    found = parser.parse_args(arguments)
    cluster = EmbeddedCluster(
        found.pods,
        behaviour=found.behaviour,
        port=found.port,
        prefix=found.prefix,
        tls=not found.plain,
        quiet=found.quiet,
    )
    serve(cluster, sys.stdout)


if __name__ == "__main__":
    main()
