"""CPU time in real processes: the honest go on for ever, a runaway ends."""

import resource
import signal
import subprocess
import sys

BURN = """
import time, sys
from edge_agent.inference.worker.limits import CpuAllowance
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BURN + script], capture_output=True, text=True, check=False, timeout=60)


def test_a_worker_that_answers_is_never_out_of_time() -> None:
    done = run("cpu = CpuAllowance(1)\nfor _ in range(5):\n    burn(0.4)\n    cpu.renew()\nprint('done')")
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_runaway_is_ended_by_the_kernel() -> None:
    done = run("CpuAllowance(1)\nprint('starts', flush=True)\nburn(30)")
    assert (done.returncode, done.stdout) == (-signal.SIGXCPU, "starts\n")


def test_no_limit_is_none() -> None:
    script = "import resource\nCpuAllowance(0).renew()\nprint(resource.getrlimit(resource.RLIMIT_CPU)[0])"
    assert int(run(script).stdout) == resource.getrlimit(resource.RLIMIT_CPU)[0]


def test_it_is_not_renewed_while_half_is_left_nor_beyond_what_the_service_allows() -> None:
    script = """
import resource
_, most = resource.getrlimit(resource.RLIMIT_CPU)
resource.setrlimit(resource.RLIMIT_CPU, (2000, 2000))
cpu = CpuAllowance(1000)
first = resource.getrlimit(resource.RLIMIT_CPU)
cpu.renew()
print(first, resource.getrlimit(resource.RLIMIT_CPU) == first)
CpuAllowance(5000)
print(resource.getrlimit(resource.RLIMIT_CPU))
"""
    assert run(script).stdout == "(1001, 2000) True\n(2000, 2000)\n"
