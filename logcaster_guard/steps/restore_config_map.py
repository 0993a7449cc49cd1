"""Gives a ConfigMap back what it held when the good release's pods read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.steps.restore_object import RestoreHandler, RestoreObject
from logcaster_guard.steps.step_services import StepKind


@dataclass(frozen=True, slots=True)
class RestoreConfigMap(RestoreObject):
    """Write: the ConfigMap `name` holds again what was saved; see the base."""

    kind: Literal["restore_config_map"] = "restore_config_map"
    object_kind: ClassVar = ConfigKind.CONFIG_MAP


KIND = StepKind(RestoreConfigMap, lambda c: RestoreHandler(c.cluster, c.manifests), compensates=None)
