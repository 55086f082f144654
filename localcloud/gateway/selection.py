"""Partial responses: `fields=items(name,labels/a),nextPageToken` keeps only these of an answer."""

from __future__ import annotations

import re
from typing import Any

Selection = dict[str, "Selection"]  # empty: everything below
TOKENS = re.compile(r"[^,/()]+|[,/()]")


def parse(text: str) -> Selection:
    """The tree of a selector; what is malformed selects as far as it can be read."""
    return _level(TOKENS.findall(text.replace(" ", "")))[0]


def select(value: Any, selection: Selection) -> Any:
    """The value without what was not selected."""
    if not selection or ("*" in selection and not selection["*"]):
        return value
    if isinstance(value, list):
        return [select(item, selection) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: select(item, selection.get(key, selection.get("*", {})))
        for key, item in value.items()
        if key in selection or "*" in selection
    }


def _level(tokens: list[str]) -> tuple[Selection, list[str]]:
    made: Selection = {}
    while tokens and tokens[0] != ")":
        if tokens[0] == ",":
            tokens = tokens[1:]
            continue
        at, tokens = made, tokens
        while tokens and tokens[0] not in ",()":
            if tokens[0] != "/":
                at = at.setdefault(tokens[0], {})
            tokens = tokens[1:]
        if tokens and tokens[0] == "(":
            inner, tokens = _level(tokens[1:])
            at.update(inner)
            tokens = tokens[1:]
    return made, tokens
