"""Types that several threads meet for the first time at once."""

import subprocess
import sys

MEETING = """
import sys, threading, msgspec
from port42_protocol.codec import decode_result
from port42_protocol.messages.types import prepared

sys.setswitchinterval(1e-6)  # without `prepared` some ten types are enough to end the process
for number in range(200):
    inner = msgspec.defstruct(f"Inner{number}", [(f"f{field}", int | None, None) for field in range(30)])
    lists = [(f"f{field}", list[inner] | None, None) for field in range(30)]
    kind = msgspec.defstruct(f"Kind{number}", lists)
    together = threading.Barrier(4)

    def meet():
        together.wait()
        assert decode_result(kind, {"f0": [{"f1": 1}]}).f0[0].f1 == 1
        assert msgspec.convert({"f29": []}, prepared(kind)).f29 == []

    threads = [threading.Thread(target=meet) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("met")
"""


def test_threads_that_meet_a_type_at_once_end_no_process() -> None:
    done = subprocess.run([sys.executable, "-c", MEETING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "met\n", "")
