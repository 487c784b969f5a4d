"""What a policy means, straight from the model: the document of record to read beside the specification (S1–S19).

    evaluate_side(policy, nic, direction, peer, traffic)   one NIC: which rule decides, and why not the others
    explain(policy, src, dst, traffic)                     both ends and the way between them, load balancers too
    matrix(policy, traffics)                               everybody to everybody
    evaluate(policy, packet), rejudge(policy, packet)      one packet on the wire; one conversation after a change
    effective(policy, nic, direction, family)              the rules in effect, in the order in which they are asked
    not_in_effect(policy)                                  a warning for each rule that is not
    lint(policy)                                           warnings: what a reviewer would see

Plain loops over what the operator wrote, slow where a kernel could not afford it, and ignorant of the compiler: where
this package and the compiled rules disagree, one of them is wrong, and tests ask both. Whoever asks many questions
about one policy asks an `Oracle(policy)`, which stands for the policy in every call above. Start with `sides`.
"""

from enforcer.semantics.effect import DISABLED, QUOTA, Ranked, not_in_effect
from enforcer.semantics.explain import (
    BackendVerdict,
    Cell,
    Explanation,
    ForwarderVerdict,
    chosen_family,
    explain,
    matrix,
)
from enforcer.semantics.judge import Packet, PacketVerdict, evaluate, rejudge
from enforcer.semantics.lint import lint
from enforcer.semantics.oracle import Oracle, effective
from enforcer.semantics.sides import Candidate, PassedOver, SideVerdict, evaluate_side

__all__ = [
    "DISABLED",
    "QUOTA",
    "BackendVerdict",
    "Candidate",
    "Cell",
    "Explanation",
    "ForwarderVerdict",
    "Oracle",
    "Packet",
    "PacketVerdict",
    "PassedOver",
    "Ranked",
    "SideVerdict",
    "chosen_family",
    "effective",
    "evaluate",
    "evaluate_side",
    "explain",
    "lint",
    "matrix",
    "not_in_effect",
    "rejudge",
]
