"""JSON of arguments and results: exact on the way in, never failing on the way out.

Arguments must come back equal to what was given, on every store, or are refused when posted.
What a task returns or raises can always be stored: what JSON cannot hold is replaced by text
that says what it was.
"""

from __future__ import annotations

import math
import threading
import traceback
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from ostinato.errors import PayloadError
from ostinato.model import Error

MAX_MESSAGE = 10_000
MAX_TRACEBACK = 60_000
_DEEPEST = 100


def _encode_hook(value: Any) -> Any:
    if hasattr(value, "model_dump"):  # a pydantic model, without importing pydantic
        return value.model_dump(mode="json")
    raise TypeError(f"a {type(value).__qualname__} cannot be stored as JSON")


def decode_hook(kind: type, value: Any) -> Any:
    """For typed decoders: pydantic models validate themselves."""
    if hasattr(kind, "model_validate"):
        return kind.model_validate(value)
    raise TypeError(f"a {kind.__qualname__} cannot be made from JSON")


_encoder = msgspec.json.Encoder(enc_hook=_encode_hook)


def encode_args(arguments: Mapping[str, Any], owner: str) -> str:
    """The canonical JSON of a call's arguments by name.

    Raises PayloadError, which names ``owner`` and the place, for what JSON cannot hold.
    """
    try:
        data = _encoder.encode(arguments)
        text = data.decode()
    except Exception as error:  # whatever the attributes of the user's objects raise, too
        raise PayloadError(_complaint(owner, arguments, _message(error))) from None
    if b"null" in data:  # msgspec writes NaN and infinities as null, silently
        place = next(_odd_places(arguments, ""), None)
        if place is not None:
            raise PayloadError(_complaint(owner, arguments, "it cannot be stored as JSON"))
    return text


def _complaint(owner: str, arguments: Mapping[str, Any], why: str) -> str:
    place, what = next(_odd_places(arguments, ""), ("", why))
    where = f"argument {place} is {what}" if place else f"the arguments cannot be stored: {why}"
    return (
        f"Cannot post {owner!r}: {where}, which JSON stores cannot hold. "
        "Pass plain data (text, numbers, lists, dicts, dataclasses, dates), or a path or key to it."
    )


def _odd_places(value: Any, path: str, depth: int = 0) -> Any:
    """Yield (path, what) of each part that JSON cannot hold."""
    if depth > _DEEPEST:
        yield path, "nested too deeply"
    elif isinstance(value, float) and not math.isfinite(value):
        yield path, "NaN" if math.isnan(value) else "infinite"
    elif isinstance(value, str):
        if not _is_utf8(value):
            yield path, "text with a lone surrogate"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            place = f"{path}.{key}" if path else str(key)
            if isinstance(key, str) and not _is_utf8(key):
                yield ascii(place), "a key with a lone surrogate"
            yield from _odd_places(item, place, depth + 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for number, item in enumerate(value):
            yield from _odd_places(item, f"{path}[{number}]", depth + 1)
    elif not _encodes(value):
        yield path, _what(value)


def _what(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, int):
        return "a whole number too large"
    return f"a {type(value).__qualname__}"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encodes(value: Any) -> bool:
    try:
        _encoder.encode(value)
    except Exception:
        return False
    return True


def encode_result(value: Any, limit: int) -> str:
    """The JSON of what a task returned; never fails.

    What JSON cannot hold becomes text or ``{"$type": ..., "$repr": ...}``; a result over
    ``limit`` bytes becomes ``{"$too_large": bytes, "$start": text}``.
    """
    try:
        data = _encoder.encode(value)
        if b"null" in data and value is not None and next(_odd_places(value, ""), None) is not None:
            data = _encoder.encode(_storable(value))
    except Exception:
        data = _fallback(value)
    if len(data) > limit:
        start = data[:1000].decode(errors="replace")
        data = _encoder.encode({"$too_large": len(data), "$start": start})
    return data.decode()


def _fallback(value: Any) -> bytes:
    try:
        return _encoder.encode(_storable(value))
    except Exception:  # a container that lies about what it holds
        return _encoder.encode(_opaque(value))


def _storable(value: Any, inside: tuple[int, ...] = ()) -> Any:
    """``inside`` are the ids of the containers around it: one that holds itself ends there."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if _encodes(value) else text_of(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, str):
        return clean(value)
    if len(inside) < _DEEPEST and id(value) not in inside:
        around = (*inside, id(value))
        if isinstance(value, Mapping):
            return {clean(text_of(key)): _storable(item, around) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_storable(item, around) for item in value]
    return value if _encodes(value) else _opaque(value)


def _opaque(value: Any) -> dict[str, str]:
    return {"$type": clean(f"{type(value).__module__}.{type(value).__qualname__}"), "$repr": clean(text_of(value))}


def text_of(value: Any) -> str:
    """The text itself, or the repr, whatever that does."""
    try:
        return value if isinstance(value, str) else repr(value)[:MAX_MESSAGE]
    except Exception:
        return f"<{type(value).__qualname__} whose repr() fails>"


def clean(text: str, limit: int | None = None) -> str:
    """The text with lone surrogates escaped, cut in the middle if longer than ``limit``."""
    if limit is not None and len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n... {len(text) - limit} characters left out ...\n{text[-half:]}"
    return text.encode(errors="backslashreplace").decode()


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return f"<{type(error).__qualname__} whose str() fails>"


def describe(error: BaseException, skip: int = 0) -> Error:
    """An exception as a value; never fails. ``skip`` leaves out our own outermost frames."""
    trace = error.__traceback__
    for _ in range(skip):
        trace = trace.tb_next if trace is not None else None
    message = _message(error)
    try:
        stack = "".join(traceback.format_exception(type(error), error, trace))
    except Exception:
        stack = f"{type(error).__qualname__}: {message}"
    return Error(clean(type(error).__qualname__), clean(message, MAX_MESSAGE), clean(stack, MAX_TRACEBACK))


_making = threading.Lock()


def make_decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """A decoder of JSON documents of this type. One at a time: msgspec works out how to read a type
    when it first meets it, and two threads that meet it at once may crash the interpreter (seen with
    msgspec 0.22). Raises TypeError for types that JSON cannot carry."""
    with _making:
        return msgspec.json.Decoder(kind, dec_hook=decode_hook)


_decoder_of = lru_cache(maxsize=256)(make_decoder)


def decode(text: str, kind: Any = Any) -> Any:
    """Plain or typed decoding of a JSON document."""
    return _decoder_of(kind).decode(text)
