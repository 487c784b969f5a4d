"""Security groups, their rules and templates, and address groups, exactly as an operator may write them (S1–S5).

A `SecurityGroup` comes out *expanded*: the rules of its template first, then the listed ones, each with an id. It does
not know which instances are in it. Example: `{name: web, template: default}` has the four rules of S1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator
from pydantic.dataclasses import dataclass

from enforcer.model.words.addresses import AddressRange, Entry, IPNetwork, Network
from enforcer.model.words.codes import GroupSilence, RuleSilence
from enforcer.model.words.protocols import (
    ICMP,
    ICMPV6,
    PROTOCOL_NAMES,
    TCP,
    UDP,
    Action,
    ActionWord,
    Direction,
    DirectionWord,
    Ethertype,
    IpVersion,
    PortRange,
    Ports,
    Protocol,
    ports,
    protocol,
)
from enforcer.model.words.scalars import (
    Description,
    Flag,
    Name,
    Octet,
    Priority,
    Reference,
    RuleId,
    number,
    one_of,
    text,
)
from enforcer.model.words.wording import BOUNDED, STRICT, Item, Place, Slotted, at_most, shown, wrong, wrong_fields

ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
TEMPLATES = ("default", "general-purpose-web-server", "all-ports-open", "fast-add")
TEMPLATE_ID = "template-"
MOST_ENTRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Rule(Slotted):
    """One rule of S4. In a group its `id` is never empty; `protocol` None is all protocols, `ports` () every port."""

    id: RuleId = ""
    direction: DirectionWord
    action: ActionWord = Action.ALLOW
    priority: Priority = 1
    family: Ethertype = Field(4, alias="ethertype")
    protocol: Protocol = None
    ports: Ports = Field((), alias="multiport")
    icmp_type: Octet = None
    icmp_code: Octet = None
    remote_ip_prefix: Annotated[IPNetwork | None, *Network.__metadata__] = None
    remote_group: Reference = None
    remote_address_group: Reference = None
    enabled: Flag = True
    description: Description = ""
    silence: RuleSilence = ()

    @property
    def inconsecutive(self) -> bool:
        """Whether the rule has more than one port group, adjacent or not (S4)."""
        return len(self.ports) > 1

    @property
    def costly(self) -> bool:
        """Whether the rule counts towards the quota of S9; whether it is enabled is not asked here."""
        return self.inconsecutive or self.remote_group is not None or self.remote_address_group is not None

    def text(self) -> str:
        """Return the rule in one line of words: `allow ingress IPv4 tcp 22,25 from group Sg-B (priority 1)`."""
        words = [self.action.value, self.direction.value, f"IPv{self.family}"]
        if self.protocol is None:
            words.append("all")
        else:
            words.append(PROTOCOL_NAMES.get(self.protocol, f"protocol {self.protocol}"))
        if self.ports:
            words.append(",".join(str(group) for group in self.ports))
        if self.icmp_type is not None:
            words.append(f"type {self.icmp_type}" + ("" if self.icmp_code is None else f" code {self.icmp_code}"))
        words.append("from" if self.direction is Direction.INGRESS else "to")
        if self.remote_group is not None:
            words.append(f"group {self.remote_group}")
        elif self.remote_address_group is not None:
            words.append(f"address group {self.remote_address_group}")
        else:
            words.append("anywhere" if self.remote_ip_prefix is None else str(self.remote_ip_prefix))
        return " ".join(words) + f" (priority {self.priority})" + ("" if self.enabled else ", disabled")

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if problems := tuple(self._disagreements()):
            raise wrong_fields(problems)
        return self

    def _disagreements(self) -> Iterator[tuple[Place, str]]:
        if self.protocol == ICMP and self.family == 6:
            yield ("protocol",), "'icmp' is IPv4 only, the rule's ethertype is IPv6; write 'icmpv6'"
        if self.protocol == ICMPV6 and self.family == 4:
            yield (
                ("protocol",),
                "'icmpv6' is IPv6 only, the rule's ethertype is IPv4; write 'icmp', or ethertype: IPv6",
            )
        if self.ports and self.protocol not in (TCP, UDP):
            word = "all" if self.protocol is None else PROTOCOL_NAMES.get(self.protocol, str(self.protocol))
            written = ",".join(str(group) for group in self.ports)
            yield ("multiport",), f"{shown(written)} needs ports, protocol {word!r} has none; write protocol tcp or udp"
        if self.icmp_type is not None and self.protocol not in (ICMP, ICMPV6):
            yield ("icmp_type",), f"{self.icmp_type} is for ICMP only; write protocol icmp or icmpv6, or leave it out"
        if self.icmp_code is not None and self.icmp_type is None:
            yield ("icmp_code",), f"{self.icmp_code} is a code without a type; write icmp_type too"
        yield from self._remote_disagreements()

    def _remote_disagreements(self) -> Iterator[tuple[Place, str]]:
        remotes = [
            field
            for field in ("remote_ip_prefix", "remote_group", "remote_address_group")
            if getattr(self, field) is not None
        ]
        for field in remotes[1:]:
            value = shown(str(getattr(self, field)))
            yield (field,), f"{value} is a second remote beside {remotes[0]}; write one of them, or two rules"
        if (prefix := self.remote_ip_prefix) is not None and prefix.version != self.family:
            what = f"{shown(str(prefix))} is IPv{prefix.version}, the rule's ethertype is IPv{self.family}"
            yield ("remote_ip_prefix",), f"{what}; write ethertype: IPv{prefix.version}, or another prefix"


class FastAdd(NamedTuple):
    """A port or protocol that the `fast-add` template opens to 0.0.0.0/0 (S3)."""

    protocol: int | None
    ports: tuple[PortRange, ...]


def fast_addition(value: object) -> FastAdd:
    """Accept `tcp/22`, `tcp/80-90`, `udp/53`, `icmp`."""
    word, slash, numbers = text(value).partition("/")
    found = FastAdd(protocol(word), ports(numbers) if slash else ())
    if slash and (found.protocol not in (TCP, UDP) or not numbers):
        raise wrong(f"{shown(value)} is not a port; write one like 'tcp/22' or 'udp/53', or a protocol like 'icmp'")
    if found.protocol == ICMPV6:
        raise wrong(f"{shown(value)} is IPv6 and fast_add opens IPv4; list a rule with ethertype IPv6 instead")
    return found


FastAddition = Annotated[
    FastAdd, PlainValidator(fast_addition), WithJsonSchema({"type": "string", "examples": ["tcp/22", "icmp"]})
]


class SecurityGroup(Item):
    """A security group of S1; `rules` holds the template's rules first, then the listed ones, in their order."""

    name: Name
    description: Description = ""
    template: Annotated[
        str | None, PlainValidator(one_of(*TEMPLATES)), WithJsonSchema({"type": "string", "enum": list(TEMPLATES)})
    ] = None
    fast_add: Annotated[tuple[FastAddition, ...], BOUNDED] = ()
    rules: Annotated[tuple[Rule, ...], BOUNDED] = ()
    silence: GroupSilence = ()

    @model_validator(mode="after")
    def _expanded(self) -> SecurityGroup:
        if self.fast_add and self.template != "fast-add":
            raise wrong_fields([(("fast_add",), "is only for the template fast-add; write template: fast-add")])
        template = self.template or ("default" if "rules" not in self.model_fields_set else None)
        of_template = () if template is None else template_rules(template, self.name, self.fast_add)
        listed = tuple(
            rule if rule.id else rule.model_copy(update={"id": f"rule-{position}"})
            for position, rule in enumerate(self.rules, start=1)
        )
        if problems := tuple(_id_problems(self.rules, listed)):
            raise wrong_fields(problems)
        return self.model_copy(update={"rules": (*of_template, *listed)})

    def listed(self) -> Iterator[tuple[int, Rule]]:
        """Yield the rules that the file lists, without the template's, with their positions there."""
        return enumerate(rule for rule in self.rules if not rule.id.startswith(TEMPLATE_ID))


def _id_problems(written: tuple[Rule, ...], named: tuple[Rule, ...]) -> Iterator[tuple[Place, str]]:
    """Yield what is wrong with the ids of listed rules: `written` as the file has them, `named` with generated ones."""
    first: dict[str, int] = {rule.id: index for index, rule in reversed(tuple(enumerate(named)))}
    generated = {rule.id for rule, before in zip(named, written, strict=True) if not before.id}
    for index, rule in enumerate(written):
        if rule.id.startswith(TEMPLATE_ID):
            mend = "choose one without that beginning"
            yield ("rules", index, "id"), f"{shown(rule.id)} could be the id of a template's rule; {mend}"
        elif rule.id in generated:
            mend = "choose another, or write that rule's id"
            yield ("rules", index, "id"), f"{shown(rule.id)} is the generated id of a rule without one; {mend}"
        elif rule.id and first[rule.id] != index:
            yield ("rules", index, "id"), f"{shown(rule.id)} is already the id of another rule; write each id once"


def template_rules(template: str, group: str, fast_add: tuple[FastAdd, ...] = ()) -> tuple[Rule, ...]:
    """Return the rules that S3 gives to `group`, with the ids `template-1`, `template-2` …"""
    priority = 100 if template == "default" else 1
    return tuple(
        Rule.model_validate({"id": f"{TEMPLATE_ID}{position}", "priority": priority, **fields})
        for position, fields in enumerate(_template_fields(template, group, fast_add), start=1)
    )


def _template_fields(template: str, group: str, fast_add: tuple[FastAdd, ...]) -> Iterator[dict[str, Any]]:
    both = ("IPv4", "IPv6")
    match template:
        case "general-purpose-web-server":
            for port in (22, 3389, 80, 443):
                yield _open({"protocol": "tcp", "multiport": port})
            yield _open({"protocol": "icmp"})
        case "all-ports-open":
            yield _open({})
            yield {"direction": "ingress", "ethertype": "IPv6", "remote_ip_prefix": ANYWHERE[6]}
        case "fast-add":
            for number_, port_ranges in fast_add:
                written = ",".join(str(port_range) for port_range in port_ranges)
                yield _open({"protocol": number_, "multiport": written})
    yield from ({"direction": "ingress", "ethertype": ethertype, "remote_group": group} for ethertype in both)
    yield from ({"direction": "egress", "ethertype": ethertype} for ethertype in both)


def _open(fields: dict[str, Any]) -> dict[str, Any]:
    return {"direction": "ingress", "remote_ip_prefix": ANYWHERE[4], **fields}


class AddressGroup(Item):
    """An IP address group of S5; `ranges` are the file's `entries`, in their order."""

    name: Name
    description: Description = ""
    ip_version: IpVersion = 4
    ranges: Annotated[tuple[Entry, ...], at_most(100_000)] = Field((), alias="entries")
    max_capacity: Annotated[int, *number(1, 100_000)] = MOST_ENTRIES

    @model_validator(mode="after")
    def _entries_agree(self) -> Self:
        if problems := tuple(self._disagreements()):
            raise wrong_fields(problems)
        return self

    def _disagreements(self) -> Iterator[tuple[Place, str]]:
        if len(self.ranges) > self.max_capacity:
            mend = "write fewer, or raise max_capacity"
            yield ("entries",), f"{len(self.ranges)} entries are more than the {self.max_capacity} allowed; {mend}"
        seen: set[AddressRange] = set()
        for index, entry in enumerate(self.ranges):
            if entry.first.version != self.ip_version:
                mend = f"write an IPv{self.ip_version} entry or ip_version: {entry.first.version}"
                value = shown(str(entry))
                yield ("entries", index), f"{value} is IPv{entry.first.version}, the group IPv{self.ip_version}; {mend}"
            if entry in seen:
                yield ("entries", index), f"{shown(str(entry))} is listed twice; write each entry once"
            seen.add(entry)


def default_group() -> SecurityGroup:
    """Return the group `default` of a policy that does not define it (S2)."""
    return SecurityGroup.model_validate({"name": "default"})
