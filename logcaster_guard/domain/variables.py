"""Environment variables of a pod template: which there are, and a template with those of another release.

Only `env` is meant. What a container takes in by `envFrom` has no names in the template, and stays as it is. The
variables of the guard's own container belong to no release.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from logcaster_guard.domain.sidecar import is_guard

Json = dict[str, Any]

MOST_NAMES = 32
"""Variables that one rollback may name."""
LONGEST_LIST = 300
"""Characters of all these names, joined by commas: they travel in an annotation, beside a reason."""

_LISTS = ("initContainers", "containers")
_NAME = re.compile(r"[!-+\--<>-~]+", re.ASCII)
"""Kubernetes takes any printable ASCII but `=`; blanks and commas are left to the list that names stand in."""


def is_list_of_names(names: Sequence[str]) -> bool:
    """Whether these can be the names of the variables that a rollback is for: some, each once, not too long."""
    distinct = 0 < len(names) == len(set(names)) <= MOST_NAMES
    return distinct and len(",".join(names)) <= LONGEST_LIST and all(map(_NAME.fullmatch, names))


def names_in(live: Mapping[str, Any], saved: Mapping[str, Any]) -> frozenset[str]:
    """The variables of the containers that both templates have: those that can be restored."""
    then = {container["name"]: container for container in _containers(saved)}
    pairs = ((now, then[now["name"]]) for now in _containers(live) if now["name"] in then)
    return frozenset(variable["name"] for pair in pairs for container in pair for variable in _env(container))


def with_variables_of(live: Mapping[str, Any], saved: Mapping[str, Any], only: Sequence[str] = ()) -> Json:
    """`live` with the variables that its containers have in `saved`: those named by `only`, all if it is empty.

    A variable that the saved container lacks is removed, one that it has is taken over whole (`valueFrom` too). Of all
    variables the order is the saved one. Else a restored variable goes directly behind the last of those that the saved
    container has before it, so that its `$(NAME)` references find what they found there; the others keep their order.
    Where they are in another order than in the saved container, so that this place would be behind one that the saved
    container has after it, the restored variable keeps its place in `live`. A container that `saved` does not have is
    left as it is, and so is everything else of the template.
    """
    spec, then = dict(live.get("spec") or {}), {container["name"]: container for container in _containers(saved)}
    for field in _LISTS:
        if spec.get(field):
            spec[field] = [
                c if is_guard(c) or c["name"] not in then else _restored(c, then[c["name"]], only) for c in spec[field]
            ]
    return {**live, "spec": spec}


def _containers(template: Mapping[str, Any]) -> Iterator[Json]:
    spec = template.get("spec") or {}
    return (c for field in _LISTS for c in spec.get(field) or [] if not is_guard(c))


def _env(container: Mapping[str, Any]) -> list[Json]:
    return list(container.get("env") or [])


def _restored(container: Json, saved: Json, only: Sequence[str]) -> Json:
    now, then = _env(container), _env(saved)
    made = _merged(now, then, frozenset(only)) if only else then
    if made == now:
        return container
    if made:
        return {**container, "env": made}
    return {key: part for key, part in container.items() if key != "env"}


def _merged(now: Sequence[Json], then: Sequence[Json], only: frozenset[str]) -> list[Json]:
    made = [variable for variable in now if variable["name"] not in only]
    for place, variable in enumerate(then):
        if variable["name"] in only:
            before, after = ({v["name"] for v in part} for part in (then[:place], then[place + 1 :]))
            made.insert(_place(made, now, variable["name"], before, after), variable)
    return made


def _place(made: Sequence[Json], now: Sequence[Json], name: str, before: set[str], after: set[str]) -> int:
    """Where in `made` the restored variable goes; see `with_variables_of`."""
    lowest = max((index for index, v in enumerate(made, 1) if v["name"] in before), default=0)
    highest = min((index for index, v in enumerate(made) if v["name"] in after), default=len(made))
    names = [v["name"] for v in now]
    if lowest <= highest or name not in names:
        return lowest
    ahead = set(names[: names.index(name)])
    return max((index for index, v in enumerate(made, 1) if v["name"] in ahead), default=0)
