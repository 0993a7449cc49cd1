from __future__ import annotations

from pathlib import Path

import pytest

from logcaster_guard.config.loading import Loaded, load
from logcaster_guard.config.settings import default_settings


def test_by_default_only_this_host_is_served() -> None:
    assert default_settings().web.listen == "127.0.0.1:9997"


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "0.0.0.0:65535", "[::1]:9997", "[::]:9997"])
def test_an_ip_address_and_a_port_are_taken(tmp_path: Path, listen: str) -> None:
    file = tmp_path / "guard.yaml"
    file.write_text(f'web: {{listen: "{listen}"}}')
    found = load(file)
    assert isinstance(found, Loaded), found
    assert found.settings.web.listen == listen


@pytest.mark.parametrize(
    "listen",
    [
        "", "9997", ":9997", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "localhost:9997", "::1:9997", "[::1]",
        "1.2.3:80", "256.0.0.1:80", "[zz]:80", "[127.0.0.1:80", "127.0.0.1:٨٠", "http://127.0.0.1:80",
        "127.0.0.1:9997 ",
    ],
)  # fmt: skip
def test_anything_else_is_refused_where_it_stands(tmp_path: Path, listen: str) -> None:
    file = tmp_path / "guard.yaml"
    file.write_text(f'web: {{listen: "{listen}"}}')
    found = load(file)
    assert isinstance(found, list)
    (fault,) = found
    assert (fault.line, fault.column) == (1, 15)
    assert "127.0.0.1" in fault.allowed


def test_probes_have_an_address_and_the_server_names_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "guard.yaml"
    file.write_text('web: {listen: "0.0.0.0:1", probes: "0.0.0.0:2", hosts: [guard.logcaster.svc]}')
    found = load(file)
    assert isinstance(found, Loaded), found
    assert (found.settings.web.probes, found.settings.web.hosts) == ("0.0.0.0:2", ("guard.logcaster.svc",))
    assert (default_settings().web.probes, default_settings().web.hosts) == (None, ())


@pytest.mark.parametrize(
    "text", ['listen: "0.0.0.0:1", probes: "0.0.0.0:1"', 'probes: "guard:1"', "hosts: ['guard:80']", "hosts: ['*']"]
)
def test_one_address_twice_and_names_with_ports_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "guard.yaml"
    file.write_text(f"web: {{{text}}}")
    assert isinstance(load(file), list)


@pytest.mark.parametrize(
    ("auth", "fault"),
    [
        ("{}", "no way to tell who asks"),
        ("{kubernetes: false}", "no way to tell who asks"),
        ("{kubernetes: true, token: {env: T}}", "a token beside kubernetes: true"),
        ("{token: in-clear}", "a secret in clear"),
        ("{token: {env: T}, audience: guard}", "an audience"),
        ('{kubernetes: true, audience: ""}', "an audience"),
    ],
)
def test_there_is_one_way_to_tell_who_asks(tmp_path: Path, auth: str, fault: str) -> None:
    file = tmp_path / "guard.yaml"
    file.write_text(f"web: {{auth: {auth}}}")
    found = load(file)
    assert isinstance(found, list)
    assert fault in found[0].found


@pytest.mark.parametrize(
    ("listen", "warned"), [("127.0.0.1:1", False), ("[::1]:1", False), ("0.0.0.0:1", True), ("[::]:1", True)]
)
def test_tokens_in_clear_over_the_network_are_warned_of(tmp_path: Path, listen: str, *, warned: bool) -> None:
    (tmp_path / "guard.yaml").write_text(f'web: {{listen: "{listen}", auth: {{token: {{env: T}}}}}}')
    rule = '{name: r, condition: "error_rate > 5%", duration: 5m, action: alert_only}'
    (tmp_path / "rules.yaml").write_text(f"rollback_triggers: [{rule}]")
    found = load(tmp_path)
    assert isinstance(found, Loaded), found
    assert any("in clear" in w for w in found.warnings) == warned
