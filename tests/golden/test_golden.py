"""Policies with the Program and the ruleset that they become: what a reviewer reads when the compiler changes.

Each directory here is a case. `program.txt` is the whole Program; `ruleset.nft` is an excerpt of the script: the maps
of the policy, the chains that judge by them in the original direction (without those that deny everything), and which
NIC has which profile. The rest is the same everywhere; the case `whole` has it once, as `enforcer compile` prints it.
`pytest tests/golden --update-golden` rewrites both files; read the difference before you commit it.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import pytest

from enforcer.compiler import compile_policy, show, verify
from enforcer.compiler.program import Program
from enforcer.model import lab_layout, parse_policy
from enforcer.ruleset import lower, names, render
from enforcer.ruleset.nft import Ruleset
from enforcer.ruleset.policies import NO_MATCH
from enforcer.ruleset.render import chain_block, set_block

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/policy.yaml"))
MOST_LINES = {"policy.yaml": 60, "program.txt": 60, "ruleset.nft": 80}


def compiled(case: Path) -> Program:
    policy = parse_policy((case / "policy.yaml").read_bytes())
    program = compile_policy(policy, lab_layout(policy))
    assert verify(program) == []
    return program


def excerpt(ruleset: Ruleset) -> Iterator[str]:
    """Print what depends on the policy, in the order of the script."""
    table = ruleset.table("inet")
    for entry in table.sets:
        if entry.elements and (not entry.fixed or entry.name in SHOWN):
            yield from set_block(entry)
    for chain in table.chains:
        judges = chain.name.startswith(("policy_", "balancer_")) and not chain.name.endswith("_reply")
        if judges and chain.rules[0].comment != NO_MATCH:
            yield from chain_block(chain)


SHOWN = {name for which in (names.FROM, names.TO_NETS, names.TO_ANY) for name in which.values()} | {
    names.BALANCERS[family].format(way) for family in (4, 6) for way in (names.TO_BACKEND, names.FROM_BACKEND)
}


def nft(case: Path) -> str:
    rulesets = [lower(namespace) for namespace in compiled(case).namespaces]
    if case.name == "whole":
        return "".join(render(ruleset) for ruleset in rulesets)
    lines = [line for ruleset in rulesets for line in (f"# {ruleset.namespace}", *excerpt(ruleset))]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_policy_becomes_what_is_written_here(case: Path, update_golden: bool):
    for name, text in (("program.txt", show(compiled(case))), ("ruleset.nft", nft(case))):
        path = case / name
        if update_golden:
            path.write_text(text)
        assert path.exists(), f"{path} is missing: write it with --update-golden"
        assert text == path.read_text(), f"{path} is another; see it with --update-golden and git diff"


def test_another_form_has_another_name():
    # Names in the kernel stand for what is judged: a version that judges by other chains must not believe them.
    scripts = (render(lower(namespace)) for case in CASES for namespace in compiled(case).namespaces)
    digest = blake2b("".join(scripts).replace(names.FORM, "").encode(), digest_size=5).hexdigest()
    assert f"form_{digest}" == names.FORM, "the rulesets are of another form than names.FORM says: write this one there"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_fits_on_a_page(case: Path):
    lengths = {path.name: len(path.read_text().splitlines()) for path in case.iterdir()}
    if case.name == "whole":
        lengths.pop("ruleset.nft")
    else:
        lengths["ruleset.nft"] //= len(compiled(case).namespaces)  # a page for each
    assert {name: length for name, length in lengths.items() if length > MOST_LINES[name]} == {}
