"""Policy → Program: ordered, overlapping rules become disjoint regions, once, so that the kernel only looks up.

effective   which rules of a NIC are in effect, in which order            (S7, S9, S10)
terms       the address sets that rules speak of                          (S5, S8)
classes     cut the address space: addresses that are judged alike
sides       per rule list: which classes differ, and their regions
regions     first rule wins, over (protocol, port)                        (S4, S7)
program     the result; `show` prints it, `verify` checks it
"""

from enforcer.compiler.compile import compile_policy
from enforcer.compiler.program import NamespaceProgram, Program
from enforcer.compiler.show import show
from enforcer.compiler.verify import verify

__all__ = ["NamespaceProgram", "Program", "compile_policy", "show", "verify"]
