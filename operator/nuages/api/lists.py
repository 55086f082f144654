"""Lists that server-side apply merges by entry: sets of strings, and objects told apart by one field."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from nuages.api.rules import RULE_BROKEN


@dataclass(frozen=True)
class Merged:
    """On a tuple: no entry twice, told apart by `key`, or by the entry itself where `key` is empty."""

    key: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._distinct, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        if not self.key:
            return {**handler(schema), "x-kubernetes-list-type": "set"}
        return {**handler(schema), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}

    def _distinct(self, entries: tuple[Any, ...]) -> tuple[Any, ...]:
        for index, identity in self._repeated(entries):
            place = f"[{index}].{self.key}" if self.key else f"[{index}]"
            cause = "Appears twice. Remove one."
            raise PydanticCustomError(RULE_BROKEN, "{cause}", {"cause": cause, "field": place, "value": identity})
        return entries

    def _repeated(self, entries: tuple[Any, ...]) -> Iterable[tuple[int, str]]:
        seen: set[str] = set()
        for index, entry in enumerate(entries):
            identity = str(getattr(entry, self.key) if self.key else entry)
            if identity in seen:
                yield index, identity
            seen.add(identity)


SET = Merged()
BY_NAME = Merged("name")
