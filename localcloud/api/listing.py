"""List calls of all APIs: filters (https://google.aip.dev/160, as far as Google's own services take it) and pages."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import operator as operators
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from localcloud.core.errors import ApiError, Code

T = TypeVar("T")
M = TypeVar("M", bound=Message)
Test = Callable[[dict[str, Any]], bool]

TOKENS = re.compile(
    r"""\s*(?:(?P<paren>[()])|(?P<op>!=|<=|>=|=~|[:=<>])|(?P<minus>-(?=[\w("]))|"(?P<quoted>(?:\\.|[^"\\])*)"|"""
    r"""(?P<word>[^\s()=:<>!"]+))"""
)

ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}


def page(items: Sequence[T], size: int, token: str, default: int, maximum: int) -> tuple[list[T], str]:
    """One page and the token of the next ("" at the end). Raises INVALID_ARGUMENT on a token that is not ours.

    So it does on a negative size (https://google.aip.dev/158).
    """
    if size < 0:
        raise ApiError(Code.INVALID_ARGUMENT, "The page size must not be negative.")
    try:
        start = int(base64.urlsafe_b64decode(token.encode()).decode()) if token else 0
    except (ValueError, binascii.Error):
        raise ApiError(Code.INVALID_ARGUMENT, "The page token is invalid.") from None
    if start < 0:
        raise ApiError(Code.INVALID_ARGUMENT, "The page token is invalid.")
    end = start + min(size or default, maximum)
    following = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else ""
    return list(items[start:end]), following


def matching(items: Iterable[M], expression: str) -> list[M]:
    """Those that the filter lets through. Raises INVALID_ARGUMENT on a filter that cannot be read."""
    if not expression.strip():
        return list(items)
    test = _Parser(expression).whole()
    return [item for item in items if test(json_format.MessageToDict(item))]


class _Parser:
    """`a=b c:d` is AND; OR binds tighter than AND, as AIP-160 wants it; NOT and `-` deny one term."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = list(self._split())
        self._at = 0

    def whole(self) -> Test:
        test = self._all()
        if self._at < len(self._tokens):
            raise self._invalid()
        return test

    def _split(self) -> Iterable[tuple[str, str]]:
        position, text = 0, self._expression.rstrip()
        while position < len(text):
            found = TOKENS.match(text, position)
            if found is None:
                raise self._invalid()
            kind = found.lastgroup or ""
            yield kind, found.group(kind)
            position = found.end()

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def _all(self) -> Test:
        tests = [self._any()]
        while self._peek() not in (("end", ""), ("paren", ")")):
            if self._peek() == ("word", "AND"):
                self._take()
            tests.append(self._any())
        return lambda item: all(test(item) for test in tests)

    def _any(self) -> Test:
        tests = [self._term()]
        while self._peek() == ("word", "OR"):
            self._take()
            tests.append(self._term())
        return lambda item: any(test(item) for test in tests)

    def _term(self) -> Test:
        kind, text = self._take()
        if (kind, text) == ("word", "NOT") or kind == "minus":
            denied = self._term()
            return lambda item: not denied(item)
        if (kind, text) == ("paren", "("):
            inner = self._all()
            if self._take() != ("paren", ")"):
                raise self._invalid()
            return inner
        if kind not in ("word", "quoted"):
            raise self._invalid()
        if self._peek()[0] != "op":
            return lambda item: any(text.lower() in str(value).lower() for value in _leaves(item))
        operator = self._take()[1]
        kind, wanted = self._take()
        if kind not in ("word", "quoted"):
            raise self._invalid()
        return lambda item: any(_holds(value, operator, wanted) for value in _values(item, text.split(".")))

    def _invalid(self) -> ApiError:
        return ApiError(Code.INVALID_ARGUMENT, f"Invalid list filter: {self._expression}")


def _values(item: Any, path: Sequence[str]) -> list[Any]:
    """What is at the path; [None] where nothing is. Names are camelCase or snake_case; lists give each element."""
    if isinstance(item, list):
        return [value for element in item for value in _values(element, path)] or [None]
    if not path:
        return [item]
    if not isinstance(item, dict):
        return [None]
    name = path[0]
    camel = re.sub(r"_(\w)", lambda found: found.group(1).upper(), name)
    return _values(item[name] if name in item else item.get(camel), path[1:])


def _holds(value: Any, operator: str, wanted: str) -> bool:
    if operator == "!=":
        return not _holds(value, "=", wanted)
    if operator == ":":
        return _has(value, wanted)
    if value is None:
        return operator == "=" and wanted in ("", "false", "null")
    text = _text(value)
    if operator == "=~":
        return re.search(wanted, text) is not None
    if operator == "=":
        return fnmatch.fnmatchcase(text.lower(), wanted.lower()) if "*" in wanted else text == wanted
    if _is_number(text) and _is_number(wanted):
        return ORDERS[operator](float(text), float(wanted))
    return ORDERS[operator](text, wanted)


def _has(value: Any, wanted: str) -> bool:
    """`labels:key`, `name:part`, `field:*` (is there at all)."""
    if value is None:
        return False
    if isinstance(value, dict):
        return wanted == "*" or wanted in value
    if wanted == "*":
        return True
    text = _text(value).lower()
    return fnmatch.fnmatchcase(text, wanted.lower()) if "*" in wanted else wanted.lower() in text


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


def _leaves(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        for value in item.values():
            yield from _leaves(value)
    elif isinstance(item, list):
        for value in item:
            yield from _leaves(value)
    else:
        yield item
