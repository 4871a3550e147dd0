"""Counts and latencies of requests, shown by `status`."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from itertools import accumulate

from port42_protocol.errors import InternalError, RpcError
from port42_protocol.messages.daemon import ErrorCount, InternalFailure, MethodLatency
from port42_protocol.methods import METHODS
from port42_protocol.times import now

_STEPS = 3  # bits of a duration that are kept behind its leading one: eight buckets for each doubling
_LONGEST = 2**47 - 1  # nanoseconds, 39 hours; what took longer counts as this
_BUCKETS = (48 - _STEPS) << _STEPS
_REMEMBERED = 5  # internal errors whose ids are kept; the log has all of them


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
        self.count += 1
        if took > self.longest:
            self.longest = took = min(took, _LONGEST)
        shift = took.bit_length() - _STEPS - 1
        self._buckets[took if shift < 0 else (shift << _STEPS) + (took >> shift)] += 1

    def percentiles(self, *percents: int) -> list[int]:
        """The durations that so many percent stayed within, in nanoseconds; 0 of none at all."""
        cumulative = list(accumulate(self._buckets))
        # Nearest rank: the smallest duration that at least so many are not longer than.
        ranks = (-(-self.count * percent // 100) for percent in percents)
        return [min(_middle(bisect_left(cumulative, rank)), self.longest) for rank in ranks]


def _middle(bucket: int) -> int:
    shift = (bucket >> _STEPS) - 1
    if shift < 0:
        return bucket
    lowest = (bucket - (shift << _STEPS)) << shift
    return lowest + (1 << shift >> 1)


class Traffic:
    """Counts since the start, in constant memory."""

    def __init__(self) -> None:
        self.connections = 0  # open now
        self.requests = 0  # under way now, as far as they wait for something
        self.bytes_in = self.bytes_out = 0
        self._latencies: dict[str, Latency] = {}
        self._shown: dict[str, MethodLatency] = {}
        self._errors: Counter[tuple[int, str]] = Counter()
        self._failures: deque[InternalFailure] = deque(maxlen=_REMEMBERED)

    def answered(self, method: str | None, took: int, error: RpcError | None) -> None:
        """A request was answered after `took` nanoseconds; `method` is None where it named none of ours."""
        if method is not None:
            latency = self._latencies.get(method)
            if latency is None:
                latency = self._latencies[method] = Latency()
            latency.note(took)
            if error is not None:
                latency.errors += 1
        if error is not None:
            self.refused(error)

    def refused(self, error: RpcError) -> None:
        self._errors[error.code, error.data["kind"]] += 1

    def failed(self, method: str | None, error: InternalError) -> None:
        self._failures.append(InternalFailure(error.data["error_id"], method, now()))

    def latencies(self) -> tuple[MethodLatency, ...]:
        for name, latency in self._latencies.items():
            shown = self._shown.get(name)
            if shown is None or shown.count != latency.count:
                self._shown[name] = _in_microseconds(name, latency)
        return tuple(self._shown[name] for name in METHODS if name in self._shown)

    def errors(self) -> tuple[ErrorCount, ...]:
        return tuple(ErrorCount(*error, count) for error, count in self._errors.most_common())

    def failures(self) -> tuple[InternalFailure, ...]:
        return tuple(self._failures)


def _in_microseconds(name: str, latency: Latency) -> MethodLatency:
    p50, p90, p99 = (round(took / 1000) for took in latency.percentiles(50, 90, 99))
    return MethodLatency(name, latency.count, latency.errors, p50, p90, p99, round(latency.longest / 1000))
