"""Where a database is to go: a version, or the one that belongs to a release.

A release names its version by an annotation of its pod template, so that it goes wherever the template goes: to the
ReplicaSet, and to what is saved of the release.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.database.migrations import NONE
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.workload import Revision, annotations_of

SCHEMA_VERSION = "guard.logcaster.io/schema-version"
"""The annotation: a version, or `none`."""

_VERSION = re.compile(r"[0-9]{1,20}", re.ASCII)
_REVISION = re.compile(r"revision:([0-9]{1,10})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ReleaseName:
    """A release as people name it: by its revision's number, or the first digits of its hash."""

    text: str

    def fits(self, revision: Revision) -> bool:
        """Whether this may be meant."""
        number = _REVISION.fullmatch(self.text)
        return revision.hash.startswith(self.text) if number is None else int(number[1]) in revision.numbers


@dataclass(frozen=True, slots=True)
class NoRelease(Message):
    """The destination is the name of no release that the cluster still has; `known` are those that it has."""

    name: str
    known: tuple[str, ...]
    kind: Literal["destination.no_release"] = "destination.no_release"


@dataclass(frozen=True, slots=True)
class ReleaseWithoutVersion(Message):
    """The release does not say which version of the schema belongs to it; `found` is what stands there, or empty."""

    name: str
    annotation: str
    found: str
    kind: Literal["destination.release_without_version"] = "destination.release_without_version"


@dataclass(frozen=True, slots=True)
class SeveralVersionsOfRelease(Message):
    """Several releases have this name, and belong to different versions."""

    name: str
    versions: tuple[str, ...]
    kind: Literal["destination.several_versions"] = "destination.several_versions"


def destination(text: str) -> int | ReleaseName | None:
    """What was written: a version (None for `none`), or a release."""
    return None if text == NONE else int(text) if _VERSION.fullmatch(text) else ReleaseName(text)


def version_of_release(name: ReleaseName, revisions: Sequence[Revision]) -> int | Message | None:
    """The version that belongs to the release (None: none), or why that is not known."""
    fitting = [r for r in revisions if name.text and name.fits(r)]
    if not fitting:
        return NoRelease(name.text, tuple(f"revision:{r.number} ({r.hash[:8]})" for r in reversed(revisions)))
    said = sorted({annotations_of(r.template).get(SCHEMA_VERSION, "") for r in fitting})
    if len(said) > 1:
        return SeveralVersionsOfRelease(name.text, tuple(said))
    found = destination(said[0]) if said[0] else ReleaseName("")
    return ReleaseWithoutVersion(name.text, SCHEMA_VERSION, said[0]) if isinstance(found, ReleaseName) else found
