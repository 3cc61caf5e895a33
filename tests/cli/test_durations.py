"""Times as kubectl takes them."""

from __future__ import annotations

import pytest

from kubex_stream.cli.durations import parse_duration
from kubex_stream.cli.usage import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0), ("30", 30.0), ("1m0s", 60.0), ("1h2m3s", 3723.0), ("1.5m", 90.0), (".5s", 0.5), ("1.s", 1.0),
        ("300ms", 0.3), ("2m", 120.0), ("5us", 5e-6), ("5µs", 5e-6), ("7ns", 7e-9), ("0.25", 0.25),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "--timeout") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5x", "5 s", "-5s", "5s later", "1m30", "٣s", "1e3s", "inf", "nan"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--timeout takes a time as 30s, 2m or 1m30s, not "):
        parse_duration(text, "--timeout")


@pytest.mark.parametrize("text", ["0", "0s", "0h0m"])
def test_no_time_at_all(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--timeout must be higher than zero$"):
        parse_duration(text, "--timeout")
