"""What the image must hold to: no root, no shell, nothing unpinned, one folder that is written."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from logcaster_guard.config.sections import JournalSection
from tests.deploy.dockerfile import ROOT, Instruction, instructions, sent_to_builder, stages

DATA = "/var/lib/logcaster-guard"
SECRETIVE = re.compile(r"TOKEN|PASSW|SECRET|CREDENTIAL|API_?KEY", re.IGNORECASE)


def named(name: str, within: list[Instruction] | None = None) -> list[Instruction]:
    return [i for i in (instructions() if within is None else within) if i.name == name]


def test_it_is_built_in_stages_from_a_slim_python_that_the_package_allows() -> None:
    (argument,) = named("ARG")
    match = re.fullmatch(r"PYTHON=docker\.io/library/python:3\.(\d+)-slim", argument.rest)
    assert match
    lowest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert int(match[1]) >= int(lowest.rpartition(".")[2])
    assert len(stages()) == 2
    assert {i.words[0] for i in named("FROM")} == {"${PYTHON}"}


@pytest.mark.parametrize("name", ["RUN", "ENTRYPOINT", "CMD"])
def test_no_command_goes_through_a_shell(name: str) -> None:
    found = named(name)
    assert found
    for instruction in found:
        assert instruction.rest.startswith("[")
        assert Path(instruction.words[0]).name not in {"sh", "bash", "dash", "env"}
        assert "-c" not in instruction.words
    assert not named("SHELL")


def test_it_runs_as_a_numeric_user_and_nothing_changes_that() -> None:
    final = stages()[-1]
    (user,) = named("USER", final)
    uid, _, gid = user.rest.partition(":")
    assert uid.isdecimal()
    assert gid.isdecimal()
    assert int(uid) >= 10_000
    after = final[final.index(user) :]
    assert not {"RUN", "COPY", "USER"} & {i.name for i in after[1:]}


def test_only_one_folder_belongs_to_that_user() -> None:
    (made,) = named("RUN", stages()[-1])
    assert made.words == ["install", "-d", "-o", "10001", "-g", "10001", "-m", "0700", DATA]
    assert not any("chown" in i.flags for i in instructions())
    (environment,) = named("ENV")
    variables = dict(word.split("=", 1) for word in environment.words)
    assert {variables[k] for k in ("HOME", "TMPDIR", "SQLITE_TMPDIR")} == {DATA}
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"
    journal = JournalSection()
    assert {Path(journal.path).parent, Path(journal.blobs).parent} == {Path(DATA)}


def test_every_package_is_pinned_by_hash_or_built_here() -> None:
    installs = [i.words for i in named("RUN") if "install" in i.words and "pip" in i.words]
    assert len(installs) == 3
    for words in installs:
        assert "--no-cache-dir" in words
        if "--no-index" not in words:
            assert words[-3:-1] == ["--require-hashes", "-r"]
            assert words[-1] in {"requirements.lock", "requirements-build.lock"}
    for words in (i.words for i in named("RUN") if "wheel" in i.words):
        assert {"--no-deps", "--no-build-isolation"} <= set(words)


def test_the_build_backend_is_the_one_that_developers_have() -> None:
    pins = [
        re.findall(r"^setuptools==\S+(?: \\\n +--hash=\S+)+", (ROOT / name).read_text(), re.MULTILINE)
        for name in ("requirements-build.lock", "requirements-dev.lock")
    ]
    assert len(pins[0]) == 1
    assert pins[0] == pins[1]


def test_no_secret_is_built_in() -> None:
    assert not named("ADD")
    assert not any(SECRETIVE.search(i.rest) for i in (*named("ENV"), *named("ARG"), *named("LABEL")))


def test_what_is_copied_is_sent_to_the_builder_and_nothing_else_is() -> None:
    copied = {source for i in named("COPY") if "from" not in i.flags for source in i.words[:-1]}
    assert copied == {"logcaster_guard", "pyproject.toml", "README.md", "requirements.lock", "requirements-build.lock"}
    assert all((ROOT / source).exists() and sent_to_builder(source) for source in copied)
    assert sent_to_builder("logcaster_guard/config/condition.lark")
    for path in (
        ".git/config",
        ".venv/bin/python",
        "tests/conftest.py",
        "config/guard.yaml",
        "secret.env",
        "README.ko.md",
    ):
        assert not sent_to_builder(path)
    assert not sent_to_builder("logcaster_guard/cli/__pycache__/main.cpython-311.pyc")


def test_hadolint_finds_nothing() -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("no hadolint: it is not on PATH")
    done = subprocess.run(
        ["hadolint", "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_image_and_manifests_agree() -> None:
    deployment = yaml.safe_load((ROOT / "deploy" / "deployment.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (user,) = named("USER")
    assert user.rest == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    command, *arguments = container["args"]
    folders = [a for a in arguments if not a.startswith("--")]
    assert named("CMD")[0].words[0] == command
    assert all(folder.startswith(named("CMD")[0].words[1]) for folder in folders)
    assert named("EXPOSE")[0].words == [str(port["containerPort"]) for port in container["ports"]]
    assert {m["mountPath"] for m in container["volumeMounts"]} >= {DATA, *folders}
