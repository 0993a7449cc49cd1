"""The rules of the Roles that are shipped, for the guard's account of a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
DEPLOY = Path(__file__).parents[2] / "deploy"
TARGETS = ("rbac.yaml", *(f"components/{c}/rbac.yaml" for c in ("gradual", "blue-green", "statefulset", "daemonset")))


def rules_in(*files: str, names: Mapping[str, str] | None = None) -> Sequence[Json]:
    """What is granted by these files of deploy/; objects get other `names`, where they are called otherwise."""
    documents = [d for file in files for d in yaml.safe_load_all((DEPLOY / file).read_text())]
    rules = [rule for document in documents if document["kind"] == "Role" for rule in document["rules"]]
    return [_renamed(rule, names or {}) for rule in rules]


def _renamed(rule: Json, names: Mapping[str, str]) -> Json:
    named = rule.get("resourceNames")
    return rule if named is None else {**rule, "resourceNames": [names.get(n, n) for n in named]}


FURTHER = ("components/gitops/rbac.yaml", "components/kubernetes-journal/rbac.yaml")
OF_TARGETS = rules_in(*TARGETS)
"""All that targets of any kind need, whatever way they are rolled back; for objects that are called as they ship."""
CONFIG_ROLE = rules_in("components/config/rbac.yaml")
"""What it takes to follow the ConfigMaps of a target, and to put them back."""
COPIES_ROLE = rules_in("components/config-copies/rbac.yaml")
"""What it takes beside that where pods of the good release start before the bad ones are gone."""

SECRETS_ROLE = rules_in("components/secrets/rbac.yaml")
"""What it takes to follow the Secrets of a target, to keep what they held and to put it back."""
COPIED_SECRETS_ROLE = rules_in("components/secret-copies/rbac.yaml")
"""What copies of these take."""


def on_config_maps(names: Mapping[str, str]) -> Sequence[Json]:
    """What of it is on the ConfigMaps themselves, which get other `names`."""
    return [rule for rule in rules_in("components/config/rbac.yaml", names=names) if "configmaps" in rule["resources"]]
