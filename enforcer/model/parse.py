"""From text to `Policy`, or to every reason why not.

    text ──read──▶ data and lines ──pydantic, item by item──▶ objects ──checks──▶ Policy

Items are validated one by one, so that the checks across objects run on the sound ones even where others are broken,
and one run shows all errors. The policy is accepted whole or not at all (S19). No I/O.
`parse_with_lines` also says where the rules stand, `parse_with_data` what was written; `parse_data` begins at the data
and takes objects that were validated before as they are. Example: `parse_policy("version: 1").group("default")`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from enforcer.errors import PolicyError, Problem
from enforcer.model.groups import AddressGroup, Rule, SecurityGroup, default_group
from enforcer.model.instances import DEFAULT_GROUP, Ecs, ExternalHost, Nic
from enforcer.model.policy import DenyLog, Limits, Marks, Policy
from enforcer.model.reading.checks import disagreements
from enforcer.model.reading.document import NOTHING_INSIDE, Document, Fault, Position, Spot, read
from enforcer.model.reading.draft import Draft
from enforcer.model.reading.lines import Lines, lines_of
from enforcer.model.topology import Backend, Eip, Listener, LoadBalancer, Peering, Route, Subnet, Vpc
from enforcer.model.words.wording import Item, Place, Slotted, shown, suggestion

MOST_PROBLEMS = 1000
Known = Mapping[tuple[str, int], Item]

SECTIONS: dict[str, type[Item]] = {
    "vpcs": Vpc,
    "peerings": Peering,
    "address_groups": AddressGroup,
    "security_groups": SecurityGroup,
    "ecs": Ecs,
    "external_hosts": ExternalHost,
    "eips": Eip,
    "load_balancers": LoadBalancer,
}
# The objects below the sections, by the key that holds them; the keys are unique in the format.
INNER: dict[str, type[Item | Slotted]] = {
    "limits": Limits,
    "marks": Marks,
    "deny_log": DenyLog,
    "subnets": Subnet,
    "routes": Route,
    "rules": Rule,
    "nics": Nic,
    "listeners": Listener,
    "backends": Backend,
}
MISSING = {
    "version": "write 'version: 1'",
    "name": "give it a name",
    "direction": "write ingress or egress",
    "subnet": "name the subnet that it is in",
    "addresses": "list at least one address",
    "vpcs": "name the two VPCs",
}


def parse_policy(text: str | bytes, *, source: str = "policy") -> Policy:
    """Return the policy that `text` (YAML or JSON) declares; `source` names it where a whole file is at fault.

    Raise PolicyError with every problem found, in file order (the first 1,000 of a hopeless file).
    """
    return _policy(_sound(read(text), source, {})[1])


def parse_with_lines(text: str | bytes, *, source: str = "policy") -> tuple[Policy, Lines]:
    """Return what `parse_policy` does, and the lines on which the rules stand."""
    document, draft = _sound(read(text), source, {})
    return _policy(draft), lines_of(document, draft)


def parse_with_data(text: str | bytes, *, source: str = "policy") -> tuple[Policy, dict[str, Any], Callable[[], Lines]]:
    """Return what `parse_policy` does, the plain data that the text wrote, and what tells the lines, if asked.

    A text that was read the quick way (`plain`) is read once more for its lines.
    """
    document, draft = _sound(read(text), source, {})
    return _policy(draft), draft.source, lambda: lines_of(document, draft)


def parse_data(data: dict[str, Any], known: Known) -> Policy:
    """Return the policy that plain data declares, `known` objects among it taken as they are, by section and index.

    What the data say of a known object is read for the names in it only.
    """
    _, draft = _sound(Document(data, lambda: Spot((0, 0), NOTHING_INSIDE)), "policy", known)
    return _policy(draft)


def _sound(document: Document, source: str, known: Known) -> tuple[Document, Draft]:
    """Return what a text says and the objects it declares, all of them sound and agreeing with each other."""
    if not isinstance(document.value, dict):
        what = "is empty" if document.value is None else f"is {shown(document.value)}, not a mapping"
        raise PolicyError(
            (Problem(source, f"the file {what}; a policy has at least 'version: 1'", document.root.at[0]),)
        )
    draft = Draft(document.value)
    faults = [*document.faults, *_head_faults(document.value)]
    for section, kind in SECTIONS.items():
        faults.extend(_read_section(draft, section, kind, known, MOST_PROBLEMS - len(faults)))
    faults.extend(disagreements(draft))
    if faults:
        raise PolicyError(_problems(document, faults))
    return document, draft


def _policy(draft: Draft) -> Policy:
    sections = {section: tuple(item for _, item in items) for section, items in draft.items.items()}
    groups = sections["security_groups"]
    if all(group.name != DEFAULT_GROUP for group in groups):
        sections["security_groups"] = (*groups, default_group())
    return Policy.model_validate(_head(draft.source)).model_copy(update=sections)


def _head(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in SECTIONS}


def _head_faults(data: dict[str, Any]) -> Iterator[Fault]:
    try:
        Policy.model_validate(_head(data))
    except ValidationError as error:
        yield from _faults((), error)


def _read_section(draft: Draft, section: str, kind: type[Item], known: Known, most: int) -> Iterator[Fault]:
    """Put the sound items of a section into the draft and yield what is wrong with the others."""
    found = draft.items[section] = []
    listed = draft.source.get(section, [])
    if not isinstance(listed, list):
        yield Fault((section,), f"{shown(listed)} stands where a list is expected; write a list, or leave the key out")
        return
    for index, data in enumerate(listed):
        try:
            found.append((index, known.get((section, index)) or kind.model_validate(data)))
        except ValidationError as error:
            yield from _faults((section, index), error)
            most -= error.error_count()
            if most < 0:
                return


def _faults(place: Place, error: ValidationError) -> Iterator[Fault]:
    for details in islice(error.errors(include_url=False), MOST_PROBLEMS + 1):
        here = (*place, *details["loc"])
        if details["type"] == "policy_fields":
            yield from (Fault((*here, *below), message) for below, message in details["ctx"]["problems"])
        else:
            yield Fault(here, _message(here, details))


def _message(place: Place, details: ErrorDetails) -> str:
    """Say in our words what pydantic found."""
    match details["type"]:
        case "missing":
            return f"is missing; {MISSING.get(str(place[-1]), 'write it')}"
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"is not a known key here{suggestion(str(place[-1]), _known_keys(place[:-1])) or '; leave it out'}"
        case "model_type" | "model_attributes_type" | "dataclass_type" | "dict_type":
            return f"{shown(details['input'])} stands where a mapping is expected; write 'key: value' pairs"
        case "tuple_type":
            return f"{shown(details['input'])} stands where a list is expected; write a list like [a, b]"
        case _:
            return details["msg"]


def _known_keys(place: Place) -> tuple[str, ...]:
    """Return the keys that the object at `place` may have."""
    words = [step for step in place if isinstance(step, str)]
    if not words:
        return tuple(_keys_of(Policy))
    kind = {**SECTIONS, **INNER}[words[-1]]
    keys = tuple(_keys_of(kind))
    return (*keys, *_keys_of(Nic)) if kind is Ecs else keys


def _keys_of(kind: type[Item | Slotted]) -> Iterator[str]:
    fields = kind.model_fields if issubclass(kind, Item) else kind.__pydantic_fields__
    return (field.alias or key for key, field in fields.items())


def _problems(document: Document, faults: Iterable[Fault]) -> tuple[Problem, ...]:
    """Return the faults as problems with their lines, in file order, each once."""
    placed = dict.fromkeys((fault.at or _position(document, fault.place), fault) for fault in faults)
    ordered = sorted(placed, key=lambda pair: pair[0])
    problems = [Problem(_where(document.value, fault.place), fault.message, at[0]) for at, fault in ordered]
    if len(problems) > MOST_PROBLEMS:
        problems[MOST_PROBLEMS:] = [Problem("", "more problems are not shown; mend these first")]
    return tuple(problems)


def _position(document: Document, place: Place) -> Position:
    return document.position(tuple(step for step, _ in _written(document.value, place)))


def _where(data: Any, place: Place) -> str:
    """Return `place` as people read it: `security_groups[Sg-A].rules[A01].remote_group`."""
    words = ""
    for step, value in _written(data, place):
        if isinstance(step, int):
            words += f"[{_label(value) or step}]"
        else:
            key = step if len(step) <= 64 and step.isprintable() else shown(step)
            words += f".{key}" if words else key
    return words


def _written(data: Any, place: Place) -> Iterator[tuple[str | int, Any]]:
    """Yield the steps of `place` with the values there, without those that it leaves out (a flat ECS's `nics`)."""
    for position, step in enumerate(place):
        if isinstance(step, int) and isinstance(data, list):
            data = data[step] if step < len(data) else None
        elif isinstance(step, str) and isinstance(data, dict) and step in data:
            data = data[step]
        elif isinstance(step, int) or position < len(place) - 1:
            continue
        yield step, data


def _label(item: Any) -> str | None:
    """Return the name by which people know a list's item."""
    if isinstance(item, dict):
        for key in ("name", "id"):
            label = item.get(key)
            if isinstance(label, str) and 0 < len(label) <= 64 and label.isprintable():
                return label
    return None
