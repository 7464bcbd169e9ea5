"""Arguments come back equal or are refused; results can always be stored."""

from __future__ import annotations

import contextlib
import json
import math
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.codec import clean, decode, describe, encode_args, encode_result
from ostinato.errors import PayloadError

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.integers() | st.none() | st.floats(), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), plain, max_size=4))
def test_what_json_holds_comes_back_equal_to_the_last_bit(arguments):
    back = decode(encode_args(arguments, "t"))
    assert back == arguments
    assert repr(sorted(back.items())) == repr(sorted(arguments.items()))  # -0.0, 1.0 and True too


@given(anything)
def test_arguments_are_valid_json_text_or_are_refused(value):
    with contextlib.suppress(PayloadError):
        text = encode_args({"x": value}, "t")
        json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
        text.encode()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "argument x is NaN"),
        ([1, {"a": -math.inf}], "argument x[1].a is infinite"),
        ({"deep": ["\ud800"]}, "argument x.deep[0] is text with a lone surrogate"),
        ({"\ud800": 1}, "a key with a lone surrogate"),
        (object(), "argument x is a object"),
        ([1, int], "argument x[1] is the class int"),
        (10**5000, "argument x is a whole number too large"),
        (1j, "argument x is a complex"),
        (lambda: 0, "argument x is a function"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "value",
)
def test_a_refusal_names_the_place_and_the_reason(value, said):
    with pytest.raises(PayloadError) as caught:
        encode_args({"x": value}, "mail.send")
    assert "'mail.send'" in str(caught.value)
    assert said in str(caught.value)


def test_nesting_is_fine_until_it_is_absurd():
    def nested(depth: int) -> Any:
        value: Any = None
        for _ in range(depth):
            value = [value]
        return value

    assert decode(encode_args({"x": nested(90)}, "t"))["x"] == nested(90)
    with pytest.raises(PayloadError):
        encode_args({"x": nested(100_000)}, "t")


def test_an_argument_that_holds_itself_is_refused():
    loop: list[Any] = []
    loop += [loop, loop]
    with pytest.raises(PayloadError, match="nested too deeply"):
        encode_args({"x": loop}, "t")


class Evil:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __str__(self) -> str:
        raise RuntimeError("no str")


class Worse:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


class EvilError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no str")

    __repr__ = __str__


def name_of(value: object) -> str:
    return type(value).__name__


@pytest.mark.parametrize("value", [Evil(), Worse(), [Evil()], {"a": Worse()}], ids=name_of)
def test_a_hostile_argument_is_refused_like_any_other(value):
    with pytest.raises(PayloadError):
        encode_args({"x": value}, "t")


@given(anything)
def test_any_result_can_be_stored(value):
    text = encode_result(value, 2**20)
    text.encode()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


@given(plain)
def test_a_plain_result_comes_back_equal(value):
    assert decode(encode_result(value, 2**20)) == value


class BadItems(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise RuntimeError("no items")


@pytest.mark.parametrize(
    "value",
    [Evil(), Worse(), EvilError(), Evil, 2**64, -(10**400), 10**5000, [10**5000],
     {(1, 2): Evil()}, {1, 2}, b"\x00\xff", {None: math.nan},
     BadItems(a=object()), "\ud800", {"\ud800": ["\udfff"]}, range(3), (n for n in "ab"), [10**50, math.inf]],
    ids=name_of,
)  # fmt: skip
def test_an_odd_result_becomes_text_that_says_what_it_was(value):
    json.loads(encode_result(value, 2**20), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_a_result_that_holds_itself_can_be_stored():
    loop: list[Any] = []
    loop += [loop, loop, {"again": loop}]
    assert len(encode_result(loop, 2**20)) < 2000


def test_odd_parts_do_not_spoil_the_rest_of_a_result():
    found = decode(encode_result({"n": 1, "odd": Evil(), "nan": math.nan}, 2**20))
    assert found["n"] == 1
    assert found["nan"] == "nan"
    assert found["odd"]["$type"].endswith("Evil")
    assert "repr() fails" in found["odd"]["$repr"]


def test_a_result_over_the_limit_is_replaced_by_its_size_and_start():
    found = decode(encode_result("é" * 3000, 2000))
    assert found["$too_large"] == 6002
    assert found["$start"].startswith('"ééé')
    assert encode_result("x" * 1998, 2000) == '"' + "x" * 1998 + '"'


def test_dates_and_dataclasses_are_results_too():
    @dataclass
    class Point:
        x: int

    at = datetime(2030, 1, 2, tzinfo=timezone.utc)
    assert decode(encode_result([Point(1), at, OrderedDict(a=1)], 999)) == [{"x": 1}, "2030-01-02T00:00:00Z", {"a": 1}]


def test_any_exception_can_be_described():
    try:
        raise EvilError
    except EvilError as error:
        found = describe(error)
    assert found.type == "EvilError"
    assert "whose str() fails" in found.message
    assert "Traceback" in found.traceback
    found = describe(ValueError("\ud800" + "x" * 100_000))
    found.message.encode()
    assert len(found.message) < 11_000
    assert len(found.traceback) < 62_000


@given(st.text(), st.integers(10, 50))
def test_cleaned_text_is_utf8_and_of_bounded_length(text, limit):
    clean(text).encode()
    assert len(clean(text, limit)) <= 10 * limit + 60
