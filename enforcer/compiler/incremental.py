"""Compile a policy that differs little from the last one: what has not changed is not made again.

    compiler = Compiler()
    compiler.compile(policy)     # all of it
    compiler.compile(later)      # what differs

Policies share the objects that did not change (`agent.desired` sees to that), so identity tells what did. Instances
with their NICs, rules and address groups may come, go and change (`change`); each namespace becomes what it then is
(`place`). Anything else is compiled anew, and so is what would bring a namespace, take one away, or let one reach
other VPCs.

Programs are equal to what `compile_policy` gives, but for one thing: classes and regions that no address has any more
may stay in a side policy, where nothing asks for them. They go when the list is compiled anew, or with their terms.
"""

from __future__ import annotations

from enforcer.compiler.change import Change, change_of
from enforcer.compiler.compile import compile_namespace
from enforcer.compiler.place import Place, place_of
from enforcer.compiler.program import Program
from enforcer.model import Layout, Policy, host_layout


class Compiler:
    """Compiles one policy after the other, for the interfaces that they name on this host."""

    def __init__(self) -> None:
        self._policy: Policy | None = None
        self._layout = Layout(())
        self._places: list[Place] = []

    def compile(self, policy: Policy) -> Program:
        """Compile a policy; the same policies in the same order give the same Programs."""
        before, self._policy = self._policy, None  # whatever fails here: the next one is compiled anew
        change = None if before is None else change_of(before, policy)
        if change is None or not self._changed(change):
            self._layout = host_layout(policy)
            compiled = [compile_namespace(policy, namespace) for namespace in self._layout.namespaces]
            self._places = [place_of(policy, each) for each in compiled]
        self._policy = policy
        return Program(tuple(place.compiled.program for place in self._places), self._layout)

    def _changed(self, change: Change) -> bool:
        """Change the places; False: that is more than can be done here, and they are of no use any more."""
        known = {place.compiled.namespace.name for place in self._places}
        if not change.namespaces() <= known:
            return False
        if not all(place.become(change) for place in self._places):
            return False
        if change.namespaces():
            self._layout = Layout(tuple(place.compiled.namespace for place in self._places))
        return True
