"""Whatever happens in whatever order, the guard never says that pods have read what they have not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from logcaster_guard.domain.configuration.content import NoContent, content_of, fingerprint_of
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.configuration.release_configuration import Known
from logcaster_guard.domain.errors import Unavailable
from logcaster_guard.domain.rules import ConfigPolicy, Policy
from logcaster_guard.ports import Kind
from tests.engine.configured import Configured

APP = ConfigObject(ConfigKind.CONFIG_MAP, "default", "app")
OPTIONAL = {"envFrom": [{"configMapRef": {"name": "app", "optional": True}}]}
ACTS = (
    *("edit", "edit", "touch", "delete", "create", "restart", "remove", "wait", "wait"),
    *("guard", "away", "deaf", "hear", "missed"),
)
"""What may happen next; to the watches as well: what they tell may come late, or not at all."""


@dataclass
class Truth:
    """What each pod's container has read at its last start, and when; and how often it was started again."""

    made: Configured
    read: dict[str, Any] = field(default_factory=dict)
    read_at: dict[str, int] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def held(self) -> Any:
        """What the ConfigMap holds now."""
        if "app" not in self.made.cluster.names(Kind.CONFIG_MAP):
            return NoContent.ABSENT
        raw = self.made.cluster.object(Kind.CONFIG_MAP, "app")
        return fingerprint_of(ConfigKind.CONFIG_MAP, content_of(ConfigKind.CONFIG_MAP, raw), None)

    def start(self, pod: str, restarts: int) -> None:
        self.read[pod], self.read_at[pod], self.restarts[pod] = self.held(), int(self.made.cluster.version), restarts

    async def act(self, what: str, number: int) -> None:
        made, pods = self.made, sorted(self.read)
        pod = pods[number % len(pods)] if pods else ""
        present = "app" in made.cluster.names(Kind.CONFIG_MAP)
        self.count += 1
        if what == "edit":
            made.configure(k=str(number % 3))
        elif what == "touch" and present:
            notes = {"annotations": {"n": str(self.count)}}
            made.cluster.change(Kind.CONFIG_MAP, "app", lambda found: found["metadata"].update(notes))
        elif what == "delete" and present:
            made.cluster.remove(Kind.CONFIG_MAP, "app")
        elif what == "create" and len(pods) < 4:
            name = f"pod-{self.count}"
            made.pods(name)
            self.start(name, 0)
        elif what == "restart" and pod:
            made.restart_container(pod, self.restarts[pod] + 1, ready=number % 4 > 0)
            self.start(pod, self.restarts[pod] + 1)
        elif what == "remove" and pod:
            made.remove_pods(pod)
            del self.read[pod]
        elif what == "wait":
            await made.pass_(float(number))
        elif what == "guard":
            await made.stop()
            await made.pass_(float(number))
            await made.start()
        elif what in {"deaf", "hear"}:
            made.watches.hearing.clear() if what == "deaf" else made.watches.hearing.set()
        elif what == "missed":
            made.watches.missed()
        elif what == "away":
            made.cluster.fault = lambda *_: Unavailable("away", status=503)
            await made.pass_(float(number))
            made.cluster.fault = lambda *_: None

    def check(self) -> None:
        """Of the pods as they were listed last; one that was started again since is another matter."""
        known = self.made.known
        shown = {p.name: p for p in known.pods if p.name in self.read}
        same = {n for n, p in shown.items() if [s.instance for s in p.starts.values()] == [f"{self.restarts[n]} "]}
        state = known.state
        if isinstance(state, Known):
            for name in same:
                assert not shown[name].ready or self.read[name] == state.contents[APP].found
        if known.surely_read_latest and known.latest is not None:
            assert all(self.read[name] == known.latest.contents[APP].found for name in same)
        for edit, readers in known.edits():
            assert all(self.read[name] == edit.version.found for name in same.intersection(readers.new))
            # One that read the same before the edit, when nobody looked, has not read the edit.
            place = int(edit.version.resource_version)
            old = [name for name in same.intersection(readers.old) if self.read_at[name] >= place]
            assert all(self.read[name] != edit.version.found for name in old)


async def play(acts: list[tuple[str, int]]) -> None:
    made = Configured(rules=(), policy=Policy(config=ConfigPolicy(volatile=1_000)))
    made.refer(OPTIONAL)
    made.configure(k="0")
    try:
        await made.start()
        truth = Truth(made)
        for what, number in acts:
            await truth.act(what, number)
            truth.check()
        made.watches.hearing.set()
        await made.pass_(62.0)
        truth.check()
    finally:
        await made.stop()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 40)), max_size=25))
def test_nothing_is_said_to_be_read_that_was_not(acts: list[tuple[str, int]]) -> None:
    asyncio.run(play(acts))
