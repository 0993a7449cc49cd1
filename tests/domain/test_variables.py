"""Variables of one template put into another, over tables and over whatever Hypothesis makes up."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.sidecar import CONTAINER
from logcaster_guard.domain.variables import LONGEST_LIST, MOST_NAMES, is_list_of_names, names_in, with_variables_of

Json = dict[str, Any]
NAMES = ("A", "B", "C", "D", "E")


def env(text: str) -> list[Json]:
    """`A=1 B=$(A) C` as a list of variables; without a value it comes from a Secret."""
    made = []
    for word in text.split():
        name, is_plain, value = word.partition("=")
        source = {"secretKeyRef": {"name": "s", "key": name}}
        made.append({"name": name, "value": value} if is_plain else {"name": name, "valueFrom": source})
    return made


def pod(**containers: str | None) -> Json:
    """A template with these containers' variables; None: it has no `env`. What begins with `init` runs first."""
    made: list[Json] = [
        {"name": name, "image": f"{name}:1", **({} if text is None else {"env": env(text)})}
        for name, text in containers.items()
    ]
    spec: Json = {"containers": [c for c in made if not c["name"].startswith("init")]}
    if before := [c for c in made if c["name"].startswith("init")]:
        spec["initContainers"] = before
    return {"metadata": {"labels": {"app": "x"}, "annotations": {"note": "y"}}, "spec": spec}


@pytest.mark.parametrize(
    ("live", "saved", "only", "expected"),
    [
        ("A=2 B=2", "A=1 B=1", "", "A=1 B=1"),
        ("A=2 B=2", "A=1 B=1", "A", "A=1 B=2"),
        ("A=2 X=1", "A=1", "", "A=1"),
        ("A=2 X=1", "A=1", "X", "A=2"),
        ("A=2", "A=2 B=1", "B", "A=2 B=1"),
        ("X=1", None, "", None),
        ("X=1", None, "X", None),
        (None, "A=1 B=2", "", "A=1 B=2"),
        (None, "A=1 B=2", "B", "B=2"),
        ("A=plain", "A", "A", "A"),
        ("A", "A=plain", "A", "A=plain"),
        # Of all variables, the saved order; a named one goes behind those that it may refer to.
        ("B=1 A=1", "A=1 B=1", "", "A=1 B=1"),
        ("A=2 C=2", "A=1 B=$(A) C=1", "B", "A=2 B=$(A) C=2"),
        ("C=$(B) B=2", "A=1 B=1 C=$(B)", "A B", "A=1 B=1 C=$(B)"),
        ("B=2 C=2", "A=1 B=1", "A", "A=1 B=2 C=2"),
        ("X=1 B=2 Y=1", "B=1", "B", "B=1 X=1 Y=1"),
        ("X=1 A=1 Y=1 B=2", "A=1 B=1", "B", "X=1 A=1 B=1 Y=1"),
        # The live order contradicts the saved one, so that no place fits both: it stays where it is, or goes last.
        ("B=$(V) V=2 A=1", "A=1 V=1 B=$(V)", "V", "B=$(V) V=1 A=1"),
        ("B=1 A=1", "A=1 V=1 B=1", "V", "B=1 A=1 V=1"),
    ],
)
def test_the_variables_of_one_container(live: str | None, saved: str | None, only: str, expected: str | None) -> None:
    before = pod(web=live)
    kept = copy.deepcopy(before)
    assert with_variables_of(before, pod(web=saved), only.split()) == pod(web=expected)
    assert before == kept


def test_each_container_gets_its_own_and_what_only_one_release_has_is_left_alone() -> None:
    live = pod(init="A=2", web="A=2 B=2", beside="A=2")
    saved = pod(init="A=0", web="A=1", gone="Z=1")
    assert with_variables_of(live, saved) == pod(init="A=0", web="A=1", beside="A=2")
    assert with_variables_of(live, saved, ["A"]) == pod(init="A=0", web="A=1 B=2", beside="A=2")
    assert names_in(live, saved) == {"A", "B"}


def test_a_container_that_now_runs_beside_the_others_is_the_same_one() -> None:
    live, saved = pod(init="A=2"), pod(init="A=1")
    live["spec"]["containers"] = live["spec"].pop("initContainers")
    assert with_variables_of(live, saved)["spec"]["containers"][0]["env"] == env("A=1")


def test_the_guards_own_container_is_nobodys_release() -> None:
    live, saved = (pod(**{"web": f"A={n}", CONTAINER: f"G={n}"}) for n in (2, 1))
    assert with_variables_of(live, saved) == pod(**{"web": "A=1", CONTAINER: "G=2"})
    assert names_in(live, saved) == {"A"}


variables = st.lists(
    st.builds(lambda n, v: {"name": n, "value": v}, st.sampled_from(NAMES), st.sampled_from(["1", "2", "$(A)"])),
    max_size=5,
    unique_by=lambda variable: str(variable["name"]),
)
templates = st.dictionaries(st.sampled_from(["web", "init", "beside", CONTAINER]), variables, min_size=1).map(
    lambda containers: {
        "metadata": {},
        "spec": {
            "containers": [
                {"name": name, "image": f"{name}:1", **({"env": listed} if listed else {})}
                for name, listed in containers.items()
            ]
        },
    }
)
named = st.lists(st.sampled_from(NAMES), unique=True)


def of_container(template: Json, name: str) -> Json:
    found: Json = next((c for c in template["spec"]["containers"] if c["name"] == name), {})
    return {v["name"]: v for v in found.get("env", [])}


@given(templates, templates, named)
def test_each_named_variable_is_the_saved_one_and_nothing_else_changes(
    live: Json, saved: Json, only: list[str]
) -> None:
    made = with_variables_of(live, saved, only)
    shared = {c["name"] for c in saved["spec"]["containers"]} - {CONTAINER}
    assert {**made, "spec": None} == {**live, "spec": None}
    for before, after in zip(live["spec"]["containers"], made["spec"]["containers"], strict=True):
        name = before["name"]
        assert {k: v for k, v in after.items() if k != "env"} == {k: v for k, v in before.items() if k != "env"}
        if name not in shared:
            assert after == before
            continue
        then, now = of_container(saved, name), of_container(made, name)
        wanted = set(only or NAMES)
        assert {n: v for n, v in now.items() if n in wanted} == {n: v for n, v in then.items() if n in wanted}
        untouched = [v for v in before.get("env", []) if v["name"] not in wanted]
        assert [v for v in after.get("env", []) if v["name"] not in wanted] == untouched


@given(templates, templates, named)
def test_a_second_time_changes_nothing(live: Json, saved: Json, only: list[str]) -> None:
    once = with_variables_of(live, saved, only)
    assert with_variables_of(once, saved, only) == once


@given(templates, templates, named)
def test_where_both_releases_agree_on_the_order_references_find_what_they_found(
    live: Json, saved: Json, only: list[str]
) -> None:
    made = with_variables_of(live, saved, only)
    for container in made["spec"]["containers"]:
        then = list(of_container(saved, container["name"]))
        before = list(of_container(live, container["name"]))
        both = [n for n in before if n in then]
        if container["name"] != CONTAINER and both == sorted(both, key=then.index):
            now = [v["name"] for v in container.get("env", [])]
            restored = set(only or now)
            kept = [n for n in now if n in then]
            assert kept == sorted(kept, key=then.index), (then, now, restored)


@pytest.mark.parametrize(
    ("names", "well"),
    [
        (["LOG_LEVEL"], True),
        (["a.b-c", "Logging:Level/x"], True),
        ([], False),
        ([""], False),
        (["A", "A"], False),
        (["A B"], False),
        (["A,B"], False),
        (["A=B"], False),
        (["Ä"], False),
        (["A\n"], False),
        ([f"V{n}" for n in range(MOST_NAMES)], True),
        ([f"V{n}" for n in range(MOST_NAMES + 1)], False),
        (["V" * LONGEST_LIST], True),
        (["V" * (LONGEST_LIST + 1)], False),
    ],
)
def test_what_can_be_named(names: list[str], *, well: bool) -> None:
    assert is_list_of_names(names) is well
