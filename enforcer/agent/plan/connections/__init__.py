"""Which live connections would a change cut? From what connection tracking knows, judged by the oracle. Pure.

ends    which NIC is at which end
alike   one side's verdict, asked of the oracle once for all that it treats alike
side    one policy in one namespace: does a conversation go on under it?
court   the conversations of one namespace, before and after
live    all namespaces together
"""

from enforcer.agent.plan.connections.court import Fate, Leg, Seen, Views
from enforcer.agent.plan.connections.ends import Ends
from enforcer.agent.plan.connections.live import Connection, Live, live
from enforcer.agent.plan.connections.side import Refusal

__all__ = ["Connection", "Ends", "Fate", "Leg", "Live", "Refusal", "Seen", "Views", "live"]
