"""What is known of the configuration that a target's pods have read: offered by who follows it, to all who decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from logcaster_guard.domain.configuration.edits import Edit, EditReaders
from logcaster_guard.domain.configuration.object_versions import Version
from logcaster_guard.domain.configuration.references import ConfigObject, ConfigReference
from logcaster_guard.domain.configuration.release_configuration import ConfigurationState, Known, Unknown
from logcaster_guard.domain.message import Reason


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An object whose content counts for nothing.

    `followed`: it belongs to the digest all the same, as one that cannot be read. One that is not followed does not.
    """

    object: ConfigObject
    reason: Reason
    followed: bool


class TargetConfiguration(Protocol):
    """The configuration of one target, as it was seen last. It answers from memory and asks nobody.

    All of it is of the pod template with the hash `template`, empty before the first look: whoever sees another one has
    to wait for the next look. An object that leaves those that are followed, or joins them (it is volatile, or may be
    read now), changes the digest without an edit.
    """

    @property
    def template(self) -> str:
        """The normalised hash of the pod template that the rest is told of."""

    @property
    def references(self) -> Sequence[ConfigReference]:
        """What counts: the template's references and those that settings name, without objects not followed."""

    @property
    def state(self) -> ConfigurationState:
        """Which configuration the pods have read."""

    @property
    def latest(self) -> Known | None:
        """What the objects hold now, with the template's checksums; None where one has not been looked at yet."""

    @property
    def surely_read_latest(self) -> bool:
        """Whether all pods that have started a container, Ready or not, have read the latest; and there is one."""

    def contents(self, versions: Mapping[ConfigObject, Version], /) -> Mapping[str, str]:
        """By object, as text, the digest of the blob that holds its manifest in this version; empty: it was absent.

        What could not be read, or is not saved yet, is missing.
        """

    def edits(self) -> Sequence[tuple[Edit, EditReaders]]:
        """Every edit since the guard's first look that is remembered, and who has read it; of each object in order."""

    def pending(self) -> Sequence[Edit]:
        """What no pod has read yet."""

    def left_out(self) -> Sequence[LeftOut]:
        """What cannot be read, changes too often or is never followed, each with the reason."""


@dataclass(frozen=True, slots=True)
class NotFollowed:
    """`TargetConfiguration` where nobody follows: nothing is known, so that releases are told by their template."""

    template: str = ""
    references: Sequence[ConfigReference] = ()
    state: ConfigurationState = field(default_factory=lambda: Unknown(()))
    latest: Known | None = None
    surely_read_latest: bool = False

    def contents(self, _: Mapping[ConfigObject, Version], /) -> Mapping[str, str]:
        """Nothing is kept."""
        return {}

    def edits(self) -> Sequence[tuple[Edit, EditReaders]]:
        """None was seen."""
        return ()

    def pending(self) -> Sequence[Edit]:
        """None was seen."""
        return ()

    def left_out(self) -> Sequence[LeftOut]:
        """Nobody has looked."""
        return ()
