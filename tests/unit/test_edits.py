"""Single edits make the changes that somebody would have made in the file, and say what is wrong with their words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from enforcer.agent import edits
from enforcer.agent.desired import Desired
from enforcer.agent.edits import Edit
from enforcer.agent.resources import resources_of
from enforcer.errors import PolicyError
from enforcer.model import Policy, parse_with_data

REGION = """
version: 1
vpcs: [{name: x, subnets: [{name: s, cidr: 10.0.0.0/24}]}]
address_groups: [{name: office, entries: [10.9.0.0/16, 10.8.0.1]}]
security_groups:
  - name: web
    rules:
      - {direction: ingress, protocol: tcp, multiport: 80}
      - {id: OFFICE, direction: ingress, remote_address_group: office}
      - {direction: egress, enabled: false}
  - {name: db, rules: [{id: WEB, direction: ingress, remote_group: web}]}
  - {name: spare}
  - {name: shop, template: general-purpose-web-server}
ecs:
  - {name: a, subnet: s, addresses: [10.0.0.1], security_groups: [web]}
  - {name: b, nics: [{name: eth0, subnet: s, addresses: [10.0.0.2]}, {name: eth1, subnet: s, addresses: [10.0.0.3]}]}
"""
DESIRED = Desired.of(resources_of(parse_with_data(REGION)[1]))
NOW = DESIRED.resources


def after(*made: Callable[[Any], Edit]) -> Policy:
    desired = DESIRED
    for edit in made:
        desired = desired.with_changes(edit(desired.resources).changes)
    return desired.policy


def refusal(edit: Callable[..., Edit], *words: Any, **more: Any) -> str:
    with pytest.raises(PolicyError) as raised:
        DESIRED.with_changes(edit(NOW, *words, **more).changes)
    assert raised.value.exit_status == 3
    return str(raised.value)


def ids(policy: Policy, group: str) -> list[str]:
    return [rule.id for rule in policy.group(group).rules]


# --- groups ---


def test_a_group_is_created_and_deleted():
    created = after(lambda now: edits.create_group(now, {"name": "new", "rules": []}))
    assert created.group("new").rules == ()
    assert edits.create_group(NOW, {"name": "new"}).said == "group new created"
    gone = after(lambda now: edits.delete_group(now, "spare"))
    assert "spare" not in {group.name for group in gone.security_groups}


def test_a_group_without_rules_and_template_gets_the_four_of_every_new_group_s1():
    assert len(after(lambda now: edits.create_group(now, {"name": "new"})).group("new").rules) == 4


@pytest.mark.parametrize(
    ("edit", "words", "said"),
    [
        (edits.create_group, [{"name": "web"}], "security_groups[web]: exists already; choose another name, or change"),
        (edits.create_group, [{"name": "default"}], "security_groups[default]: exists already; choose another name"),
        (edits.create_group, [{"name": "a/b"}], "security_groups[…].name: 'a/b' has the character '/'; a name has"),
        (edits.create_group, [{"name": "n", "rulez": []}], "security_groups[n].rulez: is not a known key here; did yo"),
        (edits.delete_group, ["default"], "security_groups[default]: cannot be deleted (S2); remove its rules, or app"),
        (edits.delete_group, ["wed"], "security_groups[wed]: 'wed' is not defined; did you mean 'web'?"),
        (edits.delete_group, ["zzz"], "security_groups[zzz]: 'zzz' is not defined; look at `enforcer show`"),
        (edits.delete_group, ["web"], "security_groups[web]: is in use by NIC a:eth0, rule WEB of db; take it from th"),
        (edits.delete_address_group, ["office"], "address_groups[office]: is in use by rule OFFICE of web; take it fr"),
        (edits.delete_address_group, ["ofice"], "address_groups[ofice]: 'ofice' is not defined; did you mean 'office'"),
        (edits.add_rule, ["wbe", {}], "security_groups[wbe]: 'wbe' is not defined; did you mean 'web'?"),
        (edits.add_rule, ["web", {}], "security_groups[web].rules[rule-4].direction: is missing; write ingress or egr"),
        (edits.add_rule, ["web", {"id": "OFFICE", "direction": "egress"}], "'OFFICE' is already the id of another rul"),
        (edits.add_rule, ["web", {"id": ["x"]}], "security_groups[web].rules[…].id: a list stands where text is"),
        (edits.remove_rule, ["web", "template-1"], "security_groups[web].rules[template-1]: 'template-1' is not a ru"),
        (edits.attach_nic, ["c:eth1", {"name": "eth2"}], "ecs[c].nics[eth1].name: 'eth2' is another name; leave it o"),
        (edits.add_rule, ["web", {"direction": "ingress", "remote_group": "dbb"}], "'dbb' is not defined; did you mea"),
        (edits.remove_rule, ["web", "OFICE"], "security_groups[web].rules[OFICE]: 'OFICE' is not a rule of the group;"),
        (edits.remove_rule, ["shop", "template-1"], "is a rule of the template 'general-purpose-web-server', which is"),
        (edits.add_entries, ["office", ["10.1.2.3/8"]], "'10.1.2.3/8' has host bits set; write '10.0.0.0/8' for the"),
        (edits.add_entries, ["office", ["2001:db8::1"]], "'2001:db8::1' is IPv6, the group IPv4; write an IPv4 entry"),
        (edits.remove_entries, ["office", ["10.8.0.2"]], "address_groups[office].entries: '10.8.0.2' is not one of th"),
        (edits.attach_nic, ["a", {}], "ecs[a].nics[eth0]: is attached already; detach it first, or name another NIC"),
        (edits.attach_nic, ["c", {}], "ecs[c].nics[eth0].subnet: is missing; name the subnet that it is in"),
        (edits.attach_nic, ["10.0.0.1", {}], "ecs[…].name: '10.0.0.1' reads as an address; choose a name that is none"),
        (edits.attach_nic, ["c", {"subnet": "s", "addresses": ["10.0.0.1"]}], "'10.0.0.1' is already an address of a:"),
        (edits.detach_nic, ["b"], "ecs[b]: has the NICs eth0, eth1; say which: b:eth0"),
        (edits.detach_nic, ["b:eth2"], "ecs[b].nics[eth2]: 'eth2' is not defined; "),
        (edits.detach_nic, ["bb"], "ecs[bb]: 'bb' is not defined; "),
        (edits.set_groups, ["a", ["wbe"]], "ecs[a].nics[eth0].security_groups: 'wbe' is not defined; did you mean 'we"),
        (edits.set_groups, ["a", ["web", "web"]], "'web' is listed twice; a NIC has each group once"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_with_place_value_and_mend(edit: Any, words: list[Any], said: str):
    assert said in refusal(edit, *words)


# --- rules ---


def test_rules_keep_their_ids_whatever_happens_around_them():
    """Hits and explanations go by id: a rule that moves up must not take the name of the one that went."""
    assert ids(DESIRED.policy, "web") == ["rule-1", "OFFICE", "rule-3"]
    assert ids(after(lambda now: edits.remove_rule(now, "web", "rule-1")), "web") == ["OFFICE", "rule-3"]
    again = after(
        lambda now: edits.remove_rule(now, "web", "rule-1"),
        lambda now: edits.add_rule(now, "web", {"direction": "egress"}),
    )
    assert ids(again, "web") == ["OFFICE", "rule-3", "rule-4"]


def test_a_rule_is_added_at_the_end_or_before_another():
    rule = {"id": "NEW", "direction": "ingress"}
    assert ids(after(lambda now: edits.add_rule(now, "web", rule)), "web") == ["rule-1", "OFFICE", "rule-3", "NEW"]
    before = after(lambda now: edits.add_rule(now, "web", rule, before="OFFICE"))
    assert ids(before, "web") == ["rule-1", "NEW", "OFFICE", "rule-3"]


def test_a_rule_is_moved():
    assert ids(after(lambda now: edits.move_rule(now, "web", "rule-1")), "web") == ["OFFICE", "rule-3", "rule-1"]
    moved = after(lambda now: edits.move_rule(now, "web", "rule-3", before="rule-1"))
    assert ids(moved, "web") == ["rule-3", "rule-1", "OFFICE"]
    assert "rules[OFFICE]: cannot stand before itself" in refusal(edits.move_rule, "web", "OFFICE", before="OFFICE")


def test_a_rule_is_disabled_and_enabled_s4():
    off = after(lambda now: edits.enable_rule(now, "web", "OFFICE", enabled=False))
    assert [rule.enabled for rule in off.group("web").rules] == [True, False, False]
    on = after(lambda now: edits.enable_rule(now, "web", "rule-3", enabled=True))
    assert [rule.enabled for rule in on.group("web").rules] == [True, True, True]
    assert edits.enable_rule(NOW, "web", "OFFICE", enabled=True) == Edit((), "rule OFFICE of web is enabled already")


@pytest.mark.parametrize("group", ["spare", "default"])
def test_a_rule_added_to_a_group_with_the_rules_of_s1_leaves_them_there(group: str):
    """The four rules that nobody wrote must not vanish because somebody wrote a fifth."""
    added = after(lambda now: edits.add_rule(now, group, {"direction": "ingress"}))
    assert len(DESIRED.policy.group(group).rules) == 4
    assert added.group(group).rules[:4] == DESIRED.policy.group(group).rules
    assert ids(added, group)[4:] == ["rule-1"]


def test_a_rule_added_to_a_group_with_a_template_comes_after_the_templates_s3():
    added = after(lambda now: edits.add_rule(now, "shop", {"direction": "ingress"}))
    assert ids(added, "shop")[-1] == "rule-1"
    assert len(ids(added, "shop")) == len(ids(DESIRED.policy, "shop")) + 1


# --- address groups ---


def test_entries_are_added_and_removed():
    added = after(lambda now: edits.add_entries(now, "office", ["10.7.0.0/16", "10.9.0.0/16"]))
    assert [str(entry.first) for entry in added.address_group("office").ranges] == ["10.9.0.0", "10.8.0.1", "10.7.0.0"]
    removed = after(lambda now: edits.remove_entries(now, "office", ["10.9.0.0/16", "10.8.0.1"]))
    assert removed.address_group("office").ranges == ()
    assert edits.add_entries(NOW, "office", ["10.8.0.1"]) == Edit((), "10.8.0.1 is in office already")


def test_an_address_group_is_created_and_deleted():
    created = after(lambda now: edits.create_address_group(now, {"name": "v6", "ip_version": 6}))
    assert created.address_group("v6").ip_version == 6
    gone = after(
        lambda now: edits.remove_rule(now, "web", "OFFICE"), lambda now: edits.delete_address_group(now, "office")
    )
    assert gone.address_groups == ()


# --- NICs ---


def test_a_nic_is_attached_with_its_ecs_and_detached_with_it():
    fields = {"subnet": "s", "addresses": ["10.0.0.9"], "security_groups": ["web"]}
    attached = after(lambda now: edits.attach_nic(now, "c", fields, flavor="s6.large.2"))
    assert attached.find_ecs("c").type == "s6.large.2"
    assert attached.nic_ref("c").nic.security_groups == ("web",)
    second = after(lambda now: edits.attach_nic(now, "a:eth1", fields), lambda now: edits.detach_nic(now, "a:eth0"))
    assert [nic.name for nic in second.find_ecs("a").nics] == ["eth1"]
    assert "a" not in {ecs.name for ecs in after(lambda now: edits.detach_nic(now, "a")).ecs}


def test_a_nic_gets_its_groups_in_order_s7_and_default_where_none_is_named_s2():
    given = after(lambda now: edits.set_groups(now, "b:eth1", ["web", "db"]))
    assert given.nic_ref("b:eth1").nic.security_groups == ("web", "db")
    assert given.nic_ref("b:eth0").nic.security_groups == ("default",)
    assert after(lambda now: edits.set_groups(now, "a", [])).nic_ref("a").nic.security_groups == ("default",)
    assert edits.set_groups(NOW, "a", ["web"]).changes == ()


def test_an_edit_touches_its_resource_alone():
    assert [change.key for change in edits.set_groups(NOW, "a", ["db"]).changes] == ["nics/a/eth0"]
    assert [change.key for change in edits.add_rule(NOW, "web", {"direction": "egress"}).changes] == [
        "security_groups/web"
    ]
    assert json.loads(edits.add_entries(NOW, "office", ["10.7.0.1"]).changes[0].value or "")["entries"] == [
        "10.9.0.0/16", "10.8.0.1", "10.7.0.1",
    ]  # fmt: skip
