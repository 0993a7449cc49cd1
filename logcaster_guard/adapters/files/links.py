"""Whether a symbolic link stays in its tree, wherever the other links of the tree lead."""

from __future__ import annotations

from logcaster_guard.messages.tree_faults import EntryFault


def fault_of(target: str, depth: int) -> EntryFault | None:
    """Why a link that stands `depth` folders below the root may not point to `target`; None if it may.

    A link may climb first, up to the root, and only then go down: its own folder and those above are real ones. After
    a step down through another link, `..` would lead to wherever that points, so it is not allowed there.
    """
    if not target:
        return EntryFault.LINK_EMPTY
    if target.startswith("/"):
        return EntryFault.LINK_ABSOLUTE
    steps = [step for step in target.split("/") if step not in {"", "."}]
    climbs = next((n for n, step in enumerate(steps) if step != ".."), len(steps))
    if climbs > depth:
        return EntryFault.LINK_OUT
    return EntryFault.LINK_WINDING if ".." in steps[climbs:] else None
