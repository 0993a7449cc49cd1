"""How a release earns good: watched for long enough, and quiet by each rule that measured it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from logcaster_guard.domain.rules import LedgerPolicy


@dataclass(frozen=True, slots=True)
class Probation:
    """How long a release has been watched, and which rules were quiet in each stretch of the last `good_after` seconds.

    `measured` are the rules that saw the release at any time, `blind` those that never did.
    """

    spans: tuple[tuple[float, float, frozenset[str]], ...] = ()
    last: float | None = None
    measured: frozenset[str] = frozenset()
    blind: frozenset[str] = frozenset()

    def observed(
        self, now: float, *, quiet: Mapping[str, bool | None], staleness: float, good_after: float
    ) -> Probation:  # fmt: skip
        """With the stretch up to `now` added; one longer than `staleness` was not watched and counts as not quiet.

        `quiet` tells of each rule that applies whether it is quiet now, None where it sees nothing.
        """
        seeing = frozenset(rule for rule, is_quiet in quiet.items() if is_quiet is not None)
        measured = (self.measured | seeing) & quiet.keys()
        spans = self.spans
        if self.last is not None:
            calm = frozenset(rule for rule, is_quiet in quiet.items() if is_quiet)
            spans = (*spans, (self.last, now, calm if now - self.last <= staleness else frozenset()))
        kept = tuple(s for s in spans if s[1] > now - good_after)
        return Probation(kept, now, measured, frozenset(quiet) - measured)

    def verdict(self, now: float, policy: LedgerPolicy) -> tuple[bool, float]:
        """Whether the release has earned good at `now`, and the quiet share of the last `good_after` seconds.

        Each rule that measured it must have been quiet for long enough, and be so now; one at least must have.
        """
        begin = now - policy.good_after
        if not self.measured or not self.spans or self.spans[0][0] > begin:
            return False, 0.0
        quiet = dict.fromkeys(self.measured, 0.0)
        for start, end, calm in self.spans:
            for rule in calm & self.measured:
                quiet[rule] += max(0.0, end - max(start, begin))
        share = min(quiet.values()) / policy.good_after
        return share >= policy.good_share and self.measured <= self.spans[-1][2], share
