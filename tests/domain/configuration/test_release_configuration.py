"""Which configuration a release has: what all its Ready pods have read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from logcaster_guard.domain.configuration.container_reads import Moment
from logcaster_guard.domain.configuration.content import NoContent, digest
from logcaster_guard.domain.configuration.object_versions import ObjectVersions, first_seen
from logcaster_guard.domain.configuration.pod_starts import ContainerStart, PodSeen
from logcaster_guard.domain.configuration.references import ConfigObject, ConfigReference, ReadAt
from logcaster_guard.domain.configuration.release_configuration import (
    ConfigurationState,
    InTransition,
    Known,
    Unknown,
    state_of,
)
from logcaster_guard.domain.configuration.spans import Look, Span
from tests.domain.configuration.build import APP, DB, config_map, edited, found, held, proven, secret, variable, volume

NOW = Moment(1000.0, 120.0)
ENV, OTHER = variable("k"), variable("k", container="side")
TO_B = proven(edited(held("a", 10), "b", 100, 500.0))


def pod(name: str = "web-1", after: int | None = 20, *, restarted: int | None = None, ready: bool = True) -> PodSeen:
    """A pod that was created after this place in the sequence; its container `side` was restarted after that one."""
    span = Span(after, (after or 0) + 10)
    side = span if restarted is None else Span(restarted, restarted + 10)
    return PodSeen(name, span, {"web": ContainerStart("0", span), "side": ContainerStart("1", side)}, ready=ready)


def state(
    *pods: PodSeen,
    references: Sequence[ConfigReference] = (ENV,),
    objects: Mapping[ConfigObject, ObjectVersions] | None = None,
) -> ConfigurationState:
    return state_of(references, {APP: TO_B} if objects is None else objects, pods, NOW)


def digest_of(value: str, *references: ConfigReference) -> str:
    return digest(references or [ENV], {APP: found(config_map({"k": value}))})


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([pod(after=20)], "a"),
        ([pod("w-1", 20), pod("w-2", 30)], "a"),
        ([pod(after=150)], "b"),
        # Only Ready pods count.
        ([pod("w-1", 20), pod("w-2", 150, ready=False)], "a"),
        ([pod("w-1", 20), pod("w-2", 150)], InTransition((APP,))),
        ([pod("w-1", 20), pod("w-2", 95)], InTransition((APP,))),
        ([pod(after=20, ready=False)], InTransition()),
        ([], InTransition()),
        ([pod(after=None)], Unknown((APP,))),
        ([pod("w-1", None), pod("w-2", 150)], Unknown((APP,))),
    ],
)
def test_it_is_known_when_all_ready_pods_have_read_the_same(
    pods: list[PodSeen], expected: str | ConfigurationState
) -> None:
    told = state(*pods)
    if isinstance(expected, str):
        assert isinstance(told, Known)
        assert told.digest == told.configuration == digest_of(expected)
        assert told.contents[APP].found == found(config_map({"k": expected}))
    else:
        assert told == expected


def test_an_object_that_was_not_looked_at_is_unknown() -> None:
    assert state(pod(), objects={}) == Unknown((APP,))


def test_containers_of_one_pod_that_have_read_different_contents_are_a_mixture() -> None:
    assert state(pod(after=20, restarted=150), references=[ENV, OTHER]) == InTransition((APP,))
    assert state(pod(after=20, restarted=150), references=[OTHER]) == state(pod(after=150), references=[OTHER])


def test_a_content_in_between_that_reads_as_all_have_read_is_theirs() -> None:
    """`web` has read its key as it was at first, `side` its own as it is now: what stood in between has both."""
    contents = [{"one": "1", "two": "1"}, {"one": "1", "two": "2"}, {"one": "2", "two": "2"}]
    versions = first_seen(found(config_map(contents[0])), Look("10", 0.0, 0.0))
    for number, content in enumerate(contents[1:], 1):
        versions = versions.seen(found(config_map(content)), Look(str(100 * number), None, 0.0), unbroken=True)
    references = [variable("one"), variable("two", container="side")]
    told = state(pod(after=20, restarted=250), references=references, objects={APP: proven(versions)})
    assert isinstance(told, Known)
    assert told.contents[APP].found == found(config_map(contents[1]))


def test_a_change_of_what_is_not_referenced_is_none() -> None:
    versions = first_seen(found(config_map({"k": "a"})), Look("10", 0.0, 0.0))
    versions = versions.seen(found(config_map({"k": "a", "more": "x"})), Look("100", None, 0.0), unbroken=True)
    told = state(pod("w-1", 20), pod("w-2", 150), objects={APP: proven(versions)})
    assert isinstance(told, Known)
    assert told.digest == digest_of("a")
    # The latest content that reads so is what is kept with the release.
    assert told.contents[APP].resource_version == "100"


def test_a_content_with_which_a_pod_does_not_start_is_not_its_release() -> None:
    """Its volume needs both keys, and one of them was taken out."""
    versions = first_seen(found(config_map({"k": "a", "x": "1"})), Look("10", 0.0, 0.0))
    versions = versions.seen(found(config_map({"k": "a"})), Look("100", None, 0.0), unbroken=True)
    reference = ConfigReference(APP, "web", ReadAt.START_FROM_VOLUME, ("k",), ("k", "x"))
    told = state(pod(after=20), references=[reference], objects={APP: proven(versions)})
    assert isinstance(told, Known)
    assert told.contents[APP].resource_version == "10"


def test_a_container_that_a_ready_pod_does_not_tell_of_keeps_it_in_transition() -> None:
    assert state(pod(), references=[variable("k", container="unheard-of")]) == InTransition((APP,))


def test_an_edit_that_is_taken_back_leaves_the_same_configuration() -> None:
    versions = proven(edited(edited(held("a", 10), "b", 100), "a", 200))
    told = state(pod("w-1", 20), pod("w-2", 250), objects={APP: versions})
    assert isinstance(told, Known)
    assert told.digest == digest_of("a")


def test_a_volume_that_followed_and_an_environment_that_did_not_are_a_mixture() -> None:
    assert state(pod(after=20), references=[ENV, volume()]) == InTransition((APP,))
    assert isinstance(state(pod(after=20), references=[volume()]), Known)


def test_a_secret_that_may_not_be_read_is_left_out_and_hides_nothing_else() -> None:
    unreadable = first_seen(NoContent.UNREADABLE, Look("", 0.0, 0.0))
    references = [ENV, variable("password", of=DB)]
    told = state(pod(after=150), references=references, objects={APP: TO_B, DB: unreadable})
    assert isinstance(told, Known)
    readable = first_seen(found(secret({"password": "x"})), Look("10", 0.0, 0.0))
    assert told != state(pod(after=150), references=references, objects={APP: TO_B, DB: proven(readable)})


def test_a_template_that_refers_to_nothing_has_no_configuration() -> None:
    told = state(pod(ready=False), references=[])
    assert told == Known("")
    assert told.configuration == ""


def checked(told: PodSeen, **checksums: str) -> PodSeen:
    return replace(told, checksums=tuple((f"checksum/{name}", value) for name, value in sorted(checksums.items())))


def test_a_checksum_that_changed_while_nothing_readable_did_is_another_release_that_cannot_be_put_back() -> None:
    first = state(checked(pod(), config="1", secret="1"))  # noqa: S106 - a checksum
    second = state(checked(pod(), config="1", secret="2"))  # noqa: S106 - a checksum
    third = state(checked(pod(after=150), config="2", secret="1"))  # noqa: S106 - a checksum
    assert isinstance(first, Known)
    assert isinstance(second, Known)
    assert isinstance(third, Known)
    assert len({told.configuration for told in (first, second, third)}) == 3


def test_pods_with_other_checksums_are_still_to_be_replaced() -> None:
    assert state(checked(pod("w-1"), config="1"), checked(pod("w-2"), config="2")) == InTransition(checksums=True)
