"""Single edits: each is one revision, and its answer comes when that is in force."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from enforcer.agent import edits
from enforcer.agent.api.context import Changes, Here
from enforcer.agent.api.documents import (
    Done,
    Entries,
    GroupNames,
    Moved,
    NewAddressGroup,
    NewGroup,
    NewNic,
    NewRule,
    Word,
)

router = APIRouter(tags=["edits"])


@router.post("/security_groups")
async def create_group(here: Here, asked: Changes, group: NewGroup) -> Done:
    """Create a security group (S1)."""
    return await here.edit(asked, lambda now: edits.create_group(now.resources, _data(group)))


@router.delete("/security_groups/{group}")
async def delete_group(here: Here, asked: Changes, group: Word) -> Done:
    """Delete a security group that is not in use; never `default` (S2)."""
    return await here.edit(asked, lambda now: edits.delete_group(now.resources, group))


@router.post("/security_groups/{group}/rules")
async def add_rule(here: Here, asked: Changes, group: Word, new: NewRule) -> Done:
    """Add a rule at the end of a group, or before another one (S4)."""
    return await here.edit(asked, lambda now: edits.add_rule(now.resources, group, new.rule, before=new.before))


@router.delete("/security_groups/{group}/rules/{rule}")
async def remove_rule(here: Here, asked: Changes, group: Word, rule: Word) -> Done:
    """Remove a rule."""
    return await here.edit(asked, lambda now: edits.remove_rule(now.resources, group, rule))


@router.post("/security_groups/{group}/rules/{rule}/move")
async def move_rule(here: Here, asked: Changes, group: Word, rule: Word, moved: Moved) -> Done:
    """Move a rule before another one, or to the end."""
    return await here.edit(asked, lambda now: edits.move_rule(now.resources, group, rule, before=moved.before))


@router.post("/security_groups/{group}/rules/{rule}/{state}")
async def enable_rule(here: Here, asked: Changes, group: Word, rule: Word, state: Literal["enable", "disable"]) -> Done:
    """Switch a rule on or off."""
    enabled = state == "enable"
    return await here.edit(asked, lambda now: edits.enable_rule(now.resources, group, rule, enabled=enabled))


@router.post("/address_groups")
async def create_address_group(here: Here, asked: Changes, group: NewAddressGroup) -> Done:
    """Create an address group (S5)."""
    return await here.edit(asked, lambda now: edits.create_address_group(now.resources, _data(group)))


@router.delete("/address_groups/{group}")
async def delete_address_group(here: Here, asked: Changes, group: Word) -> Done:
    """Delete an address group that no rule names."""
    return await here.edit(asked, lambda now: edits.delete_address_group(now.resources, group))


@router.post("/address_groups/{group}/entries")
async def add_entries(here: Here, asked: Changes, group: Word, new: Entries) -> Done:
    """Add entries to an address group."""
    return await here.edit(asked, lambda now: edits.add_entries(now.resources, group, new.entries))


@router.delete("/address_groups/{group}/entries")
async def remove_entries(
    here: Here, asked: Changes, group: Word, entry: Annotated[list[Word], Query(min_length=1, max_length=1000)]
) -> Done:
    """Remove entries from an address group."""
    return await here.edit(asked, lambda now: edits.remove_entries(now.resources, group, entry))


@router.post("/nics/{nic}")
async def attach_nic(here: Here, asked: Changes, nic: Word, new: NewNic) -> Done:
    """Attach a NIC (`ecs` or `ecs:nic`); an ECS that is new comes with it."""
    return await here.edit(asked, lambda now: edits.attach_nic(now.resources, nic, new.nic, flavor=new.type))


@router.delete("/nics/{nic}")
async def detach_nic(here: Here, asked: Changes, nic: Word) -> Done:
    """Detach a NIC: its connections end (S14); an ECS goes with its last NIC."""
    return await here.edit(asked, lambda now: edits.detach_nic(now.resources, nic))


@router.put("/nics/{nic}/security_groups")
async def set_groups(here: Here, asked: Changes, nic: Word, groups: GroupNames) -> Done:
    """Give a NIC its security groups, in the order in which they are matched (S7)."""
    return await here.edit(asked, lambda now: edits.set_groups(now.resources, nic, groups.security_groups))


def _data(item: NewGroup | NewAddressGroup) -> dict[str, Any]:
    return item.model_dump()
