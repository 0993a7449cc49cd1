"""The configuration of a target as a test wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from logcaster_guard.domain.configuration.edits import Edit, EditReaders
from logcaster_guard.domain.configuration.object_versions import Version
from logcaster_guard.domain.configuration.references import ConfigObject, ConfigReference
from logcaster_guard.domain.configuration.release_configuration import ConfigurationState, Known, Unknown
from logcaster_guard.engine.target_configuration import LeftOut, TargetConfiguration


@dataclass(slots=True)
class FakeConfiguration:
    """Implements `TargetConfiguration`; `saved` are the blobs' digests, by object and resourceVersion."""

    template: str = ""
    references: Sequence[ConfigReference] = ()
    state: ConfigurationState = field(default_factory=lambda: Unknown(()))
    latest: Known | None = None
    surely_read_latest: bool = False
    saved: dict[tuple[ConfigObject, str], str] = field(default_factory=dict)
    told_edits: list[tuple[Edit, EditReaders]] = field(default_factory=list)
    told_pending: list[Edit] = field(default_factory=list)
    told_left_out: list[LeftOut] = field(default_factory=list)

    def contents(self, versions: Mapping[ConfigObject, Version], /) -> Mapping[str, str]:
        found = {o: self.saved.get((o, version.resource_version)) for o, version in versions.items()}
        return {str(o): digest for o, digest in found.items() if digest is not None}

    def edits(self) -> Sequence[tuple[Edit, EditReaders]]:
        return self.told_edits

    def pending(self) -> Sequence[Edit]:
        return self.told_pending

    def left_out(self) -> Sequence[LeftOut]:
        return self.told_left_out


_offered: TargetConfiguration = FakeConfiguration()
