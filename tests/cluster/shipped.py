"""config/ as it ships, for one test's cluster: only addresses, the namespace and durations are others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
CONFIG = Path(__file__).parents[2] / "config"
DURATIONS = {
    ("sources", "http", "slow_after"): "250ms",
    ("polling", "interval"): "1s",
    ("limits", "cooldown"): "1s",
    ("ledger", "good_after"): "4s",
    ("verify", "stable_for"): "3s",
    ("verify", "timeout"): "40s",
    ("rollout", "timeout"): "40s",
}
WAITS = {"gradual": {"wait": "6s", "window": "8s", "hold": "20s"}, "alert": {"grace": "3s"}}
LOOKBACKS = {"error_rate": {"lookback": "5s"}, "p95_latency": {"lookback": "5s"}}
RULE_DURATION = "3s"


def rules() -> str:
    """The shipped rules with the commented `slow_response` switched on."""
    text = (CONFIG / "rollback-rules.yaml").read_text()
    commented = re.search(r"^#( +- name: slow_response\n(?:# +\S.*\n?)+)", text, re.MULTILINE)
    assert commented is not None, "slow_response is shipped as a comment"
    loaded = yaml.safe_load(text + "\n" + re.sub(r"^#", "", commented[1], flags=re.MULTILINE))
    for rule in loaded["rollback_triggers"]:
        assert rule["duration"].endswith("m")
        rule["duration"] = RULE_DURATION
    return yaml.safe_dump(loaded)


def settings(*, namespace: str, prometheus: str, network: str, kubeconfig: Path, folder: Path) -> str:
    """The shipped settings; `network` is the proxy behind which the shipped URLs of the service exist."""
    loaded: Json = yaml.safe_load((CONFIG / "guard.yaml").read_text())
    addresses = {
        ("sources", "prometheus", "url"): prometheus,
        ("journal", "path"): str(folder / "journal.db"),
        ("journal", "blobs"): str(folder / "blobs"),
    }
    for path, value in {**DURATIONS, **addresses}.items():
        section = _at(loaded, path[:-1])
        assert path[-1] in section, f"{'.'.join(path)} is not shipped"
        section[path[-1]] = value
    (target,) = loaded["targets"]
    target["namespace"] = namespace
    loaded["sources"]["http"]["proxy"] = network
    loaded["sources"]["kubernetes"]["kubeconfig"] = str(kubeconfig)
    assert "signals" not in loaded
    loaded["signals"] = LOOKBACKS
    assert not set(WAITS) & set(loaded)
    loaded |= WAITS
    return yaml.safe_dump(loaded)


def _at(root: Json, path: tuple[str, ...]) -> Json:
    for key in path:
        part: Mapping[str, Any] = root[key]
        assert isinstance(part, dict)
        root = part
    return root
