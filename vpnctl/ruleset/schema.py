"""JSON Schema of the policy files, for editors: generated from the models that check them."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from vpnctl.ruleset.network_file import NetworkFile
from vpnctl.ruleset.vpn_file import VpnFile

#: File name of each schema.
SCHEMAS: dict[str, type[BaseModel]] = {
    "network.schema.json": NetworkFile,
    "vpn.schema.json": VpnFile,
}


class _Generator(GenerateJsonSchema):
    """What may be left out may not be written as null, and titles only repeat the keys."""

    schema_dialect = "http://json-schema.org/draft-07/schema#"

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = super().default_schema(schema)
        if inner.get("default", ...) in (None, ""):
            inner.pop("default")
        elif isinstance(inner.get("default"), list):
            # A range is written FIRST-LAST.
            inner["default"] = "-".join(map(str, inner["default"]))
        return inner


def json_schema(model: type[BaseModel]) -> str:
    """The schema of a kind of file as JSON text, the same for the same models."""
    schema = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    return (
        json.dumps(
            {"$schema": _Generator.schema_dialect, **_untitled(schema)},
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
    )


def _untitled(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: _untitled(value)
            for key, value in schema.items()
            if not (key == "title" and isinstance(value, str))
        }
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    return schema
