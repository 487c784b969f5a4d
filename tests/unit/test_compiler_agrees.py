"""The compiled Program says of every packet what the rules say when they are tried one by one (S4–S10, S18, S19)."""

from __future__ import annotations

from first_match import Answer, first_match
from hypothesis import given
from hypothesis import strategies as st
from judge import judge, nic_of
from policies import borders, compiled, probes, random_policies

from enforcer.model import ICMP, ICMPV6, TCP, UDP, Direction, Policy, Traffic
from enforcer.semantics import Oracle, evaluate_side

ANSWERS = {4: {0: 8, 14: 13, 16: 15, 18: 17}, 6: {129: 128, 140: 139}}


@given(random_policies(), st.data())
def test_program_and_first_matching_rule_agree_at_every_edge(policy: Policy, data: st.DataObject) -> None:
    for place, label in ((0, "ecs-a"), (0, "ecs-b"), (1, "ecs-d"), (2, "ecs-e")):
        program, ref = compiled(policy, place), policy.nic_ref(label)
        nic = nic_of(program, label)
        for sides in program.sides_of(nic):
            peers = borders(policy, sides.family)
            asked = data.draw(st.lists(st.sampled_from(probes(sides.family)), min_size=6, max_size=6, unique=True))
            for direction in Direction:
                for peer in peers:
                    for protocol, subkey in asked:
                        expected = first_match(policy, ref, direction, peer, protocol, subkey)
                        found = judge(program, nic, direction, peer, protocol, subkey)
                        assert found == expected, (label, direction, peer, protocol, subkey)


@given(random_policies())
def test_an_icmp_answer_is_judged_like_the_request_it_answers_s13(policy: Policy) -> None:
    program = compiled(policy)
    nic = nic_of(program, "ecs-a")
    for sides in program.sides_of(nic):
        icmp = 1 if sides.family == 4 else 58
        for direction in Direction:
            for peer in borders(policy, sides.family)[::3]:
                for answer, request in ANSWERS[sides.family].items():
                    for code in (0, 1, 255):
                        answered = judge(program, nic, direction, peer, icmp, answer << 8 | code)
                        assert answered == judge(program, nic, direction, peer, icmp, request << 8 | code)


@given(random_policies(), st.data())
def test_program_and_oracle_agree_at_every_edge(policy: Policy, data: st.DataObject) -> None:
    # The third reading: `explain` tells people what the oracle says, the kernel does what the Program says.
    program, oracle = compiled(policy), Oracle(policy)
    for nic in program.nics:
        ref = policy.nic_ref(nic.label)
        for sides in program.sides_of(nic):
            asked = data.draw(st.lists(st.sampled_from(probes(sides.family)), min_size=4, max_size=4, unique=True))
            for direction in Direction:
                for peer in borders(policy, sides.family)[:: data.draw(st.sampled_from((1, 2, 3)))]:
                    for protocol, subkey in asked:
                        said = evaluate_side(oracle, ref, direction, peer, traffic(protocol, subkey))
                        rule = f"{said.group}/{said.rule.id}" if said.rule else "no rule"
                        found = judge(program, nic, direction, peer, protocol, subkey)
                        assert found == Answer(said.allowed, rule), (nic.label, direction, peer, protocol, subkey)


def traffic(protocol: int, subkey: int) -> Traffic:
    if protocol in (TCP, UDP):
        return Traffic(protocol, port=subkey)
    if protocol in (ICMP, ICMPV6):
        return Traffic(protocol, icmp_type=subkey >> 8, icmp_code=subkey & 0xFF)
    return Traffic(protocol)
