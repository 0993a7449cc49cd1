"""Copies a ConfigMap as the good release's pods read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.steps.copy_object import BORROWED, CopyObject, row


@dataclass(frozen=True, slots=True)
class CopyConfigMap(CopyObject):
    """Write: a copy of the ConfigMap `name` is there; see the base."""

    kind: Literal["copy_config_map"] = "copy_config_map"
    borrows: ClassVar = BORROWED[ConfigKind.CONFIG_MAP]
    object_kind: ClassVar = ConfigKind.CONFIG_MAP


KIND = row(CopyConfigMap)
