"""The query of a list or watch: what makes no sense in it is refused as an API server refuses it.

One thing is more lenient: the seconds of a ``timeoutSeconds`` may have a fraction, for tests that do not want to wait for a whole one.
"""

from __future__ import annotations

import re
from typing import Any, Final

from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.http import RecordedRequest
from kubex_stream.testing.statuses import bad_request, status

__all__ = ("refused_list", "refused_watch", "starts_with_state")

_NOT_OLDER: Final = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
_NOT_HERE: Final = "Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
_NO_MATCH: Final = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
_NO_VERSION: Final = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


def refused_watch(request: RecordedRequest, behaviour: Behaviour) -> dict[str, Any] | None:
    """The Status that a watch is refused with; None where nothing is wrong with it."""
    match, initial = request.value("resourceVersionMatch"), request.values("sendInitialEvents")
    wrong = None
    if initial and not behaviour.watch_list:
        wrong = "sendInitialEvents", _NOT_HERE
    elif initial and match != "NotOlderThan":
        wrong = "resourceVersionMatch", _NOT_OLDER
    elif match and not initial:
        wrong = "resourceVersionMatch", _NO_MATCH
    if wrong is not None:
        return _invalid(*wrong)
    text = _no_version(request)
    return _no_number(request, "timeoutSeconds") if text is None else status(500, text)


def refused_list(request: RecordedRequest, latest: int) -> dict[str, Any] | None:
    """The same for a list.

    :param latest: the newest version
    """
    version, match = request.value("resourceVersion"), request.value("resourceVersionMatch")
    if match and not version:
        return _invalid("resourceVersionMatch", _NO_VERSION)
    text = _no_version(request)
    if text is not None:
        return bad_request(f"invalid resource version: {text}")
    if version and int(version) > latest:
        details = {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        }
        return status(504, f"Timeout: Too large resource version: {version}, current: {latest}", "Timeout", details)
    if match == "Exact" and int(version) < latest:  # nothing is kept of what the objects were then
        return status(410, "The resourceVersion for the provided list is too old.", "Expired")
    if not re.fullmatch(r"(\d+/\d+)?", request.value("continue"), re.ASCII):
        return bad_request("invalid continue token: continue key is not valid")
    return _no_number(request, "limit")


def starts_with_state(request: RecordedRequest) -> bool:
    """Whether a watch begins with the objects as they are."""
    if request.values("sendInitialEvents"):
        return request.flag("sendInitialEvents")
    return int(request.value("resourceVersion") or 0) == 0


def _no_number(request: RecordedRequest, name: str) -> dict[str, Any] | None:
    text = request.value(name)
    if not text or _NUMBER.fullmatch(text):
        return None
    return bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')


def _no_version(request: RecordedRequest) -> str | None:
    version = request.value("resourceVersion")
    if not version or (version.isascii() and version.isdecimal()):
        return None
    return f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax'


def _invalid(name: str, message: str) -> dict[str, Any]:
    cause = {"reason": "FieldValueForbidden", "message": message, "field": name}
    details = {"group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause]}
    return status(422, f'ListOptions.meta.k8s.io "" is invalid: {name}: {message}', "Invalid", details)
