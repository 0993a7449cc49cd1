"""The Dockerfile's steps, carried out in a folder, for machines on which no image can be built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.deploy.dockerfile import ROOT, Instruction, sent_to_builder, stages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
HOME = "/opt/logcaster-guard"
DATA = "/var/lib/logcaster-guard"


class Stage:
    """A stage below a folder that stands for its file system; absolute paths are taken below it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root
        self.environment: dict[str, str] = {}
        self.command: list[str] = []
        root.mkdir()

    def follow(self, instruction: Instruction, others: Mapping[str, Stage]) -> None:
        words = list(instruction.words)
        match instruction.name:
            case "WORKDIR":
                self.folder = Path(self.placed(words[0]))
                self.folder.mkdir(parents=True, exist_ok=True)
            case "RUN":
                self.run(words)
            case "COPY":
                self.copy(words, others.get(instruction.flags.get("from", "")))
            case "ENV":
                self.environment |= dict(word.split("=", 1) for word in words)
            case "ENTRYPOINT" | "CMD":
                self.command += words
            case name:
                assert name in {"FROM", "LABEL", "USER", "EXPOSE", "STOPSIGNAL"}

    def placed(self, path: str) -> str:
        return f"{self.root}{path}" if path.startswith("/") else path

    def run(self, words: list[str]) -> None:
        if words[0] == "install" and os.geteuid():
            words = [w for n, w in enumerate(words) if w not in {"-o", "-g"} and words[n - 1] not in {"-o", "-g"}]
        if words[0] == "install":
            Path(self.placed(words[-1])).parent.mkdir(parents=True, exist_ok=True)
        # The interpreter that a virtual environment is made from must not be in one itself.
        program = str(Path(sys._base_executable)) if words[0] == "python" else self.placed(words[0])  # type: ignore[attr-defined]
        arguments = [self.placed(word) for word in words[1:]]
        environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
        done = subprocess.run(
            [program, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"

    def copy(self, words: list[str], other: Stage | None) -> None:
        *sources, goal = words
        if other is not None:
            shutil.copytree(other.placed(sources[0]), self.placed(goal), symlinks=True)
            return
        for source in sources:
            for file in [ROOT / source, *(ROOT / source).rglob("*")]:
                path = file.relative_to(ROOT)
                if file.is_file() and sent_to_builder(str(path)):
                    place = self.folder / path
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, place)

    def written(self) -> dict[str, tuple[int, int]]:
        """Size and time of change of every file outside the data folder."""
        found = {}
        for file in self.root.rglob("*"):
            if not str(file).startswith(self.placed(DATA)):
                status = file.lstat()
                found[str(file)] = (status.st_size, status.st_mtime_ns)
        return found

    def guard(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the entry point. Its shebang names the place in the image, so that the interpreter is named here."""
        places = [self.placed(p) for p in self.environment["PATH"].split(":")[:1]]
        entry = f"{places[0]}/{self.command[0]}"
        environment = {k: self.placed(v) for k, v in self.environment.items() if k != "PATH"}
        return subprocess.run(
            [f"{places[0]}/python", entry, *arguments],
            cwd=self.folder,
            env={**environment, "PATH": places[0]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("image")
    made: dict[str, Stage] = {}
    for number, steps in enumerate(stages()):
        words = steps[0].words
        name = words[2] if len(words) == 3 else str(number)
        made[name] = Stage(folder / name)
        for step in steps:
            made[name].follow(step, made)
    return made[name]


def test_the_steps_make_a_guard_that_runs_and_writes_nothing_but_its_data(image: Stage, tmp_path: Path) -> None:
    before = image.written()
    config = tmp_path / "config"
    config.mkdir()
    shutil.copy(ROOT / "config" / "rollback-rules.yaml", config)
    shutil.copy(ROOT / "deploy" / "guard.yaml", config)
    version = image.guard("--version")
    assert version.returncode == 0, version.stderr
    check = image.guard("check", str(config))
    assert check.returncode == 0, check.stderr
    assert check.stdout.startswith("OK: 5 rules")
    nowhere = image.guard(image.command[1], str(config))
    assert nowhere.returncode in {2, 3}, nowhere.stderr
    assert "Traceback" not in nowhere.stderr
    assert image.written() == before


def test_the_entry_point_is_a_script_of_the_image_itself(image: Stage) -> None:
    script = Path(image.placed(f"{HOME}/bin/{image.command[0]}")).read_text()
    assert script.splitlines()[0].endswith(f"{HOME}/bin/python")
    assert image.command[1:] == ["run", "/etc/logcaster-guard"]


def test_neither_tests_nor_build_tools_are_in_it(image: Stage) -> None:
    packages = {p.name for p in Path(image.placed(HOME)).glob("lib/python3.*/site-packages/*")}
    assert "logcaster_guard" in packages
    assert not {"tests", "pytest", "mypy", "hypothesis"} & packages
    assert list(Path(image.placed(HOME)).glob("lib/python3.*/site-packages/logcaster_guard/config/*.lark"))
    assert Path(image.placed(DATA)).stat().st_mode & 0o777 == 0o700
