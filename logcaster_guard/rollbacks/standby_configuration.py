"""What the other environment's pods must read before the Service goes there, and how they come to read it.

Its pods may have started on anything that a shared object has held since. What stood still since the good release's
pods read it proves that they have read the same: nothing else does. Where the bad release's pods read what differs, it
cannot be put back beside them, and its content is brought back under a copy's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logcaster_guard.domain.configuration import copies
from logcaster_guard.domain.configuration.references import POD, ConfigKind, references_of
from logcaster_guard.domain.workload import template_hash
from logcaster_guard.rollbacks import config_restores
from logcaster_guard.rollbacks.config_restores import ConfigFacts, Restores, SavedConfigMap
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.rollbacks.way_back import Request
from logcaster_guard.steps.copy_object import CopyObject
from logcaster_guard.steps.restore_later import RestoreLater
from logcaster_guard.steps.restore_object import RestoreObject

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StandbyConfiguration:
    """What is done for it.

    `first` is put back before any pod of it starts: only its pods read that. `copied` they read under other names,
    which makes them a release with the template `template` (a hash), and `later` is put back under its own name after
    the run, unless it is immutable. `replaced`: pods of it live that may have read something else.
    """

    first: tuple[RestoreObject, ...]
    copied: tuple[CopyObject, ...]
    later: tuple[RestoreLater, ...]
    replaced: bool
    template: str
    restored: Restores


def prepared(
    request: Request, facts: ConfigFacts, template: Json, pods: Sequence[Json], seed: str
) -> StandbyConfiguration | NotApplicable:
    """What is done for an environment with this pod template and these pods, or why nothing helps.

    `seed` is what the copies' names are made from: another one whenever the environment was changed.
    """
    both = tuple(request.target.environments.values())
    restored = config_restores.restores(request, facts, both, copying=True)
    if isinstance(restored, NotApplicable):
        return restored
    steps = {(step.object_kind, step.name): step for step in restored.steps}
    differing = {_name(found): found for found in facts.differing if _name(found) in steps}
    live = {(r.object.kind, r.object.name) for r in references_of(request.workload.template, request.target.namespace)}
    first = [n for n, found in differing.items() if found.live is None and n not in live and not found.immutable]
    copied = [found for name, found in differing.items() if name not in first]
    useless = config_restores.read_by_name(copied)
    if useless is not None:
        return useless
    later = [steps[_name(found)] for found in copied if not found.immutable]
    copied += [found for found in facts.objects if pods and not _surely_read(found)]
    made = tuple(config_restores.copying(*_name(found), found.digest, seed) for found in copied)
    names = {(step.object_kind, step.name): step.copy("") for step in made}
    return StandbyConfiguration(
        first=tuple(steps[name] for name in first),
        copied=made,
        later=tuple(map(RestoreLater.put_off, later)),
        replaced=bool(made or (first and pods)),
        template=template_hash(copies.referring(template, names)),
        restored=restored,
    )


def _name(found: SavedConfigMap) -> tuple[ConfigKind, str]:
    return found.object.kind, found.object.name


def _surely_read(found: SavedConfigMap) -> bool:
    """Whether whoever reads it, or has read it since it was saved, finds in it what was saved.

    An object that differs is put back by other steps; what pods read by themselves is what is there now.
    """
    if found.differs or found.saved is None or found.live is None or all(r.container == POD for r in found.references):
        return True
    then, now = found.saved["metadata"], found.live["metadata"]
    stood = bool(found.saved.get("immutable")) or then.get("resourceVersion") == now.get("resourceVersion")
    return bool(then.get("uid") == now.get("uid") and stood)
