"""What every store of Secrets does, and what the one in the cluster does with lost keys, two guards and mishaps."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets as randomness
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from logcaster_guard.adapters.kubernetes import blobs as packing
from logcaster_guard.adapters.kubernetes.saved_secrets import KubernetesSavedSecrets, Where
from logcaster_guard.domain.configuration.content import Concealed
from logcaster_guard.domain.configuration.followed import GuardsOwn, never_followed
from logcaster_guard.domain.configuration.kept import kept_secret
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.errors import BlobMissing, Rejected, Unavailable
from logcaster_guard.ports import SavedSecrets
from tests.canary import ONE, encoded
from tests.fakes.saved_secrets import MemorySavedSecrets
from tests.fakes.secrets import Fate, Secrets

SHOP = "shop"
WHERE = Where("logcaster-guard", [SHOP])
EVER = datetime(2000, 1, 1, tzinfo=UTC)
PASSWORD = json.dumps({"data": {"password": encoded(ONE)}}).encode()


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


@pytest.fixture(params=["memory", "kubernetes"])
def saved(request: pytest.FixtureRequest, secrets: Secrets) -> SavedSecrets:
    return MemorySavedSecrets() if request.param == "memory" else KubernetesSavedSecrets(secrets, WHERE)


@pytest.fixture
def namespace() -> str:
    """Whose Secrets are kept, and where."""
    return SHOP


@pytest.mark.parametrize("content", [b"", PASSWORD, randomness.token_bytes(1_400_000)], ids=["empty", "one", "large"])
async def test_a_version_is_found_in_its_place(saved: SavedSecrets, namespace: str, content: bytes) -> None:
    place = await saved.put(namespace, Concealed(content))
    assert (await saved.get(place)).reveal() == content


async def test_the_place_is_a_keyed_digest_that_no_blob_has(saved: SavedSecrets, namespace: str) -> None:
    place, key = await saved.put(namespace, Concealed(PASSWORD)), await saved.key(namespace)
    kept = kept_secret(place)
    assert kept is not None
    assert (kept.namespace, kept.key, kept.digest) == (namespace, key.name, key.digest(PASSWORD))
    assert hashlib.sha256(PASSWORD).hexdigest() not in place
    assert kept_secret(hashlib.sha256(PASSWORD).hexdigest()) is None


async def test_what_is_put_twice_or_at_once_is_in_one_place(saved: SavedSecrets, namespace: str) -> None:
    places = await asyncio.gather(*(saved.put(namespace, Concealed(PASSWORD)) for _ in range(4)))
    assert len(set(places)) == 1


@pytest.mark.parametrize("place", ["", "0" * 64, "{}/" + f"{'0' * 16}/{'0' * 64}", f"../{'0' * 16}/{'0' * 64}"])
async def test_what_was_never_put_is_missing(saved: SavedSecrets, namespace: str, place: str) -> None:
    with pytest.raises(BlobMissing):
        await saved.get(place.format(namespace))


async def test_only_what_is_old_and_not_wanted_is_removed(saved: SavedSecrets, namespace: str) -> None:
    wanted, other = [await saved.put(namespace, Concealed(content)) for content in (b"wanted", b"other")]
    assert await saved.keep_only({wanted}, older_than=3_600.0, since=EVER) == 0
    # An API server counts in whole seconds, by its own clock.
    assert await saved.keep_only({wanted}, older_than=-60.0, since=EVER) == 1
    assert (await saved.get(wanted)).reveal() == b"wanted"
    with pytest.raises(BlobMissing):
        await saved.get(other)


async def test_what_was_kept_before_a_moment_is_told_and_stays(saved: SavedSecrets, namespace: str) -> None:
    place = await saved.put(namespace, Concealed(b"other"))
    later = datetime.now(UTC) + timedelta(days=1)
    assert await saved.kept_before(EVER) == []
    [(digest, name)] = await saved.kept_before(later)
    assert (digest, name.partition("/")[0]) == (place.rpartition("/")[2], namespace)
    assert await saved.keep_only((), older_than=-60.0, since=later) == 0
    assert await saved.keep_only((), older_than=-60.0, since=EVER) == 1
    assert await saved.kept_before(later) == []


async def test_all_that_is_kept_is_of_a_type_and_with_labels_that_nobody_follows(secrets: Secrets) -> None:
    await KubernetesSavedSecrets(secrets, WHERE).put(SHOP, Concealed(PASSWORD))
    found = {item["type"] for item in secrets.objects.values()}
    assert found == {"guard.logcaster.io/secret", "guard.logcaster.io/digest-key"}
    for item in secrets.objects.values():
        without_type = {key: value for key, value in item.items() if key != "type"}
        assert never_followed(ConfigKind.SECRET, without_type) == GuardsOwn()
        assert item["immutable"]


async def test_names_labels_and_headers_tell_nothing_of_a_value(secrets: Secrets) -> None:
    await KubernetesSavedSecrets(secrets, WHERE).put(SHOP, Concealed(PASSWORD))
    for item in secrets.objects.values():
        header = base64.b64decode(item["data"]["header"])
        shown = json.dumps(item["metadata"]).encode() + header
        assert all(word not in shown for word in (b"hunter2", hashlib.sha256(PASSWORD).hexdigest().encode()))


async def test_everything_goes_into_the_namespace_that_settings_name(secrets: Secrets) -> None:
    saved = KubernetesSavedSecrets(secrets, Where("logcaster-guard", ["vault"], together="vault"))
    place = await saved.put(SHOP, Concealed(PASSWORD))
    assert {item["metadata"]["namespace"] for item in secrets.objects.values()} == {"vault"}
    # What was kept before that was set is still found.
    elsewhere = KubernetesSavedSecrets(secrets, Where("logcaster-guard", ["other"], together="other"))
    assert (await elsewhere.get(place)).reveal() == PASSWORD
    assert await elsewhere.keep_only({place}, older_than=-1.0, since=EVER) == 0


async def test_two_guards_that_begin_at_once_have_one_key(secrets: Secrets) -> None:
    guards = [KubernetesSavedSecrets(secrets, WHERE) for _ in range(4)]
    keys = await asyncio.gather(*(guard.key(SHOP) for guard in guards))
    assert len({key.name for key in keys}) == 1
    assert await KubernetesSavedSecrets(secrets, WHERE).key(SHOP) == keys[0]


async def test_a_lost_key_makes_other_digests_and_loses_nothing_that_was_kept(secrets: Secrets) -> None:
    before = KubernetesSavedSecrets(secrets, WHERE)
    place = await before.put(SHOP, Concealed(PASSWORD))
    del secrets.objects["logcaster-guard-digest-key"]
    after = KubernetesSavedSecrets(secrets, WHERE)
    assert (await after.get(place)).reveal() == PASSWORD
    # Whoever only reads makes no key.
    assert "logcaster-guard-digest-key" not in secrets.objects
    assert (await after.key(SHOP)).name != (await before.key(SHOP)).name
    assert (await after.get(place)).reveal() == PASSWORD
    other = await after.put(SHOP, Concealed(PASSWORD))
    assert other != place
    assert await after.keep_only({place, other}, older_than=-1.0, since=EVER) == 0


@pytest.mark.parametrize("lost", [False, True], ids=["the same key", "the key lost"])
async def test_what_is_damaged_or_another_is_missing(secrets: Secrets, lost: bool) -> None:
    saved = KubernetesSavedSecrets(secrets, WHERE)
    one, other = [await saved.put(SHOP, Concealed(content)) for content in (b"one", b"other")]
    if lost:
        del secrets.objects["logcaster-guard-digest-key"]
        saved = KubernetesSavedSecrets(secrets, WHERE)
    names = [f"logcaster-guard-secret-{place.rpartition('/')[2]}" for place in (one, other)]
    secrets.edit(names[0], lambda item: item.update(data=secrets.objects[names[1]]["data"]))
    secrets.edit(names[1], lambda item: item["data"].update(content=item["data"]["content"][:8]))
    for place in (one, other):
        with pytest.raises(BlobMissing):
            await saved.get(place)


async def test_a_key_that_no_guard_wrote_is_not_used(secrets: Secrets) -> None:
    await KubernetesSavedSecrets(secrets, WHERE).key(SHOP)
    secrets.edit("logcaster-guard-digest-key", lambda item: item["data"].update(key="c2hvcnQ="))
    with pytest.raises(Rejected, match="digest-key is damaged"):
        await KubernetesSavedSecrets(secrets, WHERE).put(SHOP, Concealed(PASSWORD))


def once(fate: Fate, at: int) -> Callable[[str], Fate]:
    numbers: Iterator[int] = iter(range(1_000))
    return lambda _: fate if next(numbers) == at else Fate.WELL


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("fate", [Fate.CUT_BEFORE, Fate.CUT_AFTER, Fate.LATE, Fate.TWICE])
async def test_a_mishap_is_told_or_looked_after_and_never_makes_a_second_key(
    secrets: Secrets, fate: Fate, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "PART", 1_000)
    content = Concealed(randomness.token_bytes(2_500))
    saved = KubernetesSavedSecrets(secrets, WHERE)
    secrets.fate = once(fate, at)
    try:
        place = await saved.put(SHOP, content)
    except Unavailable:
        place = await saved.put(SHOP, content)
    secrets.arrive(everything=True)
    again = KubernetesSavedSecrets(secrets, WHERE)
    assert await again.get(place) == content
    assert await again.put(SHOP, content) == place
