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
ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["edit", "edit", "touch", "delete", "create pod", "restart", "remove pod", "wait", "wait", "guard", "away"]
        ),
        st.integers(0, 40),
    ),
    max_size=25,
)


@dataclass
class Truth:
    """What each pod's container has read at its last start, and how often it was started again."""

    made: Configured
    read: dict[str, Any] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def held(self) -> Any:
        """What the ConfigMap holds now."""
        if "app" not in self.made.cluster.names(Kind.CONFIG_MAP):
            return NoContent.ABSENT
        raw = self.made.cluster.object(Kind.CONFIG_MAP, "app")
        return fingerprint_of(ConfigKind.CONFIG_MAP, content_of(ConfigKind.CONFIG_MAP, raw), None)

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
        elif what == "create pod" and len(pods) < 4:
            name = f"pod-{self.count}"
            made.pods(name)
            self.read[name], self.restarts[name] = self.held(), 0
        elif what == "restart" and pod:
            self.restarts[pod] += 1
            made.restart_container(pod, self.restarts[pod], ready=number % 4 > 0)
            self.read[pod] = self.held()
        elif what == "remove pod" and pod:
            made.remove_pods(pod)
            del self.read[pod]
        elif what == "wait":
            await made.pass_(float(number))
        elif what == "guard":
            await made.stop()
            await made.pass_(float(number))
            await made.start()
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
            assert all(self.read[name] != edit.version.found for name in same.intersection(readers.old))


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
        await made.pass_(62.0)
        truth.check()
    finally:
        await made.stop()


@settings(max_examples=60, deadline=None)
@given(ACTS)
def test_nothing_is_said_to_be_read_that_was_not(acts: list[tuple[str, int]]) -> None:
    asyncio.run(play(acts))
