"""The machine: which cores to run on, a clean environment, memory of a process, how busy it is."""
import os
import platform
import threading
import time
from pathlib import Path

BUSY = 0.7  # load average above which figures are not to be trusted


class Unavailable(Exception):
    """Something that a part needs is not here"""


def cores(count):
    """The last cores of those allowed: the first ones tend to serve interrupts"""
    return sorted(os.sched_getaffinity(0))[-count:]


def pin(pid, to):
    """-> whether the process could be moved to these cores"""
    try:
        os.sched_setaffinity(pid, to)
        return True
    except OSError:
        return False


def environment(threads):
    """Environment of children: number of threads, and no forced choice of BLAS kernels"""
    env = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    count = str(threads)
    return dict(env, OMP_NUM_THREADS=count, OPENBLAS_NUM_THREADS=count, PYTHONDONTWRITEBYTECODE="1")


def threaded_blas():
    """Folder of a threaded OpenBLAS of Debian, or None"""
    for kind in ("pthread", "openmp"):
        for found in Path("/usr/lib").glob(f"*/openblas-{kind}/libblas.so.3"):
            return found.parent
    return None


def cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(l.split(":", 1)[1].strip() for l in lines if l.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return name


def forced_blas(pid):
    """Variables in a process's environment that choose its BLAS kernels"""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
    return [w for w in words if w.startswith(("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"))]


def load():
    return os.getloadavg()[0]


# ---------------------------------------------------------------- memory

def memory(pid, key):
    """MB (2**20 bytes) of a line of /proc/PID/status, such as RssAnon or VmHWM"""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(f"no {key} in /proc/{pid}/status")


def reset_peak(pid):
    """Resets VmHWM"""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


class MemoryPeak:
    """with MemoryPeak(pid) as peak: …   Growth in MB between entry and the highest moment since.

    `anonymous`: of RssAnon, looked at every 2 ms; `resident`: of VmHWM, which the kernel keeps, and which
    counts code and shared buffers that were touched, too."""

    def __init__(self, pid):
        self.pid, self.stop = pid, threading.Event()
        self.anonymous = self.resident = 0.0

    def watch(self):
        while not self.stop.wait(0.002):
            self.look()

    def look(self):
        self.highest = max(self.highest, memory(self.pid, "RssAnon"))

    def __enter__(self):
        reset_peak(self.pid)
        self.highest = self.start = memory(self.pid, "RssAnon")
        self.start_resident = memory(self.pid, "VmHWM")
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.look()
        self.anonymous = self.highest - self.start
        self.resident = memory(self.pid, "VmHWM") - self.start_resident


def timed(work):
    """-> (result, seconds)"""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started
