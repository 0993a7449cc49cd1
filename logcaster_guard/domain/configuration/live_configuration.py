"""Which configuration the live release has, and whether that began with a rollout of its own.

A rollout of a configuration begins as that of a template does: with the first container that surely has it, be it one
that crashes for it. An edit that nobody has read changes nothing. What begins here may still be a mixture: a release
earns only while its configuration is `Known`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from logcaster_guard.domain.configuration.content import NoContent, digest, made_with
from logcaster_guard.domain.configuration.edits import Edit, EditReaders
from logcaster_guard.domain.configuration.object_versions import Version
from logcaster_guard.domain.configuration.references import ConfigObject, ConfigReference, objects_of
from logcaster_guard.domain.configuration.release_configuration import ConfigurationState, Known, Unknown


@dataclass(frozen=True, slots=True)
class ConfigurationLook:
    """What one look shows of the configuration of a pod template; see `TargetConfiguration`."""

    references: Sequence[ConfigReference]
    state: ConfigurationState
    latest: Known | None
    edits: Sequence[tuple[Edit, EditReaders]] = ()
    pending: Sequence[Edit] = ()
    surely_read_latest: bool = False

    @property
    def has_readers(self) -> bool:
        """Whether some pod is known to have read something."""
        return isinstance(self.state, Known | Unknown) or bool(self.state.objects)

    def edits_of(self, one: ConfigObject) -> Sequence[tuple[Edit, EditReaders]]:
        """The edits of one object, the oldest first."""
        return [(edit, readers) for edit, readers in self.edits if edit.object == one]

    def place(self, one: ConfigObject, version: Version | None) -> int:
        """How many edits of the object came up to this version; 0 for what it held before any of them."""
        return next((n for n, (edit, _) in enumerate(self.edits_of(one), 1) if edit.version == version), 0)


@dataclass(frozen=True, slots=True)
class ReadSoFar:
    """What the looks at a pod template, one after the other, have shown to be read.

    `versions` are the newest that a container has surely read, by object; until then what the first look found. `read`
    are the edits that were read since the template's rollout, `amid` those that came when its pods had read something
    else, `seen` all that were seen. `has_readers` is as of the last look.
    """

    versions: Mapping[ConfigObject, Version] = field(default_factory=dict)
    read: tuple[Edit, ...] = ()
    amid: tuple[Edit, ...] = ()
    seen: tuple[Edit, ...] = ()
    has_readers: bool = False

    @property
    def rolled_out(self) -> ReadSoFar:
        """The same where another template has become the live one: what its pods read is still to be seen."""
        return ReadSoFar(self.versions, seen=self.seen)

    def after(self, look: ConfigurationLook) -> ReadSoFar:
        """With one more look."""
        versions, read = dict(self.versions), list[Edit]()
        for one in objects_of(look.references):
            own, place = look.edits_of(one), look.place(one, self.versions.get(one))
            newer = [edit for n, (edit, readers) in enumerate(own, 1) if readers.read and n > place]
            read += [edit for edit in newer if edit not in self.read]
            if newer:
                versions[one] = newer[-1].version
            elif one not in versions and not own and look.latest is not None and one in look.latest.contents:
                versions[one] = look.latest.contents[one]
        amid = [edit for edit, readers in look.edits if readers.old or readers.unclear]
        amid += [edit for edit, _ in look.edits if self.has_readers and edit not in self.seen]
        return ReadSoFar(
            versions,
            (*self.read, *read),
            _each_once([*self.amid, *amid, *look.pending]),
            _each_once([*self.seen, *(edit for edit, _ in look.edits)]),
            look.has_readers,
        )


@dataclass(frozen=True, slots=True)
class PresentConfiguration:
    """The configuration of the present release, as its record tells it; `readable` is the digest of what can be read.

    `objects` are those whose contents are kept, as text, each with the key that its digest was made with.
    """

    configuration: str = ""
    readable: str = ""
    objects: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class ConfigurationChange:
    """The present release has another configuration than was known.

    `rollout`: pods came to read something else, of `objects`, at monotonic `first` at the earliest (None: nobody
    knows). Otherwise they have read nothing else since the rollout of the release, and only more is known now.
    """

    known: Known
    rollout: bool
    first: float | None = None
    objects: frozenset[ConfigObject] = frozenset()


def change_of(
    present: PresentConfiguration, before: ReadSoFar, now: ReadSoFar, look: ConfigurationLook
) -> ConfigurationChange | None:
    """How the configuration of the present release has changed; None where it has not, as far as can be told.

    `now` is `before` with this look, which is of the present release's template.
    """
    found = _live(now, look)
    if found is None or found.configuration == present.configuration:
        return None
    read = [edit for edit in now.read if edit not in before.read]
    if not _is_rollout(present, found, now, read):
        return ConfigurationChange(found, rollout=False)
    firsts = [readers.first for edit, readers in look.edits if edit in read]
    if not read:
        # It holds again what its pods have read, before anybody has read that it does.
        read = [e for e, _ in look.edits if e.version == found.contents.get(e.object) and e not in now.read]
        firsts = [edit.version.earliest for edit in read]
    first = min((second for second in firsts if second is not None), default=None)
    return ConfigurationChange(found, True, first, frozenset(edit.object for edit in read))


def _live(now: ReadSoFar, look: ConfigurationLook) -> Known | None:
    """What the release's configuration is by now; None where that cannot be told."""
    if isinstance(look.state, Known):
        read = look.state.contents
        newer = {o: v for o, v in now.versions.items() if o in read and look.place(o, v) > look.place(o, read[o])}
        return look.state if not newer else _known(look, {**read, **newer}, look.state)
    if look.latest is None or look.surely_read_latest:
        return look.latest
    objects = objects_of(look.references)
    if not now.read or any(one not in now.versions for one in objects):
        return None
    return _known(look, {one: now.versions[one] for one in objects}, look.latest)


def _known(look: ConfigurationLook, versions: Mapping[ConfigObject, Version], like: Known) -> Known:
    return Known(digest(look.references, {o: v.found for o, v in versions.items()}), like.checksums, versions)


def _is_rollout(present: PresentConfiguration, found: Known, now: ReadSoFar, read: Sequence[Edit]) -> bool:
    if not present.configuration:
        return any(edit in now.amid for edit in now.read)
    if read:
        return True
    # Otherwise checksums alone have changed, or what is followed, or the key of a Secret's digest was lost.
    followed = {(str(o), made_with(v.found)) for o, v in found.contents.items() if v.found is not NoContent.UNREADABLE}
    return found.digest != present.readable and present.objects == followed


def _each_once(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    found: list[Edit] = []
    for edit in edits:
        if edit not in found:
            found.append(edit)
    return tuple(found)
