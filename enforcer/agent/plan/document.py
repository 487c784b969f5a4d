"""A plan as JSON has it: what the API answers and `enforcer plan --json` prints; keys that programs can rely on.

Lists are bounded, each with the number of what was left out: `connections` names the first thousand that are cut, and
`groups` says of all of them who talks to whom.
"""

from __future__ import annotations

from typing import Any

from enforcer.agent.plan.cells import Cells
from enforcer.agent.plan.connections import Connection, Fate, Live
from enforcer.agent.plan.connections.side import incoming, outgoing
from enforcer.agent.plan.plan import Plan
from enforcer.agent.plan.written import Count, Written
from enforcer.model import Traffic, service

Document = dict[str, Any]
_Group = tuple[str, str, Traffic]
MOST_CONNECTIONS, MOST_GROUPS, MOST_CELLS, MOST_NICS = 1_000, 200, 2_000, 5_000


def document(plan: Plan) -> Document:
    """Return the whole plan."""
    rules = plan.declared.rules
    return {
        "changes": plan.changes,
        "first": plan.first,
        "rules": {
            change: [
                {"group": each.group, "rule": each.rule, "text": each.text} for each in rules if each.change == change
            ]
            for change in ("added", "removed", "moved")
        },
        "objects": [
            {"kind": each.kind, "name": each.name, "change": each.change, "details": list(each.details)}
            for each in plan.declared.objects
        ],
        "nics": {
            "affected": len(plan.affected),
            "list": [
                {"nic": each.nic, "directions": [str(one) for one in each.directions], "how": each.how}
                for each in plan.affected[:MOST_NICS]
            ],
        },
        "cells": None if plan.cells is None else _cells(plan.cells),
        "kernel": [_written(each) for each in plan.written],
        "live": None if plan.live is None else _live(plan.live),
        "live_unseen": plan.unseen if plan.live is None else None,
    }


def _cells(cells: Cells) -> Document:
    words = {region.traffic: region for region in cells.regions}
    opens = sum(each.opens for each in cells.found)
    return {
        "opens": opens,
        "closes": len(cells.found) - opens,
        "asked": cells.asked,
        "not_asked": cells.left_out,
        "list": [
            {
                "src": each.src,
                "dst": each.dst,
                "proto": words[each.traffic].word,
                "region": words[each.traffic].text,
                "change": each.word,
                "reason": each.reason,
            }
            for each in cells.found[:MOST_CELLS]
        ],
    }


def _written(written: Written) -> Document:
    kinds = ("sets", "maps", "elements", "chains", "rules")
    counts = {kind: _count(getattr(written, kind)) for kind in kinds}
    return {"netns": written.netns, "first": written.first, **counts}


def _count(count: Count) -> Document:
    return {"added": count.added, "removed": count.removed}


def _live(live: Live) -> Document:
    groups: dict[_Group, list[Connection]] = {}
    for each in live.cut:
        groups.setdefault(_group(each), []).append(each)
    largest = sorted(groups.items(), key=lambda group: -len(group[1]))
    return {
        "judged": live.judged,
        "cut": live.counts[Fate.CUT],
        "goes_on": live.counts[Fate.GOES_ON],
        "begins_anew": live.counts[Fate.ANEW],
        "resumes": live.counts[Fate.RESUMES],
        "stays_cut": live.counts[Fate.STAYS_CUT],
        "not_ours": live.counts[Fate.NOT_OURS],
        "closing": live.closing,
        "groups": [_group_document(live, group, members) for group, members in largest[:MOST_GROUPS]],
        "groups_left_out": max(0, len(groups) - MOST_GROUPS),
        "connections": [_connection(live, each) for each in live.cut[:MOST_CONNECTIONS]],
        "connections_left_out": max(0, len(live.cut) - MOST_CONNECTIONS),
    }


def _group(cut: Connection) -> _Group:
    """Return what connections have in common that are one thing to a person: who talks to whom about what."""
    return *_ends(cut), outgoing(cut.legs[0].tracked)[2]


def _group_document(live: Live, group: _Group, members: list[Connection]) -> Document:
    src, dst, traffic = group
    refusal = live.refusal(members[0])
    return {
        "src": src,
        "dst": dst,
        "proto": str(traffic),
        "service": service(traffic),
        "connections": len(members),
        "by": f"{refusal.direction} of {refusal.nic}",
        "reason": refusal.reason,
    }


def _ends(cut: Connection) -> tuple[str, str]:
    first, last = cut.legs[0].tracked, cut.legs[-1].tracked
    return cut.opener or str(first.original.source), cut.target or str(last.reply.source)


def _connection(live: Live, cut: Connection) -> Document:
    tracked, last = cut.legs[0].tracked, cut.legs[-1].tracked
    refusal = live.refusal(cut)
    return {
        "proto": str(outgoing(tracked)[2]),
        "source": str(tracked.original.source),
        "source_port": tracked.original.source_port or None,
        "destination": str(tracked.original.destination),
        "destination_port": tracked.original.destination_port or None,
        "icmp_id": tracked.icmp[2] if tracked.icmp else None,
        "arrives_from": str(incoming(last)[0]),
        "arrives_at": str(incoming(last)[1]),
        "opened_by": cut.opener,
        "opened_to": cut.target,
        "netns": [leg.netns for leg in cut.legs],
        "nic": refusal.nic,
        "direction": str(refusal.direction),
        "group": refusal.group,
        "rule": refusal.rule,
        "reason": refusal.reason,
    }
