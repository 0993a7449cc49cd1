"""What the guard owes for what it makes, and whether an object is one that it made.

Labels and annotations can be written by anybody who may edit the object, so they are hints and never authority. What
counts is the journal: the random token that was written down with the intent, before the object was created.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any

from logcaster_guard.domain.message import Message
from logcaster_guard.domain.provenance_reasons import NotOfWorkload, NoToken, RunMade, ThereBefore, WithoutToken
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Compensation
from logcaster_guard.domain.workload import instant

RUN = "guard.logcaster.io/run"
"""Names, on a Deployment, the run that made it."""
TOKEN = "guard.logcaster.io/token"  # noqa: S105 - the annotation's name
"""Holds, on a Deployment or in the mark on a suspended owner, the token of the journalled intent."""
MANAGED = {"app.kubernetes.io/managed-by": "logcaster-guard"}
CLOCKS_APART = timedelta(minutes=5)
"""By how much the API server's clock may be behind what is known of it."""


def new_token() -> str:
    """128 random bits in hex."""
    return secrets.token_hex(16)


def opened(at: datetime, ahead: float) -> datetime:
    """When a run was opened, by the clock of the API server, which is `ahead` of the guard's by so many seconds."""
    return at + timedelta(seconds=ahead)


def owed(id: str, kind: str, name: str, run: Run, ahead: float) -> Compensation:  # noqa: A002 - as the field is called
    """What `run` owes for an object `name` that it is to make, with a token of its own; `ahead` as in `opened`."""
    since = opened(run.opened.at, ahead)
    return Compensation(id, kind, name, uid="", original=None, written=0, run=run.id, token=new_token(), since=since)


def marks(owed: Compensation) -> dict[str, str]:
    """The annotations of an object that a run makes and owes."""
    return {RUN: owed.run, TOKEN: owed.token}


def disowned(raw: Mapping[str, Any], owed: Compensation, *, owner: str = "", orphaned: bool = False) -> Message | None:
    """Why the object is not the one that `owed` was journalled for; None if it is.

    `owner` is the uid of the workload that it must belong to, empty for none. `orphaned`: that workload is gone, and
    Kubernetes has taken the owner reference away.
    """
    metadata = raw["metadata"]
    notes = metadata.get("annotations") or {}
    if metadata["name"] != owed.object:
        return RunMade(owed.object)
    if not owed.token:
        return WithoutToken()
    told = str(notes.get(TOKEN, "")).encode()
    if notes.get(RUN) != owed.run or not compare_digest(told, owed.token.encode()):
        return NoToken(owed.run)
    owners = [o.get("uid") for o in metadata.get("ownerReferences") or []]
    if owner and owner not in owners and not (orphaned and not owners):
        return NotOfWorkload()
    created = instant(metadata.get("creationTimestamp"))
    if created is None or owed.since is None or created < owed.since - CLOCKS_APART:
        return ThereBefore(owed.run)
    return None
