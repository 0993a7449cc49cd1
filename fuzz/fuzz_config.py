"""Coverage-guided fuzzing of the configuration: loader, models and condition grammar.

    python -m fuzz.fuzz_config [SECONDS]

Ends with 0 after SECONDS (default 60) without a finding. A finding is an exception, a promise of `fuzz.oracle` broken,
an input that takes over a second of processor time, or one that makes the process grow by more than 200 MiB; the input
is left in `.fuzz/`, as `crash-…`, `oom-…` or `timeout-…`. `.fuzz/corpus` keeps interesting inputs for the next run.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["logcaster_guard.config", "logcaster_guard.domain.promql", "yaml", "lark"]):
    from fuzz.oracle import examine, seeds, words

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".fuzz"
MAX_SECONDS = 1.0
MAX_GROWTH_MIB = 200
HUNG_SECONDS = 20
LONGEST_INPUT = 4_096


class TooCostly(AssertionError):
    """An input that takes more time or memory than a configuration may."""


def main() -> None:
    """Fuzz until the time is up; libFuzzer ends the process."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    corpus, files, dictionary = WORK / "corpus", WORK / "files", WORK / "words.dict"
    for folder in (corpus, files):
        folder.mkdir(parents=True, exist_ok=True)
    dictionary.write_text("".join(f'"{word}"\n' for word in words()))
    for number, seed in enumerate(seeds(ROOT / "config")):
        (corpus / f"seed-{number}").write_bytes(seed)
        examine(seed, files)  # what is loaded once is no growth
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST_INPUT}",
        f"-timeout={HUNG_SECONDS}",
        f"-rss_limit_mb={_peak_mib() + MAX_GROWTH_MIB}",
        f"-artifact_prefix={WORK}/",
        f"-dict={dictionary}",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: _measured(data, files))
    atheris.Fuzz()


def _measured(data: bytes, files: Path) -> None:
    # The processor's time, so that a busy machine makes no findings.
    before, peak = time.process_time(), _peak_mib()
    examine(data, files)
    spent, grown = time.process_time() - before, _peak_mib() - peak
    if spent > MAX_SECONDS or grown > MAX_GROWTH_MIB:
        raise TooCostly(f"{spent:.2f} s, {grown} MiB more")


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    main()
