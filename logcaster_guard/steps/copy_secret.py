"""Copies a Secret as the good release's pods read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.steps.copy_object import BORROWED, CopyObject, row


@dataclass(frozen=True, slots=True)
class CopySecret(CopyObject):
    """Write: a copy of the Secret `name` is there, of its type; see the base. No value is in the step."""

    kind: Literal["copy_secret"] = "copy_secret"
    borrows: ClassVar = BORROWED[ConfigKind.SECRET]
    object_kind: ClassVar = ConfigKind.SECRET


KIND = row(CopySecret)
