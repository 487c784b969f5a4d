"""The fake dataplane: it refuses each kind of damage, and it fails where it is asked to, as the kernel would."""

from __future__ import annotations

from dataclasses import replace

import pytest
from damage import DAMAGES, SOUND, with_objects
from hypothesis import given
from policies import compiled, random_policies, three_hosts

from enforcer.dataplane.fake import FakeDataplane, holds, violations
from enforcer.errors import TransactionRefused
from enforcer.model import Policy
from enforcer.ruleset import lower
from enforcer.ruleset.nft import Chain, Element, Field, Set

RULES = """
security_groups:
  - name: Sg-A
    rules: [{id: ssh, direction: ingress, protocol: tcp, multiport: "22-30", remote_group: Sg-B}]
"""
ONE = compiled(three_hosts(RULES))
OTHER = compiled(three_hosts(RULES.replace("22", "20")))
NICS = [nic.interface for nic in ONE.nics]


def fake() -> FakeDataplane:
    return FakeDataplane({ONE.name: NICS})


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused(name: str):
    assert list(violations(DAMAGES[name](), NICS)) != []


def test_the_ruleset_that_was_damaged_is_taken_without_the_damage():
    assert list(violations(SOUND, NICS)) == []


@pytest.mark.parametrize(
    "added",
    [
        Chain("no; name", ()),
        Set("x", (Field.IPV4_SOURCE,), (Element((2**32,)),)),
        Set("x", (Field.IIF,), (Element(('a"',)),)),
        Set("x", (Field.IIF, Field.IPV4_SOURCE), (Element(("v-ecs-a",)),)),
    ],
)
def test_what_has_no_text_is_refused(added: Chain | Set):
    assert next(violations(with_objects(added), NICS)).startswith("no text:")


@given(random_policies())
def test_what_the_compiler_makes_is_taken(policy: Policy):
    for place in range(3):
        program = compiled(policy, place)
        assert list(violations(lower(program), [nic.interface for nic in program.nics])) == []


def test_a_refused_switch_is_mended_by_a_whole_replacement():
    plane = fake()
    plane.replace(ONE)
    plane.faults = {"switch"}
    assert plane.replace(OTHER).whole
    plane.faults = set()
    assert not plane.replace(ONE).whole
    assert plane.present(ONE.name) == holds(lower(ONE, 3, edition=3))


def test_when_everything_is_refused_the_old_policy_stays_in_force_s19():
    plane = fake()
    plane.replace(ONE)
    before = plane.in_force[ONE.name]
    plane.faults = {"switch", "whole"}
    with pytest.raises(TransactionRefused):
        plane.replace(OTHER)
    assert plane.in_force[ONE.name] == before
    assert plane.present(ONE.name) != holds(before), "what was prepared is left over"
    plane.faults = set()
    plane.replace(ONE)
    assert plane.present(ONE.name) == holds(lower(ONE, 2, edition=3)), "and swept by the next replacement"


def test_a_refused_first_load_leaves_nothing():
    plane = fake()
    plane.faults = {"whole"}
    with pytest.raises(TransactionRefused):
        plane.replace(ONE)
    assert plane.present(ONE.name) == {}


def test_a_lost_sweep_is_reported_and_made_good_by_the_next_replacement():
    plane = fake()
    plane.replace(ONE)
    plane.faults = {"sweep"}
    committed = plane.replace(OTHER)
    assert not committed.swept
    assert not committed.whole
    assert plane.present(ONE.name)["inet"].chains > holds(lower(OTHER, 2, edition=2))["inet"].chains
    plane.faults = set()
    assert plane.replace(OTHER).swept
    assert plane.present(ONE.name) == holds(lower(OTHER, 3, edition=3))


def test_namespaces_know_nothing_of_each_other():
    plane = FakeDataplane({ONE.name: NICS, "other": NICS})
    plane.replace(ONE)
    plane.replace(replace(OTHER, name="other"))
    plane.clear(ONE.name)
    assert plane.present("other") == holds(lower(OTHER, 1))
