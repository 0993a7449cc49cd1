"""What is the guard's own, by its journal, and what only carries its marks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from logcaster_guard.domain import claims, provenance
from logcaster_guard.domain.capacity import HELPER_LABEL
from logcaster_guard.domain.events import RunClosed, RunOpened, StepDone, StepIntended, StepStarted
from logcaster_guard.domain.provenance import MANAGED, RUN, TOKEN
from logcaster_guard.domain.provenance_reasons import WithoutToken
from logcaster_guard.domain.runs import Run, fold
from logcaster_guard.domain.steps import Compensation, Plan
from logcaster_guard.messages.texts import english
from logcaster_guard.steps.create_helper import CreateHelper
from logcaster_guard.steps.restore_environment import RestoreEnvironment
from logcaster_guard.steps.step_kinds import KINDS
from logcaster_guard.steps.step_services import compensations_of
from tests.domain.build import at

BORROWED = compensations_of(KINDS)
HELPER, OWNER, TOKEN_OF_IT = "web-rollback-1a2b3c4d", "web-uid", "7" * 32
HOLD = Compensation(
    f"helper/{HELPER}", "helper", HELPER, "", original=None, written=0, run="r", token=TOKEN_OF_IT, since=at(0)
)
Json = dict[str, Any]
Edit = Callable[[Json], object]


def helper(created: float = 1.0) -> Json:
    """As the API server shows the helper of run `r`."""
    return {
        "metadata": {
            "name": HELPER,
            "namespace": "default",
            "uid": "u",
            "labels": {**MANAGED, HELPER_LABEL: HELPER},
            "annotations": provenance.marks(HOLD),
            "ownerReferences": [{"kind": "Deployment", "name": "web", "uid": OWNER}],
            "creationTimestamp": at(created).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "spec": {"replicas": 1},
    }


def production() -> Json:
    """Somebody has put the marks of run `r` on production, the token included."""
    raw = helper()
    raw["metadata"] |= {"name": "web", "uid": OWNER, "ownerReferences": []}
    return raw


def test_the_helper_that_the_journal_tells_of_is_the_guards() -> None:
    assert provenance.disowned(helper(), HOLD, owner=OWNER) is None


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(name="web"),
        lambda m: m["annotations"].update({TOKEN: "8" * 32}),
        lambda m: m["annotations"].update({TOKEN: "ü"}),
        lambda m: m["annotations"].pop(TOKEN),
        lambda m: m["annotations"].update({RUN: "another"}),
        lambda m: m.pop("annotations"),
        lambda m: m["ownerReferences"][0].update(uid="another"),
        lambda m: m.update(ownerReferences=[]),
        lambda m: m.update(creationTimestamp=at(-301.0).isoformat()),
        lambda m: m.pop("creationTimestamp"),
    ],
)
def test_nothing_else_is(edit: Edit) -> None:
    raw = helper()
    edit(raw["metadata"])
    assert provenance.disowned(raw, HOLD, owner=OWNER) is not None


def test_without_a_token_in_the_journal_nothing_is() -> None:
    raw, owed = helper(), replace(HOLD, token="")
    assert provenance.disowned(raw, owed, owner=OWNER) == WithoutToken()
    raw["metadata"]["annotations"] = provenance.marks(owed)
    assert provenance.disowned(raw, owed, owner=OWNER) == WithoutToken()


def test_one_that_kubernetes_has_orphaned_still_is_and_one_of_another_owner_is_not() -> None:
    raw = helper()
    raw["metadata"]["ownerReferences"] = []
    assert provenance.disowned(raw, HOLD, owner=OWNER, orphaned=True) is None
    raw["metadata"]["ownerReferences"] = [{"uid": "another"}]
    assert provenance.disowned(raw, HOLD, owner=OWNER, orphaned=True) is not None


def test_no_token_is_like_another() -> None:
    assert len({provenance.new_token() for _ in range(100)}) == 100


def run_of(*compensations: Compensation, closed: bool = True, done: bool = False) -> Run:
    plan = Plan(
        strategy="gradual",
        namespace="default",
        deployment="web",
        uid=OWNER,
        from_template="bad",
        to_template="good",
        from_images=(),
        to_images=(),
        replicas=3,
        autoscaled=False,
        service=None,
        selector=None,
        steps=(RestoreEnvironment("s", 3) if done else CreateHelper(HELPER, "blob", 1, {}),),
    )
    events: list[Any] = [RunOpened(at(0), "r", "default/web", "rule", "", plan), StepStarted(at(0), "r", 0)]
    events += [StepIntended(at(0), "r", 0, n, owed) for n, owed in enumerate(compensations, 1)]
    events += [StepDone(at(0), "r", 0)] if done else []
    return fold([*events, *([RunClosed(at(9), "r", "failed", "", freeze=False)] if closed else [])])["r"]


def marked(raw: Json, **marks: str) -> Json:
    """With these annotations alone: `run`, `token`."""
    raw["metadata"]["annotations"] = {f"guard.logcaster.io/{name}": value for name, value in marks.items()}
    return raw


def owned(raw: Json, *owners: str) -> Json:
    raw["metadata"]["ownerReferences"] = [{"kind": "Deployment", "name": "web", "uid": uid} for uid in owners]
    return raw


def environment() -> Json:
    """A Deployment that some run has made, and that serves since."""
    raw = production()
    raw["metadata"]["labels"] = MANAGED
    return raw


ENVIRONMENT = replace(HOLD, id="environment", kind="environment", object="web", token="")

NO_SUCH_RUN, NOT_BY_IT = "it names run r, which the journal does not know", "run r, which it names, did not make it"
TOKENED = replace(ENVIRONMENT, token=TOKEN_OF_IT)
SCALED = replace(HOLD, id="autoscaler/web", kind="autoscaler_bounds", object="web", token="")


@pytest.mark.parametrize(
    ("raw", "runs", "orphan", "says"),
    [
        (production(), [run_of(HOLD)], False, NOT_BY_IT),
        (production(), [run_of(replace(SCALED, token=TOKEN_OF_IT))], False, "it is another one"),
        (production(), [], True, NO_SUCH_RUN),
        (helper(), [], True, NO_SUCH_RUN),
        (helper(), [run_of()], False, NOT_BY_IT),
        (helper(), [run_of(replace(HOLD, token=""))], False, english().text(WithoutToken())),
        (marked(helper(), run="s"), [run_of(HOLD)], True, "it names run s, which the journal does not know"),
        (marked(helper()), [run_of(HOLD)], True, "it names no run"),
        (
            owned(helper(), "another"),
            [run_of(HOLD)],
            False,
            "it does not belong to the workload that was rolled back",
        ),
        (environment(), [run_of(ENVIRONMENT)], False, english().text(WithoutToken())),
        (
            marked(environment(), run="r", token="8" * 32),
            [run_of(TOKENED, SCALED, done=True)],
            False,
            "it does not carry the token of run r",
        ),
    ],
)
def test_marks_that_the_journal_does_not_bear_out_are_a_claim(
    raw: Json, runs: list[Run], orphan: bool, says: str
) -> None:
    found = claims.of_deployment(raw, runs, BORROWED)
    assert found is not None
    named = f"Deployment default/{raw['metadata']['name']}"
    assert (found.object, english().text(found.reason), found.orphan) == (named, says, orphan)
    assert found == claims.of_deployment(raw, runs, BORROWED)
    assert raw["metadata"]["name"] in found.remedy


def test_other_marks_are_another_claim() -> None:
    elsewhere = helper()
    elsewhere["metadata"]["uid"] = "another"
    raws = [helper(), elsewhere, marked(helper(), run="r"), marked(helper(), run="s"), marked(helper(), token="9" * 32)]
    found = [claims.of_deployment(raw, [], BORROWED) for raw in raws]
    assert len({claim.key for claim in found if claim is not None}) == len(raws)
    assert not claims.claim("Deployment default/web", "u", "marks", "reason", "remedy").orphan


def test_the_marks_are_taken_off_what_is_not_the_guards() -> None:
    found = claims.of_deployment(production(), [run_of(HOLD)], BORROWED)
    assert found is not None
    assert f"label deployment web {next(iter(MANAGED))}- {HELPER_LABEL}- " in found.remedy


@pytest.mark.parametrize(
    ("raw", "runs"),
    [
        (helper(), [run_of(HOLD)]),
        (helper(), [run_of(closed=False)]),
        (owned(helper()), [run_of(HOLD)]),
        (owned(environment(), "another"), [run_of(TOKENED)]),
        (environment(), []),
        (environment(), [run_of(ENVIRONMENT, done=True)]),
        ({"metadata": {"name": "web", "namespace": "default", "uid": "u", "labels": MANAGED}, "spec": {}}, []),
    ],
    ids=[
        "the_guards",
        "of_an_open_run",
        "the_guards_orphaned",
        "an_owned_environment",
        "environment_long_ago",
        "environment_of_an_earlier_version",
        "a_label_alone",
    ],
)
def test_what_claims_nothing(raw: Json, runs: list[Run]) -> None:
    assert claims.of_deployment(raw, runs, BORROWED) is None


def test_the_helper_of_no_known_run_is_deleted_after_production_has_its_size() -> None:
    found = claims.of_deployment(helper(), [], BORROWED)
    assert found is not None
    scale, delete = found.remedy.split(" && ")
    assert (scale.split()[3:6], delete.split()[-1]) == (["scale", "deployment", "web"], HELPER)
