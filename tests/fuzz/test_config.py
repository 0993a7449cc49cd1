"""The promises to which the coverage-guided fuzzer holds the configuration, on its seeds and on random inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import oracle
from logcaster_guard.config import yaml as strict

CONFIG = Path(__file__).parents[2] / "config"
SEEDS = list(oracle.seeds(CONFIG))
WORDS = [word.encode() for word in oracle.words()]


@pytest.fixture(autouse=True)
def loader_as_before() -> Iterator[None]:
    before = strict._LOADER
    yield
    strict._LOADER = before


@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_the_seeds_are_treated_as_promised(tmp_path: Path, number: int) -> None:
    oracle.examine(SEEDS[number], tmp_path)


def _spliced(parts: tuple[bytes, int, int, list[bytes]]) -> bytes:
    seed, start, length, words = parts
    at = 1 + start % len(seed)
    return seed[:at] + b" ".join(words) + seed[at + length :]


@given(
    st.tuples(
        st.sampled_from(SEEDS),
        st.integers(0, 5_000),
        st.integers(0, 40),
        st.lists(
            st.sampled_from([*WORDS, b"\n", b": ", b"- ", b"'", b'"', b"{", b"}", b"\xff", "규칙".encode()]), max_size=8
        ),
    ).map(_spliced)
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_seeds_with_words_put_in_and_parts_cut_out(tmp_path: Path, data: bytes) -> None:
    oracle.examine(data, tmp_path)


@given(st.sampled_from(b"\x00\x01\x02\x03\x80"), st.binary(max_size=300))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_of_any_kind(tmp_path: Path, entry: int, data: bytes) -> None:
    oracle.examine(bytes([entry]) + data, tmp_path)
