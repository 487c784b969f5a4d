"""The codes of warnings, and the lists under `silence` that ask for some of them not to be shown.

A code never changes once it is published. A warning stands at a rule, at a security group, or elsewhere in the file;
where a code is silenced, it must be one that can stand there or below, so that no `silence` is without meaning.
Example: `silence: [no-mac]` at the top of a file whose hosts choose their own MAC addresses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from enforcer.model.words.scalars import text
from enforcer.model.words.wording import BOUNDED, shown, suggestion, wrong

RULE_CODES = (
    "shadowed-rule",
    "duplicate-rule",
    "contradicting-rules",
    "empty-remote-group",
    "world-open-management",
    "quota",
)
GROUP_CODES = (*RULE_CODES, "unused-group", "S11-instances")
CODES = (*GROUP_CODES, "unused-address-group", "ecs-type", "S11-groups", "no-mac")


def code_of(here: tuple[str, ...], what: str) -> Callable[[object], str]:
    """Return the validator of a code that can stand at a `what`; `here` are all of them."""

    def validator(value: object) -> str:
        word = text(value)
        if word in here:
            return word
        if word in CODES:
            raise wrong(f"{shown(word)} is no warning about a {what}; silence it {_elsewhere(word)}")
        near = suggestion(word, here) or "; 'enforcer check' prints the code of each"
        raise wrong(f"{shown(word)} is not the code of a warning{near}")

    return validator


def _elsewhere(code: str) -> str:
    return "in the group or at the top of the file" if code in GROUP_CODES else "at the top of the file"


def _code(here: tuple[str, ...], what: str) -> tuple[PlainValidator, WithJsonSchema]:
    return PlainValidator(code_of(here, what)), WithJsonSchema({"type": "string", "enum": list(here)})


RuleSilence = Annotated[tuple[Annotated[str, *_code(RULE_CODES, "rule")], ...], BOUNDED]
GroupSilence = Annotated[tuple[Annotated[str, *_code(GROUP_CODES, "group")], ...], BOUNDED]
PolicySilence = Annotated[tuple[Annotated[str, *_code(CODES, "policy")], ...], BOUNDED]
