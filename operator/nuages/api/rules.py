"""One declaration of each constraint: the API server checks its CEL, the models check the same in Python.

Validation does not trust admission: an object may have been stored before the rule was, or under an older CRD.
A rule is put on a string by `Annotated[str, rule]`, on an object by listing it in the model's `rules`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

RULE_BROKEN = "rule_broken"
"""The type of the Pydantic error that a broken rule raises; its context has `field`, `cause` and `value`."""

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True)
class Rule:
    """A constraint.

    `cel` is what the API server evaluates on `self`; `check` is the same in Python: True where it holds, False where
    it is broken, or the offender, which takes the place of `{}` in `message`; the API server, whose cost limits forbid
    to look for it twice, puts `offender` there.
    `message` is the cause and the remedy; the path of the field is put before it. `field` names the field below the
    object that is to change. Without `check` it is a transition: only the API server knows the old object.
    """

    cel: str
    message: str
    check: Callable[[Any], bool | str] | None = None
    field: str = ""
    offender: str = "one of them"

    def validation(self) -> dict[str, str]:
        """The rule as an entry of x-kubernetes-validations."""
        entry = {"rule": self.cel, "message": self.message.replace("{}", self.offender)}
        if self.field:
            entry["fieldPath"] = f".{self.field}"
        return entry

    def enforce(self, value: Any) -> None:
        """Raises Pydantic's error when `value` breaks the rule."""
        verdict = True if self.check is None else self.check(value)
        if verdict is True:
            return
        cause = self.message if verdict is False else self.message.replace("{}", verdict)
        shown = value if isinstance(value, str) else ""
        raise PydanticCustomError(RULE_BROKEN, "{cause}", {"cause": cause, "field": self.field, "value": shown})

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def enforced(value: Any) -> Any:
            self.enforce(value)
            return value

        return core_schema.no_info_after_validator_function(enforced, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return with_validations(handler(schema), (self,))


def with_validations(schema: JsonSchemaValue, rules: tuple[Rule, ...]) -> JsonSchemaValue:
    """The schema with the rules after those that it has."""
    if not rules:
        return schema
    return {**schema, VALIDATIONS: [*schema.get(VALIDATIONS, []), *(rule.validation() for rule in rules)]}


class Part(BaseModel):
    """A frozen piece of a spec: camelCase outside, unknown fields refused, no coercion (the API server has none)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _obeys_rules(self) -> Self:
        for rule in self.rules:
            rule.enforce(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        generated = handler(schema)
        target = handler.resolve_ref_schema(generated)
        target.update(with_validations(target, cls.rules))
        return generated


def given(path: str, default: object, side: str = "self") -> str:
    """CEL for the field at `path` below `side`, or its default: the CRD has none, so the field may be absent.

    Not `orValue`: the API server estimates the cost of what that returns as if strings had no bound.
    """
    steps = path.split(".")
    present = " && ".join(f"has({side}.{'.'.join(steps[: n + 1])})" for n in range(len(steps)))
    literal = str(default).lower() if isinstance(default, bool) else repr(default)
    return f"({present} ? {side}.{path} : {literal})"
