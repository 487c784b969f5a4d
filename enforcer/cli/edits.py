"""Commands that change one thing: group, rule, address-group, nic. Each prints the revision in which it is in force."""

from __future__ import annotations

from typing import Any

import click

from enforcer.cli.client import Client, changing, part, told
from enforcer.cli.commands import Group
from enforcer.cli.names import address_groups, entries, groups, nics, one_of, rules, subnets
from enforcer.model.groups import TEMPLATES
from enforcer.model.words.protocols import PROTOCOLS


class Edit:
    """What every edit has: where to send it, and how to answer."""

    def __init__(self, socket: str, message: str, if_revision: int | None, as_json: bool) -> None:
        self._client, self._as_json = Client(socket), as_json
        self._query = {"message": message, "if_revision": if_revision}

    def make(self, method: str, path: str, body: object = None, **query: Any) -> None:
        """Have the daemon make the edit, and print what became of it; what is closed only where NICs are changed."""
        done = self._client.change(method, path, body, **self._query, **query)
        told(done, as_json=self._as_json, closed=path.startswith("/nics/"))


def _given(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value not in (None, (), "")}


GROUP = click.argument("group", shell_complete=groups)
RULE = click.argument("rule", shell_complete=rules)
ADDRESS_GROUP = click.argument("group", metavar="NAME", shell_complete=address_groups)
NIC = click.argument("nic", shell_complete=nics)


# --- group -----------------------------------------------------------------------------------------------------------


@click.group("group", cls=Group)
def group() -> None:
    """Create and delete security groups."""


@group.command("create")
@click.argument("name")
@click.option("--description", metavar="TEXT", help="At most 255 characters.")
@click.option("--template", metavar="NAME", shell_complete=one_of(*TEMPLATES), help=f"One of {', '.join(TEMPLATES)}.")
@click.option("--empty", is_flag=True, help="Without any rule, so that it denies everything.")
@changing
def group_create(name: str, description: str | None, template: str | None, empty: bool, **edit: Any) -> None:
    """Create the security group NAME; it has the four rules of every new group, unless it is --empty.

    \b
    Example:  enforcer group create web --template general-purpose-web-server
    """
    body = {"name": name, **_given(description=description, template=template), **({"rules": []} if empty else {})}
    Edit(**edit).make("POST", "/security_groups", body)


@group.command("delete")
@GROUP
@changing
def group_delete(group: str, **edit: Any) -> None:
    """Delete a security group that no NIC has and no other group's rule names.

    \b
    Example:  enforcer group delete web
    """
    Edit(**edit).make("DELETE", f"/security_groups/{part(group)}")


# --- rule ------------------------------------------------------------------------------------------------------------


@click.group("rule", cls=Group)
def rule() -> None:
    """Add, remove, switch and move rules."""


@rule.command("add")
@GROUP
@click.argument("direction", type=click.Choice(["ingress", "egress"]))
@click.option("--id", "id_", metavar="ID", help="Its id; else one is found.")
@click.option("--action", metavar="allow|deny", shell_complete=one_of("allow", "deny"))
@click.option("--priority", type=int, metavar="1-100", help="The smaller is matched first.")
@click.option("--ethertype", metavar="IPv4|IPv6", shell_complete=one_of("IPv4", "IPv6"))
@click.option("--protocol", metavar="PROTO", shell_complete=one_of("all", *PROTOCOLS), help="Or a number; else all.")
@click.option("--ports", metavar="PORTS", help="Such as 22 or 22-30,443; tcp and udp only.")
@click.option("--icmp-type", type=int, metavar="N")
@click.option("--icmp-code", type=int, metavar="N")
@click.option("--prefix", metavar="CIDR", help="The remote: an address or a network.")
@click.option("--remote-group", metavar="GROUP", shell_complete=groups, help="The remote: members of a security group.")
@click.option("--address-group", metavar="GROUP", shell_complete=address_groups, help="The remote: an address group.")
@click.option("--description", metavar="TEXT")
@click.option("--before", metavar="RULE", shell_complete=rules, help="Before this rule; else it is the last.")
@changing
def rule_add(group: str, direction: str, before: str | None, **given: Any) -> None:
    """Add a rule to GROUP; without a remote, it is about everybody.

    \b
    Example:  enforcer rule add web ingress --protocol tcp --ports 80,443
    """
    edit = {key: given.pop(key) for key in ("socket", "message", "if_revision", "as_json")}
    names = {"id_": "id", "ports": "multiport", "prefix": "remote_ip_prefix", "address_group": "remote_address_group"}
    fields = {names.get(key, key): value for key, value in given.items() if value is not None}
    if (protocol := str(fields.get("protocol", ""))).isdecimal():
        fields["protocol"] = int(protocol)
    body = {"rule": {"direction": direction, **fields}, "before": before}
    Edit(**edit).make("POST", f"/security_groups/{part(group)}/rules", body)


@rule.command("remove")
@GROUP
@RULE
@changing
def rule_remove(group: str, rule: str, **edit: Any) -> None:
    """Remove RULE from GROUP.

    \b
    Example:  enforcer rule remove web rule-3
    """
    Edit(**edit).make("DELETE", f"/security_groups/{part(group)}/rules/{part(rule)}")


@rule.command("enable")
@GROUP
@RULE
@changing
def rule_enable(group: str, rule: str, **edit: Any) -> None:
    """Switch a rule on again.

    \b
    Example:  enforcer rule enable web rule-3
    """
    Edit(**edit).make("POST", f"/security_groups/{part(group)}/rules/{part(rule)}/enable")


@rule.command("disable")
@GROUP
@RULE
@changing
def rule_disable(group: str, rule: str, **edit: Any) -> None:
    """Switch a rule off: it is as if absent, and can be switched on again.

    \b
    Example:  enforcer rule disable web rule-3
    """
    Edit(**edit).make("POST", f"/security_groups/{part(group)}/rules/{part(rule)}/disable")


@rule.command("move")
@GROUP
@RULE
@click.option("--before", metavar="RULE", shell_complete=rules, help="Before this rule; else to the end.")
@changing
def rule_move(group: str, rule: str, before: str | None, **edit: Any) -> None:
    """Move a rule; the order decides which costly rules are within the quota.

    \b
    Example:  enforcer rule move web rule-3 --before rule-1
    """
    Edit(**edit).make("POST", f"/security_groups/{part(group)}/rules/{part(rule)}/move", {"before": before})


# --- address-group ---------------------------------------------------------------------------------------------------


@click.group("address-group", cls=Group)
def address_group() -> None:
    """Create and delete address groups, add and remove their entries."""


@address_group.command("create")
@click.argument("name")
@click.argument("entries", nargs=-1)
@click.option("--ip-version", type=click.Choice(["4", "6"]), help="Of all its entries; else 4.")
@click.option("--max-capacity", type=int, metavar="N", help="At most so many entries; else 20.")
@click.option("--description", metavar="TEXT")
@changing
def address_group_create(
    name: str,
    entries: tuple[str, ...],
    ip_version: str | None,
    max_capacity: int | None,
    description: str | None,
    **edit: Any,
) -> None:
    """Create the address group NAME with ENTRIES: addresses, networks, or ranges such as 10.0.0.1-10.0.0.9.

    \b
    Example:  enforcer address-group create office 10.1.0.0/16 10.2.0.5
    """
    version = int(ip_version) if ip_version else None
    body = _given(ip_version=version, max_capacity=max_capacity, description=description, entries=list(entries) or None)
    Edit(**edit).make("POST", "/address_groups", {"name": name, **body})


@address_group.command("delete")
@ADDRESS_GROUP
@changing
def address_group_delete(group: str, **edit: Any) -> None:
    """Delete an address group that no rule names.

    \b
    Example:  enforcer address-group delete office
    """
    Edit(**edit).make("DELETE", f"/address_groups/{part(group)}")


@address_group.command("add")
@ADDRESS_GROUP
@click.argument("entries", nargs=-1, required=True)
@changing
def address_group_add(group: str, entries: tuple[str, ...], **edit: Any) -> None:
    """Add ENTRIES to an address group; every rule that names it follows at once.

    \b
    Example:  enforcer address-group add office 10.3.0.0/16
    """
    Edit(**edit).make("POST", f"/address_groups/{part(group)}/entries", {"entries": list(entries)})


@address_group.command("remove")
@ADDRESS_GROUP
@click.argument("entries", nargs=-1, required=True, shell_complete=entries)
@changing
def address_group_remove(group: str, entries: tuple[str, ...], **edit: Any) -> None:
    """Remove ENTRIES from an address group, as they are written there; connections that they allowed end.

    \b
    Example:  enforcer address-group remove office 10.2.0.5
    """
    Edit(**edit).make("DELETE", f"/address_groups/{part(group)}/entries", entry=list(entries))


# --- nic -------------------------------------------------------------------------------------------------------------


@click.group("nic", cls=Group)
def nic() -> None:
    """Attach and detach NICs, and give them security groups."""


@nic.command("attach")
@click.argument("nic")
@click.option("--subnet", required=True, metavar="NAME", shell_complete=subnets)
@click.option("--address", "addresses", multiple=True, required=True, metavar="IP", help="Repeat for several.")
@click.option(
    "--group",
    "security_groups",
    multiple=True,
    metavar="GROUP",
    shell_complete=groups,
    help="In the order of matching; repeat.",
)
@click.option("--interface", metavar="NAME", help="The host's end, when the NIC is on this host.")
@click.option("--netns", metavar="NAME", help="The network namespace of that end.")
@click.option("--mac", metavar="MAC")
@click.option("--allowed-address", "allowed_addresses", multiple=True, metavar="CIDR", help="Repeat for several.")
@click.option("--no-source-dest-check", "source_dest_check", flag_value=False, default=None, help="Any source address.")
@click.option("--no-port-security", "port_security", flag_value=False, default=None, help="Neither checks nor groups.")
@click.option("--type", "flavor", metavar="FLAVOR", help="Of an ECS that is new, such as s6.large.2.")
@changing
def nic_attach(nic: str, flavor: str | None, **given: Any) -> None:
    """Attach a NIC: ECS, or ECS:NIC for one more; an ECS that is new comes with it.

    \b
    Example:  enforcer nic attach web --subnet subnet-a --address 192.168.0.11 --group Web --interface veth-web
    """
    edit = {key: given.pop(key) for key in ("socket", "message", "if_revision", "as_json")}
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in _given(**given).items()}
    Edit(**edit).make("POST", f"/nics/{part(nic)}", {"nic": fields, "type": flavor})


@nic.command("detach")
@NIC
@changing
def nic_detach(nic: str, **edit: Any) -> None:
    """Detach a NIC: its connections end, and its ECS goes with its last NIC.

    \b
    Example:  enforcer nic detach web
    """
    Edit(**edit).make("DELETE", f"/nics/{part(nic)}")


@nic.command("groups")
@NIC
@click.argument("names", metavar="[GROUP]...", nargs=-1, shell_complete=groups)
@changing
def nic_groups(nic: str, names: tuple[str, ...], **edit: Any) -> None:
    """Give a NIC these security groups, in the order in which they are matched; none means `default`.

    \b
    Example:  enforcer nic groups web Web default
    """
    Edit(**edit).make("PUT", f"/nics/{part(nic)}/security_groups", {"security_groups": list(names)})
