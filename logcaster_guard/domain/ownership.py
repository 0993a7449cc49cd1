"""Whose pod a name is: by who owns whom, and, for pods that are gone, by what their names are made of.

Kubernetes generates a pod's name from its ReplicaSet's or DaemonSet's: the name and a hyphen, cut to 58 characters, and
five random ones (apiserver/pkg/storage/names/generate.go). A ReplicaSet is named after its Deployment and the hash of
its template. A StatefulSet counts its pods.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_LONGEST_STEM = 58
_LEAST_HASH = 4
"""Characters of a ReplicaSet's hash that must have been kept for a name to prove whose pod it is."""
_SUFFIX = re.compile("[a-z0-9]{5}", re.ASCII)
_HASH = "[4-9bcdf]{4,10}"
"""A template's hash: the digits of a number, as k8s.io/apimachinery/pkg/util/rand SafeEncodeString writes them."""
_LONGEST_HASH = 10
_MOST_ADOPTED = 40

UNKNOWN = ""
"""A pod that is the target's, of a release that its name does not tell."""


@dataclass(frozen=True, slots=True)
class PodGroup:
    """Some pods of a workload: those of the `releases` with these template hashes, and those with these `names`."""

    releases: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def has(self, pod: str, release: str | None) -> bool:
        """Whether a pod of this name and release is one of them."""
        return pod in self.names or release in self.releases


@dataclass(frozen=True, slots=True)
class Roster:
    """The pods that a workload owns.

    `live` are those that are there, with the hash of the template that each was made from. `stems` are names that only
    the workload's pods have, less the random characters, with that hash or `UNKNOWN`; `shape` is what others of its
    pods are called. `pattern` (RE2) finds the names of all of them, and may find other names too.
    """

    live: Mapping[str, str] = field(default_factory=dict)
    stems: Mapping[str, str] = field(default_factory=dict)
    shape: re.Pattern[str] | None = None
    pattern: str = ""

    def release(self, pod: str) -> str | None:
        """The hash of the template that the pod was made from, `UNKNOWN` if nothing tells; None: another's pod."""
        if pod in self.live:
            return self.live[pod]
        if pod[:-5] in self.stems and _SUFFIX.fullmatch(pod[-5:]):
            return self.stems[pod[:-5]]
        return UNKNOWN if self.shape is not None and self.shape.fullmatch(pod) else None


def of_deployment(name: str, replica_sets: Mapping[str, str], live: Mapping[str, str]) -> Roster:
    """A Deployment's pods; `replica_sets` are those it owns, by name, with the hashes of their templates.

    Where nothing of a ReplicaSet's hash is left in its pods' names, another workload's pods may be called the same:
    only those that live are known then.
    """
    stems: dict[str, str] = {}
    for replica_set, template in replica_sets.items():
        stem = _stem(replica_set)
        if not replica_set.startswith(f"{name}-") or len(stem.rstrip("-")) > len(name) + _LEAST_HASH:
            stems[stem] = template if stems.get(stem, template) == template else UNKNOWN
    if len(name) + _LONGEST_HASH + 2 > _LONGEST_STEM:
        shape, usual = None, f"{_literal(_stem(name))}[a-z0-9-]{{5,16}}"
    else:
        shape = re.compile(rf"{re.escape(name)}-{_HASH}-[a-z0-9]{{5}}", re.ASCII)
        usual = f"{_literal(name)}-[a-z0-9]{{1,10}}-[a-z0-9]{{5}}"
    # An adopted ReplicaSet keeps the name that another Deployment gave it.
    adopted = sorted(_literal(_stem(s)) + "[a-z0-9]{5}" for s in replica_sets if not s.startswith(f"{name}-"))
    pattern = f"(?:{'|'.join([usual, *adopted[:_MOST_ADOPTED]])})" if adopted else usual
    return Roster(live, stems, shape, pattern)


def of_daemon_set(name: str, live: Mapping[str, str]) -> Roster:
    """A DaemonSet's pods, whose names do not tell their release."""
    return Roster(live, {_stem(name): UNKNOWN}, None, f"{_literal(_stem(name))}[a-z0-9]{{5}}")


def of_stateful_set(name: str, live: Mapping[str, str]) -> Roster:
    """A StatefulSet's pods. Each keeps its name from release to release, so no name tells one, not even now."""
    shape = re.compile(rf"{re.escape(name)}-[0-9]{{1,9}}", re.ASCII)
    return Roster(dict.fromkeys(live, UNKNOWN), {}, shape, f"{_literal(name)}-[0-9]+")


def example(kind: str, name: str) -> str:
    """What a pod of such a workload is called."""
    if kind == "StatefulSet":
        return f"{name}-0"
    return _stem(name if kind == "DaemonSet" else f"{name}-7d9f8c6b5") + "x8k2p"


def _stem(owner: str) -> str:
    return f"{owner}-"[:_LONGEST_STEM]


def _literal(name: str) -> str:
    return name.replace(".", r"\.")
