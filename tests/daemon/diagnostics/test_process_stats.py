"""The figures of a process, compared with what the process does."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from port42_daemon.diagnostics import process_stats


def test_open_files_and_threads_are_counted(tmp_path):
    before = process_stats.take(tmp_path)
    reads, writes = os.pipe()
    done = threading.Event()
    waiting = threading.Thread(target=done.wait)
    waiting.start()
    after = process_stats.take(tmp_path)
    done.set()
    waiting.join()
    os.close(reads)
    os.close(writes)
    assert after.open_files == before.open_files + 2
    assert after.threads >= before.threads + 1
    assert after.disk_free_bytes >= 0


@pytest.mark.skipif(sys.platform != "linux", reason="only proc(5) tells")
def test_memory_counts_allocated_blocks(tmp_path):
    before = process_stats.take(tmp_path)
    block = bytearray(b"x" * 64 * 2**20)
    after = process_stats.take(tmp_path)
    assert after.resident_bytes - before.resident_bytes > 48 * 2**20
    assert after.peak_bytes >= after.resident_bytes
    del block


def test_without_proc_the_peak_is_known(tmp_path, monkeypatch):
    def none(_):
        raise FileNotFoundError

    monkeypatch.setattr(process_stats.Path, "read_bytes", none)
    figures = process_stats.take(tmp_path / "gone")
    assert (figures.resident_bytes, figures.disk_free_bytes) == (None, None)
    assert figures.peak_bytes > 2**20
