"""A program for the official client and for this library alike: ``python both.py MODULE KUBECONFIG`` prints what it found as JSON.

MODULE is where ``stream`` and ``Watch`` come from: ``kubernetes``, or this library's module.  It runs in a process of its own, since the
official client leaves connections behind.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def main(module: str, kubeconfig: str) -> dict[str, Any]:
    official: Any = importlib.import_module("kubernetes.client")
    config: Any = importlib.import_module("kubernetes.config")
    ours = module != "kubernetes"
    run: Any = importlib.import_module(module if ours else "kubernetes.stream").stream
    watch: Any = importlib.import_module(module if ours else "kubernetes.watch").Watch

    v1 = official.CoreV1Api(config.new_client_from_config(kubeconfig))
    exec_, where = v1.connect_get_namespaced_pod_exec, ("demo", "default")
    both = {"stderr": True, "stdin": False, "stdout": True, "tty": False}
    script = ["sh", "-c", "echo out; echo err >&2; exit 7"]
    found: dict[str, Any] = {"text": sorted(run(exec_, *where, command=script, **both).split())}
    found["bytes"] = run(exec_, *where, command=["printf", "\\377"], binary=True, **both).hex()

    session = run(exec_, *where, command=script, _preload_content=False, **both)
    session.run_forever(timeout=30)
    found["read"] = [session.peek_stdout(), session.read_stdout(), session.read_stderr(), session.read_stdout()]
    found["ended"] = [session.returncode, session.is_open()]
    session.close()

    shell = run(exec_, *where, command=["sh"], _preload_content=False, **{**both, "stdin": True})
    shell.write_stdin("echo one; echo two\n")
    found["lines"] = [shell.readline_stdout(timeout=30), shell.readline_stdout(timeout=30)]
    shell.write_stdin("exit 3\n")
    shell.run_forever(timeout=30)
    found["code"] = shell.returncode
    shell.close()

    watcher = watch()
    events = list(watcher.stream(v1.list_namespaced_pod, "default", timeout_seconds=1))
    found["events"] = [[event["type"], type(event["object"]).__name__, event["raw_object"]["kind"]] for event in events]
    given = watch(return_type="object").stream(
        v1.list_namespace, timeout_seconds=1, field_selector="metadata.name=default"
    )
    found["dicts"] = [event["object"] == event["raw_object"] for event in given]
    lines = watch().stream(v1.read_namespaced_pod_log, name="quitter", namespace="default")
    found["log"] = list(lines)
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], sys.argv[2])))
