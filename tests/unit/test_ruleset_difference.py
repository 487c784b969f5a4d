"""From what is in the kernel to what shall be there: known by names, in three transactions (design §4)."""

from __future__ import annotations

from policies import compiled, three_hosts

from enforcer.ruleset import Present, Ruleset, difference, fresh, lower, names, next_edition, render
from enforcer.ruleset.nft import Table

RULES = """
security_groups:
  - name: Sg-A
    rules:
      - {id: ssh, direction: ingress, protocol: tcp, multiport: 22, remote_group: Sg-B}
      - {id: out, direction: egress}
"""


def present(ruleset: Ruleset) -> dict[str, Present]:
    return {table.family: holds(table) for table in ruleset.tables}


def holds(table: Table) -> Present:
    return Present(
        frozenset(entry.name for entry in table.sets if not entry.value),
        frozenset(entry.name for entry in table.sets if entry.value),
        frozenset(chain.name for chain in table.chains),
    )


ONE = lower(compiled(three_hosts(RULES)), 1)
OTHER = lower(compiled(three_hosts(RULES.replace("22", "443"))), 2)


def created(script: str, kind: str) -> set[str]:
    return {line.split()[1] for line in script.splitlines() if line.startswith(f"\t{kind} ")}


def test_what_is_there_under_a_name_that_stands_for_content_is_left_alone():
    found = difference(ONE, present(ONE))
    grown = {entry.name for entry in ONE.table("inet").sets if entry.grows}
    assert {line.split()[:5][-1] for line in found.prepare.splitlines()} == grown
    assert {line.split()[0] for line in found.prepare.splitlines()} == {"add"}, "entries that may be there already"
    content = {c.name for c in ONE.tables[0].chains if not c.fixed}
    assert created(found.switch, "chain") & content == {"generation_1"}
    assert not created(found.switch, "map") & {s.name for s in ONE.tables[0].sets if not s.fixed}
    assert found.sweep == ""


def test_nothing_that_is_prepared_is_in_force_before_the_switch():
    # The kernel fills new interval maps only after it has put the new rules of the same transaction in force.
    found = difference(OTHER, present(ONE))
    content = {c.name for c in OTHER.tables[0].chains if not c.fixed} - {"generation_2"}
    assert created(found.prepare, "chain") == content - present(ONE)["inet"].chains
    assert "hook" not in found.prepare
    assert "flush" not in found.prepare
    assert created(found.prepare, "map").isdisjoint(created(found.switch, "map"))
    assert not created(difference(OTHER, {}).prepare, "chain") & {"generation_2", "prerouting", "nic_v-ecs-a"}


def test_fixed_objects_are_emptied_first_and_filled_again():
    switch = difference(ONE, present(ONE)).switch.splitlines()
    fixed = {chain.name for table in ONE.tables for chain in table.chains if chain.fixed}
    flushed = [line for line in switch if line.startswith("flush chain")]
    assert {line.split()[-1] for line in flushed} == fixed
    assert "flush set inet enforcer nic_name" in switch
    assert "flush map inet enforcer from4" in switch
    assert max(switch.index(line) for line in flushed) < switch.index("table inet enforcer {")
    assert created("\n".join(switch), "chain") >= fixed


def test_a_change_of_one_port_creates_its_map_and_sweeps_the_old_one():
    found = difference(OTHER, present(ONE))
    new = {s.name for s in OTHER.tables[0].sets} - {s.name for s in ONE.tables[0].sets}
    old = {s.name for s in ONE.tables[0].sets} - {s.name for s in OTHER.tables[0].sets}
    assert new <= created(found.prepare, "map")
    assert {line.split()[-1] for line in found.sweep.splitlines() if line.startswith("delete map")} == old
    assert "delete chain inet enforcer generation_1" in found.sweep
    assert "generation_2" in created(found.switch, "chain")


def test_chains_are_emptied_before_maps_go_and_deleted_after_them():
    lines = difference(OTHER, present(ONE)).sweep.splitlines()
    sweep = [" ".join(line.split()[:2]) for line in lines]
    assert sweep == sorted(sweep, key=["flush chain", "delete map", "delete set", "delete chain"].index)
    emptied, deleted = (
        [line.removeprefix(verb) for line in lines if line.startswith(verb)] for verb in ("flush chain", "delete chain")
    )
    assert emptied == deleted != []


def test_nothing_is_deleted_in_the_switch():
    # A packet that is on its way in the old chains must still find the old maps complete.
    assert "delete" not in difference(OTHER, present(ONE)).switch


def test_what_is_missing_is_created_whoever_deleted_it():
    there = present(ONE)
    lost = min(s.name for s in ONE.tables[0].sets if s.name.startswith("verdict_"))
    there["inet"] = Present(there["inet"].sets, there["inet"].maps - {lost}, there["inet"].chains)
    assert lost in created(difference(ONE, there).prepare, "map")


def test_left_over_objects_of_a_lost_sweep_are_swept_next_time():
    there = present(OTHER)
    old = present(ONE)["inet"]
    there["inet"] = Present(
        there["inet"].sets | {"gone"}, there["inet"].maps | old.maps, there["inet"].chains | old.chains
    )
    sweep = difference(OTHER, there).sweep
    assert "delete set inet enforcer gone" in sweep
    for name in old.maps - present(OTHER)["inet"].maps:
        assert f"delete map inet enforcer {name}" in sweep


def test_from_nothing_the_difference_is_everything():
    found = difference(ONE, {})
    assert "flush" not in found.switch
    assert found.sweep == ""
    for table in ONE.tables:
        both = created(found.prepare, "chain") | created(found.switch, "chain")
        assert {chain.name for chain in table.chains} == both & {chain.name for chain in table.chains}


def test_a_nic_that_went_away_takes_its_base_chain_with_it():
    fewer = """
        ecs: [{name: ecs-a, subnet: subnet-a, addresses: [10.0.0.11], security_groups: [Sg-A]}]
    """
    found = difference(lower(compiled(three_hosts(RULES, fewer)), 2), present(ONE))
    assert "delete chain netdev enforcer nic_v-ecs-b" in found.sweep
    assert "nic_v-ecs-b" not in found.prepare + found.switch


def test_a_fixed_object_is_prepared_empty_and_one_named_by_its_content_is_prepared_whole():
    prepared = difference(ONE, {}).prepare
    for entry in (entry for table in ONE.tables for entry in table.sets if entry.elements):
        block = prepared.partition(f" {entry.name} {{")[2].partition("\t}")[0]
        assert ("elements" in block) != entry.fixed, entry.name
    lines = prepared.splitlines()
    for chain in (chain for table in ONE.tables for chain in table.chains if chain.rules and chain.hook is None):
        block = lines[lines.index(f"\tchain {chain.name} {{") + 1 :]
        assert (block[0] == "\t}") == chain.fixed, chain.name


def test_the_next_edition_is_one_of_which_nothing_is_there():
    assert next_edition({}) == 1
    there = Present(
        frozenset({"nic_name"}), frozenset({"host4_7", "host6_9"}), frozenset({"prerouting", "generation_12"})
    )
    assert next_edition({"inet": there}) == 10
    assert next_edition({"inet": present(ONE)["inet"]}) == next_edition(present(ONE))


def test_fresh_names_are_names_that_nothing_has_yet():
    for taken in ("sets", "maps", "chains"):
        there = {kind: frozenset({"a_fresh1"} if kind == taken else ()) for kind in ("sets", "maps", "chains")}
        names = {entry.name for entry in fresh(ONE, {"inet": Present(**there)}).table("inet").sets}
        assert any(name.endswith("_fresh2") for name in names)
        assert not any(name.endswith("_fresh1") for name in names)


def test_with_fresh_names_a_ruleset_says_the_same():
    renamed = render(fresh(ONE, {}))
    assert "_fresh1" in renamed
    assert sorted(renamed.replace("_fresh1", "").splitlines()) == sorted(render(ONE).splitlines())


def test_what_has_a_fresh_name_is_all_that_stands_for_content_and_nothing_else():
    other = fresh(ONE, present(ONE))
    for before, after in zip(ONE.tables, other.tables, strict=True):
        for one, two in zip(before.chains, after.chains, strict=True):
            keeps = one.fixed or one.hook is not None or one.name.startswith(names.GENERATION.format(""))
            assert two.name == (one.name if keeps else names.FRESH.format(one.name, 1))
            assert (one.hook, one.fixed, len(one.rules)) == (two.hook, two.fixed, len(two.rules))
        for entry, renamed in zip(before.sets, after.sets, strict=True):
            keeps = entry.fixed or entry.dynamic
            assert renamed.name == (entry.name if keeps else names.FRESH.format(entry.name, 1))
    assert render(other).replace("_fresh1", "") == render(ONE)


def test_what_has_counted_hits_and_goes_is_named_before_it_goes():
    gone = {name for there in present(ONE).values() for name in there.maps | there.chains}
    gone -= {name for there in present(OTHER).values() for name in there.maps | there.chains}
    counted = {entry.name for table in ONE.tables for entry in table.sets if entry.counted}
    counting = {name for name in gone if name.startswith("policy_") or name in counted}
    assert {name.partition("_")[0] for name in counting} == {"policy", "verdict"}
    assert difference(OTHER, present(ONE)).doomed == counting
