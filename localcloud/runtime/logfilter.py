"""The filter language of Cloud Logging over LogEntry JSON (cloud.google.com/logging/docs/view/logging-query-language).

NOT binds tightest, then OR, then AND; a space or a new line is AND. Comparison of text ignores case, `=~` does not.
A field that an entry lacks fits no comparison, so only NOT finds such entries.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from typing import Any

from localcloud.runtime.logs import SEVERITIES

Test = Callable[[dict[str, Any]], bool]

BLANK = re.compile(r"(?:\s+|--[^\n]*)*")
OPERATOR = re.compile(r"<=|>=|!=|=~|!~|[:=<>]")
SEGMENT = r'(?:[^\s()=<>!:".~-][^\s()=<>!:".~]*|"(?:\\.|[^"\\])*")'
PATH = re.compile(rf"{SEGMENT}(?:\.{SEGMENT})*")
PARTS = re.compile(SEGMENT)
QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"')
TIME = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?")
WORD = re.compile(r'[^\s()"]+')
FUNCTION = re.compile(r"([a-z_]+)\(")
TOP = {
    name: re.sub(r"_(\w)", lambda found: found.group(1).upper(), name)
    for name in ("log_name", "text_payload", "json_payload", "proto_payload", "insert_id", "http_request", "span_id")
}


class BadFilter(ValueError):
    """A filter that cannot be read; the message says where, as Google's does."""


def compiled(text: str) -> Test:
    """The test that a filter stands for; an empty one lets everything through. Raises BadFilter."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def whole(self) -> Test:
        self._blank()
        if self._at == len(self._text):
            return lambda entry: True
        test = self._all()
        if self._at < len(self._text):
            raise self._wrong()
        return test

    def _all(self) -> Test:
        tests = [self._any()]
        while self._at < len(self._text) and self._text[self._at] != ")":
            self._keyword("AND")
            tests.append(self._any())
        return tests[0] if len(tests) == 1 else lambda entry: all(test(entry) for test in tests)

    def _any(self) -> Test:
        tests = [self._term()]
        while self._keyword("OR"):
            tests.append(self._term())
        return tests[0] if len(tests) == 1 else lambda entry: any(test(entry) for test in tests)

    def _term(self) -> Test:
        if self._keyword("NOT") or self._literal("-"):
            denied = self._term()
            return lambda entry: not denied(entry)
        if self._literal("("):
            inner = self._all()
            if not self._literal(")"):
                raise self._wrong()
            return inner
        if FUNCTION.match(self._text, self._at):
            return self._function()
        found = PATH.match(self._text, self._at)
        if found is None:
            raise self._wrong()
        begin, self._at = self._at, found.end()
        self._blank()
        operator = OPERATOR.match(self._text, self._at)
        if operator is None:
            self._at = begin
            wanted = self._value().lower()
            return lambda entry: any(wanted in str(value).lower() for value in _leaves(entry))
        self._at = operator.end()
        self._blank()
        return self._comparison(_names(found.group()), operator.group())

    def _comparison(self, path: list[str], operator: str) -> Test:
        """`field OP value`, or `field OP (a OR b)`."""
        if not self._literal("("):
            return _compare(path, operator, self._value(), self._wrong)
        choices = [[_compare(path, operator, self._value(), self._wrong)]]
        while not self._literal(")"):
            if self._keyword("OR"):
                choices[-1].append(_compare(path, operator, self._value(), self._wrong))
            else:
                self._keyword("AND")
                choices.append([_compare(path, operator, self._value(), self._wrong)])
        return lambda entry: all(any(test(entry) for test in group) for group in choices)

    def _function(self) -> Test:
        found = FUNCTION.match(self._text, self._at)
        assert found is not None
        if found.group(1) != "log_id":
            raise BadFilter(f"localcloud does not model the function {found.group(1)}() of filters.")
        self._at = found.end()
        self._blank()
        wanted = self._value()
        if not self._literal(")"):
            raise self._wrong()
        return lambda entry: _log_id(entry).lower() == wanted.lower()

    def _value(self) -> str:
        for pattern in (QUOTED, TIME, WORD):
            found = pattern.match(self._text, self._at)
            if found is not None:
                self._at = found.end()
                self._blank()
                return re.sub(r"\\(.)", r"\1", found.group(1)) if pattern is QUOTED else found.group()
        raise self._wrong()

    def _keyword(self, word: str) -> bool:
        found = re.compile(rf"{word}(?=[\s(]|$)").match(self._text, self._at)
        return self._advance(found.end()) if found else False

    def _literal(self, mark: str) -> bool:
        return self._advance(self._at + 1) if self._text.startswith(mark, self._at) else False

    def _advance(self, to: int) -> bool:
        self._at = to
        self._blank()
        return True

    def _blank(self) -> None:
        found = BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _wrong(self) -> BadFilter:
        before = self._text[: self._at]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return BadFilter(f"Unparseable filter: syntax error at line {line}, column {column}")


def _names(path: str) -> list[str]:
    names = [re.sub(r"\\(.)", r"\1", part.strip('"')) for part in PARTS.findall(path)]
    return [TOP.get(names[0], names[0]), *names[1:]]


def _compare(path: list[str], operator: str, wanted: str, wrong: Callable[[], BadFilter]) -> Test:
    try:
        pattern = re.compile(wanted) if operator in ("=~", "!~") else None
    except re.error:
        raise wrong() from None

    def holds(value: Any) -> bool:
        if pattern is not None:
            return bool(pattern.search(_text(value))) is (operator == "=~")
        if operator == ":":
            return _has(value, wanted)
        order = _order(path, value, wanted)
        return (
            order is not None
            and {
                "=": order == 0,
                "!=": order != 0,
                "<": order < 0,
                "<=": order <= 0,
                ">": order > 0,
                ">=": order >= 0,
            }[operator]
        )

    return lambda entry: any(holds(value) for value in _values(entry, path))


def _values(value: Any, path: list[str]) -> Iterator[Any]:
    """What stands at the path; every element of a list on the way."""
    if isinstance(value, list):
        for element in value:
            yield from _values(element, path)
    elif not path:
        if value is not None:
            yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _values(value[path[0]], path[1:])


def _order(path: list[str], value: Any, wanted: str) -> int | None:
    """-1, 0, 1 for the entry's value against the filter's; None where they cannot be compared."""
    if path == ["severity"]:
        name = wanted.upper()
        if name not in SEVERITIES and not name.isdigit():
            return None
        level = int(name) if name.isdigit() else SEVERITIES.index(name) * 100
        return _sign(SEVERITIES.index(str(value)) * 100, level)
    if path[-1] in ("timestamp", "receiveTimestamp"):
        try:
            return _sign(moment(_text(value)), moment(wanted))
        except ValueError:
            return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return _sign(float(value), float(wanted))
        except ValueError:
            return None
    return None if isinstance(value, dict) else _sign(_text(value).lower(), wanted.lower())


def moment(text: str) -> dt.datetime:
    """A time of the filter language; without zone it is UTC. Raises ValueError."""
    found = dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _has(value: Any, wanted: str) -> bool:
    if wanted == "*":
        return True
    if isinstance(value, dict):
        return wanted in value or any(_has(inner, wanted) for inner in value.values())
    return wanted.lower() in _text(value).lower()


def _sign(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _log_id(entry: dict[str, Any]) -> str:
    return str(entry.get("logName", "")).partition("/logs/")[2].replace("%2F", "/")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value
