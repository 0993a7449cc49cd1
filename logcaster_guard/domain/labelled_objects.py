"""Raw objects that were listed together, found again by name and by label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]


class LabelledObjects:
    """Nobody may change the objects: others are shown the same ones."""

    def __init__(self, items: Sequence[Json]) -> None:
        self._items = items
        self.by_name: Mapping[str, Json] = {str(item["metadata"]["name"]): item for item in items}
        self._by_label: dict[str, list[Json]] = defaultdict(list)
        for item in items:
            for key, value in _labels(item).items():
                self._by_label[f"{key}={value}"].append(item)

    def matching(self, selector: str) -> Sequence[Json]:
        """Those that a selector of the form `key=value,…` matches; all where it is empty."""
        wanted = [pair for pair in selector.split(",") if pair]
        if not wanted:
            return self._items
        rarest = min((self._by_label.get(pair, []) for pair in wanted), key=len)
        return [item for item in rarest if all(_has(item, pair) for pair in wanted)]


def _labels(item: Json) -> Mapping[str, str]:
    return item["metadata"].get("labels") or {}


def _has(item: Json, pair: str) -> bool:
    key, _, value = pair.partition("=")
    return _labels(item).get(key) == value
