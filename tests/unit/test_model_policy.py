"""What the program asks a policy: look-ups, members, peers; and that nobody can change it."""

from __future__ import annotations

import pytest
from parse_asking import region
from pydantic import ValidationError

from enforcer.model import Policy

HOSTS = """
ecs:
  - {name: one, type: s6.large.2, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [Sg-A, Sg-B]}
  - name: two
    type: KAI1.x
    nics:
      - {name: eth0, subnet: subnet-y, addresses: [10.1.0.12], security_groups: [Sg-B]}
      - {name: eth1, subnet: subnet-a, addresses: ["2001:db8:a::12", 192.168.0.12, 192.168.0.13]}
security_groups: [{name: Sg-A}, {name: Sg-B}, {name: Sg-Empty}]
eips: [{address: 198.51.100.10, ecs: "two:eth1"}]
"""


@pytest.fixture
def policy() -> Policy:
    return region(HOSTS)


def test_nics_come_in_file_order_with_what_they_belong_to_s6(policy: Policy):
    assert [(ref.label, ref.ecs.name, ref.nic.name, ref.vpc.name) for ref in policy.nics()] == [
        ("one", "one", "eth0", "vpc-x"),
        ("two:eth0", "two", "eth0", "vpc-y"),
        ("two:eth1", "two", "eth1", "vpc-x"),
    ]


def test_membership_is_by_nic_s6(policy: Policy):
    assert [ref.label for ref in policy.members("Sg-B")] == ["one", "two:eth0"]
    assert [ref.label for ref in policy.members("default")] == ["two:eth1"]
    assert policy.members("Sg-Empty") == ()


def test_a_bare_ecs_is_its_first_nic(policy: Policy):
    assert policy.nic_ref("two").label == "two:eth0"
    assert policy.nic_ref("one") is policy.nic_ref("one:eth0")


def test_peers_are_mutual_and_sorted_s18(policy: Policy):
    assert (policy.peers_of("vpc-x"), policy.peers_of("vpc-y"), policy.peers_of("vpc-z")) == (
        ("vpc-y",),
        ("vpc-x",),
        (),
    )
    assert policy.reachable_from("vpc-y") == {"vpc-x", "vpc-y"}


def test_look_ups_by_name(policy: Policy):
    assert policy.vpc_of_subnet("subnet-y") is policy.vpc("vpc-y")
    assert str(policy.subnet("subnet-y").cidr) == "10.1.0.0/24"
    assert policy.find_ecs("two").nics[1].name == "eth1"
    with pytest.raises(KeyError):
        policy.group("Sg-Q")


def test_the_ecs_type_is_the_part_before_the_first_dot_s10(policy: Policy):
    assert [ecs.type_class for ecs in policy.ecs] == ["S6", "KAI1"]
    assert region("ecs: [{name: e, subnet: subnet-a, addresses: [192.168.0.9]}]").ecs[0].type_class == ""


def test_the_first_address_of_a_family_and_its_eip(policy: Policy):
    ref = policy.nic_ref("two:eth1")
    assert (str(ref.nic.address(4)), str(ref.nic.address(6))) == ("192.168.0.12", "2001:db8:a::12")
    assert str(policy.eip_of(ref)) == "198.51.100.10"
    assert policy.eip_of(policy.nic_ref("two")) is None
    assert policy.nic_ref("two").nic.address(6) is None


def test_answers_that_cost_are_remembered(policy: Policy):
    assert policy.nics() is policy.nics()
    assert policy.members("Sg-B") is policy.members("Sg-B")


def test_a_policy_cannot_be_changed(policy: Policy):
    with pytest.raises(ValidationError):
        policy.revoke = "both"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        policy.ecs[0].nics[0].subnet = "subnet-y"  # type: ignore[misc]


def test_a_changed_copy_forgets_what_was_remembered(policy: Policy):
    assert len(policy.nics()) == 3
    smaller = policy.model_copy(update={"ecs": policy.ecs[:1]})
    assert ([ref.label for ref in smaller.nics()], len(policy.nics())) == (["one"], 3)


def test_equal_texts_are_equal_policies(policy: Policy):
    policy.nics()
    assert policy == region(HOSTS)
    assert policy != region(HOSTS.replace("192.168.0.13", "192.168.0.14"))
    assert policy.nics()[0] == region(HOSTS).nics()[0]
    assert hash(policy.nics()[0]) == hash(region(HOSTS).nics()[0])
