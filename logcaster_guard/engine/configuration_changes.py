"""Compares what a target's pods have read with what the ledger has for the live release."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from logcaster_guard.domain.attribution import EditsRead
from logcaster_guard.domain.configuration.edits import Blame, Edit, EditReaders
from logcaster_guard.domain.configuration.kept import key_of
from logcaster_guard.domain.configuration.live_configuration import (
    ConfigurationChange,
    ConfigurationLook,
    PresentConfiguration,
    ReadSoFar,
    change_of,
)
from logcaster_guard.domain.configuration.release_configuration import InTransition, Known, Unknown
from logcaster_guard.domain.ledger import Ledger, Record, Rollout
from logcaster_guard.domain.releases import ReleaseId
from logcaster_guard.domain.runs import Run
from logcaster_guard.engine.target_configuration import TargetConfiguration


@dataclass(frozen=True, slots=True)
class Noticed:
    """What one look has shown; `change` is None where the release has the configuration that its record tells."""

    change: ConfigurationChange | None
    so_far: ReadSoFar


class ConfigurationChanges:
    """Follows the live release of one target. What was noticed counts once it was `taken`: it is in the journal."""

    def __init__(self, configuration: TargetConfiguration) -> None:
        self._configuration = configuration
        self._so_far = ReadSoFar()

    def notice(self, live: Record) -> Noticed:
        """Look at what the pods of the live release have read by now."""
        seen = self._configuration
        if seen.template != live.template:
            return Noticed(None, self._so_far)
        look = ConfigurationLook(
            seen.references, seen.state, seen.latest, seen.edits(), seen.pending(), seen.surely_read_latest
        )
        kept = frozenset((one, key_of(place)) for one, place in live.contents.items())
        present = PresentConfiguration(live.configuration, live.restorable, kept)
        now = self._so_far.after(look)
        return Noticed(change_of(present, self._so_far, now, look), now)

    def taken(self, noticed: Noticed) -> None:
        """What was noticed is in the journal."""
        self._so_far = noticed.so_far

    def rolled_out(self) -> None:
        """Another template, or another workload, has become the live one."""
        self._so_far = self._so_far.rolled_out

    def told(self, known: Known) -> Mapping[str, Any]:
        """The fields of an event that tell of this configuration."""
        return {
            "configuration": known.configuration,
            "contents": dict(self._configuration.contents(known.contents)),
            "readable": known.digest if known.checksums else "",
        }

    def earns(self, live: Record) -> bool:
        """Whether what is seen now is seen of this release and no other: all its pods have read the same.

        Where nobody knows what they have read, it is known by its template alone.
        """
        match self._state(live):
            case Known() as known:
                return known.configuration == live.configuration
            case Unknown():
                return not live.configuration
            case InTransition():
                return False

    def is_whole(self, live: Record) -> bool:
        """Whether no pod is known to serve with another configuration than the release's, where that is known."""
        return not live.configuration or isinstance(self._state(live), Unknown) or self.earns(live)

    def _state(self, live: Record) -> Known | InTransition | Unknown:
        behind = self._configuration.template not in {"", live.template}
        return InTransition() if behind else self._configuration.state


def edits_read(seen: TargetConfiguration, ledger: Ledger, rollout: Rollout) -> EditsRead | None:
    """Who has read the edits that the present release's rollout consists of; None where it consists of none."""
    live, before = ledger.live, ledger.records.get(rollout.previous or "")
    if live is None or before is None or rollout.key != ledger.present or before.template != live.template:
        return None
    of_it = [(edit, readers) for edit, readers in seen.edits() if _brought(seen, edit, live, before)]
    new = {pod for _, readers in of_it for pod in readers.new}
    unclear = {pod for _, readers in of_it for pod in readers.unclear} - new
    old = {pod for _, readers in of_it for pod in readers.old} - new - unclear
    # The rollout began when the first of them can have been read: what was before that is no question any more.
    # One pod at least has read it, or had: which one that was a later guard cannot always tell.
    has_read = any(readers.read for _, readers in of_it) or bool(unclear)
    merged = EditReaders(_named(old), _named(new), _named(unclear), has_read, float("-inf"))
    known = isinstance(seen.state, Known) and seen.state.configuration == live.configuration
    blame = merged.blame(0.0) if of_it else Blame.REPLACED if known else Blame.INDISTINCT
    objects = tuple(sorted({str(edit.object) for edit, _ in of_it}))
    return EditsRead(objects, blame, merged.new, merged.old, merged.unclear)


def _named(pods: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(pods))


def _brought(seen: TargetConfiguration, edit: Edit, live: Record, before: Record) -> bool:
    """Whether the edit is what the live release has, and the one before had not."""
    name = str(edit.object)
    held = seen.contents({edit.object: edit.version}).get(name)
    return held is not None and held == live.contents.get(name) != before.contents.get(name)


def put_there_by(run: Run | None, change: ConfigurationChange, template: str) -> str | None:
    """The run, if it has put the configuration there: that of its destination, or what it has written so far."""
    if run is None or not run.touched:
        return None
    plan = run.opened.plan
    if plan.destination == ReleaseId(template, change.known.configuration):
        return run.id
    written = {(o.kind, o.namespace, o.name) for step in plan.steps for o in step.touches(plan)}
    edited = {(str(o.kind), o.namespace, o.name) for o in change.objects}
    return run.id if edited and edited <= written else None
