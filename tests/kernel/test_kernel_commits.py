"""What only the kernel can say: nft takes our scripts, and a commit holds whole or not at all (S19)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import examples_catalogue
import pytest
from damage import DAMAGES, SOUND, TAKEN_BY_NEW_KERNELS
from hypothesis import HealthCheck, given, settings
from kernel_asking import NICS, RULES, listing, objects, program, without_editions
from policies import compiled, random_policies
from scratch import Scratch

from enforcer import dataplane
from enforcer.compiler import compile_policy
from enforcer.dataplane import libnftables, observe
from enforcer.errors import TransactionRefused
from enforcer.model import Policy, lab_layout, parse_policy
from enforcer.ruleset import Present, Ruleset, lower, names, render
from enforcer.ruleset.nft import RETURN, rule

pytestmark = pytest.mark.kernel

GOLDEN = Path(__file__).parents[1] / "golden"


def policies_beside() -> list[tuple[str, str]]:
    golden = [(f"golden {case.parent.name}", case.read_text()) for case in sorted(GOLDEN.glob("*/policy.yaml"))]
    return golden + [(f"example {name}", examples_catalogue.text_of(name)) for name in examples_catalogue.NAMES]


# --- what nft takes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "text"), policies_beside(), ids=[name for name, _ in policies_beside()])
def test_nft_takes_every_golden_case_and_example(scratch: Scratch, name: str, text: str):
    policy = parse_policy(text)
    for namespace in compile_policy(policy, lab_layout(policy)).namespaces:
        scratch.add(*(nic.interface for nic in namespace.nics))
        libnftables.run(scratch.name, render(lower(namespace)))
        dataplane.clear(scratch.name)
        for nic in namespace.nics:
            scratch.ip("link", "del", nic.interface)


@given(random_policies(), random_policies())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_policy_replaces_any_other_and_is_there_as_if_it_were_the_first(
    scratch: Scratch, one: Policy, other: Policy
):
    there = scratch.ip("-br", "link")
    scratch.add(*(link for link in NICS if link not in there))
    dataplane.clear(scratch.name)
    before, after = (replace(compiled(policy), name=scratch.name) for policy in (one, other))
    dataplane.replace(before)
    assert not dataplane.replace(after).whole
    by_difference = objects(scratch.name)
    dataplane.clear(scratch.name)
    dataplane.replace(after)
    dataplane.replace(after)
    one_by_one, fresh = listing_without_stamps(by_difference), listing_without_stamps(objects(scratch.name))
    for name in [name for name in fresh if name.startswith("inet map local_")]:
        # Entries about classes that no address has any more may be left; they are harmless and not looked for.
        wanted, found = (set(re.findall(r"\S+ : [0-9a-f:]+", each.pop(name))) for each in (fresh, one_by_one))
        assert wanted <= found
    assert one_by_one == fresh


def listing_without_stamps(found: dict[str, str]) -> dict[str, str]:
    return {re.sub(r"generation_\d+", "generation", without_editions(name)): text for name, text in found.items()}


@pytest.mark.parametrize("name", [name for name in DAMAGES if name not in TAKEN_BY_NEW_KERNELS])
def test_the_kernel_refuses_the_damage_that_its_fake_refuses(scratch: Scratch, name: str):
    scratch.add(*NICS)
    with pytest.raises(TransactionRefused):
        libnftables.run(scratch.name, render(DAMAGES[name]()))
    assert listing(scratch.name) == ""
    libnftables.run(scratch.name, render(SOUND))


# --- commits ----------------------------------------------------------------------------------------------------------


def test_a_first_load_is_the_script_that_compile_prints(scratch: Scratch):
    scratch.add(*NICS)
    ours = program(name=scratch.name)
    assert dataplane.replace(ours).whole
    committed = listing(scratch.name)
    dataplane.clear(scratch.name)
    libnftables.run(scratch.name, render(lower(ours)))
    assert listing(scratch.name) == committed


def test_a_difference_leads_to_what_a_fresh_load_would_be(scratch: Scratch, other_scratch: Scratch):
    scratch.add(*NICS)
    other_scratch.add(*NICS)
    changed = RULES.replace("22", "443").replace("10.9.0.0/16", "10.8.0.0/16")
    dataplane.replace(program(name=scratch.name))
    assert not dataplane.replace(program(changed, name=scratch.name)).whole
    libnftables.run(other_scratch.name, render(lower(program(changed, name=other_scratch.name), 2)))
    assert objects(scratch.name) == objects(other_scratch.name)


def test_the_same_policy_again_changes_the_stamp_and_nothing_else(scratch: Scratch):
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    before = listing(scratch.name)
    assert not dataplane.replace(program(name=scratch.name)).whole
    after = listing(scratch.name)
    assert before != after
    changed = {*without_editions(before).split("\n")} ^ {*without_editions(after).split("\n")}
    about = ("elements = { 0x00000", "ct mark ", "chain generation_")
    assert {line.strip() for line in changed if not line.strip().startswith(about)} == set()
    marking = 3
    assert len(changed) == 2 * (len(about) - 1 + marking)


def test_anew_trusts_nothing_that_is_there_and_leaves_what_a_first_load_would(scratch: Scratch, other_scratch: Scratch):
    scratch.add(*NICS)
    other_scratch.add(*NICS)
    ours = program(name=scratch.name)
    dataplane.replace(ours)
    verdicts = next(name.split()[2] for name in objects(scratch.name) if name.startswith("inet map verdict_"))
    scratch.run("nft", "flush", "map", "inet", names.TABLE, verdicts)
    scratch.run("nft", "insert", "rule", "inet", names.TABLE, names.PREROUTING, "accept")
    scratch.run("nft", "add", "chain", "inet", names.TABLE, "theirs", "{ type filter hook forward priority 0; }")
    believing = dataplane.replace(ours)
    assert objects(scratch.name) != loaded(other_scratch, believing.generation), "a difference believes in names"
    steps: list[dataplane.Step] = []
    anew = dataplane.replace(ours, anew=True, passed=steps.append)
    assert not anew.whole
    assert objects(scratch.name) == loaded(other_scratch, anew.generation)
    assert steps.count(dataplane.Step.SWITCHED) == 2, "first to fresh names, then to their own"


def test_what_a_version_of_another_form_has_put_there_under_the_same_names_is_not_believed(
    scratch: Scratch, other_scratch: Scratch
):
    scratch.add(*NICS)
    other_scratch.add(*NICS)
    ours = program(name=scratch.name)
    dataplane.replace(ours, lower_=lower_in_another_form)
    assert not [text for name, text in objects(scratch.name).items() if " policy_" in name and "denied" in text]
    done = dataplane.replace(ours)
    assert not done.whole, "without a gap"
    assert objects(scratch.name) == loaded(other_scratch, done.generation)
    assert dataplane.replace(ours).generation == done.generation + 1, "at once, now that the form is ours"


def lower_in_another_form(*how: Any, **options: Any) -> Ruleset:
    ruleset = lower(*how, **options)
    inet = ruleset.table("inet")
    lax = [replace(c, rules=(rule(RETURN),)) if c.name.startswith("policy_") else c for c in inet.chains]
    chains = tuple(replace(c, name="form_0") if c.name == names.FORM else c for c in lax)
    return replace(ruleset, tables=(replace(inet, chains=chains), ruleset.table("netdev")))


def test_the_kernel_is_asked_what_it_would_refuse_and_nothing_is_changed(scratch: Scratch):
    scratch.add(*NICS)
    ours = program(name=scratch.name)
    assert dataplane.refusal(ours, ()) == ""
    assert listing(scratch.name) == ""
    dataplane.replace(ours)
    before = listing(scratch.name)
    twice = replace(ours, nics=(ours.nics[0], replace(ours.nics[1], interface=ours.nics[0].interface)))
    assert ours.nics[0].interface in dataplane.refusal(twice, ())
    assert dataplane.refusal(ours, (NICS[0],)) == ""
    assert "No such file" in libnftables.refusal(scratch.name, f"flush chain inet {names.TABLE} nowhere\n")
    assert listing(scratch.name) == before


def test_a_table_that_somebody_put_to_sleep_is_woken(scratch: Scratch, other_scratch: Scratch):
    scratch.add(*NICS)
    other_scratch.add(*NICS)
    ours = program(name=scratch.name)
    dataplane.replace(ours)
    scratch.run("nft", "add", "table", "inet", names.TABLE, "{ flags dormant; }")
    assert "dormant" in listing(scratch.name)
    done = dataplane.replace(ours, anew=True)
    assert "dormant" not in listing(scratch.name)
    assert objects(scratch.name) == loaded(other_scratch, done.generation)


def loaded(scratch: Scratch, generation: int) -> dict[str, str]:
    """What a first load of this generation is."""
    dataplane.clear(scratch.name)
    libnftables.run(scratch.name, render(lower(program(name=scratch.name), generation)))
    return objects(scratch.name)


def test_a_refused_script_leaves_every_byte_as_it_was(scratch: Scratch):
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    before = listing(scratch.name)
    script = (
        f"flush chain inet {names.TABLE} {names.STAMP}\n"
        f"add set inet {names.TABLE} x {{ type ipv4_addr; }}\n"
        f"add rule inet {names.TABLE} {names.STAMP} jump nowhere\n"
    )
    with pytest.raises(TransactionRefused, match=r"line 3: 'add rule .* jump nowhere': .*No such file"):
        libnftables.run(scratch.name, script)
    assert listing(scratch.name) == before


def test_a_ruleset_with_a_vanished_interface_leaves_every_byte_as_it_was(scratch: Scratch):
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    ruleset = lower(program(RULES.replace("22", "443"), name=scratch.name), 2)
    scratch.ip("link", "del", "v-ecs-b")
    before = listing(scratch.name)
    with pytest.raises(TransactionRefused, match=r"v-ecs-b.*nterface does not exist"):
        libnftables.run(scratch.name, render(ruleset))
    assert listing(scratch.name) == before


def test_a_refused_difference_is_mended_by_a_whole_replacement(scratch: Scratch):
    # Somebody put a set where ours would be a map: the difference cannot work, the new policy is in force all the same.
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    new = lower(program(RULES.replace("22", "443"), name=scratch.name), 2)
    there = observe.present(scratch.name)["inet"]
    missing = min(s.name for s in new.table("inet").sets if s.value and s.name not in there.maps)
    libnftables.run(scratch.name, f"add set inet {names.TABLE} {missing} {{ type ipv4_addr; }}\n")
    committed = dataplane.replace(program(RULES.replace("22", "443"), name=scratch.name))
    assert committed.whole
    assert missing in observe.present(scratch.name)["inet"].maps


def test_whoever_deletes_an_object_of_ours_has_it_put_back(scratch: Scratch):
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    before = objects(scratch.name)
    libnftables.run(scratch.name, f"delete table netdev {names.TABLE}\nflush chain inet {names.TABLE} prerouting\n")
    dataplane.replace(program(name=scratch.name))
    assert set(objects(scratch.name)) - set(before) == {"inet chain generation_2 {"}


def test_clearing_removes_everything(scratch: Scratch):
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    assert listing(scratch.name) != ""
    dataplane.clear(scratch.name)
    assert listing(scratch.name) == ""


def test_what_is_there_is_known_by_name_as_nft_lists_it(scratch: Scratch):
    assert observe.present(scratch.name) == {}
    libnftables.run(scratch.name, "table inet other {\n set s { type mark\n }\n}\ntable netdev enforcer {\n}\n")
    assert observe.present(scratch.name) == {"netdev": Present(frozenset(), frozenset(), frozenset())}
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    kinds = [(family, kind) for family in ("inet", "netdev") for kind in ("set", "map", "chain")]
    found: dict[tuple[str, str], set[str]] = {each: set() for each in kinds}
    for block in objects(scratch.name):
        family, kind, name = block.split()[:3]
        if (family, kind) in found:
            found[family, kind].add(name)
    for family, there in observe.present(scratch.name).items():
        assert there.sets == found[family, "set"]
        assert {without_editions(name) for name in there.maps} == found[family, "map"]
        chains = {re.sub(r"generation_\d+", "generation", without_editions(name)) for name in there.chains}
        assert chains == {re.sub(r"generation_\d+", "generation", name) for name in found[family, "chain"]}
