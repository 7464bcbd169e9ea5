"""Answers from outside: a person's to an approval, checked against the type that it asks for, and signals.

The type is kept as JSON Schema, as `msgspec.json.schema` writes it (a part of JSON Schema 2020-12), and made
a type again here: whoever answers needs not have the application's code.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec.structs import replace

from ostinato.codec import encode_args, text_of
from ostinato.errors import AnswerError, JobNotFound, PayloadError
from ostinato.model import Error, Row
from ostinato.names import check_name
from ostinato.payload import Question
from ostinato.signals import signal_job
from ostinato.storage import Ask, JobQuery, Store

_PLAIN: Mapping[str, Any] = {"null": None, "boolean": bool, "integer": int, "number": float, "string": str}
_BOUNDS = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "pattern": "pattern",
    "minItems": "min_length",
    "maxItems": "max_length",
}


def question_of(row: Row) -> Question:
    """What an approval asks. Raises AnswerError for a job that is none."""
    if row.job.kind != "approval":
        raise AnswerError(f"Job {row.job.id} ({row.job.task}) is no approval, so there is nothing to answer.")
    return msgspec.json.decode(row.job.args, type=Question)


def approve(store: Store, job_id: str, value: Any, by: str | None) -> None:
    """Give the answer. Raises AnswerError if it is none to this question, or if there is one already."""
    row = _row(store, job_id)
    question = question_of(row)
    try:
        text = encode_args({"answer": value}, "answer")[len('{"answer":') : -1]
        msgspec.json.decode(text, type=type_of(question.schema))
    except (PayloadError, msgspec.MsgspecError) as error:
        raise AnswerError(
            f"{text_of(value)} is no answer to {question.title!r} (job {job_id}): {error}. "
            f"It asks for: {_shown(question.schema)}."
        ) from None
    _give(store, row, Ask(kind="answer", result=text), _name(by))


def reject(store: Store, job_id: str, reason: str, by: str | None) -> None:
    """Say no. Raises AnswerError if there is nothing to answer."""
    row = _row(store, job_id)
    title, who = question_of(row).title, _name(by)
    said = f"{who} said no to {title!r}" + (f": {reason}" if reason else "")
    _give(store, row, Ask(kind="answer", error=Error("Rejected", said)), who, reason)


def signal(store: Store, name: str, key: str, payload: Any) -> bool:
    """Give the signal; False, and nothing is changed, if it was given before. Raises ConfigError, PayloadError."""
    job = signal_job(check_name("event", name), key)
    result = encode_args({"payload": payload}, f"signal {name}")[len('{"payload":') : -1]
    store.post([job])
    (changed,) = store.change([job.id], Ask(kind="answer", result=result, reason="given"))
    return changed.before == "waiting"


def _give(store: Store, row: Row, ask: Ask, who: str, reason: str = "") -> None:
    said = ("rejected" if ask.error is not None else "answered") + f" by {who}" + (f": {reason}" if reason else "")
    (changed,) = store.change([row.job.id], replace(ask, reason=said))
    if changed.before != "waiting":
        now = _row(store, row.job.id)
        why = f" ({now.reason})" if now.reason else ""
        raise AnswerError(f"Job {row.job.id} waits for no answer: it is {now.state}{why}.")


def _row(store: Store, job_id: str) -> Row:
    for row in store.find(JobQuery(ids=(job_id,))).rows:
        return row
    raise JobNotFound(f"No job has the id {job_id!r}.")


def _name(by: str | None) -> str:
    if by:
        return by
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return "somebody"


def _shown(schema: Mapping[str, Any]) -> str:
    return msgspec.json.encode(schema).decode()


def type_of(schema: Mapping[str, Any], defs: Mapping[str, Any] | None = None) -> Any:
    """The type that a JSON Schema describes; Any for what it does not know."""
    known: Mapping[str, Any] = defs if defs is not None else schema.get("$defs", {})
    if "$ref" in schema:
        return type_of(known[schema["$ref"].rpartition("/")[2]], known)
    if "enum" in schema:
        return Literal[tuple(schema["enum"])]
    if "const" in schema:
        return Literal[schema["const"]]
    if "anyOf" in schema:
        return Union[tuple(type_of(one, known) for one in schema["anyOf"])]  # noqa: UP007 - made at run time
    return _bounded(_typed(schema, known), schema)


def _typed(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Any:
    kind = schema.get("type")
    if kind == "array":
        return list[type_of(schema.get("items") or {}, defs)]  # type: ignore[misc]
    if kind == "object":
        return _object(schema, defs)
    return _PLAIN.get(str(kind), Any)


def _object(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Any:
    if "properties" not in schema:
        more = schema.get("additionalProperties", {})
        return dict[str, type_of(more, defs) if isinstance(more, Mapping) else Any]  # type: ignore[misc]
    required = schema.get("required", ())
    fields = [
        (name, type_of(one, defs)) if name in required else (name, type_of(one, defs), one.get("default"))
        for name, one in schema["properties"].items()
    ]
    return msgspec.defstruct(str(schema.get("title", "Answer")), fields, kw_only=True, forbid_unknown_fields=True)


def _bounded(kind: Any, schema: Mapping[str, Any]) -> Any:
    bounds = {word: schema[name] for name, word in _BOUNDS.items() if name in schema}
    return Annotated[kind, msgspec.Meta(**bounds)] if bounds and kind is not Any else kind
