"""Runs over a world of their own: whatever is seen or lost, each effect is intended, had once, and given back."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain import runs
from logcaster_guard.domain.events import Event, HoldReleased, RunClosed, RunOpened, StepDone, StepIntended
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Pending, Unclear
from logcaster_guard.domain.runs import FAILED, Close, Commit, Compensate, Perform, Run, WaitUntil
from logcaster_guard.domain.steps import Compensation, Plan, Step, Write
from logcaster_guard.steps.ask_people import AskPeople
from logcaster_guard.steps.await_endpoints import AwaitEndpoints
from logcaster_guard.steps.await_environment import AwaitEnvironment
from logcaster_guard.steps.await_helper import AwaitHelper
from logcaster_guard.steps.await_rollout import AwaitRollout
from logcaster_guard.steps.check_environment import CheckEnvironment
from logcaster_guard.steps.copy_config_map import CopyConfigMap
from logcaster_guard.steps.create_helper import CreateHelper
from logcaster_guard.steps.delete_stuck_pods import DeleteStuckPods
from logcaster_guard.steps.judge_environment import JudgeEnvironment
from logcaster_guard.steps.judge_helper import JudgeHelper
from logcaster_guard.steps.pin_autoscaler import PinAutoscaler
from logcaster_guard.steps.raise_autoscaler_minimum import RaiseAutoscalerMinimum
from logcaster_guard.steps.remove_helper import RemoveHelper
from logcaster_guard.steps.restore_environment import RestoreEnvironment
from logcaster_guard.steps.restore_later import RestoreLater
from logcaster_guard.steps.restore_template import RestoreTemplate
from logcaster_guard.steps.roll_environment import RollEnvironment
from logcaster_guard.steps.scale_environment import ScaleEnvironment
from logcaster_guard.steps.scale_helper import ScaleHelper
from logcaster_guard.steps.scale_production import ScaleProduction
from logcaster_guard.steps.switch_service import SwitchService
from logcaster_guard.steps.verify_recovery import VerifyRecovery
from tests.domain.build import UID, at

VERIFY = VerifyRecovery("high_error_rate", 300.0, 1_200.0)
STRATEGIES: dict[str, tuple[Step, ...]] = {
    "immediate": (
        RaiseAutoscalerMinimum("hpa", "u", 4),
        RestoreTemplate("blob"),
        DeleteStuckPods(600.0),
        AwaitRollout(600.0),
        VERIFY,
    ),
    "gradual": (
        PinAutoscaler("hpa", "u", 4),
        CreateHelper("helper", "blob", 2, {}),
        AwaitHelper("helper", 2, 600.0),
        ScaleProduction(2),
        JudgeHelper("helper", 0.5, 60.0, 60.0, 0.01, 100, 360.0),
        ScaleHelper("helper", 4),
        ScaleProduction(0),
        RestoreTemplate("blob"),
        ScaleProduction(4),
        AwaitRollout(600.0),
        RemoveHelper("helper"),
        VERIFY,
    ),
    "blue_green": (
        RestoreEnvironment("blob", 4),
        ScaleEnvironment(4),
        AwaitEnvironment(4, 600.0),
        CheckEnvironment("http://green", 600.0),
        SwitchService("environment", "blue", "green"),
        AwaitEndpoints(4, 600.0),
        JudgeEnvironment(60.0, 60.0, 0.01, None, 100, 660.0),
        VERIFY,
    ),
    "blue_green with configuration": (
        CopyConfigMap("settings", "blob", "seed"),
        RollEnvironment(restart=False),
        AwaitEnvironment(1, 600.0),
        ScaleEnvironment(4),
        AwaitEnvironment(4, 600.0),
        RestoreLater("ConfigMap", "settings", "u", "blob", ()),
        SwitchService("environment", "blue", "green"),
        AwaitEndpoints(4, 600.0),
        VERIFY,
    ),
    "alert_then": (
        AskPeople("high_error_rate", 300.0, False, 120.0, 300.0, 900.0),
        RestoreTemplate("blob"),
        AwaitRollout(600.0),
        VERIFY,
    ),
}
BORROWS: dict[type[Step], tuple[str, str]] = {
    RaiseAutoscalerMinimum: ("autoscaler_minimum", "autoscaler/hpa"),
    PinAutoscaler: ("autoscaler_bounds", "autoscaler/hpa"),
    CreateHelper: ("helper", "helper/helper"),
    ScaleProduction: ("replicas", "replicas"),
    RestoreEnvironment: ("environment", "environment"),
    ScaleEnvironment: ("environment_size", "environment_size"),
    SwitchService: ("selector", "selector"),
    CopyConfigMap: ("config_copy", "config_copy/settings-1"),
    RollEnvironment: ("environment_template", "environment_template"),
    RestoreLater: ("shared_configuration", "shared_configuration/ConfigMap/settings"),
}
LONGEST = 20_000
"""Turns in which every run comes to its end, whatever was seen before."""

seen = st.sampled_from(["true", "true", "true", "nothing", "unclear", "pending", "foreign", "failed", "before"])
deaths = st.sampled_from([None, None, None, "before the intent", "before the effect", "after the effect"])
turns = st.lists(st.tuples(seen, deaths, st.sampled_from([0.0, 1.0, 30.0, 400.0])), max_size=30)


@dataclass(slots=True)
class World:
    """What is there: the steps that had their effect, and what is out. `effects` counts the former by step."""

    there: set[int] = field(default_factory=set)
    out: set[str] = field(default_factory=set)
    effects: dict[int, int] = field(default_factory=dict)
    now: float = 0.0

    def look(self, run: Run) -> Observation | None:
        """As it is: a wait or a judgement is done at once, a write when its effect is there."""
        if run.ending is not None:
            owed = run.owed
            return None if owed is None else Before() if owed.id in self.out else Done()
        step = run.present
        if step is None or run.started is None:
            return None
        if not isinstance(step, Write) or run.step in self.there:
            return Done()
        kind, name = BORROWS.get(type(step), ("replicas", ""))
        return Before(borrows=Compensation(name, kind, name, UID, original=1, written=4) if name else None)

    def apply(self, run: Run) -> None:
        assert run.attempts > 0, "an effect without an intent"
        assert run.ending is None
        index, step = run.step, run.opened.plan.steps[run.step]
        if index not in self.there:
            self.effects[index] = self.effects.get(index, 0) + 1
        self.there.add(index)
        if type(step) in BORROWS:
            name = BORROWS[type(step)][1]
            assert name in run.compensations, "borrowed without a hold in the journal"
            self.out.add(name)


def opened(strategy: str) -> RunOpened:
    plan = Plan(
        strategy, "default", "d", UID, "bad", "good", ("bad",), ("good",), 4, False, None, None, STRATEGIES[strategy]
    )  # fmt: skip
    return RunOpened(at(0), "r", "default/d", "high_error_rate", "reason", plan)


def observed(word: str, truth: Observation | None, run: Run) -> Observation | None:
    """What a look at this moment gives; nobody sees an effect that is not there."""
    others: dict[str, Observation | None] = {
        "nothing": None,
        "unclear": Unclear("503"),
        "pending": Pending(),
        "foreign": ExternalChange("theirs"),
        "failed": Failed(FAILED, "403"),
        "before": truth if isinstance(truth, Before) else Before(),
    }
    borrowed_back = run.ending is not None and word in {"foreign", "failed"}
    return truth if word not in others or borrowed_back or truth is None else others[word]


def turn(world: World, journal: list[Event], word: str, death: str | None) -> None:
    """One turn of an executor that has just been started, as each of them might be."""
    run = runs.fold(journal)["r"]
    began = run.ending.at if run.ending is not None else run.started
    elapsed = 0.0 if began is None else (at(world.now) - began).total_seconds()
    decision = runs.next(run, observed(word, world.look(run), run), at(world.now), elapsed)
    if death == "before the intent":
        return
    match decision:
        case Commit(events):
            journal += events
        case Close(closed):
            journal.append(closed)
        case Perform(intent):
            journal.append(intent)
            if death != "before the effect":
                world.apply(runs.fold(journal)["r"])
            world.now += 0.5
        case Compensate(owed):
            assert run.ending is not None
            if death != "before the effect":
                world.out.discard(owed.id)
        case WaitUntil(seconds):
            assert 0.0 <= seconds <= 60.0
            world.now += max(seconds, 0.5)


def check(journal: list[Event]) -> None:
    """What the journal alone must tell."""
    owed: set[str] = set()
    intended: set[int] = set()
    for event in journal:
        match event:
            case StepIntended():
                intended.add(event.step)
                owed |= set() if event.hold is None else {event.hold.id}
            case HoldReleased():
                assert event.hold in owed
                owed.discard(event.hold)
            case RunClosed():
                assert not owed, f"closed while {owed} is out"
                assert event is journal[-1], "nothing follows the end"
            case StepDone():
                assert runs.fold(journal)["r"].opened.plan.steps[event.step] is not None
            case _:
                pass


@given(st.sampled_from(sorted(STRATEGIES)), turns)
def test_whatever_is_seen_and_wherever_it_dies_a_run_ends_and_gives_back(
    strategy: str, script: list[tuple[str, str | None, float]]
) -> None:
    world, journal = World(), list[Event]([opened(strategy)])
    for word, death, wait in script:
        if runs.fold(journal)["r"].closed is not None:
            break
        world.now += wait
        turn(world, journal, word, death)
    for _ in range(LONGEST):
        if runs.fold(journal)["r"].closed is not None:
            break
        turn(world, journal, "true", None)
    assert isinstance(journal[-1], RunClosed)
    assert not world.out, f"{world.out} is out for ever"
    assert all(count == 1 for count in world.effects.values())
    check(journal)


@given(st.sampled_from(sorted(STRATEGIES)), st.sampled_from(["unclear", "pending", "before", "foreign", "failed"]))
def test_what_is_never_seen_done_comes_to_its_end_in_time(strategy: str, word: str) -> None:
    """Time alone ends every step; what was borrowed may take longer, if it cannot be seen."""
    world, journal = World(), list[Event]([opened(strategy)])
    for _ in range(LONGEST):
        run = runs.fold(journal)["r"]
        if run.ending is not None:
            break
        turn(world, journal, word, "before the effect")
        world.now += 9.0
    assert runs.fold(journal)["r"].ending is not None
    longest = max(s.deadline for s in STRATEGIES[strategy])
    assert world.now <= longest + 80.0


@given(st.sampled_from(sorted(STRATEGIES)), turns)
def test_a_run_is_the_same_however_its_stream_is_read(
    strategy: str, script: list[tuple[str, str | None, float]]
) -> None:
    world, journal = World(), list[Event]([opened(strategy)])
    for word, death, wait in script:
        if runs.fold(journal)["r"].closed is not None:
            break
        world.now += wait
        turn(world, journal, word, death)
    stepwise: dict[str, Run] = {}
    for event in journal:
        found = runs.extend(stepwise, event)
        stepwise |= {} if found is None else {found.id: found}
    assert stepwise == runs.fold(journal)
