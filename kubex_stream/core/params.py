"""Parameters that every layer shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

__all__ = ("Timeout", "TimeoutTypes")

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


@dataclass(frozen=True, slots=True, init=False)
class Timeout:
    """How long the phases of a request may take, in seconds; None means no limit.

    :ivar total: the whole request by the wall clock, on every backend; of a stream, until it is open
    :ivar connect: making a connection: name lookup, TCP, TLS, proxy
    :ivar read: the longest pause between two arrivals of a response
    :ivar write: the longest pause while sending (httpx only; aiohttp has no such limit and warns)
    :ivar pool: waiting for a free connection of the pool
    """

    total: float | None
    connect: float | None
    read: float | None
    write: float | None
    pool: float | None

    def __init__(
        self,
        total: float | None = None,
        *,
        connect: float | None = None,
        read: float | None = None,
        write: float | None = None,
        pool: float | None = None,
    ) -> None:
        values = {"total": total, "connect": connect, "read": read, "write": write, "pool": pool}
        for name, value in values.items():
            object.__setattr__(self, name, None if value is None else _checked(name, value))

    @classmethod
    def coerce(cls, value: TimeoutTypes) -> Timeout | None:
        """``value`` as a Timeout: a number is a ``total``; None (no limits at all) stays None.

        :raises ValueError: neither a Timeout nor a positive number
        """
        if value is None or isinstance(value, Timeout):
            return value
        return cls(_checked("timeout", value))


TimeoutTypes: TypeAlias = Timeout | float | int | None

_SECONDS: TypeAdapter[float] = TypeAdapter(_Seconds)


def _checked(name: str, value: Any) -> float:
    try:
        return _SECONDS.validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{name} must be a positive number of seconds or None, not {value!r}") from error
