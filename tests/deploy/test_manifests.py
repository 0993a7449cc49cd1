"""`kubectl kustomize deploy/` builds, and what it builds holds to the rules of a careful cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from logcaster_guard.adapters.kubernetes.access import DELEGATED, LEASE_PERMISSIONS, PERMISSIONS
from logcaster_guard.adapters.kubernetes.connect import SERVICE_ACCOUNT
from logcaster_guard.config.loading import Loaded, load
from logcaster_guard.config.settings import default_settings
from logcaster_guard.domain.rights import ROLE
from logcaster_guard.domain.sidecar import CONTAINER, is_guard, without_guard
from logcaster_guard.sandbox import objects
from tests.deploy.dockerfile import ROOT

Json = dict[str, Any]
DEPLOY = ROOT / "deploy"
RULES = "Rules"
OF_DEPLOYMENTS = [p for p in PERMISSIONS if p.granted_by == ROLE]
"""What a target needs that is a Deployment and is rolled back at once."""


@pytest.fixture(scope="module")
def built() -> dict[str, Json]:
    """The objects of the base, by kind."""
    return by_kind(build(DEPLOY))


def by_kind(objects: list[Json]) -> dict[str, Json]:
    """Each by its kind; of the two ConfigMaps the rules' is called `Rules`."""
    found = {RULES if o["metadata"]["name"] == "logcaster-guard-rules" else o["kind"]: o for o in objects}
    assert len(found) == len(objects)
    return found


def pod(built: dict[str, Json]) -> Json:
    spec: Json = built["Deployment"]["spec"]["template"]["spec"]
    return spec


def container(built: dict[str, Json]) -> Json:
    (found,) = pod(built)["containers"]
    return dict(found)


def test_everything_is_there_and_in_one_namespace(built: dict[str, Json]) -> None:
    kinds = {"ConfigMap", RULES, "Deployment", "PersistentVolumeClaim", "Role", "RoleBinding", "ServiceAccount"}
    assert set(built) == kinds | {"NetworkPolicy"}
    assert {o["metadata"]["namespace"] for o in built.values()} == {"logcaster"}


def test_the_guard_is_never_run_twice_at_once(built: dict[str, Json]) -> None:
    spec = built["Deployment"]["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
    assert built["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_the_pod_may_do_no_more_than_it_needs(built: dict[str, Json]) -> None:
    security = pod(built)["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(built)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod(built))
    assert built["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod(built)["automountServiceAccountToken"] is True
    resources = container(built)["resources"]
    assert {"cpu", "memory"} <= set(resources["requests"]) & set(resources["limits"])


def test_only_the_journals_volume_is_written(built: dict[str, Json]) -> None:
    mounts = {m["name"]: m for m in container(built)["volumeMounts"]}
    writable = [m["mountPath"] for m in mounts.values() if not m.get("readOnly")]
    assert writable == ["/var/lib/logcaster-guard"]
    # A subPath mount is never updated when the ConfigMap is.
    assert not any("subPath" in m for m in mounts.values())
    volumes = {v["name"]: v for v in pod(built)["volumes"]}
    assert (
        volumes["journal"]["persistentVolumeClaim"]["claimName"] == built["PersistentVolumeClaim"]["metadata"]["name"]
    )
    for volume, kind in (("config", "ConfigMap"), ("rules", RULES)):
        assert volumes[volume]["configMap"]["name"] == built[kind]["metadata"]["name"]
        assert mounts[volume]["mountPath"] in container(built)["args"]


def test_an_edit_of_rules_or_settings_renames_no_configmap(built: dict[str, Json]) -> None:
    assert built["ConfigMap"]["metadata"]["name"] == "logcaster-guard"
    assert built[RULES]["metadata"]["name"] == "logcaster-guard-rules"


def test_who_may_edit_the_rules_need_not_be_allowed_to_edit_the_settings(built: dict[str, Json]) -> None:
    assert list(built[RULES]["data"]) == ["rollback-rules.yaml"]
    assert list(built["ConfigMap"]["data"]) == ["guard.yaml"]


def test_the_guard_is_told_its_own_pod(built: dict[str, Json]) -> None:
    told = {e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"] for e in container(built)["env"]}
    assert told == {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}


def test_the_image_is_named_with_a_version(built: dict[str, Json]) -> None:
    name, _, tag = container(built)["image"].rpartition(":")
    assert name.endswith("/logcaster-guard")
    assert tag[0].isdigit()


def mounted(built: dict[str, Json], folder: Path) -> Loaded:
    """The ConfigMaps' files as the guard in the pod reads them, each in its folder."""
    folders = [folder / kind for kind in (RULES, "ConfigMap")]
    for place in folders:
        place.mkdir()
        for name, text in built[place.name]["data"].items():
            (place / name).write_text(text)
    found = load(*folders)
    assert isinstance(found, Loaded), found
    return found


def test_the_configmaps_are_sound_and_hold_the_shipped_rules(built: dict[str, Json], tmp_path: Path) -> None:
    found = mounted(built, tmp_path)
    assert built[RULES]["data"]["rollback-rules.yaml"] == (ROOT / "config" / "rollback-rules.yaml").read_text()
    assert len(found.rules) == 5
    assert {t.namespace for t in found.settings.targets} == {"logcaster"}


def test_the_probes_reach_the_guards_own_server(built: dict[str, Json], tmp_path: Path) -> None:
    settings = mounted(built, tmp_path).settings.web
    web, own = container(built)["ports"]
    assert settings.listen == f"0.0.0.0:{web['containerPort']}"
    assert settings.probes == f"0.0.0.0:{own['containerPort']}"
    probes = {k: v["httpGet"] for k, v in container(built).items() if k.endswith("Probe")}
    assert {k: v["path"] for k, v in probes.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {v["port"] for v in probes.values()} == {own["name"]}


def test_only_prometheus_reaches_the_api_and_nobody_in_the_cluster_the_probes(built: dict[str, Json]) -> None:
    spec = built["NetworkPolicy"]["spec"]
    labels = built["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert (spec["podSelector"], spec["policyTypes"]) == ({"matchLabels": labels}, ["Ingress"])
    (allowed,) = spec["ingress"]
    (peer,) = allowed["from"]
    assert peer["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}
    assert allowed["ports"] == [{"protocol": "TCP", "port": container(built)["ports"][0]["name"]}]


def test_the_role_is_exactly_what_the_code_uses_and_the_pods_account_has_it(built: dict[str, Json]) -> None:
    granted = {
        (group, resource, verb)
        for rule in built["Role"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == {(p.group, p.resource, verb) for p in OF_DEPLOYMENTS for verb in p.verbs}
    (subject,) = built["RoleBinding"]["subjects"]
    assert subject["name"] == pod(built)["serviceAccountName"] == built["ServiceAccount"]["metadata"]["name"]
    assert built["RoleBinding"]["roleRef"]["name"] == built["Role"]["metadata"]["name"]


def build(folder: Path) -> list[Json]:
    """What kustomize makes of a folder."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl: it is not on PATH")
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize(
    "component",
    ["config", "config-copies", "secrets", "secret-copies", "gradual", "blue-green", "statefulset", "daemonset"],
)
def test_further_rights_build_beside_the_base_in_its_namespace_and_for_its_account(
    component: str, tmp_path: Path
) -> None:
    deploy = os.path.relpath(DEPLOY, tmp_path.resolve())
    text = f"namespace: shop\nresources: [{deploy}]\ncomponents: [{deploy}/components/{component}]\n"
    (tmp_path / "kustomization.yaml").write_text(text)
    found = build(tmp_path.resolve())
    role, binding = (the(found, kind, f"logcaster-guard-{component}") for kind in ("Role", "RoleBinding"))
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert {o["metadata"]["namespace"] for o in (role, binding)} == {"shop"}
    assert binding["subjects"] == the(found, "RoleBinding")["subjects"]


def test_the_rights_on_gitops_owners_build_apart_from_the_base() -> None:
    assert sorted(o["kind"] for o in build(DEPLOY / "components" / "gitops")) == ["Role", "RoleBinding"]


def test_the_rights_to_ask_for_others_build_apart_from_the_base_and_are_for_the_same_account() -> None:
    objects = {o["kind"]: o for o in build(DEPLOY / "components" / "api-auth")}
    assert sorted(objects) == ["ClusterRole", "ClusterRoleBinding"]
    granted = {
        (group, resource, verb)
        for rule in objects["ClusterRole"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == {(p.group, p.resource, verb) for p in DELEGATED for verb in p.verbs}
    (subject,) = objects["ClusterRoleBinding"]["subjects"]
    assert (subject["name"], subject["namespace"]) == ("logcaster-guard", "logcaster")


def test_the_journals_namespace_is_the_one_of_the_settings_and_its_role_is_for_that_alone() -> None:
    objects = {o["kind"]: o for o in build(DEPLOY / "components" / "kubernetes-journal")}
    assert sorted(objects) == ["Namespace", "Role", "RoleBinding"]
    namespace = default_settings().journal.namespace
    assert objects["Namespace"]["metadata"]["name"] == namespace
    assert {objects[kind]["metadata"]["namespace"] for kind in ("Role", "RoleBinding")} == {namespace}
    assert objects["RoleBinding"]["roleRef"]["name"] == objects["Role"]["metadata"]["name"]
    (subject,) = objects["RoleBinding"]["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "logcaster-guard", "namespace": "logcaster"}


@pytest.fixture(scope="module")
def taking_turns(tmp_path_factory: pytest.TempPathFactory) -> list[Json]:
    """What the overlay for several guards makes of the base."""
    folder = tmp_path_factory.mktemp("cluster").resolve()
    deploy = os.path.relpath(DEPLOY, folder)
    text = f"resources: [{deploy}]\ncomponents: [{deploy}/overlays/high-availability]\n"
    (folder / "kustomization.yaml").write_text(text)
    return build(folder)


def the(objects: list[Json], kind: str, name: str = "logcaster-guard") -> Json:
    (found,) = [o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    return found


def test_two_guards_run_apart_from_each_other_and_need_no_volume(taking_turns: list[Json]) -> None:
    assert not [o for o in taking_turns if o["kind"] == "PersistentVolumeClaim"]
    spec = the(taking_turns, "Deployment")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["type"] == "RollingUpdate"
    made = spec["template"]["spec"]
    assert {v["name"] for v in made["volumes"]} == {"rules", "config", "secrets"}
    assert all(m["readOnly"] for m in made["containers"][0]["volumeMounts"])
    labels = spec["template"]["metadata"]["labels"]
    (apart,) = made["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (spread,) = made["topologySpreadConstraints"]
    budget = the(taking_turns, "PodDisruptionBudget")["spec"]
    assert (apart["topologyKey"], budget["maxUnavailable"]) == ("kubernetes.io/hostname", 1)
    for selector in (apart["labelSelector"], spread["labelSelector"], budget["selector"]):
        assert selector == {"matchLabels": labels}
    # Both sides of one hand-over fit: what a run has under way, what people are still owed, and the Lease.
    assert made["terminationGracePeriodSeconds"] >= 30


def test_their_settings_are_sound_and_name_the_lease_that_their_role_is_for(
    taking_turns: list[Json], tmp_path: Path
) -> None:
    maps = {"ConfigMap": the(taking_turns, "ConfigMap"), RULES: the(taking_turns, "ConfigMap", "logcaster-guard-rules")}
    loaded = mounted(maps, tmp_path)
    assert len(loaded.rules) == 5
    assert (loaded.settings.authority.lease, loaded.settings.journal.backend) == ("logcaster-guard", "kubernetes")
    role = the(taking_turns, "Role", "logcaster-guard-lease")
    granted = {(g, r, v) for x in role["rules"] for g in x["apiGroups"] for r in x["resources"] for v in x["verbs"]}
    assert granted == {(p.group, p.resource, verb) for p in LEASE_PERMISSIONS for verb in p.verbs}
    assert {n for x in role["rules"] for n in x.get("resourceNames", [])} == {loaded.settings.authority.lease}
    assert role["metadata"]["namespace"] == the(taking_turns, "Deployment")["metadata"]["namespace"]
    journal = the(taking_turns, "Role", "logcaster-guard-journal")
    assert journal["metadata"]["namespace"] == loaded.settings.journal.namespace


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Json]:
    """What the sidecar overlay makes of a Deployment of somebody's, by kind."""
    folder = tmp_path_factory.mktemp("shop").resolve()
    theirs = objects.deployment("logcaster/logcaster-c:1.0")
    (folder / "deployment.yaml").write_text(yaml.safe_dump(theirs))
    overlay = os.path.relpath(DEPLOY / "overlays" / "sidecar", folder)
    text = f"namespace: logcaster\nresources: [deployment.yaml]\ncomponents: [{overlay}]\n"
    (folder / "kustomization.yaml").write_text(text)
    return by_kind(build(folder))


def test_the_sidecar_is_added_and_nothing_of_the_release_is_changed(beside: dict[str, Json]) -> None:
    assert set(beside) == {"ConfigMap", RULES, "Deployment", "Role", "RoleBinding", "ServiceAccount"}
    assert {o["metadata"]["namespace"] for o in beside.values()} == {"logcaster"}
    spec = pod(beside)
    theirs = objects.deployment("logcaster/logcaster-c:1.0")["spec"]["template"]
    made = beside["Deployment"]["spec"]["template"]
    assert [c["name"] for c in spec["containers"] if is_guard(c)] == [CONTAINER]
    assert [c for c in spec["containers"] if not is_guard(c)] == theirs["spec"]["containers"]
    bare = without_guard(made)
    assert {
        k: v for k, v in bare["spec"].items() if k not in {"serviceAccountName", "automountServiceAccountToken"}
    } == (theirs["spec"])
    # Whatever the guard mounts and nobody else does comes and goes with it.
    assert spec["volumes"]
    assert "volumes" not in bare["spec"]


def test_the_sidecar_may_do_no_more_than_it_needs_and_keeps_no_pod_from_serving(beside: dict[str, Json]) -> None:
    (guard,) = [c for c in pod(beside)["containers"] if is_guard(c)]
    security = guard["securityContext"]
    assert (security["runAsNonRoot"], security["readOnlyRootFilesystem"]) == (True, True)
    assert (security["allowPrivilegeEscalation"], security["capabilities"]) == (False, {"drop": ["ALL"]})
    assert not {"readinessProbe", "startupProbe"} & set(guard)
    assert all(m.get("readOnly") for m in guard["volumeMounts"])
    assert {e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"] for e in guard["env"]} == {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
    }
    assert guard["image"].rpartition(":")[2][0].isdigit()
    assert beside["ServiceAccount"]["metadata"]["name"] == pod(beside)["serviceAccountName"]


def test_the_sidecars_settings_are_sound_and_its_role_is_what_they_need(
    beside: dict[str, Json], tmp_path: Path
) -> None:
    loaded = mounted(beside, tmp_path)
    assert loaded.settings.sidecar
    assert len(loaded.rules) == 5
    (target,) = loaded.settings.targets
    assert (target.namespace, target.deployment) == ("logcaster", beside["Deployment"]["metadata"]["name"])
    granted = {
        (group, resource, verb)
        for rule in beside["Role"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    needed = [*(p for p in OF_DEPLOYMENTS if p.concerns(target)), *LEASE_PERMISSIONS]
    assert granted == {(p.group, p.resource, verb) for p in needed for verb in p.verbs}
    (guard,) = [c for c in pod(beside)["containers"] if is_guard(c)]
    web, probes = guard["ports"]
    assert loaded.settings.web.listen == f"0.0.0.0:{web['containerPort']}"
    assert loaded.settings.web.probes == f"0.0.0.0:{probes['containerPort']}"
    assert guard["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": probes["name"]}


def test_no_other_container_of_the_pods_is_given_the_guards_token(beside: dict[str, Json]) -> None:
    spec = pod(beside)
    assert spec["automountServiceAccountToken"] is False
    assert beside["ServiceAccount"]["automountServiceAccountToken"] is False
    (token,) = [v for v in spec["volumes"] if "projected" in v]
    mounts = {
        c["name"]: [m["mountPath"] for m in c.get("volumeMounts", []) if m["name"] == token["name"]]
        for c in spec["containers"]
    }
    assert mounts.pop(CONTAINER) == [str(SERVICE_ACCOUNT)]
    assert not any(mounts.values())
    files = [item for source in token["projected"]["sources"] for item in source.values()]
    assert [f.get("path") or f["items"][0]["path"] for f in files] == ["token", "ca.crt", "namespace"]


def test_the_secret_of_the_settings_example_is_the_one_that_is_mounted(built: dict[str, Json]) -> None:
    (secret,) = [v["secret"] for v in pod(built)["volumes"] if "secret" in v]
    (mount,) = [m["mountPath"] for m in container(built)["volumeMounts"] if m["name"] == "secrets"]
    example = (DEPLOY / "guard.yaml").read_text()
    assert f"kubectl create secret generic {secret['secretName']} --namespace logcaster" in example
    assert f"url: {{file: {mount}/slack-url}}" in example
    assert secret["optional"] is True
    assert secret["defaultMode"] == 0o440
