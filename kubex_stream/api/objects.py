"""The API's JSON objects, as far as requests of this library look into them."""

from __future__ import annotations

import json
from typing import Any

from kubex_stream.client.request import Request, Response
from kubex_stream.errors import ApiError

__all__ = ("kubernetes_object", "unexpected")


def kubernetes_object(response: Response, request: Request) -> dict[str, Any]:
    """The object that a response holds.

    :raises ApiError: it holds none
    """
    try:
        value = json.loads(response.content)
    except ValueError:
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("metadata"), dict):
        raise unexpected(request, response.status_code, "no Kubernetes object")
    return value


def unexpected(request: Request, status_code: int, what: str) -> ApiError:
    """An answer that no API server gives.

    :param what: what it is
    """
    # A proxy's log-in page, for example.
    return ApiError(
        f"{request.method} {request.path}: {status_code}, but the answer is {what}; is this really an API server?",
        status_code=status_code,
    )
