"""What the guard knows of the configuration that a target's pods have read, from watches and looks at the pods."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from logcaster_guard.domain.configuration.edits import EditReaders
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.configuration.release_configuration import InTransition, Known, Unknown
from logcaster_guard.domain.errors import Rejected
from logcaster_guard.domain.events import ConfigurationSeen, RevisionLive
from logcaster_guard.domain.rules import ConfigPolicy, Policy
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.configuration_follower import PENDING_TOLD, ConfigurationFollower
from logcaster_guard.ports import Kind
from tests.engine.bench import KEY, PROD
from tests.engine.configured import POLL, Configured, configured, volumes
from tests.fakes.clock import settle
from tests.fakes.cluster import Fault

APP = ConfigObject(ConfigKind.CONFIG_MAP, "default", "app")


def refusing(kind: Kind) -> Fault:
    """The right to read these is withdrawn."""
    return lambda _, asked, __: Rejected("no", status=403) if asked is kind else None


@contextlib.asynccontextmanager
async def rolled_out(**options: Any) -> AsyncIterator[Configured]:
    """A guard that has seen the ConfigMap, and then pods come that read it."""
    async with configured(**options) as made:
        made.configure(k="1")
        made.refer()
        await made.start()
        await made.pass_(POLL)
        made.pods("a", "b")
        await made.pass_(POLL)
        yield made


async def test_pods_that_came_after_the_guard_saw_the_object_have_read_it() -> None:
    async with rolled_out() as made:
        assert isinstance(made.state(), Known)
        assert made.state() == made.known.latest
        assert made.known.surely_read_latest


async def test_what_pods_from_before_the_guard_have_read_is_unknown() -> None:
    async with configured() as made:
        made.configure(k="1")
        made.refer()
        made.pods("a")
        await made.start()
        await made.pass_(POLL)
        assert made.state() == Unknown((APP,))
        assert not made.known.surely_read_latest


async def test_pods_that_were_not_there_when_the_object_last_changed_have_read_it() -> None:
    async with configured() as made:
        made.configure(k="1")
        made.cluster.remember()
        made.refer()
        made.pods("a")
        await made.start()
        await made.pass_(POLL)
        assert made.state() == made.known.latest


async def test_pods_that_were_there_may_have_read_something_else() -> None:
    async with configured() as made:
        made.refer()
        made.pods("a")
        made.configure(k="1")
        made.cluster.remember()
        await made.start()
        await made.pass_(POLL)
        assert made.state() == Unknown((APP,))


async def test_that_moment_is_asked_for_once() -> None:
    async with configured() as made:
        made.configure(k="1")
        made.refer()
        made.pods("a")
        await made.start()
        await made.pass_(POLL)
        before = made.pod_lists()
        await made.pass_(3 * 30.0)
        assert made.pod_lists() - before == 3


async def test_without_references_nothing_is_asked_and_nothing_runs() -> None:
    async with configured() as made:
        await made.start()
        await made.pass_(4 * POLL)
        assert made.state() == Known("")
        assert made.cluster.listings == []
        assert made.watches.begun == 0


async def test_each_look_costs_one_list_of_pods_however_many_objects_there_are() -> None:
    async with rolled_out() as made:
        made.cluster.listings.clear()
        await made.pass_(10 * 30.0)
        assert made.cluster.listings == [(Kind.POD, "")] * 10
        assert made.watches.begun == 1


async def test_an_edit_is_pending_until_a_pod_reads_it() -> None:
    async with rolled_out() as made:
        before = made.state()
        made.configure(k="2")
        await made.pass_(POLL)
        (edit,) = made.known.pending()
        assert edit.object == APP
        assert made.state() == before
        made.pods("c")
        await made.pass_(POLL)
        assert made.known.pending() == ()
        assert made.state() == InTransition((APP,))
        ((seen, readers),) = made.known.edits()
        assert seen == edit
        assert (readers.old, readers.new, readers.unclear, readers.read) == (("a", "b"), ("c",), (), True)
        made.remove_pods("a", "b")
        await made.pass_(POLL)
        assert made.state() == made.known.latest != before


async def test_the_pods_are_looked_at_as_soon_as_an_edit_is_seen() -> None:
    async with rolled_out() as made:
        before = made.pod_lists()
        made.configure(k="2")
        await made.pass_(0.0)
        await settle()
        assert made.pod_lists() == before + 1
        # So what comes a moment later, as by an operator that restarts the pods at once, has surely read it.
        made.pods("c")
        await made.pass_(POLL)
        ((_, readers),) = made.known.edits()
        assert (readers.old, readers.new, readers.unclear) == (("a", "b"), ("c",), ())


async def test_a_crash_looping_container_reads_an_edit() -> None:
    async with rolled_out() as made:
        made.configure(k="2")
        await made.pass_(2 * POLL)
        made.restart_container("a", ready=False)
        await made.pass_(POLL)
        ((_, readers),) = made.known.edits()
        assert readers.read
        assert readers.new == ("a",)
        assert not made.known.surely_read_latest
        made.restart_container("b", ready=False)
        await made.pass_(POLL)
        assert made.known.surely_read_latest


async def test_a_volume_follows_an_edit_within_the_propagation() -> None:
    async with configured() as made:
        made.configure(k="1")
        made.refer(volumes())
        await made.start()
        made.pods("a")
        await made.pass_(150.0)
        before = made.state()
        assert isinstance(before, Known)
        made.configure(k="2")
        await made.pass_(60.0)
        assert made.state() == InTransition((APP,))
        await made.pass_(100.0)
        assert made.state() == made.known.latest != before


async def test_an_object_that_goes_and_comes_back_with_what_it_held_is_two_edits_and_none() -> None:
    async with rolled_out() as made:
        made.cluster.remove(Kind.CONFIG_MAP, "app")
        await made.pass_(POLL)
        made.configure(k="1")
        await made.pass_(POLL)
        made.configure(k="2")
        await made.pass_(POLL)
        edits = [edit.version for edit, _ in made.known.edits()]
        assert [made.known.contents({APP: version})[str(APP)] == "" for version in edits] == [True, False]


async def test_an_optional_object_that_is_absent_is_known_as_absent() -> None:
    async with configured() as made:
        made.refer({"envFrom": [{"configMapRef": {"name": "app", "optional": True}}]})
        await made.start()
        await made.pass_(POLL)
        made.pods("a")
        await made.pass_(POLL)
        state = made.state()
        assert isinstance(state, Known)
        assert made.known.contents(state.contents) == {str(APP): ""}


async def test_watches_end_with_the_last_template_that_refers_to_the_object() -> None:
    async with rolled_out(deployments=(PROD, "another")) as made:
        assert made.watches.going == ["app"]
        made.refer({"envFrom": [{"configMapRef": {"name": "other"}}]})
        await made.pass_(POLL)
        assert made.watches.going == ["other"]
        made.refer({})
        await made.pass_(POLL)
        assert made.watches.going == []


async def test_what_an_object_held_is_saved_at_first_sight() -> None:
    async with rolled_out() as made:
        state = made.state()
        assert isinstance(state, Known)
        first = made.known.contents(state.contents)[str(APP)]
        made.configure(k="2")
        await made.pass_(POLL)
        latest = made.known.latest
        assert latest is not None
        second = made.known.contents(latest.contents)[str(APP)]
        assert b'"k":"1"' in await made.blobs.get(first)
        assert b'"k":"2"' in await made.blobs.get(second)
        assert {first, second} <= made.guard.state.releases_to_keep(Policy().ledger)


async def test_what_could_not_be_saved_is_saved_later() -> None:
    async with rolled_out() as made:
        made.blobs.full = True
        made.configure(k="2")
        await made.pass_(POLL)
        latest = made.known.latest
        assert latest is not None
        assert made.known.contents(latest.contents) == {}
        made.blobs.full = False
        await made.pass_(POLL)
        assert made.known.contents(latest.contents).keys() == {str(APP)}


async def test_an_object_that_may_not_be_read_is_told_once_with_the_right_that_is_missing() -> None:
    with capture_logs() as lines:
        async with configured() as made:
            made.refer()
            made.watches.refused["app"] = Rejected("forbidden", status=403)
            await made.start()
            made.pods("a")
            await made.pass_(600.0)
            state = made.state()
            assert isinstance(state, Known)
            assert made.known.contents(state.contents) == {}
            (left_out,) = made.known.left_out()
            assert (left_out.object, left_out.followed) == (APP, True)
            del made.watches.refused["app"]
            made.configure(k="1")
            await made.pass_(100.0)
            assert made.known.left_out() == []
    told = [line for line in lines if line["event"] == "configuration.unread"]
    assert len(told) == 1
    assert "cannot list configmaps app in namespace default" in told[0]["detail"]
    assert "deploy/components/config" in told[0]["detail"]


async def test_pods_of_one_release_whose_checksums_differ_are_in_transition() -> None:
    async with configured() as made:
        made.configure(k="1")
        made.refer(None, **{"checksum/config": "new"})
        await made.start()
        await made.pass_(POLL)
        made.pods("a", annotations={"checksum/config": "old"})
        made.pods("b", annotations={"checksum/config": "new"})
        await made.pass_(POLL)
        assert made.state() == InTransition(checksums=True)
        made.remove_pods("a")
        await made.pass_(POLL)
        assert made.state() == made.known.latest


async def test_a_right_that_is_withdrawn_hides_what_comes_later_and_nothing_else() -> None:
    async with rolled_out() as made:
        before = made.state()
        made.cluster.fault = refusing(Kind.CONFIG_MAP)
        made.pods("c")
        await made.pass_(POLL)
        # Nothing shows what the object held when the new pod came.
        assert made.state() == InTransition((APP,))
        made.remove_pods("c")
        await made.pass_(POLL)
        assert made.state() == before


async def test_pods_that_cannot_be_listed_are_unknown_and_everything_else_goes_on() -> None:
    async with rolled_out() as made:
        made.cluster.fault = refusing(Kind.POD)
        await made.pass_(5 * POLL)
        assert made.state() == Unknown((APP,))
        made.cluster.roll(PROD, "v2")
        await made.pass_(POLL)
        assert made.guard.read_model.target(KEY).present is not None
        assert made.told(RevisionLive)[-1].images == ("v2",)


async def test_a_defect_in_following_does_not_hide_the_workload(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: ConfigurationFollower, __: Workload) -> None:
        raise ValueError("a defect")

    async with rolled_out() as made:
        monkeypatch.setattr(ConfigurationFollower, "look", broken)
        made.cluster.roll(PROD, "v2")
        await made.pass_(2 * POLL)
        assert made.told(RevisionLive)[-1].images == ("v2",)
        assert made.guard.read_model.target(KEY).crashes > 0


async def test_a_secret_is_named_and_never_watched() -> None:
    async with configured() as made:
        made.refer({"envFrom": [{"secretRef": {"name": "db"}}]})
        await made.start()
        made.pods("a")
        await made.pass_(POLL)
        assert isinstance(made.state(), Known)
        assert [str(found.object) for found in made.known.left_out()] == ["Secret default/db"]
        assert made.watches.begun == 0


async def test_what_changes_too_often_belongs_to_no_release_until_it_has_been_quiet_for_a_day() -> None:
    async with rolled_out() as made:
        for value in "2345":
            made.configure(k=value)
            await made.pass_(5.0)
        (left_out,) = made.known.left_out()
        assert (left_out.object, left_out.followed) == (APP, False)
        assert made.known.references == []
        assert made.known.edits() == []
        made.clock.jump_wall(86_401.0)
        assert made.known.left_out() == []


async def test_what_others_renew_is_never_followed() -> None:
    async with rolled_out() as made:
        labels = {"labels": {"trust.cert-manager.io/bundle": "ca"}}
        made.cluster.change(Kind.CONFIG_MAP, "app", lambda found: found["metadata"].update(labels))
        await made.pass_(POLL)
        assert [found.followed for found in made.known.left_out()] == [False]
        assert made.known.references == []


async def test_settings_name_objects_that_pods_read_by_themselves() -> None:
    policy = Policy(config=ConfigPolicy(objects={PROD: ("flags",)}))
    async with configured(policy=policy) as made:
        made.configure("flags", beta="off")
        await made.start()
        made.pods("a")
        await made.pass_(POLL + 150.0)
        before = made.state()
        assert isinstance(before, Known)
        assert before.digest
        made.configure("flags", beta="on")
        await made.pass_(POLL + 150.0)
        assert made.state() == made.known.latest != before


async def test_a_known_configuration_is_known_after_a_restart_where_all_stood_still() -> None:
    async with rolled_out() as made:
        made.configure(k="2")
        await made.pass_(POLL)
        before = made.state()
        assert isinstance(before, Known)
        (edit,) = made.known.pending()
        await made.restart()
        await made.pass_(POLL)
        state = made.state()
        assert isinstance(state, Known)
        assert state.configuration == before.configuration
        assert made.known.contents(state.contents).keys() == {str(APP)}
        (pending,) = made.known.pending()
        assert pending.version.resource_version == edit.version.resource_version


@contextlib.asynccontextmanager
async def volume_edited(seconds: float) -> AsyncIterator[Configured]:
    """What a volume shows was edited so long ago."""
    async with configured() as made:
        made.configure(k="1")
        made.refer(volumes())
        await made.start()
        made.pods("a")
        await made.pass_(POLL)
        made.configure(k="2")
        await made.pass_(seconds)
        yield made


async def test_what_a_volume_was_known_to_show_is_known_after_a_restart() -> None:
    async with volume_edited(150.0) as made:
        before = made.state()
        assert isinstance(before, Known)
        await made.restart()
        await made.pass_(1.0)
        state = made.state()
        assert isinstance(state, Known)
        assert state.configuration == before.configuration


async def test_what_a_volume_may_not_show_yet_is_as_unclear_after_a_restart() -> None:
    async with volume_edited(60.0) as made:
        await made.restart()
        await made.pass_(1.0)
        assert isinstance(made.state(), InTransition)
        await made.pass_(121.0)
        assert isinstance(made.state(), Known)


async def test_a_volume_whose_object_changed_while_no_guard_looked_is_unclear() -> None:
    async with volume_edited(150.0) as made:
        await made.stop()
        made.configure(k="3")
        await made.start()
        await made.pass_(1.0)
        assert not isinstance(made.state(), Known)


async def test_what_changed_while_no_guard_looked_makes_it_unknown_to_new_pods_alone() -> None:
    async with rolled_out() as made:
        before = made.state()
        assert isinstance(before, Known)
        await made.stop()
        made.configure(k="2")
        made.configure(k="3")
        await made.start()
        await made.pass_(POLL)
        # The old pods were seen before: they have read what they had.
        state = made.state()
        assert isinstance(state, Known)
        assert state.configuration == before.configuration
        await made.stop()
        made.configure(k="4")
        made.pods("c")
        made.configure(k="5")
        await made.start()
        await made.pass_(POLL)
        assert made.state() == Unknown((APP,))


async def test_what_is_known_is_recorded_when_it_changes_and_not_at_each_look() -> None:
    async with rolled_out() as made:
        recorded = len(made.told(ConfigurationSeen))
        await made.pass_(40 * 30.0)
        assert len(made.told(ConfigurationSeen)) == recorded
        made.configure(k="2")
        await made.pass_(POLL)
        assert len(made.told(ConfigurationSeen)) == recorded + 1
        for restarts in range(1, 20):
            made.restart_container("a", restarts, ready=restarts % 2 == 0)
            made.restart_container("b", restarts, ready=restarts % 2 == 0)
            await made.pass_(POLL)
        # The edit, and that all pods have read it.
        assert len(made.told(ConfigurationSeen)) == recorded + 2


async def test_people_are_told_once_of_an_edit_that_nobody_reads() -> None:
    async with rolled_out() as made:
        made.configure(k="2", added="x")
        await made.pass_(PENDING_TOLD - POLL)
        assert made.notices("configuration.pending") == []
        await made.pass_(3 * POLL)
        await made.restart()
        await made.pass_(PENDING_TOLD + POLL)
        (notice,) = made.notices("configuration.pending")
        assert notice.facts["keys"] == "added, k"
        assert notice.target == KEY


async def test_edits_and_who_reads_them_are_logged_by_name_without_values() -> None:
    with capture_logs() as lines:
        async with rolled_out() as made:
            made.configure(k="hidden", more="x")
            await made.pass_(POLL)
            made.pods("c")
            await made.pass_(POLL)
    edited = [line for line in lines if line["event"] == "configuration.edited"]
    read = [line for line in lines if line["event"] == "configuration.read"]
    assert [line["keys"] for line in edited] == [("k", "more")]
    assert [(line["pods"], line["count"]) for line in read] == [(["c"], 1)]
    assert "hidden" not in str(lines)


async def test_who_has_read_an_edit_is_not_told_again_after_a_restart() -> None:
    async with rolled_out() as made:
        made.configure(k="2")
        await made.pass_(POLL)
        made.pods("c")
        await made.pass_(POLL)
        made.configure(k="3")
        await made.pass_(POLL)
        with capture_logs() as lines:
            await made.restart()
            await made.pass_(2 * POLL)
        assert [edit.version.gap for edit, readers in made.known.edits() if readers.new] == [False]
        assert [line for line in lines if line["event"] in {"configuration.read", "configuration.edited"}] == []


async def test_what_belongs_to_no_release_is_not_saved() -> None:
    async with configured() as made:
        made.configure(k="certificates")
        made.cluster.object(Kind.CONFIG_MAP, "app")["metadata"]["labels"] = {"trust.cert-manager.io/bundle": "ca"}
        made.refer()
        await made.start()
        await made.pass_(2 * POLL)
        assert not [content for content in made.blobs.contents if b"certificates" in content]


async def test_where_kinds_count_apart_only_the_guards_own_clock_gives_an_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with configured() as made:
        made.configure(k="1")
        made.refer()
        listing = made.cluster.listing

        async def apart(kind: Kind, *args: Any, **more: Any) -> Any:
            items, version = await listing(kind, *args, **more)
            return items, "7" if kind is Kind.POD else version

        monkeypatch.setattr(made.cluster, "listing", apart)
        await made.start()
        await made.pass_(POLL)
        made.pods("a")
        await made.pass_(2 * POLL)
        assert made.known.pods[0].created.by is None
        assert isinstance(made.state(), Known)


async def test_a_pod_that_nobody_can_place_is_unclear_and_then_told_by_looking_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with rolled_out() as made:
        then: dict[str, Any] = {}
        made.pods("c")
        made.configure(k="2")
        then[made.cluster.version] = await made.cluster.list(Kind.POD, "default")
        made.pods("d")
        listing = made.cluster.listing

        async def remembering(kind: Kind, *args: Any, version: str = "", **more: Any) -> Any:
            if version in then:
                return then[version], version
            return await listing(kind, *args, version=version, **more)

        await made.pass_(0.0)
        monkeypatch.setattr(made.cluster, "listing", remembering)
        await made.pass_(POLL)
        ((_, readers),) = made.known.edits()
        assert readers == EditReaders(("a", "b", "c"), ("d",), (), read=True, first=readers.first)
