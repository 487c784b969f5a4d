"""What would a change do? Said before it is done, from two policies and what the kernel knows.

old, new ──declared──▶ rules and objects      ┐
         ──affected──▶ NICs                   │
         ──cells─────▶ who reaches whom       ├──▶ Plan ──document──▶ JSON ──paragraphs──▶ words
         ──written───▶ kernel objects         │
   seen  ──live──────▶ connections that end   ┘

`here` is the only part that looks at a kernel. Nothing here changes one. The prediction of what is cut is held
against what is then cut by `tests/traffic/test_plan.py`, exactly.
"""

from enforcer.agent.plan.document import document
from enforcer.agent.plan.here import planned, seen, summarised
from enforcer.agent.plan.plan import Plan, plan
from enforcer.agent.plan.words import paragraphs, summary

__all__ = ["Plan", "document", "paragraphs", "plan", "planned", "seen", "summarised", "summary"]
