"""The PyTorch side: a process of torch_speed.py on some cores, with one thread per core."""
import json
import os
import subprocess
from pathlib import Path

import machine

HERE = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"


class TorchError(Exception):
    pass


class Torch:
    """wait: what its idle threads do (OMP_WAIT_POLICY), None: the default of OpenMP; blas: a folder with a libblas.so.3"""

    def __init__(self, on, python=PYTHON, wait=None, blas=None):
        env = machine.environment(len(on))
        if wait:
            env["OMP_WAIT_POLICY"] = wait
        if blas:
            env["LD_LIBRARY_PATH"] = str(blas)
        self.process = subprocess.Popen([python, HERE / "torch_speed.py"], env=env, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, on))
        self.wall = self.cpu = 0.0  # of what was measured: with one thread they differ by what others took
        self.about = self.ask("about")

    def ask(self, order, **details):
        try:
            self.process.stdin.write(json.dumps({"do": order, **details}) + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline() or '{"error": "the process has ended"}')
        except BrokenPipeError:
            answer = {"error": "the process has ended"}
        if "error" in answer:
            raise TorchError(f"PyTorch: {answer['error']}")
        return answer

    def rate(self, order, seconds):
        """Steps or rows a second"""
        answer = self.ask(order, seconds=seconds)
        self.wall += answer["seconds"]
        self.cpu += answer["cpu"]
        return answer.get("steps", answer.get("rows")) / answer["seconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def check(reference, python=PYTHON):
    """Raises Unavailable without PyTorch, and TorchError unless the implementation gives the reference numbers"""
    done = subprocess.run([python, HERE / "torch_amad.py", "--check", reference], env=machine.environment(1),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode and "WRONG" not in done.stdout:
        raise machine.Unavailable(done.stdout.strip().splitlines()[-1])
    if done.returncode:
        raise TorchError(f"torch_amad.py --check {reference} disagrees:\n{done.stdout}")


def variants(on, python, blas):
    """Two threads can be had in several ways, and which is best depends on machine and size"""
    return [Torch(on, python, wait, folder) for wait in (None, "passive") for folder in dict.fromkeys((None, blas))]


def options(o):
    """amad's options for torch_amad.py: a preset spelled out"""
    o = dict(o)
    if o.pop("preset", None) == "paper":
        o = {"window": 100, "d_model": 512, "heads": 8, "layers": 3, "learning_rate": 1e-4, **o}
    return o
