"""What the system says of a process, held against what the process does."""

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
def test_memory_is_what_is_held(tmp_path):
    before = process_stats.take(tmp_path)
    held = bytearray(b"x" * 64 * 2**20)
    after = process_stats.take(tmp_path)
    assert after.resident_bytes - before.resident_bytes > 48 * 2**20
    assert after.peak_bytes >= after.resident_bytes
    del held


def test_where_there_is_no_proc_the_peak_is_known_all_the_same(tmp_path, monkeypatch):
    def none(_):
        raise FileNotFoundError

    monkeypatch.setattr(process_stats.Path, "read_bytes", none)
    said = process_stats.take(tmp_path / "gone")
    assert (said.resident_bytes, said.disk_free_bytes) == (None, None)
    assert said.peak_bytes > 2**20
