"""Timeout: a value, checked when it is made."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from kubex_stream import Timeout

PHASES = ["connect", "read", "write", "pool"]


def test_the_total_is_positional_and_the_phases_have_names() -> None:
    made = Timeout(10, connect=1, read=2.5, write=3, pool=4)
    assert (made.total, made.connect, made.read, made.write, made.pool) == (10.0, 1.0, 2.5, 3.0, 4.0)
    assert Timeout() == Timeout(None) == Timeout(total=None, connect=None)
    assert Timeout(total=5) == Timeout(5)


def test_a_second_positional_value_or_a_misspelt_phase_is_a_type_error() -> None:
    anything: Any = Timeout
    with pytest.raises(TypeError):
        anything(10, 5)
    with pytest.raises(TypeError):
        anything(10, conect=5)


@pytest.mark.parametrize("name", ["total", *PHASES])
@pytest.mark.parametrize(
    "value",
    [0, 0.0, -1, -0.1, True, False, "5", b"5", [], float("nan"), float("inf"), float("-inf"), 10**400],
    ids=lambda value: repr(value)[:8],
)
def test_what_is_no_positive_number_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a positive number of seconds or None"):
        Timeout(**{name: value})


def test_it_is_a_value() -> None:
    made = Timeout(10, read=2)
    assert made == Timeout(10.0, read=2.0)
    assert made != Timeout(10)
    assert len({made, Timeout(10, read=2), Timeout(10)}) == 2
    assert repr(made) == "Timeout(total=10.0, connect=None, read=2.0, write=None, pool=None)"
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made
    assert dataclasses.replace(made, total=3) == Timeout(3, read=2)


@pytest.mark.parametrize("name", ["total", *PHASES, "other"])
def test_it_does_not_change(name: str) -> None:
    with pytest.raises((AttributeError, TypeError)):
        setattr(Timeout(10), name, 5)


def test_coerce() -> None:
    made = Timeout(read=3)
    assert Timeout.coerce(made) is made
    assert Timeout.coerce(None) is None
    assert Timeout.coerce(7) == Timeout(7)
    assert Timeout.coerce(0.5) == Timeout(0.5)


@pytest.mark.parametrize("value", [0, -1, True, "5", float("nan"), ..., {"total": 5}], ids=repr)
def test_coerce_refuses_the_rest(value: Any) -> None:
    with pytest.raises(ValueError, match="timeout must be a positive number"):
        Timeout.coerce(value)
