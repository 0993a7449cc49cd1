"""What counts in the digest of a configuration, and that nothing shows a value."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.configuration.content import (
    Concealed,
    DigestKey,
    Found,
    NoContent,
    content_of,
    digest,
    fingerprint_of,
    part,
    readable,
)
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigReference
from tests.domain.configuration.build import APP, DB, KEY, config_map, found, secret, variable, variables, volume

SENTINEL = "s3cr3t-sentinel-value"
KEYS = st.sampled_from(["a", "b", "c", "unread"])
MAPS = st.dictionaries(KEYS, st.text(max_size=3))


def of(what: Found, *references: ConfigReference) -> str:
    return digest(references, {APP: what, DB: what})


@pytest.mark.parametrize(
    "same",
    [
        config_map({"k": "v", "other": "changed"}),
        config_map({"other": "x", "k": "v"}),
        config_map({"k": "v"}, annotations={"a": "b"}, labels={"c": "d"}, resourceVersion="7", managedFields=[{}]),
        config_map({"k": "v"}, binary={"image": "x"}),
    ],
)
def test_only_what_is_referenced_counts(same: Mapping[str, Any]) -> None:
    assert of(found(same), variable("k")) == of(found(config_map({"k": "v"})), variable("k"))


def test_each_thing_that_a_container_may_find_has_a_digest_of_its_own() -> None:
    finds: Sequence[Found] = [
        NoContent.ABSENT,
        NoContent.UNREADABLE,
        found(config_map({"other": "x"})),
        found(config_map({"k": ""})),
        found(config_map({"k": "v"})),
        found(config_map({}, binary={"k": "v"})),
    ]
    shapes = [volume(("k",)), volume(("k",), optional=True), variables("A_"), variables("B_"), volume()]
    digests = [of(find, shape) for shape in shapes[:2] for find in finds]
    digests += [of(finds[4], shape) for shape in shapes[2:]]
    assert all(a != b for a, b in combinations(digests, 2))


def test_an_environment_variable_never_holds_what_is_binary() -> None:
    binary = found(config_map({}, binary={"k": "v"}))
    assert of(binary, variable("k", optional=True)) == of(found(config_map({})), variable("k", optional=True))
    assert of(binary, variables()) == of(found(config_map({})), variables())


def test_no_data_null_and_an_empty_map_are_one() -> None:
    empty = found({"kind": "ConfigMap"})
    assert empty == found({"kind": "ConfigMap", "data": None, "binaryData": None}) == found(config_map({}))
    assert found({"kind": "Secret", "data": {"k": None}}) == found(secret({"k": ""}))


@given(MAPS, MAPS, st.permutations(["a", "b", "c"]))
def test_neither_the_order_of_keys_nor_of_references_nor_what_is_unread_counts(
    data: dict[str, str], unread: dict[str, str], order: list[str]
) -> None:
    references = [variable(key) for key in order]
    noise = {f"noise-{key}": value for key, value in unread.items()}
    other = config_map(dict(reversed((noise | data).items())), annotations=unread)
    assert of(found(config_map(data)), *map(variable, "abc")) == of(found(other), *references, *references)


@given(MAPS, MAPS)
def test_two_contents_have_one_digest_only_if_what_is_read_is_the_same(
    one: dict[str, str], other: dict[str, str]
) -> None:
    references = [variable("a", optional=True), volume(("b", "c"))]
    alike = all(one.get(key) == other.get(key) for key in "abc")
    assert (of(found(config_map(one)), *references) == of(found(config_map(other)), *references)) is alike
    assert (found(config_map(one)) == found(config_map(other))) is (one == other)


def test_a_secret_is_digested_with_a_key_alone() -> None:
    content = secret({"password": "1234"})
    assert found(content, None) is NoContent.UNREADABLE
    assert found(content) == found(content)
    assert found(content) != found(content, DigestKey(Concealed(b"another key")))
    assert found(config_map({"k": "v"}), None) == found(config_map({"k": "v"}))
    # The same value in a ConfigMap, which anybody can guess at, is not what is kept of it in a Secret.
    assert found(content) != found(config_map({"password": "1234"}))


@pytest.mark.parametrize(
    ("reference", "finds", "starts"),
    [
        (variable("k"), NoContent.ABSENT, False),
        (variable("k"), config_map({"other": "x"}), False),
        (variable("k"), config_map({}, binary={"k": "x"}), False),
        (variable("k"), config_map({"k": ""}), True),
        (variable("k", optional=True), config_map({}), True),
        (variable("k", optional=True), NoContent.ABSENT, True),
        (variable("k"), NoContent.UNREADABLE, True),
        (variables(), config_map({}), True),
        (variables(), NoContent.ABSENT, False),
        (volume(("k",)), config_map({}, binary={"k": "x"}), True),
        (volume(("k",)), config_map({}), False),
        (replace(volume(("k",)), needed=()), config_map({}), True),
    ],
)
def test_a_container_does_not_start_without_what_it_needs(
    reference: ConfigReference, finds: NoContent | Mapping[str, Any], *, starts: bool
) -> None:
    assert readable(reference, finds if isinstance(finds, NoContent) else found(finds)) is starts


@pytest.mark.parametrize("raw", [secret({"password": SENTINEL}), config_map({"k": SENTINEL}, binary={"b": SENTINEL})])
def test_no_value_is_shown(raw: Mapping[str, Any]) -> None:
    kind = ConfigKind(raw["kind"])
    content = content_of(kind, raw)
    value = next(iter(content.data.values()))
    assert value.reveal() == SENTINEL.encode()
    kept = fingerprint_of(kind, content, KEY)
    shown = [
        repr(content), str(content), f"{value}", str(asdict(content)), repr(copy.deepcopy(content)),
        json.dumps(asdict(content), default=str), repr(kept), part(volume(), kept), repr(KEY), repr(copy.copy(value)),
    ]  # fmt: skip
    assert not any(form in text for text in shown for form in (SENTINEL, encoded_sentinel()))
    assert value == Concealed(SENTINEL.encode())
    assert len({value, Concealed(SENTINEL.encode())}) == 1
    for serialise in (json.dumps, pickle.dumps):
        with pytest.raises(TypeError) as failure:
            serialise(value)
        assert SENTINEL not in str(failure.value)
    with pytest.raises(TypeError, match="not serialised"):
        pickle.dumps(content)
    assert not hasattr(value, "__dict__")


def encoded_sentinel() -> str:
    return str(secret({"k": SENTINEL})["data"]["k"])
