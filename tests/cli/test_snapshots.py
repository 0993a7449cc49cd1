"""`logcaster-guard snapshots` over a folder as a guard leaves it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from logcaster_guard import saved_snapshots, stores
from logcaster_guard.adapters.blobs import FolderBlobs
from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.adapters.kubernetes.saved_secrets import KubernetesSavedSecrets, Where
from logcaster_guard.cli.main import app
from logcaster_guard.domain.configuration.content import NoContent
from logcaster_guard.domain.configuration.manifests import manifest_of
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.events import RevisionGood, RevisionLive
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.snapshots import Omission, SavedSecret, Snapshot
from logcaster_guard.ports import Json
from logcaster_guard.stores import CODEC
from tests import canary
from tests.canary import ONE, TWO, encoded
from tests.fakes.secrets import Fate, Secrets

WIDE = {"COLUMNS": "200"}


def manifest(image: str, version: str) -> Json:
    return {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "resourceVersion": version},
        "spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}},
        "status": {"observedGeneration": version},
    }


@pytest.fixture
async def names(tmp_path: Path) -> list[str]:
    """The snapshots' names, the older one first; another blob lies beside them."""
    blobs = FolderBlobs(tmp_path / "blobs")
    await blobs.put(b'{"template": {}, "change_cause": null, "applied_template": null}')
    (tmp_path / "guard.yaml").write_text(f"journal: {{path: {tmp_path}/journal.db, blobs: {tmp_path}/blobs}}\n")
    days = [("web:1", 1), ("web:2", 2), ("web:2", 3)]
    return [
        await saved_snapshots.save(
            blobs, Snapshot(datetime(2026, 1, day, tzinfo=UTC), "shop/web", (manifest(image, str(day)),))
        )
        for image, day in days
    ]


def call(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["snapshots", *arguments, "--config", str(folder / "guard.yaml")], env=WIDE)


def test_they_are_listed_the_newest_first(tmp_path: Path, names: list[str]) -> None:
    shown = call(tmp_path, "list").stdout
    assert [line.split()[0] for line in shown.splitlines()[2:]] == [n[:12] for n in reversed(names)]
    assert "2026-01-03 00:00:00Z" in shown
    found = json.loads(call(tmp_path, "list", "--json").stdout)["snapshots"]
    assert [s["name"] for s in found] == list(reversed(names))
    assert [s["images"] for s in found] == [["web:2"], ["web:2"], ["web:1"]]


def test_one_is_shown_as_it_was_saved(tmp_path: Path, names: list[str]) -> None:
    shown = call(tmp_path, "show", names[0][:8])
    assert (shown.exit_code, "image: web:1" in shown.stdout, "namespace: shop" in shown.stdout) == (0, True, True)


def test_a_difference_is_told_without_what_the_api_server_keeps_for_itself(tmp_path: Path, names: list[str]) -> None:
    shown = call(tmp_path, "diff", names[0], names[1])
    assert shown.exit_code == 1
    changed = [line for line in shown.stdout.splitlines() if line[:1] in "+-" and line[:3] not in {"+++", "---"}]
    assert [line.replace(" ", "") for line in changed] == ["--image:web:1", "+-image:web:2"]
    same = call(tmp_path, "diff", names[1], names[2])
    assert (same.exit_code, same.stdout.strip()) == (0, "Nothing differs.")


@pytest.mark.parametrize("which", ["zzz", ""])
def test_a_name_that_fits_none_is_a_sentence(tmp_path: Path, names: list[str], which: str) -> None:
    shown = call(tmp_path, "show", which)
    assert shown.exit_code == 2
    assert names[0][:12] in shown.stderr
    assert "Traceback" not in shown.output


def test_a_folder_that_is_not_there_holds_none(tmp_path: Path) -> None:
    (tmp_path / "guard.yaml").write_text(f"journal: {{path: {tmp_path}/journal.db, blobs: {tmp_path}/none}}\n")
    assert call(tmp_path, "list").stdout.strip() == "No snapshot yet."


def test_a_cluster_that_cannot_be_reached_is_a_sentence(tmp_path: Path, names: list[str]) -> None:
    kubeconfig = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "kubeconfig").write_text(json.dumps(kubeconfig))
    text = f"sources: {{kubernetes: {{kubeconfig: {tmp_path}/kept/kubeconfig}}}}\n"
    (tmp_path / "guard.yaml").write_text((tmp_path / "guard.yaml").read_text() + text)
    shown = call(tmp_path, "diff", names[0])
    assert (shown.exit_code, "Traceback" in shown.output) == (3, False)


CREDENTIALS = {"kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"}}


@pytest.fixture
async def with_secrets(tmp_path: Path, names: list[str]) -> list[str]:
    """Two snapshots whose ConfigMap has another password each, and what was left out of the first."""
    del names
    blobs = FolderBlobs(tmp_path / "blobs")
    left_out = (
        Omission("ConfigMap", "shop", "gone", NoContent.ABSENT),
        Omission("ConfigMap", "shop", "theirs", NoContent.UNREADABLE, "it may not be read"),
    )
    found = []
    for day, password in ((4, "hunter22"), (5, "hunter33")):
        manifests = (manifest("web:3", "1"), {**CREDENTIALS, "data": {"app.conf": f"level=1\npassword={password}\n"}})
        at = datetime(2026, 1, day, tzinfo=UTC)
        found.append(await saved_snapshots.save(blobs, Snapshot(at, "shop/web", manifests, left_out[: 10 * (5 - day)])))
    return found


def test_what_looks_secret_is_shown_only_where_it_is_asked_for(tmp_path: Path, with_secrets: list[str]) -> None:
    shown = call(tmp_path, "show", with_secrets[0])
    assert ("hunter22" in shown.stdout, "(hidden 1)" in shown.stdout, "level=1" in shown.stdout) == (False, True, True)
    assert "--reveal" in shown.stderr
    revealed = call(tmp_path, "show", with_secrets[0], "--reveal")
    assert ("hunter22" in revealed.stdout, revealed.stderr) == (True, "")
    differs = call(tmp_path, "diff", *with_secrets)
    assert [line for line in differs.stdout.splitlines() if "hidden" in line] == [
        "-    (hidden 1)", "+    (hidden 2)",
    ]  # fmt: skip
    assert "hunter" not in differs.stdout
    assert "+    password=hunter33" in call(tmp_path, "diff", *with_secrets, "--reveal").stdout.splitlines()


def test_what_is_left_out_is_named_and_not_compared(tmp_path: Path, with_secrets: list[str]) -> None:
    shown = call(tmp_path, "show", with_secrets[0]).stdout.splitlines()
    assert shown[-2:] == [
        "# ConfigMap shop/gone is absent",
        "# ConfigMap shop/theirs is unreadable: it may not be read",
    ]
    assert "ConfigMap/theirs is not compared" in call(tmp_path, "diff", *with_secrets).stderr
    newest, oldest = json.loads(call(tmp_path, "list", "--json").stdout)["snapshots"][:2]
    assert newest["left_out"] == []
    assert [o["object"] for o in oldest["left_out"]] == ["ConfigMap shop/gone", "ConfigMap shop/theirs"]


async def journal(folder: Path, snapshot: str, release: Release) -> None:
    """One whose target's release has earned good, with this snapshot."""
    blob = await FolderBlobs(folder / "blobs").put(release.to_bytes())
    at = datetime(2026, 1, 1, tzinfo=UTC)
    live = RevisionLive(at=at, template="v1", revision="1", uid="u", blob=blob, images=("web:1",), earliest=at)
    found = await SqliteJournal.open(CODEC, folder / "journal.db")
    await found.append("target/shop/web", [live, RevisionGood(at, "v1", 1.0, 600.0, snapshot)], 0)
    await found.aclose()


async def test_what_is_kept_is_looked_through(tmp_path: Path, with_secrets: list[str]) -> None:
    release = Release({"spec": {}})
    await journal(tmp_path, with_secrets[0], release)
    shown = await asyncio.to_thread(call, tmp_path, "verify")
    assert (shown.exit_code, shown.stdout) == (0, "OK: 5 snapshots, and every release that is needed\n")

    digest = await FolderBlobs(tmp_path / "blobs").put(release.to_bytes())
    (tmp_path / "blobs" / digest[:2] / digest).unlink()
    (tmp_path / "blobs" / with_secrets[0][:2] / with_secrets[0]).write_bytes(b"{}")
    shown = await asyncio.to_thread(call, tmp_path, "verify")
    faults = shown.stdout.splitlines()
    assert (shown.exit_code, len(faults)) == (1, 2)
    assert all(f.startswith("stream target/shop/web, seq ") and "restore it from a backup" in f for f in faults)
    assert "2 faults" in shown.stderr


@pytest.fixture
async def keeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> KubernetesSavedSecrets:
    """A cluster that keeps what Secrets held, and settings that let it be read."""
    del names
    cluster = Secrets()

    async def connected(_: object) -> Secrets:
        return cluster

    monkeypatch.setattr(stores, "connected", connected)
    settings = tmp_path / "guard.yaml"
    target = "targets: [{name: web, namespace: shop, deployment: web}]"
    settings.write_text(f"{settings.read_text()}{target}\nconfig: {{secrets: restore}}\n")
    return KubernetesSavedSecrets(cluster, Where("logcaster-guard", ["shop"]))


async def holding(folder: Path, kept: KubernetesSavedSecrets, day: int, **values: str) -> tuple[str, str]:
    """A snapshot of a workload whose Secret held this: its name, and the place."""
    data = {key: encoded(value) for key, value in values.items()}
    raw = {"metadata": {"name": "db", "namespace": "shop"}, "type": "Opaque", "data": data}
    place = await kept.put("shop", manifest_of(ConfigKind.SECRET, raw))
    taken = Snapshot(datetime(2026, 1, day, tzinfo=UTC), "shop/web", (manifest("web:3", "1"),))
    taken = replace(taken, secrets=(SavedSecret("shop", "db", place),))
    return await saved_snapshots.save(FolderBlobs(folder / "blobs"), taken), place


async def test_of_a_secret_the_keys_that_differ_are_told_and_never_a_value(
    tmp_path: Path, keeping: KubernetesSavedSecrets
) -> None:
    before, place = await holding(tmp_path, keeping, 6, word=ONE, user="guard")
    after, _ = await holding(tmp_path, keeping, 7, word=TWO, user="guard", port="1")
    shown = await asyncio.to_thread(call, tmp_path, "show", before)
    assert f"# Secret shop/db is kept: {place}" in shown.stdout.splitlines()
    differs = await asyncio.to_thread(call, tmp_path, "diff", before, after, "--reveal")
    changed = [line for line in differs.stdout.splitlines() if line[:2] in {"- ", "+ "}]
    assert (differs.exit_code, changed) == (
        1, ["+  port: (hidden 3)", "-  word: (hidden 2)", "+  word: (hidden 4)"],
    )  # fmt: skip
    assert not canary.is_in(differs.output)


async def test_without_the_right_or_the_setting_a_secret_is_named_alone(
    tmp_path: Path, keeping: KubernetesSavedSecrets
) -> None:
    before, _ = await holding(tmp_path, keeping, 6, word=ONE)
    after, _ = await holding(tmp_path, keeping, 7, word=TWO)
    await journal(tmp_path, before, Release({"spec": {}}))
    assert isinstance(keeping.cluster, Secrets)
    keeping.cluster.fate = lambda _: Fate.FORBIDDEN
    for why in ("403", "set config.secrets: restore"):
        differs = await asyncio.to_thread(call, tmp_path, "diff", before, after)
        assert (differs.exit_code, differs.stdout) == (0, "Nothing differs.\n")
        assert "Secret/db is not compared: " in differs.stderr
        verified = await asyncio.to_thread(call, tmp_path, "verify")
        assert (verified.exit_code, verified.stdout.startswith("OK: 5 snapshots")) == (0, True)
        assert "Secret shop/db (shop/" in verified.stderr
        assert all(why in shown.stderr for shown in (differs, verified))
        settings = tmp_path / "guard.yaml"
        settings.write_text(settings.read_text().replace("secrets: restore", "secrets: names"))


async def test_a_journal_is_looked_through_with_what_it_needs_of_secrets_and_a_backup_holds_none(
    tmp_path: Path, keeping: KubernetesSavedSecrets
) -> None:
    name, place = await holding(tmp_path, keeping, 6, word=ONE)
    await journal(tmp_path, name, Release({"spec": {}}))
    settings, backup = str(tmp_path / "guard.yaml"), str(tmp_path / "backup.tar")

    async def called(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, ["journal", *arguments], env=WIDE)

    assert (await called("backup", backup, "--config", settings)).exit_code == 0
    sound = await called("verify", "--config", settings)
    assert (sound.exit_code, sound.stderr) == (0, "")
    copied = await called("verify", backup, "--config", settings)
    assert copied.exit_code == 0
    assert f"Secret shop/db ({place}) is not looked at: No backup holds what a Secret held" in copied.stderr
    assert isinstance(keeping.cluster, Secrets)
    keeping.cluster.objects.clear()
    lost = await called("verify", "--config", settings)
    assert lost.exit_code == 1
    assert f"what is kept of Secret shop/db ({place}) is lost" in lost.output


@pytest.mark.parametrize("needed", [True, False])
async def test_what_was_kept_of_a_secret_is_there_and_whole(
    tmp_path: Path, keeping: KubernetesSavedSecrets, needed: bool
) -> None:
    name, place = await holding(tmp_path, keeping, 6, word=ONE)
    _, other = await holding(tmp_path, keeping, 7, word=TWO)
    await journal(tmp_path, name if needed else "", Release({"spec": {}}))
    shown = await asyncio.to_thread(call, tmp_path, "verify")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert isinstance(keeping.cluster, Secrets)
    # One is gone; in the place of the other stands something else.
    lost, damaged = (f"logcaster-guard-secret-{kept.rpartition('/')[2]}" for kept in (place, other))
    del keeping.cluster.objects[lost]
    keeping.cluster.edit(damaged, lambda item: item["data"].update(content=item["data"]["header"]))
    shown = await asyncio.to_thread(call, tmp_path, "verify")
    faults = sorted(shown.stdout.splitlines())
    assert (shown.exit_code, len(faults)) == (1, 2)
    assert all(kept in " ".join(faults) for kept in (place, other))
    assert all("a rollback leaves that Secret as it is" in fault for fault in faults)
    assert faults[0].startswith("stream target/shop/web, seq 2: ") is needed
    # It looked, and made nothing.
    assert keeping.cluster.calls["create"] == 3


@pytest.mark.usefixtures("names")
def test_without_a_journal_nobody_can_tell_what_is_needed(tmp_path: Path) -> None:
    shown = call(tmp_path, "verify")
    assert (shown.exit_code, "Traceback" in shown.output) == (2, False)


def test_one_is_made_only_where_the_guard_would_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "guard.yaml").write_text(f"journal: {{path: {tmp_path}/journal.db, blobs: {tmp_path}/blobs}}\n")
    shown = call(tmp_path, "create")
    assert (shown.exit_code, "run this where the guard runs" in shown.stderr) == (2, True)
    assert not (tmp_path / "blobs").exists()
    (tmp_path / "blobs").mkdir()
    monkeypatch.setattr("os.geteuid", lambda: -1)
    shown = call(tmp_path, "create")
    assert (shown.exit_code, "run this as the guard's user" in shown.stderr) == (2, True)
    shown = call(tmp_path, "create", "--target", "nobody")
    assert (shown.exit_code, "found no target nobody; allowed logcaster" in shown.stderr) == (2, True)
