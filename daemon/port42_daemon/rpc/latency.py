"""How long something takes, kept in constant memory: a histogram whose buckets grow with the value."""

from __future__ import annotations

_STEPS = 3
"""Bits of a duration that are kept behind its leading one: eight buckets for each doubling."""
_LONGEST = 2**47 - 1
"""Nanoseconds, 39 hours; what took longer counts as this."""
_BUCKETS = (48 - _STEPS) << _STEPS


class Latency:
    """Durations in nanoseconds. A percentile is at most a sixteenth off; count, errors and maximum are exact.

    The scheme is HdrHistogram's (hdrhistogram.org): the bucket is the duration as a floating-point
    number of three bits, so that no logarithm is taken where every request passes.
    """

    __slots__ = ("_buckets", "count", "errors", "longest")

    def __init__(self) -> None:
        self._buckets = [0] * _BUCKETS
        self.count = self.errors = self.longest = 0

    def note(self, took: int) -> None:
        """One more that took so many nanoseconds."""
        self.count += 1
        if took > self.longest:
            self.longest = took = min(took, _LONGEST)
        shift = took.bit_length() - _STEPS - 1
        self._buckets[took if shift < 0 else (shift << _STEPS) + (took >> shift)] += 1

    def percentiles(self, *wanted: int) -> list[int]:
        """The durations that so many percent (ascending) stayed within, in nanoseconds; 0 of none at all."""
        found, seen, buckets = [], 0, enumerate(self._buckets)
        bucket = 0
        for percent in wanted:
            # Nearest rank: the smallest duration that at least so many are not longer than.
            rank = -(-self.count * percent // 100)
            while seen < rank:
                bucket, here = next(buckets)
                seen += here
            found.append(min(_middle(bucket), self.longest))
        return found


def _middle(bucket: int) -> int:
    """The duration in the middle of a bucket."""
    shift = (bucket >> _STEPS) - 1
    if shift < 0:
        return bucket
    lowest = (bucket - (shift << _STEPS)) << shift
    return lowest + (1 << shift >> 1)
