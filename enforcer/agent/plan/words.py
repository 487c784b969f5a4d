"""A plan in words, as a colleague would tell it: the answer in one sentence, then a section for each question.

Takes the plan's JSON document, so that a client says the same whether the daemon made the plan or it did so itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]
MOST_SHOWN = 20


def summary(plan: Document) -> str:
    """Return the one line to read if there is time for one."""
    if not plan["changes"]:
        return "Nothing changes."
    rules, live, cells = plan["rules"], plan["live"], plan["cells"]
    told = [f"{len(rules['added'])} rules added, {len(rules['removed'])} removed"]
    told.append(f"{_many(plan['nics']['affected'], 'NIC')} affected")
    if cells is not None:
        least = "at least " if cells["not_asked"] else ""
        told.append(f"{least}{_many(cells['opens'], 'cell')} opened, {cells['closes']} closed")
    if live is not None:
        told.append(f"{live['cut']} of {_many(live['judged'], 'live connection')} cut")
    return "; ".join(told) + "."


def paragraphs(plan: Document) -> list[list[str]]:
    """Return the whole plan; the first paragraph is the summary."""
    sections = [_rules(plan), _objects(plan), _nics(plan), _cells(plan), _kernel(plan), _live(plan)]
    told = [lines for lines in map(list, sections) if lines]
    return [[summary(plan)], *told] if plan["changes"] else [[summary(plan)]]


def _rules(plan: Document) -> Iterator[str]:
    changes = [
        (each["group"], sign, f"{each['rule']}: {each['text']}")
        for change, sign in (("removed", "-"), ("added", "+"), ("moved", "~"))
        for each in plan["rules"][change]
    ]
    if not changes:
        return
    yield "Rules:"
    for group in dict.fromkeys(each[0] for each in changes):
        yield f"  {group}"
        yield from _bounded([f"    {sign} {text}" for where, sign, text in changes if where == group], "    ")


def _objects(plan: Document) -> Iterator[str]:
    if not plan["objects"]:
        return
    yield "Objects:"
    signs = {"added": "+", "removed": "-", "changed": "~"}
    lines = []
    for each in plan["objects"]:
        details = f": {'; '.join(_some(each['details']))}" if each["details"] else ""
        lines.append(f"  {signs[each['change']]} {each['kind']} {each['name']}{details}")
    yield from _bounded(lines)


def _nics(plan: Document) -> Iterator[str]:
    found = plan["nics"]
    if not found["affected"]:
        return
    yield "NICs that other rules judge:"
    lines = [
        f"  {each['nic']} ({' and '.join(each['directions']) if each['how'] == 'judged otherwise' else each['how']})"
        for each in found["list"]
    ]
    yield from _bounded(lines, more=found["affected"] - len(lines))


def _cells(plan: Document) -> Iterator[str]:
    cells = plan["cells"]
    if cells is None:
        yield "Reachability: nothing is in force yet, so there is nothing to compare with."
        return
    if cells["list"]:
        yield "Reachability:"
        lines = [
            f"  {each['change']}: {each['region']} from {each['src']} to {each['dst']} – {each['reason']}"
            for each in cells["list"]
        ]
        yield from _bounded(lines, more=cells["opens"] + cells["closes"] - len(lines))
    elif cells["not_asked"]:
        yield "Reachability: nothing was found that changes, but not all was asked about."
    else:
        yield "Reachability: who reaches whom stays as it is."
    if cells["not_asked"]:
        asked, others = cells["asked"], cells["not_asked"]
        yield f"  {asked:,} cells were asked about, {others:,} more were not; `explain` answers about each"


def _kernel(plan: Document) -> Iterator[str]:
    if not plan["kernel"]:
        return
    yield "In the kernel:"
    for each in plan["kernel"]:
        kinds = ("sets", "maps", "elements", "chains", "rules")
        told = [f"{kind} +{each[kind]['added']} -{each[kind]['removed']}" for kind in kinds if any(each[kind].values())]
        whole = " (whole tables)" if each["first"] else ""
        yield f"  {'namespace ' + each['netns'] if each['netns'] else 'own namespace'}{whole}: {', '.join(told)}"


def _live(plan: Document) -> Iterator[str]:
    live = plan["live"]
    if live is None:
        yield f"Live connections: not looked at – {plan['live_unseen'] or 'nobody asked'}."
        return
    if not live["cut"]:
        yield f"Live connections: none is cut; {_many(live['goes_on'], 'connection')} of {live['judged']} judged go on."
    else:
        yield f"Live connections that are cut ({live['cut']} of {live['judged']}):"
        lines = [
            f"  {_many(each['connections'], 'connection')}, {each['proto']}{_named(each)} from {each['src']} "
            f"to {each['dst']} – by {each['by']}: {each['reason']}"
            for each in live["groups"]
        ]
        yield from _bounded(lines, more=live["groups_left_out"])
    if live["begins_anew"]:
        told = "of addresses that come to a NIC: what comes next is judged as new"
        yield f"  {_many(live['begins_anew'], 'connection')} {told}."
    if live["resumes"]:
        yield f"  {_many(live['resumes'], 'connection')} that an earlier change cut may resume."


def _named(group: Document) -> str:
    return f" ({group['service']})" if group["service"] else ""


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _some(details: list[str]) -> list[str]:
    return details[:6] + ([f"and {len(details) - 6} more"] if len(details) > 6 else [])


def _bounded(lines: list[str], indent: str = "  ", more: int = 0) -> Iterator[str]:
    yield from lines[:MOST_SHOWN]
    hidden = len(lines) - len(lines[:MOST_SHOWN]) + more
    if hidden > 0:
        yield f"{indent}… and {hidden:,} more (--json has them)"
