"""429 and 503: what is tried again, after how long, and that it can be seen."""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubex_stream import ApiError, ClientOptions, Observer, TooManyRequests
from kubex_stream.client import Request, Response
from kubex_stream.client.api_errors import api_error
from kubex_stream.client.limits import retry_delay

from .memory import WAYS, Way, go, refusal, scripted

pytestmark = pytest.mark.anyio

NOW = ("retry-after", "0")
BUSY = refusal(429, NOW, message="too many requests")
UNAVAILABLE = refusal(503, NOW)


class Diary(Observer):
    """Notes what is retried."""

    def __init__(self) -> None:
        self.retries: list[tuple[str, int, float]] = []

    def retried(self, path: str, error: Exception, delay: float) -> None:
        assert isinstance(error, ApiError)
        self.retries.append((path, error.status_code, delay))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("code", [429, 503])
async def test_it_is_tried_again_and_that_is_visible(way: Way, code: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "kubex_stream")
    diary = Diary()
    request = Request(path="/exec", query=[("command", "hunter2")])
    async with scripted(refusal(code, NOW), refusal(code, NOW), None, observer=diary) as client:
        await go(client, way, request)
    assert len(client.sent) == 3
    assert diary.retries == [("/exec", code, 0.0)] * 2
    messages = [record.getMessage() for record in caplog.records]
    assert [f"trying again in 0.0 s ({number} of 3)" in text for number, text in enumerate(messages, 1)] == [True] * 2
    assert all(f"GET /exec: {code}" in text and "hunter2" not in text for text in messages)


@pytest.mark.parametrize("way", WAYS)
async def test_patience_ends(way: Way) -> None:
    async with scripted(*[BUSY] * 4) as client:
        with pytest.raises(TooManyRequests, match="429 Too Many Requests: too many requests") as caught:
            await go(client, way)
    assert len(client.sent) == 4
    assert caught.value.retry_after == 0


@pytest.mark.parametrize("way", WAYS)
async def test_retries_can_be_turned_off(way: Way) -> None:
    async with scripted(BUSY, options=ClientOptions(retries=0)) as client:
        with pytest.raises(TooManyRequests):
            await go(client, way)
    assert len(client.sent) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("code", [400, 403, 404, 409, 410, 500, 502, 504])
async def test_no_other_error_is_repeated(way: Way, code: int) -> None:
    async with scripted(refusal(code, NOW)) as client:
        with pytest.raises(ApiError):
            await go(client, way)
    assert len(client.sent) == 1


@pytest.mark.parametrize(("method", "attempts"), [("POST", 1), ("PATCH", 1), ("DELETE", 1), ("GET", 2), ("HEAD", 2)])
async def test_a_503_is_repeated_only_where_it_can_have_changed_nothing(method: str, attempts: int) -> None:
    async with scripted(UNAVAILABLE, None) as client:
        if attempts == 1:
            with pytest.raises(ApiError, match="503"):
                await go(client, "request", Request(path="/", method=method))
        else:
            await go(client, "request", Request(path="/", method=method))
    assert len(client.sent) == attempts


async def test_a_429_is_repeated_whatever_it_was() -> None:
    async with scripted(BUSY, None) as client:
        await go(client, "request", Request(path="/", method="POST", body=b"{}"))
    assert [sent.body for sent in client.sent] == [b"{}", b"{}"]


@pytest.mark.parametrize(
    "answer",
    [
        refusal(429, ("retry-after", " 0 ")),
        refusal(429, ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")),
        refusal(429, details={"retryAfterSeconds": 0}),
        refusal(429, ("retry-after", "0"), details={"retryAfterSeconds": 100}),
    ],
    ids=["seconds", "date", "status", "header before status"],
)
@pytest.mark.parametrize("way", WAYS)
async def test_the_server_says_when(answer: Response, way: Way) -> None:
    diary = Diary()
    async with scripted(answer, None, observer=diary) as client:
        await go(client, way)
    assert [delay for _, _, delay in diary.retries] == [0.0]


@pytest.mark.parametrize(
    "answer",
    [refusal(429, ("retry-after", "121")), refusal(429, details={"retryAfterSeconds": 3600})],
    ids=["header", "status"],
)
@pytest.mark.parametrize("way", WAYS)
async def test_a_pause_longer_than_patience_is_an_error_at_once(answer: Response, way: Way) -> None:
    async with scripted(answer) as client:
        with pytest.raises(TooManyRequests) as caught:
            await go(client, way)
    assert caught.value.retry_after in (121, 3600)


async def test_an_observer_that_fails_fails_the_call() -> None:
    class Failing(Observer):
        def retried(self, path: str, error: Exception, delay: float) -> None:
            raise ZeroDivisionError(path, error, delay)

    async with scripted(BUSY, observer=Failing()) as client:
        with pytest.raises(ZeroDivisionError):
            await go(client, "request")


def retry_after(header: str | None = None, **status: Any) -> float | None:
    headers = [] if header is None else [("retry-after", header)]
    return api_error(refusal(429, *headers, **status), method="GET", path="/").retry_after


def test_how_long_the_server_asks_to_wait() -> None:
    assert retry_after() is None
    assert retry_after("7") == 7
    assert retry_after(details={"retryAfterSeconds": 30}) == 30
    soon = retry_after(format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True))
    assert soon is not None
    assert 3500 < soon <= 3600


@pytest.mark.parametrize(
    "header",
    ["", "soon", "-5", "1.5", "²", "٣", "1e3", "Wed, 99 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00", "0x10"],
)
def test_a_header_that_says_nothing_counts_for_nothing(header: str) -> None:
    assert retry_after(header) is None


@pytest.mark.parametrize("value", [-5, math.nan, -math.inf, "5", None, [], True], ids=repr)
def test_neither_does_such_a_status(value: object) -> None:
    assert retry_after(details={"retryAfterSeconds": value}) is None


@settings(deadline=None)
@given(st.text(max_size=40), st.none() | st.integers() | st.floats() | st.text(max_size=5))
def test_whatever_is_asked_is_a_time_or_nothing(header: str, seconds: object) -> None:
    for asked in (retry_after(header), retry_after(details={"retryAfterSeconds": seconds})):
        assert asked is None or asked >= 0


def delays(retried: int, answer: Response) -> list[float]:
    error = api_error(answer, method="GET", path="/")
    found = [retry_delay(error, repeatable=True, retried=retried, retries=100) for _ in range(50)]
    return [delay for delay in found if delay is not None]


def test_the_delay_grows_is_jittered_and_has_an_end() -> None:
    plain = refusal(503)
    for retried, longest in ((0, 0.5), (1, 1.0), (2, 2.0), (4, 8.0), (7, 30.0), (99, 30.0)):
        found = delays(retried, plain)
        assert len(found) == 50
        assert len(set(found)) > 1
        assert all(longest / 2 <= delay <= longest for delay in found)


def test_the_servers_word_is_neither_shortened_nor_jittered() -> None:
    assert set(delays(5, refusal(429, ("retry-after", "120")))) == {120.0}
    assert delays(0, refusal(429, ("retry-after", "120.5"))) != []
    assert delays(0, refusal(429, ("retry-after", "121"))) == []
