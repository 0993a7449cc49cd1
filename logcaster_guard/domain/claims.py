"""Objects that carry the guard's marks, and are not proven to be the guard's: people are told, and nothing is done."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from logcaster_guard.domain import provenance
from logcaster_guard.domain.capacity import HELPER_LABEL, is_helper
from logcaster_guard.domain.compensations import CompensationKind
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.provenance import MANAGED, RUN, TOKEN
from logcaster_guard.domain.provenance_reasons import (
    AnotherOne,
    ClaimUnproven,
    KeptByAnother,
    NamesNoRun,
    NamesUnknownRun,
    NotMadeByRun,
)
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Compensation, Field
from logcaster_guard.domain.workload import Workload

LONGEST = 80
"""Characters of somebody else's words that are told."""

NAMED = 10
"""Objects that one command names."""


@dataclass(frozen=True, slots=True)
class Claim:
    """`object` (`Deployment default/web`) carries marks that the journal does not bear out.

    `key` is the same for the same marks on the same object. `remedy` is what a person does, as
    commands. `orphan`: it looks like the helper of a run that the journal does not know. `copied`: it looks like a copy
    of configuration, to which `reader` refers; empty where nothing does.
    """

    object: str
    key: str
    reason: Reason
    remedy: str
    orphan: bool = False
    copied: bool = False
    reader: str = ""

    @property
    def summary(self) -> ClaimUnproven:
        """As status shows it."""
        return ClaimUnproven(self.object, self.reason)


def claim(
    object: str, uid: str, marks: str, reason: Reason, remedy: str, *, orphan: bool = False, copied: bool = False  # noqa: A002
) -> Claim:  # fmt: skip
    """A claim whose key is made of the object's uid and its marks."""
    digest = hashlib.sha256(f"{uid}/{marks}".encode()).hexdigest()[:16]
    return Claim(object, f"{object}/{digest}", reason, remedy, orphan=orphan, copied=copied)


def of_deployment(raw: Mapping[str, Any], runs: Iterable[Run], kinds: Mapping[str, CompensationKind]) -> Claim | None:
    """What the Deployment's marks claim in vain; None where it is the guard's own, or carries no marks that count.

    `runs` are all that the journal knows, `kinds` what they borrow. An environment that a run has made keeps its marks
    for good, so that one of a run which the journal has forgotten claims nothing.
    """
    found = Workload(dict(raw))
    marker = found.annotations.get(RUN, "")
    known: Run | None = None
    for run in runs:
        known = run if run.id == marker else known
        if any(_bears_out(run, owed, raw, kinds[owed.kind]) for owed in run.taken.values()):
            return None
    if known is not None and (known.closed is None or _is_old(known, found, kinds)):
        return None
    if not is_helper(raw) and known is None:
        return None
    name = f"{found.namespace}/{found.name}"
    return claim(
        f"Deployment {name}",
        found.uid,
        f"{marker}/{found.annotations.get(TOKEN, '')}/{is_helper(raw)}",
        _reason(found, known, marker[:LONGEST], kinds),
        _remedy(found, orphan=known is None),
        orphan=known is None,
    )


def of_copy(kind: ConfigKind, raw: Mapping[str, Any], runs: Iterable[Run], reader: str) -> Claim | None:
    """What a copy of configuration claims in vain; None where a run of the journal has made it, or may be making it.

    `reader` is what refers to it, empty where nothing does.
    """
    metadata = raw["metadata"]
    notes = metadata.get("annotations") or {}
    marker = str(notes.get(RUN, ""))
    known = {run.id: run for run in runs}.get(marker)
    mine = [] if known is None else [owed for owed in known.taken.values() if owed.object == metadata["name"]]
    if known is not None and (known.closed is None or any(provenance.disowned(raw, owed) is None for owed in mine)):
        return None
    reason = _copy_reason(raw, marker[:LONGEST], known, mine)
    one = ConfigObject(kind, str(metadata["namespace"]), str(metadata["name"]))
    command = f"kubectl -n {one.namespace} delete {kind.lower()} {one.name}"
    marks = f"{marker}/{notes.get(TOKEN, '')}"
    return replace(claim(str(one), str(metadata.get("uid")), marks, reason, command, copied=True), reader=reader)


def of_kept(namespace: str, names: Sequence[str]) -> Claim:
    """What these Secrets of the namespace claim, in which another guard has kept what Secrets held."""
    command = " ".join([f"kubectl -n {namespace} delete secret", *names[:NAMED]])
    return claim(f"Secret {namespace}/{names[0]}", "", " ".join(names), KeptByAnother(len(names)), command, copied=True)


def _copy_reason(raw: Mapping[str, Any], marker: str, known: Run | None, mine: Sequence[Compensation]) -> Message:
    if known is None:
        return NamesUnknownRun(marker) if marker else NamesNoRun()
    return (provenance.disowned(raw, mine[0]) if mine else None) or NotMadeByRun(known.id, named=True)


def _bears_out(run: Run, owed: Compensation, raw: Mapping[str, Any], kind: CompensationKind) -> bool:
    if kind.owner is None or owed.object != raw["metadata"]["name"]:
        return False
    return provenance.disowned(raw, owed, owner=kind.owner(run.opened.plan), orphaned=True) is None


def _is_old(run: Run, found: Workload, kinds: Mapping[str, CompensationKind]) -> bool:
    """Whether an earlier version of the guard has made the environment, and left it to serve."""
    made = [owed for owed in run.taken.values() if kinds[owed.kind].owner is not None and owed.object == found.name]
    return run.wrote(Field.EXISTENCE) and any(not owed.token for owed in made)


def _reason(found: Workload, known: Run | None, marker: str, kinds: Mapping[str, CompensationKind]) -> Message:
    if known is None:
        return NamesUnknownRun(marker) if marker else NamesNoRun()
    for owed in known.taken.values():
        if owed.object == found.name:
            owner = kinds[owed.kind].owner
            uid = "" if owner is None else owner(known.opened.plan)
            return provenance.disowned(found.raw, owed, owner=uid) or AnotherOne()
    return NotMadeByRun(known.id, named=True)


def _remedy(found: Workload, *, orphan: bool) -> str:
    kubectl = f"kubectl -n {found.namespace}"
    label = next(iter(MANAGED))
    unmark = (
        f"{kubectl} label deployment {found.name} {label}- {HELPER_LABEL}- && "
        f"{kubectl} annotate deployment {found.name} {RUN}- {TOKEN}-"
    )
    owners = [o.get("name") for o in found.raw["metadata"].get("ownerReferences") or [] if o.get("kind")]
    if not orphan or not owners:
        return unmark
    return f"{kubectl} scale deployment {owners[0]} --replicas N && {kubectl} delete deployment {found.name}"
