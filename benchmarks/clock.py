"""Timing several things side by side, so that whatever else the machine does falls on all of them."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping


def interleave(actions: Mapping[str, Callable[[], object]], rounds: int, block: int) -> dict[str, list[int]]:
    """Run each action `block` times in a row, all of them in turn, `rounds` times.

    Gives every single call's nanoseconds. One round more is run first and not counted.
    """
    samples: dict[str, list[int]] = {name: [] for name in actions}
    names, order = list(actions), random.Random(42)
    gc.disable()  # a collection would land on whoever happens to allocate the last object
    try:
        for number in range(rounds + 1):
            for name in names:
                action, took = actions[name], []
                for _ in range(block):
                    began = time.perf_counter_ns()
                    action()
                    took.append(time.perf_counter_ns() - began)
                if number:
                    samples[name] += took
            # Shuffled, because the predecessor influences the caches.
            order.shuffle(names)
            gc.collect()
    finally:
        gc.enable()
    return samples
