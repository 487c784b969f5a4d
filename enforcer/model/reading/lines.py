"""Where the rules of a policy stand in its file, for whoever explains one to a person.

A policy keeps no positions: two files that say the same are the same policy. Whoever wants lines asks for them when it
is parsed (`parse_with_lines`). Example: `lines.of_rule("Sg-A", "A01")` is 17.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from enforcer.model.groups import SecurityGroup
from enforcer.model.reading.document import Document
from enforcer.model.reading.draft import Draft

_PLACE = re.compile(r"security_groups\[([^]]+)\](?:\.rules\[([^]]+)\]|(\.template))?")


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines, from 1, of groups and rules; 0 for what no file says. `Lines()` knows no line of anything."""

    groups: Mapping[str, int] = field(default_factory=dict)
    rules: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def of_group(self, group: str) -> int:
        """Return the line on which a group begins; 0 for a `default` that the file does not define (S2)."""
        return self.groups.get(group, 0)

    def of_rule(self, group: str, rule: str) -> int:
        """Return the line on which a rule begins; a template's rules stand where the template is named (S3)."""
        return self.rules.get((group, rule), 0)

    def of_place(self, where: str) -> int:
        """Return the line of the rule or group in which a problem is, such as `security_groups[Sg-A].rules[A01]`."""
        found = _PLACE.match(where)
        if found is None:
            return 0
        group, rule, template = found.groups()
        return self.of_rule(group, rule or "template-1") if rule or template else self.of_group(group)


def lines_of(document: Document, draft: Draft) -> Lines:
    """Return the lines of every group and rule of a sound document."""
    groups: dict[str, int] = {}
    rules: dict[tuple[str, str], int] = {}
    for index, group in draft.items["security_groups"]:
        assert isinstance(group, SecurityGroup)
        place = ("security_groups", index)
        groups[group.name] = document.position(place)[0]
        template = document.position((*place, "template"))[0]
        rules |= {(group.name, rule.id): template for rule in group.rules}
        for position, rule in group.listed():
            rules[group.name, rule.id] = document.position((*place, "rules", position))[0]
    return Lines(groups, rules)
