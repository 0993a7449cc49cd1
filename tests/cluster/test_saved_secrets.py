"""Versions of Secrets in the cluster: the contract of the store, and what an API server says of a Secret it refuses."""

from __future__ import annotations

import base64
import json
import secrets as randomness
import traceback
from collections.abc import AsyncIterator, Mapping

import pytest

from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.adapters.kubernetes.saved_secrets import KubernetesSavedSecrets, Where
from logcaster_guard.domain.configuration.content import Concealed
from logcaster_guard.domain.configuration.manifests import manifest_of
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.errors import Rejected
from logcaster_guard.ports import Kind, SavedSecrets
from tests.adapters import test_saved_secrets_contract
from tests.adapters.test_saved_secrets_contract import EVER, PASSWORD
from tests.canary import ONE, encoded
from tests.cluster.harness import Cluster

NAME = "logcaster-guard"
BOUND = 1_048_576


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[KubernetesCluster]:
    made = await connect(kubeconfig=cluster.kubeconfig("admin"), context=None, timeout=10.0)
    yield made
    await made.aclose()


def store(api: KubernetesCluster, cluster: Cluster) -> KubernetesSavedSecrets:
    return KubernetesSavedSecrets(api, Where(NAME, [cluster.namespace]))


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    return cluster.namespace


@pytest.fixture
def saved(api: KubernetesCluster, cluster: Cluster) -> SavedSecrets:
    return store(api, cluster)


# Every test of the contract that asks for nothing but what it tests.
contract = {n: f for n, f in vars(test_saved_secrets_contract).items() if n.startswith("test_")}
globals().update({n: f for n, f in contract.items() if "saved" in f.__annotations__})


async def test_what_one_guard_keeps_the_next_one_finds_and_lets_go_of(cluster: Cluster, api: KubernetesCluster) -> None:
    first, second = store(api, cluster), store(api, cluster)
    place = await first.put(cluster.namespace, Concealed(PASSWORD))
    assert await second.put(cluster.namespace, Concealed(PASSWORD)) == place
    assert (await second.get(place)).reveal() == PASSWORD
    assert await second.keep_only({place}, older_than=-60.0, since=EVER) == 0
    assert await second.keep_only((), older_than=-60.0, since=EVER) == 1


async def test_the_largest_secret_that_there_can_be_is_kept_in_pieces(cluster: Cluster, api: KubernetesCluster) -> None:
    """Its manifest is larger than any Secret could be."""
    files = {"one": randomness.token_bytes(BOUND // 2), "other": randomness.token_bytes(BOUND // 2)}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}}
    over = {**files, "more": b"1"}
    with pytest.raises(Rejected):
        await api.create(Kind.SECRET, cluster.namespace, {**body, "data": held(over)})
    live = await api.create(Kind.SECRET, cluster.namespace, {**body, "data": held(files)})
    manifest, saved = manifest_of(ConfigKind.SECRET, live), store(api, cluster)
    assert len(manifest.reveal()) > BOUND
    place = await saved.put(cluster.namespace, manifest)
    assert await store(api, cluster).get(place) == manifest
    kinds = [
        item["type"] for item in await api.list(Kind.SECRET, cluster.namespace) if NAME in item["metadata"]["name"]
    ]
    assert kinds.count("guard.logcaster.io/secret") > 1
    assert kinds.count("guard.logcaster.io/digest-key") == 1
    # All of its pieces go with it.
    assert await saved.keep_only((), older_than=-60.0, since=EVER) == 1
    left = [item["type"] for item in await api.list(Kind.SECRET, cluster.namespace)]
    assert "guard.logcaster.io/secret" not in left


async def test_a_key_that_is_lost_or_replaced_is_made_anew_and_loses_nothing(
    cluster: Cluster, api: KubernetesCluster
) -> None:
    before = store(api, cluster)
    place = await before.put(cluster.namespace, Concealed(PASSWORD))
    await cluster.admin.delete(f"/api/v1/namespaces/{cluster.namespace}/secrets/{NAME}-digest-key")
    after = store(api, cluster)
    assert (await after.get(place)).reveal() == PASSWORD
    other = await after.put(cluster.namespace, Concealed(PASSWORD))
    assert other != place
    # The guard that has the lost key goes on with it until it ends, and both find what the other has kept.
    assert await before.put(cluster.namespace, Concealed(PASSWORD)) == place
    for guard in (before, after, store(api, cluster)):
        assert [(await guard.get(p)).reveal() for p in (place, other)] == [PASSWORD] * 2
    assert await after.keep_only({place, other}, older_than=-60.0, since=EVER) == 0


async def test_a_refused_patch_of_a_secret_tells_nothing_of_what_it_holds(
    cluster: Cluster, api: KubernetesCluster
) -> None:
    """The server quotes the whole object, with everything that it holds."""
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": {"password": encoded(ONE)}}
    await api.create(Kind.SECRET, cluster.namespace, body)
    for operations in (
        [{"op": "add", "path": "/data/other", "value": "no base64 %%"}],
        [{"op": "add", "path": "/type", "value": ONE}],
    ):
        with pytest.raises(Rejected) as caught:
            await api.json_patch(Kind.SECRET, cluster.namespace, "db", operations)
        shown = str(caught.value) + json.dumps(traceback.format_exception(caught.value))
        assert caught.value.status in {400, 422}
        assert ONE not in shown.replace(repr(ONE), "")
        assert encoded(ONE) not in shown


def held(files: Mapping[str, bytes]) -> Mapping[str, str]:
    """As a Secret's `data` holds files."""
    return {name: base64.b64encode(content).decode() for name, content in files.items()}
