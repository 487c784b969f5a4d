"""Where the parts of a policy stand in its file, for whoever explains one or warns of one to a person.

A policy keeps no positions: two files that say the same are the same policy. Whoever wants lines asks for them when it
is parsed (`parse_with_lines`). Example: `lines.of_rule("Sg-A", "A01")` is 17.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from enforcer.errors import Problem
from enforcer.model.groups import AddressGroup, SecurityGroup
from enforcer.model.instances import ONLY_NIC, Ecs
from enforcer.model.reading.document import Document
from enforcer.model.reading.draft import Draft

_PLACE = re.compile(r"security_groups\[([^]]+)\](?:\.rules\[([^]]+)\]|(\.template))?")


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines, from 1, of groups and rules, and of address groups, ECSs and NICs by their places.

    0 for what no file says; `Lines()` knows no line of anything.
    """

    groups: Mapping[str, int] = field(default_factory=dict)
    rules: Mapping[tuple[str, str], int] = field(default_factory=dict)
    places: Mapping[str, int] = field(default_factory=dict)

    def of_group(self, group: str) -> int:
        """Return the line on which a group begins; 0 for a `default` that the file does not define (S2)."""
        return self.groups.get(group, 0)

    def of_rule(self, group: str, rule: str) -> int:
        """Return the line on which a rule begins; a template's rules stand where the template is named (S3)."""
        return self.rules.get((group, rule), 0)

    def on(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """Return problems with the lines on which they are."""
        return tuple(replace(each, line=self.of_place(each.where)) for each in problems)

    def of_place(self, where: str) -> int:
        """Return the line of the innermost of these around a problem, such as `security_groups[Sg-A].rules[A01]`."""
        if found := _PLACE.match(where):
            group, rule, template = found.groups()
            return self.of_rule(group, rule or "template-1") if rule or template else self.of_group(group)
        around = (where[: end + 1] for end in range(len(where) - 1, -1, -1) if where[end] == "]")
        return next((self.places[place] for place in (where, *around) if place in self.places), 0)


def lines_of(document: Document, draft: Draft) -> Lines:
    """Return the lines of what a sound document defines."""
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
    return Lines(groups, rules, dict((*_address_groups(document, draft), *_instances(document, draft))))


def _address_groups(document: Document, draft: Draft) -> Iterator[tuple[str, int]]:
    for index, group in draft.items["address_groups"]:
        assert isinstance(group, AddressGroup)
        yield f"address_groups[{group.name}]", document.position(("address_groups", index))[0]


def _instances(document: Document, draft: Draft) -> Iterator[tuple[str, int]]:
    """Yield ECSs, their NICs, and the keys of a NIC that warnings are about; written on the ECS itself or not."""
    for index, ecs in draft.items["ecs"]:
        assert isinstance(ecs, Ecs)
        where = f"ecs[{ecs.name}]"
        yield where, document.position(("ecs", index))[0]
        for position, nic in enumerate(ecs.nics):
            place = ("ecs", index, "nics", position)
            name = where
            if len(ecs.nics) > 1 or nic.name != ONLY_NIC:
                name = f"{where}.nics[{nic.name}]"
                yield name, document.position(place)[0]
            yield from ((f"{name}.{key}", document.position((*place, key))[0]) for key in ("security_groups", "mac"))
