"""`logcaster-guard snapshots`: the manifests that were saved before each run and with each good release."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from logcaster_guard import saved_snapshots, stores
from logcaster_guard.cli.asking import UNREACHABLE, AsJson, ended, instant, plain, show, show_json, table
from logcaster_guard.cli.check import BAD_INPUT, print_faults
from logcaster_guard.config.loading import Loaded, load
from logcaster_guard.domain.errors import BlobMissing, ClusterError, ConfigurationError, NotFound
from logcaster_guard.domain.snapshots import Snapshot, SnapshotUnreadable, meaningful
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Kind

Json = dict[str, Any]
Found = dict[str, Snapshot]

snapshots = typer.Typer(no_args_is_help=True, help="What was saved before each run and with each good release.")

Paths = Annotated[list[Path], typer.Option("--config", metavar="PATH", help="Settings, as given to `run`.")]
Which = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="The first digits of its name.")]
Other = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="Another one; else what is in the cluster now.")]
_SHOWN = 12


@snapshots.command("list")
def list_(paths: Paths, as_json: AsJson = False) -> None:
    """List the snapshots, newest first."""
    found = _newest_first(_all(_loaded(paths)))
    if as_json:
        show_json({"snapshots": [{"name": name, **_summary(snapshot)} for name, snapshot in found]})
        return
    rows = [
        (name[:_SHOWN], instant(s.at.isoformat()), s.target, ", ".join(_images(s)), ", ".join(_objects(s)))
        for name, s in found
    ]
    columns = ("name", "taken", "target", "images", "objects")
    show([table("snapshots", columns, rows) if rows else plain("No snapshot yet.")])


@snapshots.command("show")
def show_(which: Which, paths: Paths) -> None:
    """Print the manifests of a snapshot as YAML, as the API server gave them."""
    _, snapshot = _chosen(_all(_loaded(paths)), which)
    show([plain(line) for line in _yaml(list(snapshot.manifests)).splitlines()])


@snapshots.command("diff")
def diff(which: Which, paths: Paths, other: Other = "") -> None:
    """Show what differs between two snapshots, or a snapshot and the cluster; exits 1 if something does."""
    loaded = _loaded(paths)
    found = _all(loaded)
    name, before = _chosen(found, which)
    if other:
        called, after = _chosen(found, other)
    else:
        called, after = "the cluster now", _now(loaded, before)
    lines = _difference(before, after, name[:_SHOWN], called[:15])
    show([plain(line, _STYLES.get(line[:1], "")) for line in lines] or [plain("Nothing differs.")])
    raise typer.Exit(1 if lines else 0)


_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def _loaded(paths: Sequence[Path]) -> Loaded:
    loaded = load(*paths)
    if isinstance(loaded, list):
        print_faults(loaded)
        raise typer.Exit(BAD_INPUT)
    return loaded


def _all(loaded: Loaded) -> Found:
    try:
        return asyncio.run(_read(loaded))
    except ConfigurationError as error:
        raise ended(str(error), BAD_INPUT) from None
    except ClusterError as error:
        raise ended(str(error), UNREACHABLE) from None


async def _read(loaded: Loaded) -> Found:
    found: Found = {}
    async with stores.blobs_alone(loaded.settings) as blobs:
        for digest in await blobs.digests():
            try:
                found[digest] = await saved_snapshots.load(blobs, digest)
            except (SnapshotUnreadable, BlobMissing):
                # Releases are kept in the same place; what is damaged is no snapshot to show either.
                continue
    return found


def _newest_first(found: Found) -> list[tuple[str, Snapshot]]:
    return sorted(found.items(), key=lambda item: item[1].at, reverse=True)


def _chosen(found: Found, which: str) -> tuple[str, Snapshot]:
    fitting = [(name, s) for name, s in _newest_first(found) if which and name.startswith(which.lower())]
    if len(fitting) != 1:
        known = ", ".join(name[:_SHOWN] for name, _ in _newest_first(found)) or "none yet"
        raise ended(f"found {len(fitting)} snapshots called {which}; allowed one of {known}", BAD_INPUT)
    return fitting[0]


def _summary(snapshot: Snapshot) -> Json:
    return {
        "at": snapshot.at.isoformat(),
        "target": snapshot.target,
        "images": _images(snapshot),
        "objects": _objects(snapshot),
    }


def _images(snapshot: Snapshot) -> list[str]:
    """Those of the workload, which stands first."""
    return list(Workload(snapshot.manifests[0]).images) if snapshot.manifests else []


def _objects(snapshot: Snapshot) -> list[str]:
    return [f"{m.get('kind')}/{m['metadata']['name']}" for m in snapshot.manifests]


def _now(loaded: Loaded, before: Snapshot) -> Snapshot:
    try:
        return asyncio.run(_present(loaded, before))
    except ConfigurationError as error:
        raise ended(str(error), BAD_INPUT) from None
    except ClusterError as error:
        raise ended(str(error), UNREACHABLE) from None


async def _present(loaded: Loaded, before: Snapshot) -> Snapshot:
    """The same objects as they are now."""
    cluster = await stores.connected(loaded.settings)
    found: list[Json] = []
    try:
        for manifest in before.manifests:
            metadata, kind = manifest["metadata"], Kind(str(manifest.get("kind")))
            try:
                if kind is Kind.DISRUPTION_BUDGET:
                    # The guard may list these, and get none of them.
                    listed = await cluster.list(kind, metadata["namespace"])
                    found += [{**b, "kind": str(kind)} for b in listed if b["metadata"]["name"] == metadata["name"]]
                else:
                    found.append(await cluster.get(kind, metadata["namespace"], metadata["name"]))
            except NotFound:
                continue
    finally:
        await cluster.aclose()
    return Snapshot(before.at, before.target, tuple(found))


def _difference(before: Snapshot, after: Snapshot, name: str, other: str) -> list[str]:
    old, new = ({f"{m.get('kind')}/{m['metadata']['name']}": m for m in s.manifests} for s in (before, after))
    lines: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        first, second = (_yaml(meaningful(side[key])).splitlines() if key in side else [] for side in (old, new))
        lines += difflib.unified_diff(first, second, f"{name} {key}", f"{other} {key}", lineterm="")
    return lines


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=True, allow_unicode=True, width=120)
