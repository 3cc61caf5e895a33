"""Who may do what: tokens, client certificates, the 401, and the two kinds of 403."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Collection
from typing import Any, Final

from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.http import RecordedRequest
from kubex_stream.testing.statuses import forbidden, status

__all__ = ("TOKEN_PROTOCOL", "UNAUTHORIZED", "authenticated", "refusal")

#: The subprotocol that carries a bearer token, for clients that cannot set headers.
TOKEN_PROTOCOL: Final = "base64url.bearer.authorization.k8s.io."
UNAUTHORIZED: Final = status(401, "Unauthorized", "Unauthorized")
_VERBS: Final = {"GET": "get", "HEAD": "get", "POST": "create", "DELETE": "delete", "PUT": "update", "PATCH": "patch"}


def _token(request: RecordedRequest) -> str:
    scheme, _, value = request.header("Authorization").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    offered = [name.strip() for name in request.header("Sec-WebSocket-Protocol").split(",")]
    carried = [name.removeprefix(TOKEN_PROTOCOL) for name in offered if name.startswith(TOKEN_PROTOCOL)]
    if not request.is_websocket or len(carried) != 1 or len(offered) < 2:
        return ""
    try:
        return base64.urlsafe_b64decode(carried[0] + "=" * (-len(carried[0]) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def authenticated(
    request: RecordedRequest, tokens: Collection[str], behaviour: Behaviour, *, certificate: bool
) -> bool:
    """Whether the request may go on: a valid token, or a client certificate that the cluster has issued."""
    token = _token(request)
    if token in behaviour.unauthorized_tokens:
        return False
    known = any(hmac.compare_digest(token.encode(), valid.encode()) for valid in tokens)
    return known or (not token and certificate)


def refusal(
    request: RecordedRequest, segments: tuple[str, ...], behaviour: Behaviour, group: str = ""
) -> dict[str, Any] | None:
    """The 403 of a user who may not do this; None for one who may.

    :param segments: the path behind ``/api/v1``, or behind that of ``group``
    """
    if behaviour.rbac == "admin" or not segments:
        return None
    namespace, rest = (
        (segments[1], segments[2:]) if segments[0] == "namespaces" and len(segments) > 2 else ("", segments)
    )
    kind, name, sub = (*rest, "", "", "")[:3]
    verb = _verb(request, name)
    if behaviour.rbac == "nobody" or verb not in ("get", "list", "watch"):
        resource = f"{kind}/{sub}" if sub else kind
        scope = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        why = f'User "{behaviour.rbac}" cannot {verb} resource "{resource}" in API group "{group}" {scope}'
        return forbidden(kind, name, why, group)
    # A WebSocket is a GET, but since 1.35 it needs "create" as well; the answer to that gives no reason.
    return forbidden(kind, name, "") if sub in ("exec", "attach", "portforward") else None


def _verb(request: RecordedRequest, name: str) -> str:
    verb = _VERBS.get(request.method, request.method.lower())
    if verb == "get" and not name:
        return "watch" if request.flag("watch") else "list"
    return verb
