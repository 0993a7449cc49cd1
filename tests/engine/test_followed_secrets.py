"""Secrets that belong to a release: followed like ConfigMaps, kept apart from everything else, and shown nowhere."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from logcaster_guard import saved_snapshots
from logcaster_guard.domain.configuration.content import Concealed
from logcaster_guard.domain.configuration.kept import kept_secret
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.configuration.release_configuration import InTransition, Known
from logcaster_guard.domain.errors import Rejected, Unavailable
from logcaster_guard.domain.events import RevisionConfigured, RevisionLive, RunClosed, RunOpened
from logcaster_guard.domain.rules import Policy
from logcaster_guard.domain.runs import ABANDONED, RECOVERED
from logcaster_guard.domain.snapshots import SavedSecret, Snapshot
from logcaster_guard.domain.theirs import DigestKeyLost
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Json, Kind
from logcaster_guard.steps.restore_secret import RestoreSecret
from tests import canary
from tests.canary import ONE, TWO, encoded
from tests.engine.bench import FIRES, KEY, PROD, PROVEN
from tests.engine.configured import POLL, Configured
from tests.fakes.saved_secrets import MemorySavedSecrets

DB = ConfigObject(ConfigKind.SECRET, "default", "db")
BOTH = {"envFrom": [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "db"}}]}


class WithSecrets(Configured):
    """`secrets` is what keeps them."""

    secrets: MemorySavedSecrets

    def store(self, value: str, **more: object) -> None:
        """Make the Secret, or give it another value."""
        if "db" in self.cluster.names(Kind.SECRET):
            self.cluster.change(Kind.SECRET, "db", lambda found: found.update(data={"password": encoded(value)}))
        else:
            self.cluster.add(Kind.SECRET, "db", data={"password": encoded(value)}, **more)

    def place(self) -> str:
        """Where what the Secret holds now is kept; empty: it is not."""
        latest = self.known.latest
        return "" if latest is None else self.known.contents(latest.contents).get(str(DB), "")


@contextlib.asynccontextmanager
async def with_secrets() -> AsyncIterator[WithSecrets]:
    """Before the guard's start."""
    made = WithSecrets()
    made.saved_secrets = made.secrets = MemorySavedSecrets()
    made.configure(k="1")
    made.store(ONE)
    made.refer(BOTH)
    try:
        yield made
    finally:
        await made.stop()


@contextlib.asynccontextmanager
async def rolled_out() -> AsyncIterator[WithSecrets]:
    async with with_secrets() as made:
        await made.start()
        await made.pass_(POLL)
        made.pods("a", "b")
        await made.pass_(POLL)
        yield made


async def test_a_secret_is_followed_and_kept_where_no_blob_is() -> None:
    async with rolled_out() as made:
        state = made.state()
        assert isinstance(state, Known)
        assert made.known.left_out() == []
        assert sorted(made.watches.going) == ["app", "db"]
        kept = made.known.contents(state.contents)
        assert kept.keys() == {"ConfigMap default/app", "Secret default/db"}
        place = kept[str(DB)]
        assert kept_secret(place) is not None
        assert encoded(ONE).encode() in (await made.secrets.get(place)).reveal()
        assert place in made.guard.state.releases_to_keep(Policy().ledger)


async def test_an_edit_of_a_secret_is_a_rollout_with_a_cause() -> None:
    async with rolled_out() as made:
        first, before = made.place(), made.state()
        made.store(TWO)
        await made.pass_(POLL)
        (edit,) = made.known.pending()
        assert edit.object == DB
        assert made.place() != first
        made.pods("c")
        await made.pass_(POLL)
        assert made.state() == InTransition((DB,))
        made.remove_pods("a", "b")
        await made.pass_(POLL)
        assert made.state() == made.known.latest != before
        lives = made.told(RevisionLive)
        assert [live.contents.get(str(DB), "") for live in lives][-1] == made.place()


async def test_no_value_and_no_plain_digest_stands_anywhere_but_in_the_store() -> None:
    with capture_logs() as lines:
        async with rolled_out() as made:
            made.store(TWO)
            made.pods("c")
            await made.pass_(PROVEN)
            assert made.journal is not None
            shown = [repr(lines), repr(made.journal.entries), repr(made.blobs.contents), repr(made.inbox.notices)]
            shown += [repr(vars(made.known)), repr(made.guard.read_model.targets), repr(vars(made.secrets))]
    for text in shown:
        assert not canary.is_in(text)


async def test_a_restart_knows_what_the_pods_have_read() -> None:
    async with rolled_out() as made:
        before, place = made.state(), made.place()
        assert isinstance(before, Known)
        await made.restart()
        await made.pass_(POLL)
        state = made.state()
        assert isinstance(state, Known)
        assert state.configuration == before.configuration
        assert made.place() == place


async def test_a_lost_key_makes_new_digests_and_no_rollout() -> None:
    async with rolled_out() as made:
        before, place = made.state(), made.place()
        assert isinstance(before, Known)
        lives = len(made.told(RevisionLive))
        await made.stop()
        made.secrets.lose_key()
        await made.start()
        await made.pass_(POLL)
        state = made.state()
        assert isinstance(state, Known)
        assert state.configuration != before.configuration
        assert list(made.known.edits()) == []
        assert list(made.known.pending()) == []
        assert len(made.told(RevisionLive)) == lives
        told = made.told(RevisionConfigured)[-1]
        assert told.configuration == state.configuration
        assert told.contents[str(DB)] == made.place() != place
        # An edit is an edit again.
        made.store(TWO)
        await made.pass_(POLL)
        made.pods("c")
        await made.pass_(POLL)
        assert len(made.told(RevisionLive)) == lives + 1


@contextlib.asynccontextmanager
async def rolled_back() -> AsyncIterator[WithSecrets]:
    """A bad image came with another value; the run that follows is at the Secret, which cannot be written."""
    async with rolled_out() as made:
        await made.pass_(PROVEN)
        made.store(TWO)
        made.cluster.roll(PROD, "v2")
        made.pods("c")
        made.cluster.stuck = True
        away = Unavailable("no answer", status=503)
        made.cluster.fault = lambda verb, kind, _: away if (verb, kind) == ("patch", Kind.SECRET) else None
        await made.pass_(FIRES + POLL)
        assert len(made.told(RunOpened)) == 1
        yield made


async def test_a_key_that_is_lost_in_mid_run_ends_it_and_nothing_is_overwritten() -> None:
    async with rolled_back() as made:
        await made.stop()
        made.secrets.lose_key()
        made.cluster.fault = lambda *_: None
        before = made.writes(Kind.SECRET), made.writes()
        await made.start()
        await made.pass_(POLL)
        [closed] = made.told(RunClosed)
        assert (closed.outcome, closed.reason) == (ABANDONED, DigestKeyLost(str(DB)))
        assert (made.writes(Kind.SECRET), made.writes()) == before
        assert made.cluster.object(Kind.SECRET, "db")["data"]["password"] == encoded(TWO)
        # Another rollback is planned with the new key.
        assert made.known.edits()
        assert made.place() in made.secrets.kept


async def test_a_key_that_is_lost_once_the_secret_is_put_back_holds_nothing_up() -> None:
    async with rolled_back() as made:
        made.cluster.fault = lambda *_: None
        await made.pass_(POLL)
        assert made.cluster.object(Kind.SECRET, "db")["data"]["password"] == encoded(ONE)
        assert made.told(RunClosed) == []
        await made.stop()
        made.secrets.lose_key()
        await made.start()
        await made.pass_(POLL)
        made.cluster.stuck = False
        made.cluster.finish()
        await made.pass_(PROVEN)
        assert [closed.outcome for closed in made.told(RunClosed)] == [RECOVERED]


async def test_a_secret_that_may_not_be_read_is_left_out_with_the_right_that_is_missing() -> None:
    with capture_logs() as lines:
        async with with_secrets() as made:
            made.watches.refused["db"] = Rejected("forbidden", status=403)
            await made.start()
            made.pods("a")
            await made.pass_(300.0)
            (left_out,) = made.known.left_out()
            assert (left_out.object, left_out.followed) == (DB, True)
            assert made.secrets.kept == {}
            assert made.place() == ""
    told = [line["detail"] for line in lines if line["event"] == "configuration.unread"]
    assert len(told) == 1
    assert "cannot list secrets db in namespace default" in told[0]
    assert "deploy/components/secrets" in told[0]


@pytest.mark.parametrize(
    "error", [Rejected("Cannot get Secret: 403: Forbidden", status=403), Unavailable("no answer", status=503)]
)
async def test_without_a_key_no_secret_is_read_and_config_maps_are_followed(error: Rejected | Unavailable) -> None:
    async with with_secrets() as made:
        made.secrets.refused = error
        await made.start()
        await made.pass_(POLL)
        assert made.watches.going == ["app"]
        assert [found.object for found in made.known.left_out()] == [DB]
        made.secrets.refused = None
        await made.pass_(2 * POLL)
        assert sorted(made.watches.going) == ["app", "db"]
        assert made.known.left_out() == []
        assert made.place() in made.secrets.kept


async def test_what_could_not_be_kept_is_kept_later() -> None:
    async with rolled_out() as made:
        made.secrets.full = True
        made.store(TWO)
        await made.pass_(POLL)
        assert made.place() == ""
        made.secrets.full = False
        await made.pass_(POLL)
        assert made.place() in made.secrets.kept


async def test_a_token_that_the_cluster_issues_is_never_followed_or_kept() -> None:
    async with with_secrets() as made:
        made.cluster.remove(Kind.SECRET, "db")
        made.store(ONE, type="kubernetes.io/service-account-token")
        await made.start()
        await made.pass_(POLL)
        assert [(found.object, found.followed) for found in made.known.left_out()] == [(DB, False)]
        assert made.secrets.kept == {}


async def test_what_a_release_needs_is_what_stays() -> None:
    async with rolled_out() as made:
        await made.secrets.put("default", Concealed(b"stray"))
        await made.guard.forget_old_releases()
        assert made.secrets.wanted == {made.place()}
        # Nothing but the snapshot names it, and that is within its bounds.
        named = await made.secrets.put("default", Concealed(b"named"))
        workload = {"kind": "Deployment", "metadata": {"name": PROD}}
        taken = Snapshot(made.clock.now(), KEY, (workload,), secrets=(SavedSecret("default", "gone", named),))
        await saved_snapshots.save(made.blobs, taken)
        await made.guard.forget_old_releases()
        assert made.secrets.wanted == {made.place(), named}
        # Nobody removes what is younger than a day; later it goes.
        assert len(made.secrets.kept) == 3
        await made.secrets.keep_only(made.secrets.wanted, older_than=0.0)
        assert made.secrets.kept.keys() == made.secrets.wanted


async def test_what_a_good_release_or_an_open_run_needs_stays_when_the_secret_holds_something_else() -> None:
    async with rolled_out() as made:
        await made.pass_(PROVEN)
        good = made.place()
        # An edit that no pod has read is saved with the run that follows from a bad image.
        made.store(TWO)
        made.cluster.roll(PROD, "v2")
        made.pods("c")
        made.cluster.stuck = True
        await made.pass_(FIRES + POLL)
        [opened] = made.told(RunOpened)
        [taken] = (await saved_snapshots.load(made.blobs, opened.snapshot)).secrets
        assert encoded(TWO).encode() in (await made.secrets.get(taken.place)).reveal()
        await made.guard.forget_old_releases()
        [restored] = [step for step in opened.plan.steps if isinstance(step, RestoreSecret)]
        assert {good, taken.place, restored.manifest} <= made.secrets.wanted


async def test_what_a_lost_journal_knew_is_told_once_and_stays() -> None:
    async with with_secrets() as made:
        # Snapshots of the guard before are still there, of what it kept they name one.
        ours, named = [await made.secrets.put("default", Concealed(content)) for content in (b"old", b"named")]
        workload = {"kind": "Deployment", "metadata": {"name": PROD}}
        taken = Snapshot(made.clock.now(), KEY, (workload,), secrets=(SavedSecret("default", "gone", named),))
        await saved_snapshots.save(made.blobs, taken)
        await made.clock.advance(7_200.0)
        made.secrets.now = made.clock.now()
        await made.start()
        made.pods("a")
        await made.pass_(3 * POLL)
        [notice] = made.notices("marks.unproven")
        name = ours.rpartition("/")[2]
        assert "It holds what Secrets held, kept before this journal begins" in notice.text
        assert f"kubectl -n default delete secret {name}" in notice.text
        stray = await made.secrets.put("default", Concealed(b"stray"))
        await made.guard.forget_old_releases()
        await made.pass_(2 * POLL)
        assert made.secrets.since is not None
        await made.secrets.keep_only(made.secrets.wanted, older_than=0.0, since=made.secrets.since)
        assert stray not in made.secrets.kept
        assert {ours, named, made.place()} <= made.secrets.kept.keys()
        # The next guard with this journal knows it, and says nothing new.
        await made.restart()
        await made.pass_(3 * POLL)
        assert len(made.notices("marks.unproven")) == 1
        [shown] = made.guard.read_model.target(KEY).unproven
        assert "Secret default/" in english().text(shown)


async def test_where_secrets_are_only_named_none_is_watched_or_kept() -> None:
    async with with_secrets() as made:
        made.saved_secrets = None
        await made.start()
        made.pods("a")
        await made.pass_(POLL)
        assert made.watches.going == ["app"]
        assert [found.object for found in made.known.left_out()] == [DB]
        assert made.secrets.kept == {}


async def test_kinds_that_are_counted_apart_are_told_each_by_itself() -> None:
    with capture_logs() as lines:
        async with with_secrets() as made:
            listing = made.cluster.listing

            async def apart(kind: Kind, *arguments: Any, **options: Any) -> tuple[Sequence[Json], str]:
                items, version = await listing(kind, *arguments, **options)
                return items, "1" if kind is Kind.SECRET else version

            made.cluster.listing = apart  # type: ignore[method-assign] # etcd keeps Secrets elsewhere
            await made.start()
            await made.pass_(POLL)
            made.pods("a")
            await made.pass_(POLL)
    assert [line["kind"] for line in lines if line["event"] == "configuration.unordered"] == ["Secret"]
