"""Lint says what a reviewer would see, and is exact where it says never (S7, S8, S9, S10, S18, S19)."""

from __future__ import annotations

import random
import re
from ipaddress import IPv4Address
from textwrap import indent

import pytest
from examples_catalogue import NAMES, policy_of
from semantics_asking import TWO_HOSTS, parsed, two_hosts

from enforcer.errors import Problem
from enforcer.model import CODES, Direction, Policy, Traffic, advice, unsilenced
from enforcer.semantics import lint, not_in_effect
from enforcer.semantics.effect import rank
from enforcer.semantics.matching import matches, members_seen_from


def group(*rules: str, more: str = "") -> Policy:
    """Parse TWO_HOSTS where Sg-A has these rules."""
    lines = "".join(f"      - {{{rule}}}\n" for rule in rules)
    return two_hosts(f"security_groups:\n  - {{name: Sg-B}}\n  - name: Sg-A\n    rules:\n{lines}", more)


def warnings(policy: Policy) -> dict[str, str]:
    """Return what lint says about the rules of Sg-A: `{"A02": "shadowed-rule: A01"}` with the rules that it names."""
    found = {}
    for problem in lint(policy):
        rule = problem.where.removeprefix("security_groups[Sg-A].rules[").rstrip("]")
        named = [
            one.id
            for one in policy.group("Sg-A").rules
            if one.id != rule and re.search(rf"\b{one.id}\b", problem.message)
        ]
        found[rule] = " ".join([problem.code, *named])
    return found


TCP = "direction: ingress, protocol: tcp"
ON_KAI1 = TWO_HOSTS.replace("name: ecs-a,", "name: ecs-a, type: Kai1.large,")
HALVES = ("10.1.0.0/17", "10.1.128.0/17")


class TestARuleThatCanNeverDecide:
    def test_is_hidden_by_one_rule_about_more(self):
        policy = group(f"id: A01, {TCP}, multiport: 8000-9000", f"id: A02, {TCP}, multiport: 8080, priority: 2")
        assert warnings(policy) == {"A02": "shadowed-rule A01"}

    @pytest.mark.parametrize("family", [4, 6])
    def test_any_address_is_exactly_the_prefix_of_all_s4(self, family: int):
        every = f"ethertype: IPv{family}, remote_ip_prefix: '{'0.0.0.0/0' if family == 4 else '::/0'}'"
        any_, web = f"ethertype: IPv{family}", "multiport: 80, priority: 2"
        for first, second in ((every, any_), (any_, every)):
            policy = group(f"id: A01, {TCP}, {first}, action: deny", f"id: A02, {TCP}, {second}, {web}")
            assert warnings(policy) == {"A02": "shadowed-rule A01"}

    def test_is_said_to_be_hidden_by_the_rule_of_its_own_protocol(self):
        policy = group(
            "id: A01, direction: ingress, protocol: udp, multiport: 8000-9000",
            f"id: A02, {TCP}, multiport: 8000-9000",
            f"id: A03, {TCP}, multiport: 8080, priority: 2",
        )
        (problem,) = lint(policy)
        hides = "never decides: A02 matches all of its packets and is asked before it; leave it out or move it"
        assert problem.message == hides

    def test_does_not_name_rules_about_other_addresses_however_many_hide_it(self):
        from_here = "remote_ip_prefix: 10.0.0.0/8"
        rules = [f"id: P{n}, {TCP}, multiport: {n}, {from_here}" for n in range(100, 180)]
        elsewhere = [f"id: X{n}, {TCP}, multiport: {n}, remote_ip_prefix: 192.168.0.0/16" for n in range(100, 110)]
        hidden = f"id: ALL, {TCP}, multiport: 100-179, {from_here}, priority: 2"
        (problem,) = lint(group(*elsewhere, *rules, hidden))
        assert "P100, P101, P102, P103 and 76 more together match all of its packets" in problem.message

    def test_is_named_while_there_are_at_most_500_of_them(self):
        rules = [f"id: P{port}, {TCP}, multiport: {port}, priority: 2" for port in range(1, 520)]
        found = [one.where for one in lint(group(f"id: ALL, {TCP}", *rules)) if one.code == "shadowed-rule"]
        assert found == [f"security_groups[Sg-A].rules[P{port}]" for port in range(1, 501)]

    def test_is_hidden_by_several_rules_together_and_these_are_named(self):
        policy = group(
            f"id: A01, {TCP}, multiport: 300-399",
            f"id: A02, {TCP}, multiport: 900",
            f"id: A03, {TCP}, multiport: 400-440",
            f"id: A04, {TCP}, multiport: 350-420, priority: 2",
        )
        assert warnings(policy) == {"A04": "shadowed-rule A01 A03"}

    def test_is_not_hidden_while_one_of_its_addresses_is_left(self):
        blocks = "address_groups: [{name: blocks, entries: [10.1.0.0/16, 10.3.0.0/16]}]"
        both = "id: A09, direction: ingress, remote_address_group: blocks, priority: 2"
        one = "id: A01, direction: ingress, remote_ip_prefix: 10.1.0.0/16"
        halves = [f"id: A0{n}, direction: ingress, remote_ip_prefix: {half}" for n, half in enumerate(HALVES, 1)]
        other = "id: A03, direction: ingress, remote_ip_prefix: 10.3.0.0/16"
        assert warnings(group(one, both, more=blocks)) == {}
        assert warnings(group(one, other, both, more=blocks)) == {"A09": "shadowed-rule A01 A03"}
        assert warnings(group(*halves, both, more=blocks)) == {}
        assert warnings(group(*halves, other, both, more=blocks)) == {"A09": "shadowed-rule A01 A02 A03"}

    def test_is_hidden_by_a_rule_that_it_shares_a_single_address_with(self):
        ranges = (
            "address_groups: [{name: some, entries: [10.0.0.1-10.0.0.5]}, {name: all, entries: [10.0.0.5-10.0.0.9]}]"
        )
        hiding = f"id: A01, {TCP}, remote_address_group: some", f"id: A02, {TCP}, remote_ip_prefix: 10.0.0.6/31"
        rest = f"id: A03, {TCP}, remote_ip_prefix: 10.0.0.8/30"
        hidden = f"id: A04, {TCP}, remote_address_group: all, priority: 2"
        assert warnings(group(*hiding, rest, hidden, more=ranges)) == {"A04": "shadowed-rule A01 A02 A03"}
        assert "A04" not in warnings(group(*hiding[1:], rest, hidden, more=ranges))
        lower = f"id: A01, {TCP}, remote_address_group: all", f"id: A02, {TCP}, remote_ip_prefix: 10.0.0.0/30"
        rest = f"id: A03, {TCP}, remote_ip_prefix: 10.0.0.4"
        hidden = f"id: A04, {TCP}, remote_address_group: some, priority: 2"
        assert warnings(group(*lower, rest, hidden, more=ranges)) == {"A04": "shadowed-rule A01 A02 A03"}

    def test_is_not_hidden_where_a_kai1_applies_it_and_not_the_other_s10(self):
        hidden, hiding = f"{{id: A01, {TCP}, multiport: 22, priority: 2}}", f"{{id: A02, {TCP}, multiport: '22,25'}}"
        groups = f"security_groups: [{{name: Sg-B}}, {{name: Sg-A, rules: [{hidden}, {hiding}]}}]"
        assert warnings(two_hosts(groups))["A01"] == "shadowed-rule A02"
        assert "shadowed-rule A02" not in warnings(parsed(ON_KAI1, groups)).values()

    def test_is_hidden_by_addresses_that_together_are_its_prefix(self):
        policy = group(
            f"id: A01, {TCP}, remote_ip_prefix: 10.0.0.0/9",
            "id: A02, direction: ingress, remote_ip_prefix: 10.128.0.0/9",
            f"id: A03, {TCP}, multiport: 443, remote_ip_prefix: 10.0.0.0/8, priority: 9",
        )
        assert warnings(policy) == {"A03": "shadowed-rule A01 A02"}
        apart = group(
            f"id: A01, {TCP}, multiport: 1-442, remote_ip_prefix: 10.0.0.0/8",
            f"id: A02, {TCP}, multiport: 443, remote_ip_prefix: 10.0.0.0/9",
            f"id: A03, {TCP}, multiport: 1-443, remote_ip_prefix: 10.0.0.0/8, priority: 9",
        )
        assert warnings(apart) == {}

    def test_is_not_one_whose_port_0_or_other_protocols_are_left(self):
        by_ports = group(f"id: A01, {TCP}, multiport: '1-9,10-65535'", f"id: A02, {TCP}, priority: 2")
        assert warnings(by_ports) == {"A01": "world-open-management"}
        by_protocol = group(f"id: A01, {TCP}, multiport: 80", "id: A02, direction: ingress, priority: 2")
        assert warnings(by_protocol) == {"A02": "world-open-management"}

    def test_goes_by_the_order_of_priorities_and_denies_first(self):
        late = group(f"id: A01, {TCP}, multiport: 80, priority: 2", f"id: A02, {TCP}, multiport: 80-81, action: deny")
        assert warnings(late) == {"A01": "shadowed-rule A02"}

    def test_is_a_duplicate_where_an_earlier_rule_says_the_same(self):
        policy = group(
            f"id: A01, {TCP}, multiport: '80-89,90', remote_ip_prefix: 0.0.0.0/0",
            f"id: A02, {TCP}, multiport: 80-90, description: again, priority: 3",
        )
        assert warnings(policy) == {"A02": "duplicate-rule A01"}

    def test_contradicts_where_an_earlier_rule_says_the_opposite(self):
        policy = group(f"id: A01, {TCP}, multiport: 80", f"id: A02, {TCP}, multiport: 80, action: deny, priority: 5")
        assert warnings(policy) == {"A02": "contradicting-rules A01"}
        (problem,) = lint(policy)
        assert problem.message == "never decides: A01 allows the same packets and is asked before it; leave one out"

    def test_counts_members_and_entries(self):
        policy = group(
            f"id: A01, {TCP}, multiport: 80, remote_ip_prefix: 192.168.0.0/28",
            f"id: A02, {TCP}, multiport: 80, remote_group: Sg-B, priority: 2",
            f"id: A03, {TCP}, multiport: 80, remote_address_group: G, priority: 3",
            more="address_groups: [{name: G, entries: [192.168.0.0/29, 192.168.0.8-192.168.0.15]}]",
        )
        assert warnings(policy) == {"A02": "shadowed-rule A01", "A03": "shadowed-rule A01"}
        texts = [problem.message for problem in lint(policy)]
        assert ["members that groups have now" in text for text in texts] == [True, False]

    def test_names_no_more_than_five_that_hide_it(self):
        rules = [f"id: P{n}, {TCP}, multiport: {n}" for n in range(100, 110)]
        policy = group(*rules, f"id: ALL, {TCP}, multiport: 100-109, priority: 2")
        (problem,) = lint(policy)
        assert "P100, P101, P102, P103 and 6 more together match all of its packets and are asked" in problem.message

    def test_is_hidden_on_icmp_types_and_codes(self):
        icmp = "direction: ingress, protocol: icmp"
        policy = group(f"id: A01, {icmp}, icmp_type: 8", f"id: A02, {icmp}, icmp_type: 8, icmp_code: 0, priority: 2")
        assert warnings(policy) == {"A02": "shadowed-rule A01"}
        assert warnings(group(f"id: A01, {icmp}, icmp_type: 8", f"id: A02, {icmp}, icmp_type: 9, icmp_code: 0")) == {}
        assert warnings(group(f"id: A01, {icmp}, icmp_type: 8, icmp_code: 0", f"id: A02, {icmp}, icmp_type: 8")) == {}

    def test_is_none_of_a_template_nor_a_disabled_one(self):
        policy = two_hosts("""
            security_groups:
              - {name: Sg-B, rules: [{direction: ingress, action: deny}, {direction: egress, enabled: false}]}
              - {name: Sg-A, template: default, rules: [{direction: ingress, action: deny}, {direction: egress}]}
        """)
        assert [problem.where for problem in lint(policy)] == []

    def test_hides_nothing_while_it_is_not_in_effect_s9(self):
        rules = (f"id: A01, {TCP}, remote_group: Sg-B", f"id: A02, {TCP}, multiport: 1, remote_ip_prefix: 192.168.0.12")
        assert warnings(group(*rules)) == {"A02": "shadowed-rule A01"}
        assert warnings(parsed("limits: {costly_rules: 0}", group_text(*rules))) == {}

    def test_is_none_while_it_decides_on_another_ecs_type_s10(self):
        rules = (f"id: A01, {TCP}, multiport: '80,81'", f"id: A02, {TCP}, multiport: 80, priority: 2")
        assert warnings(group(*rules)) == {"A02": "shadowed-rule A01"}
        old = "{name: old, type: s1.small, subnet: subnet-a, addresses: [192.168.0.13], security_groups: [Sg-A]}"
        assert warnings(parsed(group_text(*rules).replace("ecs:\n", f"ecs:\n  - {old}\n"))) == {}

    def test_is_none_while_it_decides_in_another_vpc_s18(self):
        policy = parsed("""
            version: 1
            vpcs:
              - {name: vpc-x, subnets: [{name: x, cidr: 192.168.0.0/24}]}
              - {name: vpc-y, subnets: [{name: y, cidr: 192.168.0.0/24}]}
            ecs:
              - {name: a-x, subnet: x, addresses: [192.168.0.1], security_groups: [Sg-A]}
              - {name: a-y, subnet: y, addresses: [192.168.0.1], security_groups: [Sg-A]}
              - {name: b-x, subnet: x, addresses: [192.168.0.2], security_groups: [Sg-B]}
              - {name: b-y, subnet: y, addresses: [192.168.0.3], security_groups: [Sg-B]}
            security_groups:
              - {name: Sg-B}
              - name: Sg-A
                rules:
                  - {id: A01, direction: ingress, remote_ip_prefix: 192.168.0.2}
                  - {id: A02, direction: ingress, remote_group: Sg-B, priority: 2}
                  - {id: A03, direction: ingress, remote_ip_prefix: 192.168.0.2/31, priority: 3}
        """)
        assert warnings(policy) == {}


def group_text(*rules: str) -> str:
    lines = "".join(f"      - {{{rule}}}\n" for rule in rules)
    return f"""
version: 1
vpcs: [{{name: vpc-x, subnets: [{{name: subnet-a, cidr: 192.168.0.0/24}}]}}]
ecs:
  - {{name: ecs-a, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [Sg-A]}}
  - {{name: ecs-b, subnet: subnet-a, addresses: [192.168.0.12], security_groups: [Sg-B]}}
security_groups:
  - {{name: Sg-B}}
  - name: Sg-A
    rules:
{lines}"""


PORTS = ("1", "2", "1-2", "2-3", "'1,3'", "1-65535")
REMOTES = ("", "remote_ip_prefix: 192.168.0.0/30", "remote_ip_prefix: 192.168.0.2/31", "remote_group: Sg-B",
           "remote_group: Sg-A", "remote_ip_prefix: 192.168.0.1", "remote_ip_prefix: 0.0.0.0/1",
           "remote_ip_prefix: 128.0.0.0/1")  # fmt: skip


def random_rule(chance: random.Random, number: int) -> str:
    words = [f"id: A{number}", "direction: ingress", f"priority: {chance.randint(1, 3)}"]
    words.append(f"action: {chance.choice(('allow', 'deny'))}")
    match chance.choice(("tcp", "tcp", "udp", "all", "icmp")):
        case "tcp" | "udp" as protocol:
            words += [f"protocol: {protocol}", f"multiport: {chance.choice(PORTS)}"]
        case "icmp":
            words.append("protocol: icmp" + chance.choice(("", ", icmp_type: 8", ", icmp_type: 8, icmp_code: 0")))
    return ", ".join(filter(None, (*words, chance.choice(REMOTES))))


PACKETS = [
    *(Traffic(protocol, port) for protocol in (6, 17) for port in (0, 1, 2, 3, 4, 65535)),
    *(Traffic(1, icmp_type=kind, icmp_code=code) for kind, code in ((8, 0), (8, 1), (0, 0))),
    Traffic(47),
]
PEERS = [*(IPv4Address(f"192.168.0.{n}") for n in (0, 1, 2, 3, 4, 11, 12)), IPv4Address("8.8.8.8"),
         IPv4Address("200.0.0.1")]  # fmt: skip


@pytest.mark.parametrize("seed", range(150))
def test_never_is_exactly_the_rules_that_decide_about_no_packet(seed: int):
    """Ask the oracle about every kind of packet there is: one point in each cell that the rules can cut out."""
    chance = random.Random(seed)
    text = group_text(*(random_rule(chance, number) for number in range(1, chance.randint(3, 10))))
    policy = parsed(text)
    deciding = set()
    for traffic in PACKETS:
        for peer in PEERS:
            for one in rank(policy, ("Sg-A",), "", Direction.INGRESS, 4):
                members = members_seen_from(policy, one.rule.remote_group or "Sg-A", "vpc-x")
                if matches(policy, one.rule, peer, traffic, members):
                    deciding.add(one.rule.id)
                    break
    never = {"shadowed-rule", "duplicate-rule", "contradicting-rules"}
    found = {rule for rule, said in warnings(policy).items() if said.split()[0] in never}
    assert found == {rule.id for rule in policy.group("Sg-A").rules} - deciding, indent(text, "  ")


class TestNamesThatLeadNowhere:
    def test_a_remote_that_nobody_is_in_s19(self):
        policy = group(
            f"id: A01, {TCP}, remote_group: Sg-Empty",
            f"id: A02, {TCP}, remote_address_group: G",
            f"id: A03, {TCP}, remote_group: Sg-Empty, enabled: false",
            more="  - {name: Sg-Empty}\naddress_groups: [{name: G}]",
        )
        assert warnings(policy) == {"A01": "empty-remote-group", "A02": "empty-remote-group"}

    def test_a_group_that_no_nic_and_no_rule_has(self):
        policy = two_hosts("security_groups: [{name: Sg-A}, {name: Sg-B}, {name: Alone}, {name: default}]")
        assert [(one.code, one.where) for one in lint(policy)] == [("unused-group", "security_groups[Alone]")]

    def test_an_address_group_that_no_rule_names(self):
        policy = two_hosts("security_groups: [{name: Sg-A}, {name: Sg-B}]\naddress_groups: [{name: G}]")
        assert [(one.code, one.where) for one in lint(policy)] == [("unused-address-group", "address_groups[G]")]

    def test_nothing_is_said_about_members_before_there_is_any_ecs(self):
        rule = "{id: A01, direction: ingress, remote_group: Sg-B, protocol: tcp}"
        assert lint(parsed(f"version: 1\nsecurity_groups: [{{name: Sg-A, rules: [{rule}]}}, {{name: Sg-B}}]")) == ()

    def test_members_that_no_way_leads_to_are_nobody_s18(self):
        (one, other) = lint(policy_of("figure-4-without-peering"))
        assert (one.code, other.code) == ("empty-remote-group",) * 2
        assert "all NICs in group Sg-B are in VPCs without a way to this group's (S18)" in one.message


class TestTheWorldOnManagementPorts:
    @pytest.mark.parametrize(
        "rule",
        [
            f"{TCP}, multiport: 22",
            f"{TCP}, multiport: 1-1024, remote_ip_prefix: 0.0.0.0/0",
            "direction: ingress",
            "direction: ingress, protocol: udp, multiport: 161",
            f"{TCP}, ethertype: IPv6, multiport: 3389, remote_ip_prefix: '2000::/3'",
            f"{TCP}, multiport: 22, remote_ip_prefix: 128.0.0.0/1",
        ],
    )
    def test_is_warned_of(self, rule: str):
        assert warnings(group(f"id: A01, {rule}")) == {"A01": "world-open-management"}

    @pytest.mark.parametrize(
        "rule",
        [
            f"{TCP}, multiport: 80",
            f"{TCP}, multiport: 22, action: deny",
            f"{TCP}, multiport: 22, remote_ip_prefix: 203.0.113.0/24",
            f"{TCP}, multiport: 22, enabled: false",
            "direction: egress",
            "direction: ingress, remote_group: Sg-B",
        ],
    )
    def test_is_not_what_is_closed_or_meant_for_some(self, rule: str):
        assert warnings(group(f"id: A01, {rule}")) == {}

    def test_is_not_open_behind_a_sufficient_deny(self):
        web = f"id: A02, {TCP}, multiport: 20-80, priority: 2"
        assert warnings(group(f"id: A01, {TCP}, multiport: 22-23, action: deny", web)) == {}
        assert warnings(
            group(f"id: A01, {TCP}, multiport: 22-23, action: deny, remote_ip_prefix: 10.0.0.0/8", web)
        ) == {"A02": "world-open-management"}

    @pytest.mark.parametrize(
        ("protocol", "port", "name"),
        [
            ("tcp", 22, "SSH"), ("tcp", 23, "Telnet"), ("tcp", 135, "Windows RPC"), ("tcp", 445, "SMB"),
            ("tcp", 2375, "Docker"), ("tcp", 2376, "Docker"), ("tcp", 3389, "RDP"), ("tcp", 5900, "VNC"),
            ("tcp", 5985, "WinRM"), ("tcp", 5986, "WinRM"), ("tcp", 6443, "Kubernetes"), ("udp", 161, "SNMP"),
            ("udp", 623, "IPMI"),
        ],
    )  # fmt: skip
    def test_says_which_port_is_open(self, protocol: str, port: int, name: str):
        (problem,) = lint(group(f"id: A01, direction: ingress, protocol: {protocol}, multiport: {port}"))
        opens = f"opens {protocol} {port} ({name}) to the world; allow it from the addresses that need it"
        assert problem.message.endswith(opens)

    def test_says_how_many_ports_more_are_open(self):
        (problem,) = lint(group("id: A01, direction: ingress"))
        assert re.search(r"\) and \d+ more management ports to the world; ", problem.message)

    def test_a_template_is_warned_of_once(self):
        policy = two_hosts("security_groups: [{name: Sg-A, template: all-ports-open}, {name: Sg-B}]")
        (problem,) = lint(policy)
        assert (problem.code, problem.where) == ("world-open-management", "security_groups[Sg-A].template")
        assert problem.message.startswith("all-ports-open opens tcp 22 (SSH), ")


class TestSilence:
    RULES = f"{TCP}, multiport: 22"

    @pytest.mark.parametrize("place", ["top", "group", "rule"])
    def test_at_a_place_is_for_everything_there_and_below(self, place: str):
        silence = {one: ", silence: [world-open-management]" if one == place else "" for one in ("group", "rule")}
        policy = two_hosts(
            "silence: [world-open-management]" if place == "top" else "",
            f"security_groups: [{{name: Sg-A, rules: [{{{self.RULES}{silence['rule']}}}]{silence['group']}}}, "
            f"{{name: Sg-B, rules: [{{{self.RULES}}}]}}]",
        )
        shown = [problem.where for problem in unsilenced(policy, lint(policy))]
        assert shown == ([] if place == "top" else ["security_groups[Sg-B].rules[rule-1]"])

    def test_of_one_code_leaves_the_others(self):
        policy = two_hosts("silence: [unused-group]", f"security_groups: [{{name: Sg-A, rules: [{{{self.RULES}}}]}}, "
                           "{name: Sg-B}, {name: Alone}]")  # fmt: skip
        assert [problem.code for problem in unsilenced(policy, lint(policy))] == ["world-open-management"]

    @pytest.mark.parametrize("code", CODES)
    def test_of_each_code_takes_away_its_warnings_and_no_other(self, code: str):
        def shown(policy: Policy) -> list[str]:
            many = Problem("security_groups[Sg-A]", "more than 6,000 instances", code="S11-instances")
            found = (*lint(policy), *advice(policy), *not_in_effect(policy), many)
            return [problem.code for problem in unsilenced(policy, found)]

        every = shown(parsed(EVERY_CODE))
        assert set(every) == set(CODES)
        assert shown(parsed(f"silence: [{code}]", EVERY_CODE)) == [other for other in every if other != code]

    def test_is_for_the_other_warnings_too(self):
        rules = [f"{TCP}, remote_group: Sg-B"] * 2
        policy = parsed("limits: {costly_rules: 1}\nsilence: [quota]", group_text(*rules))
        assert len(not_in_effect(policy)) == 1
        assert unsilenced(policy, not_in_effect(policy)) == ()


# A policy with every warning; that a group has more than 6,000 instances is said without having them.
EVERY_CODE = """
    version: 1
    limits: {costly_rules: 2}
    vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 10.0.0.0/24}]}]
    address_groups: [{name: unused, entries: [10.9.0.0/16]}]
    security_groups:
      - name: Sg-A
        rules:
          - {id: OPEN, direction: ingress, protocol: tcp, multiport: 22}
          - {id: SHADOWED, direction: ingress, protocol: tcp, multiport: 22, remote_ip_prefix: 10.0.0.0/8, priority: 2}
          - {id: ONE, direction: egress, protocol: udp, multiport: 53}
          - {id: SAME, direction: ingress, protocol: gre}
          - {id: TWICE, direction: ingress, protocol: gre}
          - {id: CONTRADICTING, direction: egress, protocol: udp, multiport: 53, action: deny}
          - {id: NOBODY, direction: ingress, protocol: udp, remote_group: Nobody}
          - {id: LIST, direction: ingress, protocol: udp, multiport: "1,3"}
          - {id: BEYOND, direction: ingress, protocol: udp, multiport: "5,7"}
      - {name: Nobody, rules: []}
      - {name: Alone, rules: []}
      - {name: S1, rules: []}
      - {name: S2, rules: []}
      - {name: S3, rules: []}
      - {name: S4, rules: []}
      - {name: S5, rules: []}
    ecs:
      - {name: old, type: S1.x, subnet: subnet-a, addresses: [10.0.0.11], interface: tap0,
         security_groups: [Sg-A, S1, S2, S3, S4, S5]}
"""

# What each example shows that lint would warn of; every other example is clean.
SHOWN = {
    "deny-one-address": [("shadowed-rule", "security_groups[Blocked-Too-Late].rules[BLOCK]")],
    "figure-4-without-peering": [
        ("empty-remote-group", "security_groups[Sg-A].rules[A01]"),
        ("empty-remote-group", "security_groups[Sg-B].rules[B01]"),
    ],
    "web-server": [("world-open-management", "security_groups[Web-Template].template")],
}


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_are_clean_but_for_what_they_show(name: str):
    policy = policy_of(name)
    assert [(one.code, one.where) for one in unsilenced(policy, lint(policy))] == SHOWN.get(name, [])
    assert {one.code for one in (*lint(policy), *advice(policy), *not_in_effect(policy))} <= set(CODES)


def test_the_rules_of_a_new_group_are_clean_s1():
    assert lint(parsed("version: 1")) == ()
    assert lint(two_hosts("security_groups: [{name: Sg-A}, {name: Sg-B, template: default}]")) == ()
