"""Gives a Secret back what it held when the good release's pods read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.steps.restore_object import RestoreHandler, RestoreObject
from logcaster_guard.steps.step_services import StepKind


@dataclass(frozen=True, slots=True)
class RestoreSecret(RestoreObject):
    """Write: the Secret `name` holds again what was saved; see the base.

    No value, and not its size, is in it: `changes` tell keys, and digests by the guard's key.
    """

    kind: Literal["restore_secret"] = "restore_secret"
    object_kind: ClassVar = ConfigKind.SECRET


KIND = StepKind(RestoreSecret, lambda c: RestoreHandler(c.cluster, c.manifests), compensates=None)
