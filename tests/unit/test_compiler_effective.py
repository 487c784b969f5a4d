"""Which rules of a NIC take effect, and in which order they are asked (S4 `enabled`, S7, S9, S10)."""

from __future__ import annotations

import pytest
from policies import three_hosts

from enforcer.compiler.effective import effective_rules
from enforcer.model import Direction, Family


def effective(
    groups: str, *, of: str = "Sg-A", limit: int = 120, ecs_type: str = "", direction: str = "ingress", family: int = 4
) -> list[str]:
    policy = three_hosts(groups)
    asked: Family = 4 if family == 4 else 6
    lists = (effective_rules(policy.group(name), ecs_type, limit, Direction(direction), asked) for name in of.split())
    return [f"{one.group}/{one.rule.id}" for found in lists for one in found]


ORDERED = """
    security_groups:
      - name: Sg-A
        rules:
          - {id: late, direction: ingress, priority: 100}
          - {id: allow, direction: ingress, priority: 5}
          - {id: deny, direction: ingress, priority: 5, action: deny}
          - {id: deny-too, direction: ingress, priority: 5, action: deny}
          - {id: first, direction: ingress, priority: 1}
      - name: Sg-B
        rules: [{id: urgent, direction: ingress, priority: 1, action: deny}]
"""


def test_order_is_group_then_priority_then_deny_before_allow_then_as_configured_s7():
    own = ["Sg-A/first", "Sg-A/deny", "Sg-A/deny-too", "Sg-A/allow", "Sg-A/late"]
    assert effective(ORDERED) == own
    # A priority-100 rule of the first group is asked before a priority-1 rule of the second.
    assert effective(ORDERED, of="Sg-A Sg-B") == [*own, "Sg-B/urgent"]
    assert effective(ORDERED, of="Sg-B Sg-A") == ["Sg-B/urgent", *own]


def test_rules_that_a_changed_group_keeps_are_the_very_same_in_effect():
    group = three_hosts(ORDERED).group("Sg-A")
    before = effective_rules(group, "", 120, Direction.INGRESS, 4)
    first = group.rules[-1].model_copy(update={"priority": 7})
    after = effective_rules(
        group.model_copy(update={"rules": (*group.rules[:-1], first)}), "", 120, Direction.INGRESS, 4, before
    )
    assert [each.rule.id for each in after] == ["deny", "deny-too", "allow", "first", "late"]
    assert {id(each) for each in after[:3] + after[4:]} == {id(each) for each in before[1:]}
    assert after[3].rule is first


COSTLY = """
    address_groups: [{name: ag, entries: [10.9.0.1]}]
    security_groups:
      - name: Sg-A
        rules:
          - {id: group, direction: ingress, remote_group: Sg-B}
          - {id: gone, direction: ingress, remote_group: Sg-B, enabled: false}
          - {id: cheap, direction: ingress, protocol: tcp, multiport: "22-30"}
          - {id: twice, direction: ingress, protocol: tcp, multiport: "22,24", remote_address_group: ag}
          - {id: urgent, direction: ingress, protocol: tcp, multiport: "22,25", priority: 1}
          - {id: out, direction: egress, remote_group: Sg-B}
          - {id: six, direction: ingress, ethertype: IPv6, remote_group: Sg-B}
"""


def test_the_first_costly_rules_in_configured_order_take_effect_s9():
    everything = ["Sg-A/group", "Sg-A/cheap", "Sg-A/twice", "Sg-A/urgent"]
    assert effective(COSTLY) == everything
    assert effective(COSTLY, limit=3) == everything, "a rule that is costly for two reasons counts once"
    assert effective(COSTLY, limit=2) == everything[:3], "a disabled rule takes no place"
    assert effective(COSTLY, limit=1) == ["Sg-A/group", "Sg-A/cheap"]
    assert effective(COSTLY, limit=0) == ["Sg-A/cheap"], "other rules are untouched"


def test_each_direction_and_ethertype_has_a_quota_of_its_own_s9():
    assert effective(COSTLY, limit=1, direction="egress") == ["Sg-A/out"]
    assert effective(COSTLY, limit=1, family=6) == ["Sg-A/six"]


@pytest.mark.parametrize("ecs_type", ["S1", "C1", "C2", "M1", "H1", "D1", "G1", "G2", "E1", "E2", "ET2"])
def test_old_types_do_without_address_groups_and_port_lists_s10(ecs_type: str):
    assert effective(COSTLY, ecs_type=ecs_type) == ["Sg-A/group", "Sg-A/cheap"]


def test_kai1_stops_at_the_first_port_list_in_configured_order_s10():
    groups = """
        security_groups:
          - name: Sg-A
            rules:
              - {id: gone, direction: egress, protocol: tcp, multiport: "1,3", enabled: false}
              - {id: before, direction: ingress, priority: 100}
              - {id: list, direction: egress, protocol: tcp, multiport: "22,25"}
              - {id: after, direction: ingress, priority: 1}
          - name: Sg-B
            rules: [{id: other, direction: ingress}]
    """
    assert effective(groups, of="Sg-A Sg-B", ecs_type="KAI1") == ["Sg-A/before", "Sg-B/other"]
    assert effective(groups, ecs_type="KAI1", direction="egress") == []
    assert effective(groups, of="Sg-A", ecs_type="S6") == ["Sg-A/after", "Sg-A/before"], "other types apply all"


def test_a_rule_that_the_type_drops_keeps_its_place_in_the_quota_s9_s10():
    # The quota is the group's and the same for every ECS: `group` would be beyond it on an S6 and is on an S1 too.
    groups = """
        security_groups:
          - name: Sg-A
            rules:
              - {id: list, direction: ingress, protocol: tcp, multiport: "22,25"}
              - {id: group, direction: ingress, remote_group: Sg-B}
    """
    assert effective(groups, limit=1, ecs_type="S1") == []
