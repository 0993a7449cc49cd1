"""What a rollback leaves behind in the tool that deploys: that still takes the bad release for what it applied.

kubectl and Helm take away only what their own last manifest had. What the restored release alone has stays at their
next apply, whatever that brings.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from logcaster_guard.domain.releases import Release, leaves_last_applied
from logcaster_guard.domain.workload import Workload, release_of

HELM_NAME, HELM_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"
_LONGEST_NAME = 63


@dataclass(frozen=True, slots=True)
class Leftover:
    """`fields` of the pod template stay at the next apply; `helm` and `namespace` name the Helm release, if any."""

    fields: tuple[str, ...]
    helm: str = ""
    namespace: str = ""

    @property
    def history(self) -> str:
        """The command that shows which revision to go back to in Helm; empty without Helm."""
        return f"helm -n {shlex.quote(self.namespace)} history {shlex.quote(self.helm)}" if self.helm else ""

    @property
    def remedy(self) -> str:
        """The command that brings Helm's own record back, but for the revision; empty without Helm."""
        return f"helm -n {shlex.quote(self.namespace)} rollback {shlex.quote(self.helm)} REVISION" if self.helm else ""


def leftover(workload: Workload, release: Release) -> Leftover | None:
    """What `workload` is left with when `release` is restored in it; None where the next apply is whole."""
    fields = tuple(_only_in(release.template, workload.template))
    helm = workload.annotations.get(HELM_NAME, "")[:_LONGEST_NAME]
    if helm:
        namespace = workload.annotations.get(HELM_NAMESPACE, workload.namespace)[:_LONGEST_NAME]
        return Leftover(fields, helm, namespace)
    return Leftover(fields) if fields and leaves_last_applied(workload, release) else None


def _only_in(template: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    known = set(_paths(release_of(other), ""))
    found: list[str] = []
    for path in _paths(release_of(template), ""):
        # What is below something that is told already says nothing more.
        if path not in known and not any(path.startswith((f"{above}.", f"{above}[")) for above in found):
            found.append(path)
    return found


def _paths(value: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - raw JSON
    """Every path in the template, what is above before what is below."""
    parts: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        parts = [(f"{path}.{key}" if path else str(key), part) for key, part in value.items()]
    if isinstance(value, list):
        parts = [(f"{path}[{_name(part, index)}]", part) for index, part in enumerate(value)]
    for below, part in parts:
        yield below
        yield from _paths(part, below)


def _name(part: Any, index: int) -> str:  # noqa: ANN401 - raw JSON
    return str(part.get("name", index) if isinstance(part, dict) else index)
