"""Writes the files that are generated from the models: ``python -m tests.ruleset.regenerate``."""

from __future__ import annotations

from pathlib import Path

from vpnctl.ruleset import SCHEMAS, json_schema, policy_reference

REPOSITORY = Path(__file__).parent.parent.parent


def main() -> None:
    for name, model in SCHEMAS.items():
        (REPOSITORY / "policies" / name).write_text(json_schema(model))
    (REPOSITORY / "docs" / "policy-reference.md").write_text(policy_reference())


if __name__ == "__main__":
    main()
