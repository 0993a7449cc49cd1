"""Versions of Secrets in the cluster: the contract of the store, and what an API server says of a Secret it refuses."""

from __future__ import annotations

import base64
import json
import secrets as randomness
import traceback
from collections.abc import AsyncIterator

import pytest

from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.adapters.kubernetes.saved_secrets import KubernetesSavedSecrets, Where
from logcaster_guard.domain.configuration.content import Concealed
from logcaster_guard.domain.errors import Rejected
from logcaster_guard.ports import Kind
from tests.adapters.test_saved_secrets_contract import PASSWORD
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


async def test_what_one_guard_keeps_the_next_one_finds_and_lets_go_of(cluster: Cluster, api: KubernetesCluster) -> None:
    first, second = store(api, cluster), store(api, cluster)
    place = await first.put(cluster.namespace, Concealed(PASSWORD))
    assert await second.put(cluster.namespace, Concealed(PASSWORD)) == place
    assert (await second.get(place)).reveal() == PASSWORD
    assert await second.keep_only({place}, older_than=-60.0) == 0
    assert await second.keep_only((), older_than=-60.0) == 1


async def test_the_largest_secret_that_there_can_be_is_kept_in_pieces(cluster: Cluster, api: KubernetesCluster) -> None:
    content = Concealed(base64.b64encode(randomness.token_bytes(BOUND)))
    saved = store(api, cluster)
    assert await saved.get(await saved.put(cluster.namespace, content)) == content
    kinds = [
        item["type"] for item in await api.list(Kind.SECRET, cluster.namespace) if NAME in item["metadata"]["name"]
    ]
    assert kinds.count("guard.logcaster.io/secret") > 1
    assert kinds.count("guard.logcaster.io/digest-key") == 1


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
