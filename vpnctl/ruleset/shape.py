"""What the two kinds of policy file share: strict models, and short forms of what is long."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, TypeVar

from annotated_types import MinLen
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from vpnctl.ruleset.values import mistake, text
from vpnctl.yamltree.tree import Genre

T = TypeVar("T")

#: What a policy file is, in the words of hints.
POLICY = Genre("vpn: E1", "a VPN (`vpn: NAME`, `service:`, `sites:`)", "the policy reference")


class Shape(BaseModel):
    """A mapping in a policy file: no key that is not declared, no value that is not as declared.

    A model with a short form (``e1-hq`` for ``{site: e1-hq}``) names in ``short_form`` the JSON
    Schema of it; a validator of the model turns the short form into the long one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    short_form: ClassVar[tuple[dict[str, Any], ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        long = handler(schema)
        if not cls.short_form:
            return long
        long_form = handler.resolve_ref_schema(long)
        description = long_form.pop("description", "")
        copy = dict(long_form)
        long_form.clear()
        long_form.update({"description": description, "anyOf": [*cls.short_form, copy]})
        return long


class _OneOrMore:
    """Lets a list of one be written as its item: ``hubs: e2-hq``."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._long, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        long_form = handler(schema)
        return {"anyOf": [long_form["items"], long_form]}

    @staticmethod
    def _long(value: object) -> object:
        if value is None:
            raise mistake("has no value", "write one, or take the key out")
        return [value] if isinstance(value, str) else value


#: Key of a value that is written once for a site instead of per PE.
EVERY_PE = ""


class _PerPe:
    """Lets the value of the only PE be written without naming it: ``rd: 10.0.0.1:100``."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._long, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        long_form = handler(schema)
        return {"anyOf": [long_form["additionalProperties"], long_form]}

    @staticmethod
    def _long(value: object) -> object:
        return {EVERY_PE: text(value)} if value is None or isinstance(value, str) else value


#: A list with at least one item; one item may stand without brackets.
OneOrMore = Annotated[list[T], MinLen(1), _OneOrMore()]
#: A mapping from PE to value, or one value.
PerPe = Annotated[dict[str, T], _PerPe()]
