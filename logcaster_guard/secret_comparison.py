"""Which keys of the Secrets differ between two snapshots, for a person who may read them; no value is ever shown."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from logcaster_guard import stores
from logcaster_guard.config.settings import Settings
from logcaster_guard.domain.configuration.content import NoContent
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.errors import BlobMissing, ClusterError
from logcaster_guard.domain.guard_reasons import SecretsNotKept
from logcaster_guard.domain.masking import Masker
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.snapshots import NEVER_READ, Omission, SavedSecret, Snapshot
from logcaster_guard.engine.snapshotting import read_now
from logcaster_guard.messages.texts import phrase
from logcaster_guard.ports import Cluster, SavedSecrets

Json = dict[str, Any]


@dataclass(slots=True)
class SecretsCompared:
    """What may be shown of the Secrets before and after, by name, and why others are not compared."""

    before: dict[str, Json] = field(default_factory=dict)
    after: dict[str, Json] = field(default_factory=dict)
    left_out: dict[str, Reason] = field(default_factory=dict)


async def compared(settings: Settings, before: Snapshot, after: Snapshot | None) -> SecretsCompared:
    """Compare the Secrets of two snapshots, or without `after` those of one with the cluster now.

    Nothing is read where both name the same place. Raises what `connect` raises.
    """
    found = SecretsCompared()
    first, second = _named_by(before), {} if after is None else _named_by(after)
    async with contextlib.AsyncExitStack() as stack:
        held = _Held(None, None, Masker())
        if stores.secrets_kept_in(settings):
            cluster = await stack.enter_async_context(contextlib.aclosing(await stores.connected(settings)))
            held = _Held(cluster, stores.saved_secrets_of(settings, cluster), Masker())
        for one in sorted(first.keys() | second.keys()):
            then, later = first.get(one), second.get(one)
            if isinstance(then, SavedSecret) and then == later:
                continue
            sides = await held.then(then), await (held.now(one) if after is None else held.then(later))
            reasons = [side for side in sides if side is not None and not isinstance(side, dict)]
            if reasons:
                found.left_out[f"{one.kind}/{one.name}"] = reasons[0]
                continue
            for side, shown in zip(sides, (found.before, found.after), strict=True):
                if isinstance(side, dict):
                    shown[f"{one.kind}/{one.name}"] = side
    return found


def _named_by(snapshot: Snapshot) -> Mapping[ConfigObject, SavedSecret | Omission]:
    kind = ConfigKind.SECRET
    left_out = {ConfigObject(kind, o.namespace, o.name): o for o in snapshot.omissions if o.kind == kind}
    return {**left_out, **{ConfigObject(kind, s.namespace, s.name): s for s in snapshot.secrets}}


@dataclass(frozen=True, slots=True)
class _Held:
    """What may be shown of a Secret, None where it was absent, or why nobody can tell. `cluster` is None with `saved`.

    The same value has the same number.
    """

    cluster: Cluster | None
    saved: SavedSecrets | None
    masker: Masker

    async def then(self, one: SavedSecret | Omission | None) -> Json | Reason | None:
        """As a snapshot names it; one that it does not refer to is as absent as any other object."""
        if one is None or (isinstance(one, Omission) and one.reason is NoContent.ABSENT):
            return None
        if isinstance(one, Omission):
            return phrase("cli.name_alone") if one.detail == NEVER_READ else one.detail
        if self.saved is None:
            return SecretsNotKept()
        try:
            return self.masker.secret(json.loads((await self.saved.get(one.place)).reveal()))
        except (BlobMissing, ClusterError) as error:
            return error.reason

    async def now(self, one: ConfigObject) -> Json | Reason | None:
        """As it is in the cluster."""
        if self.cluster is None:
            return SecretsNotKept()
        found = await read_now(self.cluster, one)
        if not isinstance(found, Omission):
            return self.masker.secret(found)
        return None if found.reason is NoContent.ABSENT else found.detail
