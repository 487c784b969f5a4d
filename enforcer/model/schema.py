"""The file format as a JSON Schema, so that editors complete and check policy files while they are written.

It says what one value may be; whether names exist and objects fit together only `parse_policy` can tell. What it
refuses is always wrong. Example: `# yaml-language-server: $schema=policy.schema.json` at the top of a policy.
"""

from __future__ import annotations

from typing import Any

from enforcer.model.policy import Policy


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy file."""
    schema = Policy.model_json_schema(by_alias=True)
    _allow_flat_form(schema["$defs"]["Ecs"], schema["$defs"]["Nic"])
    for kind in (schema, *schema["$defs"].values()):
        for field in kind["properties"].values():
            if field.get("default", ...) is None:
                del field["default"]  # null stands for "not written" in the program, the file leaves the key out
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _allow_flat_form(ecs: dict[str, Any], nic: dict[str, Any]) -> None:
    """Let the keys of an only NIC stand on the ECS itself, but not beside `nics`."""
    flat = {key: field for key, field in nic["properties"].items() if key != "name"}
    ecs["properties"] |= flat
    ecs["required"] = ["name"]
    ecs["oneOf"] = [
        {"required": ["nics"], "not": {"anyOf": [{"required": [key]} for key in flat]}},
        {"required": [key for key in nic["required"] if key != "name"], "not": {"required": ["nics"]}},
    ]
