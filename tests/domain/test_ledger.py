from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logcaster_guard.domain import ledger_events
from logcaster_guard.domain.events import (
    Event,
    PodsReplaced,
    RevisionBad,
    RevisionConfigured,
    RevisionGood,
    RevisionLive,
    RevisionMarked,
    RevisionNumbered,
    RevisionSeeded,
    RunAnswered,
    RunClosed,
    RunOpened,
    TargetFrozen,
    TargetThawed,
)
from logcaster_guard.domain.inbox.commands import Mark, RunCommand
from logcaster_guard.domain.ledger import Ledger, ReleaseStatus
from logcaster_guard.domain.ledger_events import fold
from logcaster_guard.domain.probation import Probation
from logcaster_guard.domain.proofs import proofs
from logcaster_guard.domain.reasons import FiredAfterRollout
from logcaster_guard.domain.releases import ReleaseId
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import Workload, revisions_of
from tests.domain.build import UID, at, deployment, replica_set

POLICY = LedgerPolicy()
DAY = 86_400.0


def live(name: str, seconds: float = 0.0, *, undo_of: str | None = None, by: str | None = None) -> RevisionLive:
    return RevisionLive(
        at(seconds), name, name, UID, f"blob {name}", (name,), earliest=at(seconds), undo_of=undo_of, by_guard=by
    )


def good(name: str, seconds: float = 0.0) -> RevisionGood:
    return RevisionGood(at(seconds), name, 1.0, 600.0)


def partly(name: str) -> RevisionGood:
    return RevisionGood(at(0), name, 1.0, 600.0, unmeasured=("errors",))


def seeded(name: str, order: int, *, stood: float = 2 * DAY, undone: bool = False) -> RevisionSeeded:
    return RevisionSeeded(at(0), name, str(order), order, f"rs {name}", f"blob {name}", (name,), stood, undone)


def opened(run: str, source: str, to: str, *, attributed: bool = False) -> RunOpened:
    plan = Plan("immediate", "default", "d", UID, source, to, (source,), (to,), 3, False, None, None, ())
    return RunOpened(at(0), run, "default/d", "rule", "reason", plan, attributed=attributed)


def destination(events: Sequence[Event]) -> str | None:
    found = fold(events).destination(POLICY)
    return None if found is None else found.template


def release_status(events: Sequence[Event], name: str) -> ReleaseStatus:
    return fold(events).records[name].status(POLICY)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([live("v1"), live("v2")], None),  # unproven
        ([live("v1"), good("v1"), live("v2")], "v1"),
        ([live("v1"), good("v1"), live("v2"), good("v2")], "v1"),  # never the present one
        ([live("v1"), good("v1"), live("v2"), good("v2"), live("v3")], "v2"),  # the one that was live last
        ([live("v1"), good("v1"), live("v2"), good("v2"), live("v1"), live("v3")], "v1"),
        ([live("v1"), good("v1"), live("v2"), live("v1", undo_of="v2"), live("v3")], "v1"),
        ([live("v1"), good("v1"), live("v2"), good("v2"), RevisionBad(at(0), "v2", ""), live("v3")], "v1"),
        ([seeded("v1", 1), live("v2")], "v1"),  # presumed good
        ([seeded("v1", 1, stood=DAY - 1), live("v2")], None),
        ([seeded("v1", 1, undone=True), live("v2")], None),
        ([seeded("v1", 1), seeded("v2", 2), live("v3")], "v2"),
        ([seeded("v1", 1), live("v2"), good("v2"), live("v3")], "v2"),  # a good one before any presumed one
        ([live("v1"), good("v1"), seeded("v0", 1), live("v2")], "v1"),
        ([live("v1"), good("v1"), live("v2"), partly("v2"), live("v3")], "v1"),  # all rules saw v1
        ([live("v1"), live("v2"), partly("v2"), live("v3")], "v2"),  # none is better
        ([live("v1"), partly("v1"), live("v2"), partly("v2"), live("v3")], "v2"),
        ([live("v1"), partly("v1"), good("v1"), live("v2"), partly("v2"), live("v3")], "v1"),  # measured later
        ([seeded("v1", 1), live("v2"), partly("v2"), live("v3", DAY - 1)], "v1"),  # a day proves more than it
        ([seeded("v1", 1), live("v2"), partly("v2"), live("v3", DAY + 1)], "v2"),  # it has stood a day as well
        ([live("v1"), good("v1"), live("v2"), opened("r", "v2", "v1"), live("v1", by="r"), live("v3")], "v1"),
    ],
)
def test_destination(events: Sequence[Event], expected: str | None) -> None:
    assert destination(events) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([opened("r", "v2", "v1")], ReleaseStatus.UNPROVEN),  # vetoed, or the breach went away: nothing was left
        ([opened("r", "v2", "v1", attributed=True)], ReleaseStatus.BAD),
        ([opened("r", "v2", "v1"), live("v1", by="r")], ReleaseStatus.BAD),
    ],
)
def test_a_run_makes_the_release_bad_that_a_breach_was_put_down_to_or_that_it_left(
    events: Sequence[Event], expected: ReleaseStatus
) -> None:
    assert release_status([live("v1"), live("v2"), *events], "v2") is expected


def test_a_release_stays_bad_for_what_it_was_bad_for_before_it_was_left() -> None:
    run = opened("r", "v2", "v1", attributed=True)
    left: list[Event] = [live("v1"), good("v1"), live("v2")]
    assert fold([*left, run]).records["v2"].bad_reason == FiredAfterRollout("rule")
    crashed = RevisionBad(at(0), "v2", "its pods cannot start")
    assert fold([*left, crashed, run]).records["v2"].bad_reason == "its pods cannot start"


def test_a_second_rollback_does_not_return_to_the_bad_one() -> None:
    events: list[Event] = [live("v1"), good("v1")]
    events += [live("v2"), good("v2"), opened("r", "v2", "v1"), live("v1", by="r")]
    events += [live("v3"), opened("q", "v3", "v1"), live("v1", by="q")]
    assert destination(events) is None
    assert release_status(events, "v3") is ReleaseStatus.BAD


def test_an_undo_by_anyone_leaves_a_bad_revision() -> None:
    before: list[Event] = [live("v1"), good("v1"), live("v2")]
    assert fold(before).is_undo(ReleaseId("v1"))
    assert not fold(before).is_undo(ReleaseId("v3"))
    assert not fold(before).is_undo(ReleaseId("v2"))
    assert release_status([*before, live("v1", undo_of="v2")], "v2") is ReleaseStatus.BAD


def test_going_from_an_older_release_to_a_newer_one_is_no_undo() -> None:
    assert not fold([live("v1"), live("v2"), live("v1", undo_of="v2")]).is_undo(ReleaseId("v2"))


def test_bad_is_lifted_only_when_rolled_out_again_and_earned() -> None:
    bad: list[Event] = [live("v1"), good("v1"), live("v2"), RevisionBad(at(0), "v2", "")]
    assert release_status([*bad, good("v2")], "v2") is ReleaseStatus.BAD
    again = [*bad, live("v1"), live("v2")]
    assert release_status(again, "v2") is ReleaseStatus.BAD
    assert release_status([*again, good("v2")], "v2") is ReleaseStatus.GOOD


def test_a_bad_release_that_the_guard_itself_put_back_does_not_earn_good() -> None:
    left: list[Event] = [live("v1"), good("v1"), live("v2"), opened("r", "v2", "v1", attributed=True)]
    left += [live("v1", by="r"), RevisionBad(at(0), "v1", "its pods cannot start"), live("v2", by="q")]
    assert release_status([*left, good("v2")], "v2") is ReleaseStatus.BAD
    assert destination([*left, good("v2"), live("v3")]) is None


def test_a_release_stands_from_its_rollout_to_the_next() -> None:
    ledger = fold([live("v1"), live("v2", DAY + 1), live("v3", DAY + 2)])
    assert ledger.records["v1"].status(POLICY) is ReleaseStatus.PRESUMED_GOOD
    assert ledger.records["v2"].status(POLICY) is ReleaseStatus.UNPROVEN


def test_who_put_the_present_release_there_is_known() -> None:
    assert [r.by_guard for r in fold([live("v1", by="r")]).rollouts] == ["r"]
    assert [r.by_guard for r in fold([live("v1", by="r"), good("v1"), live("v2")]).rollouts] == [None]


@pytest.mark.parametrize(
    ("events", "onset", "expected"),
    [
        ([live("v1"), good("v1"), live("v2", 100), live("v3", 200)], 150, {"v2", "v3"}),  # the fix did not mend it
        ([live("v1"), good("v1"), live("v2", 100), live("v3", 200)], 200, {"v3"}),
        ([live("v1"), good("v1"), live("v2", 100), live("v3", 200), live("v4", 300)], 120, {"v2", "v3", "v4"}),
        ([live("v1"), good("v1"), live("v2", 100), good("v2"), live("v3", 200)], 150, set()),  # v2 had been well
        ([live("v1"), good("v1"), live("v2", 100), live("v3", 200)], 50, set()),
        ([live("v1"), good("v1"), live("v2", 100), live("v1", 200, undo_of="v2")], 150, set()),
        ([live("v1"), live("v2", 100), live("v1", 200, undo_of="v2")], 150, set()),
        ([live("v1"), good("v1"), live("v2", 100), live("v1", 200, by="r"), live("v3", 300)], 150, set()),
        ([live("v1"), good("v1"), live("v2", 100), replace(live("v3", 200), earliest=None)], 150, {"v2", "v3"}),
    ],
)  # fmt: skip
def test_a_breach_that_began_with_a_release_that_never_earned_good_is_still_that_rollouts(
    events: Sequence[Event], onset: float, expected: set[str]
) -> None:
    ledger = fold(events)
    rollout = ledger.rollout_of(at(onset))
    assert rollout is not None
    assert rollout.earliest is not None
    began_after = rollout.earliest <= at(onset)
    assert (ledger.suspected(at(onset)) if began_after else set()) == expected


UNDATED = [replace(live(name, seconds), earliest=None) for name, seconds in (("v2", 100), ("v3", 200))]


@pytest.mark.parametrize(
    ("rollouts", "onset", "expected"),
    [
        ([live("v2", 100), live("v3", 200)], 50, "v2"),
        ([live("v2", 100), live("v3", 200)], 199, "v2"),
        ([live("v2", 100), live("v3", 200)], 200, "v3"),
        ([UNDATED[0], live("v3", 200)], 50, "v3"),
        (UNDATED, 150, "v3"),
    ],
)
def test_a_breach_older_than_every_rollout_is_held_against_the_first_that_is_known(
    rollouts: Sequence[Event], onset: float, expected: str
) -> None:
    found = fold([live("v1"), good("v1"), *rollouts]).rollout_of(at(onset))
    assert found is not None
    assert found.key == expected


def test_a_run_makes_every_release_bad_that_answers_for_the_breach() -> None:
    events: list[Event] = [live("v1"), good("v1"), live("v2", 100), live("v3", 200)]
    run = replace(opened("r", "v3", "v1", attributed=True), onset=at(150))
    assert {n: release_status([*events, run], n) for n in ("v1", "v2", "v3")} == {
        "v1": ReleaseStatus.GOOD, "v2": ReleaseStatus.BAD, "v3": ReleaseStatus.BAD,
    }  # fmt: skip


VETO = RunAnswered(at(300), "r", RunCommand.VETO, "digest", "not now", until=at(9_000))
VETOED: list[Event] = [live("v1"), good("v1"), live("v2"), opened("r", "v2", "v1", attributed=True), VETO]


@pytest.mark.parametrize(
    ("events", "held"),
    [
        ([], "v2"),
        ([live("v3")], "v2"),  # and again for v2, should somebody roll it out again
        ([RevisionMarked(at(400), "v2", Mark.BAD, "digest")], None),
        ([RevisionMarked(at(400), "v1", Mark.BAD, "digest")], "v2"),
        ([replace(opened("q", "v2", "v1"), request="digest")], None),
        ([opened("q", "v2", "v1")], "v2"),
        ([replace(VETO, answer=RunCommand.APPROVE, until=None)], "v2"),
    ],
)
def test_a_veto_holds_for_its_release_until_a_persons_word(events: Sequence[Event], held: str | None) -> None:
    veto = fold([*VETOED, *events]).veto
    assert (None if veto is None else veto.key) == held


@pytest.mark.parametrize(
    "event",
    [
        RevisionNumbered(at(0), "v9", "9"),
        PodsReplaced(at(0), "v9", ("a",), "blob"),
        RevisionBad(at(0), "v9", ""),
        good("v9"),
    ],
)
def test_what_is_told_of_a_release_that_is_not_known_changes_nothing(event: Event) -> None:
    before: list[Event] = [live("v1")]
    assert replace(fold([*before, event]), length=1) == fold(before)


def test_freezes() -> None:
    frozen = fold([TargetFrozen(at(0), "annotation", "why", "digest")])
    assert frozen.freeze is not None
    assert (frozen.freeze.by, frozen.freeze.reason, frozen.freeze.spec) == ("annotation", "why", "digest")
    assert fold([TargetFrozen(at(0), "annotation", "why"), TargetThawed(at(0), "annotation", "")]).freeze is None
    assert fold([RunClosed(at(0), "r", "failed", "it broke", freeze=True)]).freeze is not None
    assert fold([RunClosed(at(0), "r", "recovered", "", freeze=False)]).freeze is None


NAMES = st.sampled_from(["v1", "v2", "v3", "v4"])
MOVES = st.lists(
    st.tuples(st.sampled_from(["live", "undo", "good", "bad", "rollback", "seed", "mark", "lift"]), NAMES), max_size=25
)


@given(MOVES)
def test_a_bad_revision_is_never_a_destination(moves: Sequence[tuple[str, str]]) -> None:
    """A small model of its own: bad until live again after that and good since, or lifted by a person."""
    ledger, bad, relived = Ledger(), set[str](), set[str]()
    for move, name in moves:
        for event in _events(ledger, move, name):
            before, ledger = ledger.present, ledger_events.extend(ledger, [event])
            match event:
                case RevisionLive(template=now, undo_of=undone, by_guard=run):
                    relived |= {now} & bad
                    left = undone if run is None else before
                    if left is not None:
                        bad.add(left)
                        relived.discard(left)
                case RevisionMarked(template=found, mark=Mark.NOT_BAD):
                    bad.discard(found)
                    relived.discard(found)
                case RevisionBad(template=found) | RevisionMarked(template=found):
                    bad.add(found)
                    relived.discard(found)
                case RevisionSeeded(template=found, superseded_by_undo=True):
                    bad.add(found)
                case RevisionGood(template=found) if found in relived:
                    bad.discard(found)
                    relived.discard(found)
                case _:
                    pass
        goal = ledger.destination(POLICY)
        if goal is not None:
            assert goal.template not in bad
            assert goal.template != ledger.present
            assert goal.status(POLICY) in {ReleaseStatus.GOOD, ReleaseStatus.PRESUMED_GOOD}


def _events(ledger: Ledger, move: str, name: str) -> list[Event]:
    """What the guard would journal for this move, in the present situation."""
    known = ledger.present is not None and name in ledger.records
    match move:
        case "live" if name != ledger.present:
            return [live(name, undo_of=ledger.present if ledger.is_undo(ReleaseId(name)) else None)]
        case "undo" if ledger.is_undo(ReleaseId(name)):
            return [live(name, undo_of=ledger.present)]
        case "good" if known:
            return [good(name)]
        case "bad" if known:
            return [RevisionBad(at(0), name, "")]
        case "mark" | "lift" if known:
            return [RevisionMarked(at(0), name, Mark.BAD if move == "mark" else Mark.NOT_BAD, "digest")]
        case "seed" if name not in ledger.records:
            return [seeded(name, 1, undone=name == "v4")]
        case "rollback":
            found = ledger.destination(POLICY)
            if found is not None and ledger.present is not None:
                return [opened("r", ledger.present, found.template), live(found.template, by="r")]
    return []


def prove(*sets: dict[str, object]) -> dict[str, tuple[float, bool]]:
    revisions = revisions_of(Workload(deployment()), sets)
    return {p.revision.name.removeprefix("logcaster-prod-"): (p.stood, p.superseded_by_undo) for p in proofs(revisions)}


def test_a_revision_stood_until_the_next_one_was_made() -> None:
    found = prove(replica_set(1, "v1", 0), replica_set(2, "v2", 2 * DAY), replica_set(3, "v3", 2 * DAY + 60))
    assert found == {"v1": (2 * DAY, False), "v2": (60.0, False)}


def test_an_undo_renumbers_and_what_it_left_is_known() -> None:
    # v1, v2, undo: v1 is revision 3 now, and its age by creation proves nothing.
    found = prove(replica_set(2, "v2", 2 * DAY), replica_set(3, "v1", 0, earlier=[1]))
    assert found == {"v2": (0.0, True)}


def test_v1_v2_undo_v3() -> None:
    found = prove(replica_set(2, "v2", 2 * DAY), replica_set(3, "v1", 0, earlier=[1]), replica_set(4, "v3", 9 * DAY))
    assert found == {"v2": (0.0, True), "v1": (0.0, False)}


def test_v1_v2_undo_v3_undo() -> None:
    found = prove(replica_set(2, "v2", 2 * DAY), replica_set(4, "v3", 9 * DAY), replica_set(5, "v1", 0, earlier=[1, 3]))
    assert found == {"v2": (0.0, True), "v3": (0.0, True)}


def test_an_undo_of_an_undo_leaves_only_the_one_that_was_undone() -> None:
    # v1, v2, undo to v1 (3), undo to v2 (4), v3
    found = prove(
        replica_set(3, "v1", 0, earlier=[1]), replica_set(4, "v2", DAY, earlier=[2]), replica_set(5, "v3", 9 * DAY)
    )
    assert found == {"v1": (0.0, False), "v2": (0.0, True)}


def test_a_revision_whose_successor_is_gone_proves_nothing() -> None:
    assert prove(replica_set(1, "v1", 0), replica_set(3, "v3", 9 * DAY)) == {"v1": (0.0, False)}


def test_replica_sets_of_others_do_not_count() -> None:
    alien = replica_set(2, "v2", 2 * DAY, owner="another")
    assert prove(replica_set(1, "v1", 0), alien, replica_set(3, "v3", 3 * DAY)) == {"v1": (0.0, False)}


@dataclass
class _Controller:
    """The Deployment controller's numbering: a new template a new ReplicaSet, a known one the next number."""

    made: dict[str, tuple[float, list[int]]] = field(default_factory=dict)
    number: int = 0

    def roll(self, name: str, now: float) -> None:
        self.number += 1
        self.made.setdefault(name, (now, []))[1].append(self.number)

    def sets(self) -> list[dict[str, object]]:
        return [replica_set(n[-1], name, made, earlier=n[:-1]) for name, (made, n) in self.made.items()]


@given(st.lists(st.tuples(NAMES, st.floats(1.0, 3 * DAY)), min_size=1, max_size=12))
def test_replica_sets_never_prove_more_than_was(history: Sequence[tuple[str, float]]) -> None:
    controller, now = _Controller(), 0.0
    stood, order, left_by_undo = dict[str, float](), list[str](), set[str]()
    present: str | None = None
    for name, lasted in history:
        whole = round(lasted)
        if name != present:
            if name in order and present is not None and order.index(name) < order.index(present):
                left_by_undo.add(present)
            if name not in order:
                order.append(name)
            controller.roll(name, now)
            present = name
        stood[name] = stood.get(name, 0.0) + whole
        now += whole
    for name, (claimed, undone) in prove(*controller.sets()).items():
        assert claimed <= stood[name]
        assert undone == (name in left_by_undo)


def watched(text: str, *, step: float = 60.0, staleness: float = 60.0) -> tuple[bool, float]:
    """`+` quiet, `-` not, `.` nobody looked; one a minute."""
    probation, now = Probation(), 0.0
    for mark in text:
        if mark != ".":
            probation = probation.observed(now, quiet={"errors": mark == "+"}, staleness=staleness, good_after=600.0)
        now += step
    return probation.verdict(now - step, POLICY)


@pytest.mark.parametrize(
    ("seen", "earned"),
    [
        ("+" * 11, True),
        ("+" * 10, False),  # nine minutes
        ("+" * 5 + "-" + "+" * 5, True),  # 90 % of the time
        ("+" * 4 + "--" + "+" * 5, False),
        ("-" * 30 + "+" * 11, True),  # only the last ten minutes count
        ("+" * 10 + "-", False),  # not quiet now
        ("+" * 4 + "..." + "+" * 4, False),  # nobody looked
        ("+", False),
        ("", False),
    ],
)
def test_good_is_earned_by_being_watched_quiet(seen: str, *, earned: bool) -> None:
    assert watched(seen)[0] is earned


@pytest.mark.parametrize(
    ("rules", "earned", "blind"),
    [
        ({"a": "+" * 11, "b": "?" * 11}, True, {"b"}),  # a rule that never saw it proves nothing, and does no harm
        ({"a": "?" * 11, "b": "?" * 11}, False, {"a", "b"}),  # nobody saw it
        ({"a": "+" * 11, "b": "?" * 9 + "++"}, False, set()),  # it has to be quiet for as long as every other
        ({"a": "+" * 11, "b": "+" + "?" * 10}, False, set()),  # a look is no proof
        ({"a": "+" * 11, "b": "++?" + "+" * 8}, True, set()),
        ({"a": "+" * 11, "b": "-" + "?" * 20}, False, set()),  # what it saw was bad
        ({"a": "+" * 11, "b": "+" * 5 + "-" * 2 + "+" * 4}, False, set()),  # each by itself
        ({}, False, set()),
    ],
)
def test_good_is_earned_by_the_rules_that_measured(
    rules: Mapping[str, str], *, earned: bool, blind: Collection[str]
) -> None:  # fmt: skip
    probation = Probation()
    told = {"+": True, "-": False, "?": None}
    minutes = max((len(marks) for marks in rules.values()), default=11)
    for minute in range(minutes):
        quiet = {rule: told[marks.rjust(minutes, "?")[minute]] for rule, marks in rules.items()}
        probation = probation.observed(60.0 * minute, quiet=quiet, staleness=60.0, good_after=600.0)
    assert probation.verdict(60.0 * (minutes - 1), POLICY)[0] is earned
    assert probation.blind == blind


def test_a_rule_that_is_gone_keeps_no_release_from_being_good() -> None:
    probation = Probation()
    for minute in range(12):
        quiet = {"a": True} if minute else {"a": True, "gone": False}
        probation = probation.observed(60.0 * minute, quiet=quiet, staleness=60.0, good_after=600.0)
    assert probation.verdict(660.0, POLICY)[0] is True
    assert probation.blind == frozenset()


@given(st.text("+-.", max_size=40))
@example("-+...........")
def test_probation_never_counts_more_than_was_seen_quiet(seen: str) -> None:
    earned, share = watched(seen)
    assert 0.0 <= share <= 1.0 + 1e-9
    if earned:
        assert seen[-11:].count("+") >= 10


def configured(configuration: str, seconds: float) -> RevisionLive:
    return replace(live("t", seconds), configuration=configuration, blob=f"blob of {configuration}")


def test_two_configurations_of_one_template_are_two_releases_and_an_unknown_one_is_the_template() -> None:
    bad = RevisionBad(at(2), "t", "why", configuration="two")
    ledger = fold([configured("one", 0), replace(good("t", 1), configuration="one"), configured("two", 2), bad])
    assert (ledger.present, sorted(ledger.records)) == ("t+two", ["t+one", "t+two"])
    back = ledger.destination(POLICY)
    assert back is not None
    assert (back.release, back.blob) == (ReleaseId("t", "one"), "blob of one")
    assert ledger.records["t+two"].status(POLICY) is ReleaseStatus.BAD
    unknown = fold([configured("", 0), good("t", 1), configured("", 2)])
    assert (unknown.present, list(unknown.records), unknown.destination(POLICY)) == ("t", ["t"], None)


def test_an_undo_leaves_the_release_that_it_names_and_no_other_configuration_of_its_template() -> None:
    left = replace(configured("one", 2), undo_of="t+two")
    ledger = fold([configured("one", 0), configured("two", 1), left])
    statuses = {key: record.status(POLICY) for key, record in ledger.records.items()}
    assert statuses == {"t+one": ReleaseStatus.UNPROVEN, "t+two": ReleaseStatus.BAD}


def known(configuration: str, template: str = "t") -> RevisionConfigured:
    return RevisionConfigured(
        at(5), template, "", {"ConfigMap default/c": f"blob of {configuration}"}, configuration=configuration
    )


def test_a_configuration_that_becomes_known_belongs_to_the_release_whose_rollout_goes_on() -> None:
    ledger = fold([live("s"), live("t", 3), known("one")])
    assert (sorted(ledger.records), ledger.present) == (["s", "t+one"], "t+one")
    record = ledger.records["t+one"]
    assert record.contents == {"ConfigMap default/c": "blob of one"}
    assert record.blobs == {"blob t", "blob of one"}
    assert [(r.key, r.earliest) for r in ledger.rollouts] == [("s", at(0)), ("t+one", at(3))]
    assert ledger.rollout == replace(fold([live("s"), live("t", 3)]).rollouts[-1], key="t+one")


def test_what_was_earned_while_the_configuration_was_unknown_stays_with_what_is_unknown() -> None:
    ledger = fold([live("t"), good("t", 1), known("one")])
    assert {k: r.status(POLICY) for k, r in ledger.records.items()} == {
        "t": ReleaseStatus.GOOD, "t+one": ReleaseStatus.UNPROVEN,
    }  # fmt: skip
    assert ledger.destination(POLICY) is None, "nothing tells what it would put back"
    assert ledger.unread(POLICY) == ledger.records["t"]
    assert fold([live("t"), known("one")]).unread(POLICY) is None
    assert fold([live("t"), good("t", 1), known("one"), live("s", 9)]).unread(POLICY) is None
    seen = fold([seeded("t", 1), live("s"), live("t"), known("one")])
    assert seen.records["t"].status(POLICY) is ReleaseStatus.PRESUMED_GOOD


def test_a_configuration_that_was_known_before_is_the_same_release_again() -> None:
    earned: list[Event] = [
        live("t"),
        known("one"),
        replace(good("t", 1), configuration="one"),
        live("s", 9),
        live("t", 20),
    ]
    ledger = fold([*earned, known("one")])
    assert (sorted(ledger.records), ledger.present) == (["s", "t+one"], "t+one")
    assert ledger.records["t+one"].status(POLICY) is ReleaseStatus.GOOD
    assert ledger.records["t+one"].last_live > ledger.records["s"].last_live
    found_bad = RevisionBad(at(21), "t", "why")
    assert fold([*earned, found_bad, known("one")]).records["t+one"].status(POLICY) is ReleaseStatus.BAD


def test_what_people_said_of_a_release_holds_when_its_configuration_becomes_known() -> None:
    before: list[Event] = [live("s"), good("s"), live("t", 3)]
    objected = RevisionMarked(at(4), "t", Mark.BAD, "digest", "it loses requests")
    marked = fold([*before, objected, known("one")]).records["t+one"]
    assert (marked.status(POLICY), marked.objection) == (ReleaseStatus.BAD, "it loses requests")
    late = fold([*before, known("one"), objected]).records["t+one"]
    assert (late.status(POLICY), late.objection) == (ReleaseStatus.BAD, "it loses requests")
    vetoed = [*before, VETO, known("one")]
    veto = fold(vetoed).veto
    assert veto is not None
    assert veto.key == fold(vetoed).present == "t+one"


@pytest.mark.parametrize(
    "event", [known("one", "u"), replace(known("one"), configuration="two")], ids=["of another", "the same again"]
)
def test_what_is_told_of_a_configuration_that_is_not_the_present_ones_changes_nothing(event: Event) -> None:
    before: list[Event] = [live("t"), known("two")]
    assert fold([*before, event]) == fold(before)
