"""The policy reference as Markdown, generated from the models that check the files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vpnctl.ruleset.network_file import PLATFORMS, NetworkFile
from vpnctl.ruleset.reading import bare
from vpnctl.ruleset.vpn_file import VpnFile

_INTRODUCTION = """\
# Policy reference

Generated from the models that check the files (`vpnctl/ruleset/network_file.py`, `vpn_file.py`);
`vpnctl check` reports every departure from it with file, line and column.

A policy directory holds one `network.yaml` and one file (`*.yaml` or `*.yml`) per VPN.

- Names have letters, digits, `-`, `_` and `.`, begin with a letter or digit, and have at most 63
  characters.
- `65000:100`, `no` and `1.10` mean what they look like and need no quotes; within brackets, text
  that begins with a colon or a bracket does: `["::1", "[::1]:1790"]`.  Anchors, aliases, tags,
  tabs in the indentation, and several documents in one file are refused.
- A key that takes a list takes a single value too (`hubs: e2-hq`), where the table says *one or
  more*.
- A key that takes a *short form* or a mapping takes what its example shows, or the mapping of the
  section that bears its name (`targets: 65000:100` or `targets: {export: 65000:100}`).
- What is left out is allocated and kept.  A number that is written explicitly always wins: an
  allocated one that collides with it moves.  A released number goes to somebody else only when
  nothing unused is left; a released VE-ID already when the VPN would grow beyond 16, 32, 64 ...
  VE-IDs, which is what its routers are configured for.
- VLANs are unique per PE and port, route targets belong to one VPN, route distinguishers to one
  endpoint, VE-IDs are unique within a VPN, VNIs between VPNs.

For completion and checks in an editor with a YAML language server, begin each file with

```yaml
# yaml-language-server: $schema=../vpn.schema.json
```

with the path or address of `policies/network.schema.json` or `policies/vpn.schema.json`.
"""


def policy_reference() -> str:
    """The whole document, ending with a newline."""
    parts = [_INTRODUCTION]
    for title, model in (("network.yaml", NetworkFile), ("A VPN's file", VpnFile)):
        parts += _section(f"## {title}", "", model)
    parts += ["## Platforms", _platforms()]
    return "\n".join(parts)


def _section(heading: str, path: str, model: type[BaseModel]) -> Iterator[str]:
    """The table of a model, then those of the models within it."""
    yield f"{heading}\n"
    yield f"{_sentence(model)}\n"
    yield "| key | value | | meaning | example |"
    yield "|---|---|---|---|---|"
    inner = []
    for name, field in model.model_fields.items():
        key = field.alias or name
        value, nested, step = _value(field.annotation)
        if nested is not None and _has_short_form(field):
            value = value.replace("mappings", "names or mappings")
            value = value.replace("mapping", "short form or mapping") if step == "" else value
        need = "required" if field.is_required() else ""
        yield f"| `{key}` | {value} | {need} | {field.description} | {_example(field)} |"
        if nested is not None:
            inner.append((f"{path}.{key}{step}".lstrip("."), nested))
    yield ""
    for inner_path, nested in inner:
        yield from _section(f"### `{inner_path}`", inner_path, nested)


def _sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


_KINDS = {
    "int": "number",
    "str": "text",
    "bool": "true or false",
    "Service": "word",
    "Family": "family",
    "RouteTarget": "route target",
    "RouteDistinguisher": "route distinguisher",
    "Listen": "address and port",
    "IPv4Address": "address",
    "IPv6Address": "address",
    "IPv4Network": "network",
    "tuple": "range",
    "Span": "number or range",
    "End": "site or prefix",
    "Rate": "rate",
}


def _value(annotation: Any) -> tuple[str, type[BaseModel] | None, str]:
    """What kind of value a key takes; for a mapping or a list of them, its model and step."""
    kind = bare(annotation)
    origin = get_origin(kind)
    if origin is list:
        inner, nested, _ = _value(get_args(kind)[0])
        return (f"list of {inner}s" if nested else f"one or more: {inner}"), nested, "[]"
    if origin is dict:
        inner, nested, _ = _value(get_args(kind)[1])
        return (f"name: {inner}" if nested else f"{inner}, or PE: {inner}"), nested, ".NAME"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "mapping", kind, ""
    return _KINDS[(origin or kind).__name__], None, ""


def _has_short_form(field: FieldInfo) -> bool:
    """Whether something shorter than a mapping will do, as the example shows."""
    example = field.examples[0] if field.examples else {}
    return not isinstance(example[0] if isinstance(example, list) else example, dict)


def _example(field: FieldInfo) -> str:
    if not field.examples:
        return ""
    return f"`{_shown(field.examples[0])}`"


def _shown(example: Any) -> str:
    """An example as it would be written in YAML."""
    if isinstance(example, list):
        return f"[{', '.join(map(_shown, example))}]"
    if isinstance(example, dict):
        return "{" + ", ".join(f"{key}: {value}" for key, value in example.items()) + "}"
    return str(example).lower() if isinstance(example, bool) else str(example)


def _platforms() -> str:
    rows = [
        f"| `{name}` | {', '.join(sorted(str(family) for family in families))} |"
        for name, families in PLATFORMS.items()
    ]
    return "\n".join(["", "| platform | families unless given |", "|---|---|", *rows, ""])
