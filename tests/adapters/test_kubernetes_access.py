from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from logcaster_guard.adapters.kubernetes.access import (
    CONFIG_PERMISSIONS,
    JOURNAL_PERMISSIONS,
    LEASE_PERMISSIONS,
    OWNER_PERMISSIONS,
    PERMISSIONS,
    SAVING_PERMISSIONS,
    SECRET_PERMISSIONS,
    Permission,
    missing_for_configuration,
    missing_for_journal,
    missing_for_lease,
    missing_for_owners,
    missing_permissions,
)
from logcaster_guard.domain import capacity
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.errors import Rejected
from logcaster_guard.domain.gitops import Reference
from logcaster_guard.domain.rights import CONFIG_ROLE, SECRETS_ROLE, to_read_configuration
from logcaster_guard.domain.signals import Target
from logcaster_guard.ports import Json, Kind

DEPLOY = Path(__file__).parents[2] / "deploy"
OWNERS = "components/gitops/rbac.yaml"
JOURNAL = "components/kubernetes-journal/rbac.yaml"
ROLES = [
    *((role, [p for p in PERMISSIONS if p.granted_by == role]) for role in sorted({p.granted_by for p in PERMISSIONS})),
    (OWNERS, OWNER_PERMISSIONS),
    (JOURNAL, JOURNAL_PERMISSIONS),
]


def documents(file: str = "rbac.yaml") -> dict[str, dict[str, Any]]:
    path = DEPLOY / file.removeprefix("deploy/")
    return {d["kind"]: d for d in yaml.safe_load_all((path / "rbac.yaml" if path.is_dir() else path).read_text())}


@pytest.mark.parametrize(("file", "permissions"), ROLES)
def test_each_shipped_role_grants_exactly_what_the_guard_needs(file: str, permissions: Sequence[Permission]) -> None:
    granted = [
        (group, resource, verb)
        for rule in documents(file)["Role"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
    assert sorted(granted) == sorted((p.group, p.resource, verb) for p in permissions for verb in p.verbs)


CONFIG = ConfigObject(ConfigKind.CONFIG_MAP, "logcaster", "logcaster-config")


def test_the_role_for_configuration_grants_on_named_configmaps_what_the_guard_needs() -> None:
    rules = [r for r in documents(CONFIG_ROLE)["Role"]["rules"] if r["resources"] == ["configmaps"]]
    assert [rule["resourceNames"] for rule in rules] == [["logcaster-config"]] * len(rules)
    granted = [verb for rule in rules for verb in rule["verbs"]]
    assert sorted(granted) == sorted(verb for permission in CONFIG_PERMISSIONS for verb in permission.verbs)
    assert to_read_configuration(CONFIG, "watch").granted_by == CONFIG_ROLE


def test_the_roles_for_secrets_grant_what_the_guard_needs_on_named_secrets_and_where_they_are_kept() -> None:
    roles = [
        d for d in yaml.safe_load_all((DEPLOY / "components/secrets/rbac.yaml").read_text()) if d["kind"] == "Role"
    ]
    granted = [(verb, rule.get("resourceNames")) for role in roles for rule in role["rules"] for verb in rule["verbs"]]
    named = [(verb, ["logcaster-credentials"]) for permission in SECRET_PERMISSIONS for verb in permission.verbs]
    assert granted == [*named, *((verb, None) for permission in SAVING_PERMISSIONS for verb in permission.verbs)]
    assert to_read_configuration(replace(CONFIG, kind=ConfigKind.SECRET)).granted_by == SECRETS_ROLE


def test_the_shipped_binding_gives_the_role_to_the_account() -> None:
    found = documents()
    assert found["RoleBinding"]["roleRef"]["name"] == found["Role"]["metadata"]["name"]
    assert found["RoleBinding"]["subjects"] == [
        {"kind": "ServiceAccount", "name": found["ServiceAccount"]["metadata"]["name"]}
    ]


def test_nothing_of_a_targets_can_be_changed_or_deleted_that_its_role_does_not_name() -> None:
    unnamed = {
        (file, resource, verb)
        for file, _ in ROLES
        for rule in documents(file)["Role"]["rules"]
        for resource in rule["resources"]
        for verb in {"patch", "delete"} & set(rule["verbs"])
        if file not in {OWNERS, JOURNAL} and not rule.get("resourceNames")
    }
    # Which of a StatefulSet's pods holds up a rollback is not known before.
    assert unnamed == {("deploy/components/statefulset", "pods", "delete")}


def test_the_roles_name_the_helper_as_the_guard_calls_it() -> None:
    rules = documents("components/gradual")["Role"]["rules"]
    [named] = [rule["resourceNames"] for rule in rules if "resourceNames" in rule]
    assert named == [capacity.helper_name("logcaster-prod")]


@pytest.mark.parametrize("file", [file for file, _ in ROLES if file != "deploy/rbac.yaml"])
def test_the_role_of_a_component_is_bound_to_the_guards_account(file: str) -> None:
    found, base = documents(file), documents()
    assert found["RoleBinding"]["roleRef"]["name"] == found["Role"]["metadata"]["name"]
    (subject,) = found["RoleBinding"]["subjects"]
    assert (subject["kind"], subject["name"]) == ("ServiceAccount", base["ServiceAccount"]["metadata"]["name"])


async def test_a_journal_in_the_cluster_is_asked_about_where_it_is() -> None:
    account = Account({("list", "secrets"): False})
    (sentence,) = await missing_for_journal(account, "guards")
    assert sentence == (
        "The guard cannot list secrets in namespace guards, so it cannot keep its journal there: grant its account the "
        "verb list on secrets there, as deploy/components/kubernetes-journal/ does."
    )
    assert {(resource, namespace) for _, resource, namespace, _ in account.asked} == {("secrets", "guards")}


async def test_only_the_owners_that_there_are_are_asked_about() -> None:
    account = Account({("patch", "kustomizations"): False})
    places = [Reference("Kustomization", "flux-system", "web"), Reference("GitRepository", "flux-system", "web")]
    (sentence,) = await missing_for_owners(account, places * 2)
    assert (
        "grant its account the verb patch on kustomizations.kustomize.toolkit.fluxcd.io there, as deploy/comp"
        in sentence
    )
    assert {resource for _, resource, _, _ in account.asked} == {"kustomizations", "gitrepositories"}
    assert len(account.asked) == 3


class Account:
    """`scaled` are the Deployments with an autoscaler, None where nobody may see; `single` what is allowed by name."""

    def __init__(
        self,
        answers: dict[tuple[str, str], bool | None],
        scaled: Mapping[str, str] | None = None,
        single: Mapping[tuple[str, str], set[str]] | None = None,
    ) -> None:
        self.answers = answers
        self.scaled = scaled
        self.single = single or {}
        self.asked: list[tuple[str, str, str, str]] = []

    async def may(self, verb: str, group: str, resource: str, namespace: str, name: str = "") -> bool | None:
        assert group or resource in {"pods", "services", "events", "persistentvolumeclaims", "secrets", "configmaps"}
        self.asked.append((verb, resource, namespace, name))
        return name in self.single.get((verb, resource), ()) or self.answers.get((verb, resource), True)

    async def named(self, verb: str, group: str, resource: str, namespace: str) -> frozenset[str]:
        assert (group, namespace) == (next(p.group for p in PERMISSIONS if p.resource == resource), "shop")
        return frozenset(self.single.get((verb, resource), ()))

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        assert (kind, namespace, selector) == (Kind.AUTOSCALER, "shop", "")
        if self.scaled is None:
            raise Rejected("horizontalpodautoscalers is forbidden", status=403)
        return [
            {"metadata": {"name": name}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": workload}}}
            for name, workload in self.scaled.items()
        ]


WEB = Target(name="web", namespace="shop", deployment="web", service="web-http")
API = Target(name="api", namespace="shop", deployment="api")


async def test_a_missing_permission_is_one_sentence_that_says_what_to_grant() -> None:
    missing = await missing_permissions(Account({("patch", "deployments"): False, ("list", "pods"): None}), [WEB])
    sentence, of_helper = missing
    assert "web-rollback" in of_helper
    assert sentence == (
        "The guard cannot patch deployments.apps web in namespace shop, so it cannot roll the Deployment back, and no "
        "rollback begins that has to change it: grant its account the verb patch on deployments.apps there, as "
        "deploy/rbac.yaml does."
    )


async def test_what_is_off_without_it_is_said() -> None:
    account = Account({("create", "deployments"): False, ("patch", "horizontalpodautoscalers"): False})
    helper, autoscaler = await missing_permissions(account, [WEB])
    assert "cannot create deployments.apps in namespace shop" in helper
    assert "gradual_rollback is off: grant" in helper
    assert helper.endswith("as deploy/components/gradual does.")
    assert "no rollback begins that has to change one: grant" in autoscaler


SCALING = ("patch", "horizontalpodautoscalers")


@pytest.mark.parametrize(
    ("scaled", "single", "told"),
    [
        ({"web": "web"}, {"web"}, []),
        ({"web": "web", "of-others": "worker"}, {"web"}, []),
        ({"keda-web": "web"}, {"web"}, ["keda-web "]),
        ({"web": "web", "keda-web": "web"}, {"web"}, ["keda-web "]),
        ({"web": "web"}, set(), ["web "]),
        ({}, {"web"}, []),
        (None, {"web"}, []),
        ({}, set(), [""]),
        (None, set(), [""]),
    ],
)
async def test_of_an_autoscaler_only_what_is_known_to_be_missing_is_told(
    scaled: Mapping[str, str] | None, single: set[str], told: list[str]
) -> None:
    account = Account({SCALING: False}, scaled, {SCALING: single})
    missing = await missing_permissions(account, [WEB])
    assert len(missing) == len(told)
    for sentence, name in zip(missing, told, strict=True):
        assert f"cannot patch horizontalpodautoscalers.autoscaling {name}in namespace shop" in sentence


async def test_a_role_that_names_objects_is_believed_only_of_verbs_that_it_can_name_them_for() -> None:
    words = [("create", "deployments"), ("delete", "deployments"), ("list", "pods")]
    account = Account(dict.fromkeys(words, False), {}, {word: {capacity.helper_name("web")} for word in words})
    missing = await missing_permissions(account, [WEB])
    assert [sentence.split()[3:5] for sentence in missing] == [["create", "deployments.apps"], ["list", "pods"]]


async def test_a_role_that_names_targets_and_helpers_is_enough_and_one_that_forgets_any_is_told() -> None:
    blue = Target("blue", "shop", "front", service="front", environments={"b": "front-b", "g": "front-g"})
    named = {("patch", "deployments"): {"web", "web-rollback", "front-b"}, ("delete", "deployments"): {"web-rollback"}}
    missing = await missing_permissions(Account(dict.fromkeys(named, False), {}, named), [WEB, blue])
    assert [sentence.split()[3:6] for sentence in missing] == [
        ["patch", "deployments.apps", "front-g"],
        ["delete", "deployments.apps", "front-b"],
        ["delete", "deployments.apps", "front-g"],
    ]
    assert all("as deploy/components/blue-green does." in sentence for sentence in missing)


async def test_what_only_gradual_needs_is_not_missed_where_no_rule_asks_for_it() -> None:
    account = Account({("create", "deployments"): False, ("delete", "deployments"): False})
    assert await missing_permissions(account, [WEB], gradual=False) == []
    assert len(await missing_permissions(account, [WEB])) == 2


async def test_each_question_is_asked_once_for_all_targets() -> None:
    account = Account({("list", "pods"): False})
    missing = await missing_permissions(account, [WEB, API, WEB])
    assert len(missing) == 1
    assert len(account.asked) == len(set(account.asked))
    assert ("patch", "deployments", "shop", "api") in account.asked


async def test_nothing_is_asked_about_services_that_no_target_has() -> None:
    account = Account({})
    assert await missing_permissions(account, [API]) == []
    assert not {"services", "endpointslices"} & {resource for _, resource, _, _ in account.asked}


async def test_what_is_missing_for_the_lease_is_told_with_the_file_that_grants_it() -> None:
    account = Account({("patch", "leases"): False, ("create", "leases"): False})
    missing = await missing_for_lease(account, "ops", "guard")
    told = (
        "The guard cannot {verb} leases.coordination.k8s.io{name} in namespace ops, so it cannot take turns with other "
        "guards: grant its account the verb {verb} on leases.coordination.k8s.io there, as "
        "deploy/overlays/high-availability/ does."
    )
    assert missing == [told.format(verb="create", name=""), told.format(verb="patch", name=" guard")]
    assert len(account.asked) == sum(len(p.verbs) for p in LEASE_PERMISSIONS)


async def test_each_verb_on_a_configmap_that_pods_refer_to_is_named_once_and_secrets_are_not_asked_for() -> None:
    verbs = ("get", "list", "watch", "patch", "create")
    account = Account({(verb, "configmaps"): False for verb in verbs})
    objects = [ConfigObject(kind, "shop", "app") for kind in (*ConfigKind, *ConfigKind)]
    found = await missing_for_configuration(account, objects, ())
    for verb, sentence in zip(verbs, found, strict=True):
        assert f"cannot {verb} configmaps app in namespace shop" in sentence
        assert "deploy/components/config" in sentence


async def test_where_secrets_are_kept_each_verb_on_them_and_on_what_is_kept_is_named() -> None:
    account = Account(dict.fromkeys([(verb, "secrets") for verb in ("watch", "create", "delete")], False))
    objects = [ConfigObject(kind, "shop", "app") for kind in ConfigKind]
    found = await missing_for_configuration(account, objects, ["vault"])
    assert [sentence.partition(",")[0] for sentence in found] == [
        "The guard cannot watch secrets app in namespace shop",
        "The guard cannot create secrets app in namespace shop",
        "The guard cannot create secrets in namespace vault",
        "The guard cannot delete secrets in namespace vault",
    ]
    assert all("deploy/components/secrets" in sentence for sentence in found)
