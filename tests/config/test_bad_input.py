"""Every kind of bad input through the files: refused at its place, whatever reads them."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from logcaster_guard.config import ConfigFault, load
from logcaster_guard.config.yaml import MAX_BYTES
from logcaster_guard.fields.faults import MAX_FAULTS
from logcaster_guard.messages.texts import Language, Texts, phrase

MIB = 1 << 20
RULE = (
    "rollback_triggers:\n  - name: {name}\n    condition: {condition}\n    duration: {duration}\n    action: {action}\n"
)
SOUND = {"name": "a", "condition": '"error_rate > 5%"', "duration": "5m", "action": "alert_only"}


def rule(**changed: str) -> bytes:
    return RULE.format(**SOUND | changed).encode()


def extra(line: str) -> bytes:
    return rule() + f"    {line}\n".encode()


GUARD = b"# yaml\nlog: {level: info}\n"
ROWS: dict[str, tuple[bytes, int, int, str]] = {
    "unknown key": (extra("treshold: 5"), 6, 5, 'the unknown key "treshold"'),
    "unknown action": (rule(action="rollback"), 5, 13, 'the text "rollback"'),
    "action that is a truth value": (rule(action="true"), 5, 13, "true"),
    "unknown signal": (rule(condition='"cpu > 5%"'), 3, 17, 'the unknown signal "cpu"'),
    "negative duration": (rule(duration="-5m"), 4, 15, 'the text "-5m"'),
    "negative bare duration": (rule(duration="-5"), 4, 15, "the negative number -5"),
    "duration of zero": (rule(duration="0s"), 4, 15, 'the duration "0s"'),
    "duration of zero in parts": (rule(duration="0h0m"), 4, 15, 'the duration "0h0m"'),
    "bare duration": (rule(duration="5"), 4, 15, "the bare number 5"),
    "bare duration in quotes": (rule(duration='"300"'), 4, 15, "the bare number 300"),
    "duration in words": (rule(duration="5 minutes ago"), 4, 15, 'the text "5 minutes ago"'),
    "duration for ever": (rule(duration="99999d"), 4, 15, 'the duration "99999d"'),
    "duration that is not finite": (rule(duration=".inf"), 4, 15, 'the text ".inf"'),
    "duration that is no number": (rule(duration=".nan"), 4, 15, 'the text ".nan"'),
    "duration of other digits": (rule(duration="\u0665m"), 4, 15, 'the text "\u0665m"'),
    "duration of too many digits": (rule(duration="1" * 500 + "s"), 4, 15, 'the text "1111'),
    "duration that YAML 1.1 makes 300": (rule(duration="5:00"), 4, 15, 'the text "5:00"'),
    "duration that is a list": (rule(duration="[5m]"), 4, 5, "a list"),
    "duration that is a date": (rule(duration="2024-01-01"), 4, 15, 'the text "2024-01-01"'),
    "number too long": (rule(duration="9" * 50_000), 4, 15, "a number of 50,000 characters"),
    "number too long in a condition": (rule(condition=f'"restart_count > {"9" * 40}"'), 3, 33, "a number of 40"),
    "number that overflows": (
        rule(condition=f'"restart_count > {"*".join(["999999999999999"] * 25)}"'),
        3,
        33,
        "a number that is too large",
    ),
    "not a number in a condition": (rule(condition='"error_rate > nan"'), 3, 30, 'the unknown signal "nan"'),
    "infinity in a condition": (rule(condition='"error_rate > inf"'), 3, 30, 'the unknown signal "inf"'),
    "exponent in a condition": (rule(condition='"restart_count > 1e9"'), 3, 33, 'the unknown unit "e9"'),
    "empty condition": (rule(condition='""'), 3, 17, "an empty condition"),
    "half a condition": (rule(condition='"error_rate >"'), 3, 29, "the end of the condition"),
    "condition without a comparison": (rule(condition='"error_rate"'), 3, 27, "the end of the condition"),
    "condition with a parenthesis left open": (rule(condition='"(error_rate > 5%"'), 3, 33, "the end of the condition"),
    "condition that is a number": (rule(condition="5"), 3, 16, "the number 5"),
    "condition that is a mapping": (rule(condition="{error_rate: 5%}"), 3, 5, "a mapping"),
    "condition too deep": (rule(condition='"' + "(" * 200 + 'error_rate > 5%"'), 3, 232, "the end of the condition"),
    "code in a condition": (rule(condition="\"__import__('os').system('id') > 1\""), 3, 27, '"("'),
    "shell in a condition": (rule(condition='"error_rate > 5%; rm -rf /"'), 3, 32, '";"'),
    "template in a condition": (rule(condition='"{{ error_rate }} > 5%"'), 3, 17, '"{"'),
    "attribute in a condition": (rule(condition='"error_rate.__class__ > 5"'), 3, 27, '".__class__"'),
    "condition in another alphabet": (rule(condition='"error_r\u0430te > 5%"'), 3, 24, '"\u0430"'),
    "name twice": (rule() + b"  - name: a\n", 6, 11, 'the rule name "a" again'),
    "key twice": (extra("duration: 10m"), 6, 5, 'the key "duration" again'),
    "key twice at the top": (rule() + rule(), 6, 1, 'the key "rollback_triggers" again'),
    "name that is a number": (rule(name="1.0"), 2, 11, "the number 1.0"),
    "name with markup": (rule(name="<b>"), 2, 11, 'the text "<b>"'),
    "name that draws on the terminal": (rule(name='"\\e[31m"'), 2, 11, "the invisible character U+001B"),
    "policy that YAML 1.1 makes false": (extra("no_data: no"), 6, 14, 'the text "no"'),
    "empty": (b"", 1, 1, "an empty file"),
    "only blanks": (b" \n \n", 1, 1, "an empty file"),
    "binary": (bytes(range(256)), 2, 118, "the byte 0x80, which is not UTF-8"),
    "program": (b"\x7fELF\x02\x01\x01" + bytes(64), 1, 1, "the invisible character U+007F"),
    "compressed": (b"\x1f\x8b\x08\x00rollback_triggers", 1, 2, "the byte 0x8b, which is not UTF-8"),
    "not UTF-8": (rule(name="caf").replace(b"caf", b"caf\xe9"), 2, 14, "the byte 0xe9"),
    "UTF-16": (rule().decode().encode("utf-16"), 1, 1, "UTF-16"),
    "tab": (rule().replace(b"    action", b"\taction"), 5, 1, "a tab"),
    "two documents": (rule() + b"---\n" + rule(), 6, 1, "a second document"),
    "10 MB": (rule() + b"# " + b"x" * 10_000_000, 1, 1, "a file of more than 1 MiB"),
    "too deep": (b"rollback_triggers: " + b"[" * 100_000, 1, 69, "more than 50 levels of nesting"),
    "alias bomb": (
        b"a0: &a0 [x]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (i, i, i - 1, i - 1) for i in range(1, 60)),
        1,
        5,
        'the anchor "&a0"',
    ),
    "merge bomb": (
        b"rollback_triggers:\n- &a {name: a}\n" + b"- &a {<<: [*a, *a, *a, *a]}\n" * 2_000,
        2,
        3,
        'the anchor "&a"',
    ),
    "alias to itself": (b"log: &a [*a]\n", 1, 6, 'the anchor "&a"'),
    "tag that builds an object": (
        b"log: !!python/object/apply:os.system ['touch /tmp/x']\n",
        1,
        6,
        'the tag "tag:yaml.org,2002:python/object/apply:os.system"',
    ),
    "tag of binary data": (b"log: !!binary aGk=\n", 1, 6, "the tag"),
    "list at the top": (b"- a\n- b\n", 1, 1, "no mapping at the top"),
    "text at the top": (b"rollback_triggers\n", 1, 1, "no mapping at the top"),
    "JSON cut off": (b'{"rollback_triggers": [{"name": "a"', 1, 36, "broken YAML"),
    "HTML": (b"<!DOCTYPE html>\n<html></html>\n", 1, 1, "no mapping at the top"),
    "unknown word for GitOps": (b"gitops: pause\n", 1, 9, 'the text "pause"'),
    "GitOps as a truth value": (b"gitops: true\n", 1, 9, "true"),
    "unknown word for a target's GitOps": (b"targets:\n  - gitops: suspended\n", 2, 13, 'the text "suspended"'),
    "Argo CD in no namespace": (b"argocd_namespace: Argo CD\n", 1, 19, 'the text "Argo CD"'),
}


KOREAN = Texts(Language.KOREAN)
ENGLISH = re.compile(r"\b(?:the|is|was|has|of|than|an?)\b|\b[a-z]{2,} [a-z]{2,}\b")
"""What an English phrase has, and keys, examples and the words of a condition have not."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, (content, *_) in enumerate(ROWS.values()):
        (tmp_path / f"{number:03}.yaml").write_bytes(content)
    (tmp_path / "guard.yaml").write_bytes(GUARD)
    return tmp_path


@pytest.mark.parametrize("what", sorted(ROWS))
def test_it_is_refused_at_its_place(tmp_path: Path, what: str) -> None:
    content, line, column, found = ROWS[what]
    (tmp_path / "rules.yaml").write_bytes(content)
    (tmp_path / "guard.yaml").write_bytes(GUARD)
    faults = load(tmp_path)
    assert isinstance(faults, list), faults
    at_rules = [f for f in faults if f.file.endswith("rules.yaml")]
    assert len(at_rules) <= MAX_FAULTS
    assert [f for f in at_rules if (f.line, f.column) == (line, column) and found in f.found], at_rules[:5]
    for fault in at_rules:
        told = KOREAN.text(fault.told).replace(str(tmp_path), "")
        assert "; 허용: " in told
        assert not ENGLISH.search(re.sub('“[^”]*”|"[^"]*"|rules.yaml', "", told)), told


def bounded(memory: int, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def checked(*paths: Path) -> subprocess.CompletedProcess[str]:
    """`logcaster-guard check` in bounded memory and time, as somebody's shell starts it."""
    program = "from logcaster_guard.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "check", *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        # More than a file may cost: all are read in one go, and the interpreter itself is in it.
        preexec_fn=lambda: bounded(1024 * MIB, 30),
    )


def test_all_of_it_in_one_go_ends_with_2_and_a_line_for_each_fault(folder: Path) -> None:
    outcome = checked(folder)
    assert outcome.returncode == 2, outcome.stderr
    assert outcome.stderr == ""
    for number in range(len(ROWS)):
        assert f"/{number:03}.yaml:" in outcome.stdout
    assert all(c.isprintable() or c == "\n" for c in outcome.stdout)


def _largest() -> Iterator[tuple[str, bytes]]:
    yield "keys", b"".join(b"rollback_trigger%d: 1\n" % i for i in range(40_000))
    yield "repeated keys", b"a: 1\n" * 200_000
    yield "rules", b"rollback_triggers:\n" + b"  - {name: n}\n" * 70_000
    yield (
        "conditions",
        b"rollback_triggers:\n"
        + b"".join(
            b"  - {name: n%d, condition: '%s', duration: 5m, action: alert_only}\n" % (i, b"eror_rat > 5% or " * 57)
            for i in range(100)
        ),
    )
    yield "text", b'log: "' + b"\\n" * 500_000 + b'"'
    yield "anchors", b"".join(b"- &a%d x\n" % i for i in range(49_000))
    yield "placeholders", b"metrics: {selector: '" + b"$x" * 500_000 + b"'}"
    yield "openings", b"[{a: " * 200_000


@pytest.mark.parametrize("what", [name for name, _ in _largest()])
def test_the_largest_files_stay_within_bounds(tmp_path: Path, what: str) -> None:
    content = dict(_largest())[what][:MAX_BYTES]
    (tmp_path / "f.yaml").write_bytes(content)
    # 200 MiB above what the interpreter maps before, and the kernel's clock of the processor, not the wall's.
    program = f"""
import resource, sys
from logcaster_guard.config import load
load()
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + {200 * MIB},) * 2)
found = load(sys.argv[1])
assert isinstance(found, list), found
"""
    outcome = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize(
    ("content", "copies", "told"),
    [
        (b"x: [" + b"1," * 49_000 + b"]\n", 200, "found more than 200,000 values"),
        (b"log: {level: info}\n#" + b"x" * 1_000_000, 9, "found more than 8 MiB"),
        (b"log: {level: info}\n", 201, "found more than 200 configuration files"),
        (b"rollback_triggers:\n" + b"  - {name: n}\n" * 100, 11, "found more than 1,000 rules"),
    ],
)
def test_the_whole_is_bounded_and_not_only_each_file(tmp_path: Path, content: bytes, copies: int, told: str) -> None:
    files = [tmp_path / f"{number:03}.yaml" for number in range(copies)]
    for file in files:
        file.write_bytes(content)
    begun = time.process_time()
    found = load(*files)
    assert time.process_time() - begun < 20
    assert isinstance(found, list)
    assert told in "\n".join(map(str, found))


def test_too_many_are_told_by_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "guard.yaml").write_text("targets:\n" + "  - {}\n" * 300)
    found = load(tmp_path)
    assert isinstance(found, list)
    assert "found 300 targets; allowed at most 100" in str(found[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_of_somebody_else_is_told(tmp_path: Path) -> None:
    secret, closed = tmp_path / "rules.yaml", tmp_path / "closed"
    secret.write_bytes(rule())
    secret.chmod(0o600)
    closed.mkdir(mode=0o700)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_mode & 0o055 != 0o055 and parent.is_relative_to("/tmp"):  # noqa: S108 - pytest's own
            parent.chmod(0o755)
    program = """
import os, sys
from logcaster_guard.config import load
load()
os.setgid(65534); os.setuid(65534)
for fault in load(*sys.argv[1:]): print(fault)
"""
    outcome = subprocess.run(
        [sys.executable, "-c", program, str(secret), str(closed), str(closed / "x.yaml")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    assert {line.partition(": ")[0] for line in lines} == {str(closed), str(closed / "x.yaml"), str(secret)}
    assert all("found no permission to read it" in line for line in lines)


@pytest.mark.parametrize("moment", ["listed", "looked at", "opened"])
def test_a_file_that_vanishes_while_it_is_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    (tmp_path / "a.yaml").write_bytes(rule())
    victim = tmp_path / "b.yaml"
    victim.write_bytes(rule(name="b"))
    listing, opening = Path.iterdir, os.open

    def listed(path: Path) -> Iterator[Path]:
        entries = list(listing(path))
        victim.unlink(missing_ok=moment == "listed")
        return iter(entries)

    def opened(name: str, *arguments: int) -> int:
        if name == str(victim) and moment == "looked at":
            victim.unlink()
        descriptor = opening(name, *arguments)
        if name == str(victim):
            victim.unlink()
        return descriptor

    if moment == "listed":
        monkeypatch.setattr(Path, "iterdir", listed)
    else:
        monkeypatch.setattr(os, "open", opened)
    found = load(tmp_path)
    if moment == "opened":  # what was opened can be read to its end
        assert not isinstance(found, list)
        assert [r.name for r in found.rules] == ["a", "b"]
    else:
        assert found == [
            ConfigFault(str(victim), 0, 0, phrase("found.no_such_file"), phrase("allowed.readable_file")),
        ]


def test_a_directory_that_vanishes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    real = Path.iterdir

    def gone(path: Path) -> Iterator[Path]:
        path.rmdir()
        return real(path)

    monkeypatch.setattr(Path, "iterdir", gone)
    found = load(folder)
    assert isinstance(found, list)
    (fault,) = found
    assert fault.found == "no file or directory of this name"
