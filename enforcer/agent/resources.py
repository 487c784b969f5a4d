"""A policy file ⇄ resources: which part of a policy stands under which key of the store.

    settings                        version, limits, marks, revoke, silence
    vpcs/NAME  peerings/NAME  address_groups/NAME  security_groups/NAME (its rules in their order)
    external_hosts/NAME  load_balancers/NAME  eips/ADDRESS
    ecs/NAME                        the ECS, its NICs by their names in their order
    nics/ECS/NAME                   one NIC, so that two of them can change without a conflict

A value is what the operator wrote, as canonical JSON: keys sorted, text in NFC. Joined again, in the order of the keys,
the resources are a policy file that means the same. Pure; nothing is validated here, the data are those of a valid
policy. Example: `difference(resources_of(old), resources_of(new))` is what an `apply` changes.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from enforcer.agent.lately import Lately
from enforcer.agent.store.interface import Change
from enforcer.model.instances import ONLY_NIC, Nic
from enforcer.model.parse import SECTIONS

SETTINGS = "settings"
NICS = "nics"
NOTHING_YET = '{"version":1}'
"""The settings of a store in which nobody has put any."""


def resources_of(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the resources that the plain data of a valid policy file are, in the order of their keys."""
    head = {key: value for key, value in document.items() if key not in SECTIONS}
    found = {SETTINGS: canonical(head)}
    for section in SECTIONS:
        for item in document.get(section, ()):
            found.update(_instance(item) if section == "ecs" else ((key_of(section, item), canonical(item)),))
    return dict(sorted(found.items()))


def document_of(resources: Mapping[str, str], *, last: Collection[str] = ()) -> dict[str, Any]:
    """Return the plain data of the policy file that resources join to.

    Items under the keys `last` come at the end of their sections: where two items disagree, the later one is blamed.
    """
    found = head_of(resources)
    for section, item in items_of(resources, last=last):
        found.setdefault(section, []).append(item)
    return found


def head_of(resources: Mapping[str, str]) -> dict[str, Any]:
    """Return the plain data of what stands at the head of the file."""
    found: dict[str, Any] = json.loads(resources.get(SETTINGS, NOTHING_YET))
    return found


def items_of(resources: Mapping[str, str], *, last: Collection[str] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the sections of the items of the policy file that resources join to, and their plain data."""
    for key in sorted(resources, key=lambda key: (key in last, key)):
        section, _, name = key.partition("/")
        if section in SECTIONS:
            item = json.loads(resources[key])
            if section == "ecs":
                item["nics"] = [json.loads(resources[nic_key(name, nic)]) for nic in item["nics"]]
            yield section, item


def difference(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Change, ...]:
    """Return the changes that make `old` resources `new`, in the order of their keys."""
    touched = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    return tuple(Change(key, new.get(key)) for key in sorted(touched))


def changed(resources: Mapping[str, str], changes: Iterable[Change]) -> Lately[str]:
    """Return resources after changes."""
    late = resources if isinstance(resources, Lately) else Lately(resources)
    return late.after({change.key: change.value for change in changes})


def canonical(value: Mapping[str, Any]) -> str:
    """Return plain data as the one JSON text that stands for them."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    if text.isascii():
        return text
    return json.dumps(_composed(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def key_of(section: str, item: Mapping[str, Any]) -> str:
    """Return the key of an item of a section other than `ecs`' NICs."""
    return f"{section}/{_nfc(item['address' if section == 'eips' else 'name'])}"


def nic_key(ecs: str, nic: str) -> str:
    """Return the key of a NIC."""
    return f"{NICS}/{ecs}/{nic}"


def _instance(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the resources of an ECS, whichever form it was written in."""
    name = _nfc(item["name"])
    flat = {key: value for key, value in item.items() if key in Nic.model_fields and key != "name"}
    nics = item.get("nics", [{"name": ONLY_NIC, **flat}])
    rest = {key: value for key, value in item.items() if key not in flat}
    yield f"ecs/{name}", canonical({**rest, "nics": [_nfc(nic["name"]) for nic in nics]})
    yield from ((nic_key(name, _nfc(nic["name"])), canonical(nic)) for nic in nics)


def _composed(value: Any) -> Any:
    match value:
        case str():
            return _nfc(value)
        case list():
            return [_composed(item) for item in value]
        case Mapping():
            return {_nfc(key): _composed(item) for key, item in value.items()}
    return value


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
