"""What an API server, a kubelet and a container runtime say when something ends or fails, word for word.

Rules of this file: pure functions.  JSON is written as Go writes it: no spaces, and ``<``, ``>``, ``&`` escaped.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any, Final

from kubex_stream.protocol.channels import ChannelProtocol

__all__ = (
    "apiserver_failure",
    "attach_failure",
    "bad_request",
    "exec_failure",
    "exit_status",
    "forbidden",
    "go_json",
    "not_found",
    "start_text",
    "status",
    "success_status",
)

_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def go_json(value: object) -> bytes:
    """``value`` as Go's encoding/json writes it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text.encode("utf-8", "replace")


def status(code: int, message: str, reason: str = "", details: dict[str, Any] | None = None) -> dict[str, Any]:
    """A failure as the API server answers it."""
    found: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
    }
    if reason:
        found["reason"] = reason
    if details is not None:
        found["details"] = details
    found["code"] = code
    return found


def bad_request(message: str) -> dict[str, Any]:
    """A 400."""
    return status(400, message, "BadRequest")


def _subject(kind: str, name: str, group: str) -> tuple[str, dict[str, Any]]:
    full = f"{kind}.{group}" if group else kind
    known = {"name": name, "group": group, "kind": kind}
    return f'{full} "{name}"' if name else full, {key: value for key, value in known.items() if value}


def not_found(kind: str, name: str, group: str = "") -> dict[str, Any]:
    """A 404 for one object."""
    subject, details = _subject(kind, name, group)
    return status(404, f"{subject} not found", "NotFound", details)


def forbidden(kind: str, name: str, why: str, group: str = "") -> dict[str, Any]:
    """A 403; ``name`` is empty for a list."""
    subject, details = _subject(kind, name, group)
    return status(403, f"{subject} is forbidden: {why}", "Forbidden", details)


def success_status(row: ChannelProtocol) -> bytes:
    """The Status of exit code 0; nothing before v4."""
    if not row.json_status:
        return b""
    return go_json({"metadata": {}, "status": "Success"} if row.half_close else {"status": "Success"})


def exit_status(row: ChannelProtocol, code: int, command: Sequence[str]) -> bytes:
    """The Status of an exit code.  v5 comes from the kubelet or API server, the others from the runtime, which names the command."""
    if code == 0:
        return success_status(row)
    prefix = "command terminated with non-zero exit code: "
    if row.half_close:
        message = f"{prefix}command terminated with exit code {code}"
    else:
        message = f"{prefix}error executing command [{' '.join(command)}], exit code {code}"
    if not row.json_status:
        return message.encode()
    cause = {"reason": "ExitCode", "message": str(code)}
    found = {"status": "Failure", "message": message, "reason": "NonZeroExitCode", "details": {"causes": [cause]}}
    return go_json({"metadata": {}, **found} if row.half_close else found)


def start_text(reason: str) -> str:
    """The runtime's words about a command that does not start."""
    task = secrets.token_hex(32)
    return f'failed to exec in container: failed to start exec "{task}": OCI runtime exec failed: exec failed: {reason}'


def exec_failure(row: ChannelProtocol, reason: str) -> bytes:
    """The Status of a command that does not start."""
    return _internal(row, f"error executing command in container: {reason}")


def attach_failure(row: ChannelProtocol, reason: str) -> bytes:
    """The Status of an attachment that does not come about."""
    return _internal(row, f"error attaching to container: {reason}")


def _internal(row: ChannelProtocol, reason: str) -> bytes:
    message = f"Internal error occurred: {reason}"
    if not row.json_status:
        return message.encode()
    if not row.half_close:
        return go_json({"status": "Failure", "message": message, "reason": "InternalError", "code": 500})
    return _wrapped(message)


def apiserver_failure(text: str) -> bytes:
    """The kubelet's refusal ``text`` as an API server reports it after its 101."""
    return _wrapped(f"unable to upgrade connection: {text}")


def _wrapped(message: str) -> bytes:
    return go_json(
        {
            "metadata": {},
            "status": "Failure",
            "message": f"Internal error occurred: {message}",
            "reason": "InternalError",
            "details": {"causes": [{"message": message}]},
            "code": 500,
        }
    )
