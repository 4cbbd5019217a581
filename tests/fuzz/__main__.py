"""``python -m fuzz``: damaged files by the thousand, on all cores."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Final

from fuzz.case import BUDGET_CPU_S, Failure, run_case, target_of
from fuzz.warm import warm_up

#: A case that no signal ends (in compiled code, say) is killed after this processor time.
_KILLED_CPU_S: Final = 4 * BUDGET_CPU_S
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _work(seed: int, numbers: range, results: Connection) -> None:
    warm_up()
    for number in numbers:
        results.send(("start", number))
        results.send(("end", run_case(seed, number)))
    results.close()


class _Worker:
    """A process with its share of the cases; one that hangs is killed, and goes on behind it."""

    def __init__(self, seed: int, numbers: range) -> None:
        self.seed = seed
        self.numbers = numbers
        self.current = numbers.start
        self.results, theirs = multiprocessing.Pipe(duplex=False)
        self.process = multiprocessing.Process(target=_work, args=(seed, numbers, theirs))
        self.process.start()
        theirs.close()
        self.started_cpu_s = 0.0

    def cpu_s(self) -> float:
        """Processor time of the process so far [s]."""
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return 0.0
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rest(self) -> range:
        """Cases behind the one that it is at."""
        return range(self.current + self.numbers.step, self.numbers.stop, self.numbers.step)


def _failures(seed: int, numbers: range, num_workers: int) -> Iterator[Failure | None]:
    """The outcome of each case, as they end."""
    shares = [numbers[i::num_workers] for i in range(num_workers)]
    workers = [_Worker(seed, share) for share in shares if share]
    while workers:
        ready = wait([worker.results for worker in workers], timeout=1.0)
        for worker in list(workers):
            reason = ""
            if worker.results in ready:
                try:
                    kind, value = worker.results.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    worker.process.join()
                    if worker.process.exitcode:
                        reason = f"the process died with {worker.process.exitcode}"
                else:
                    if kind == "start":
                        worker.current, worker.started_cpu_s = value, worker.cpu_s()
                    else:
                        yield value
            elif worker.cpu_s() - worker.started_cpu_s > _KILLED_CPU_S:
                worker.process.kill()
                worker.process.join()
                workers.remove(worker)
                reason = f"no end after {_KILLED_CPU_S:g} s of processor time, and no signal helped"
            if reason:
                yield Failure(target_of(worker.current), worker.current, "hang", reason)
                if worker.rest():
                    workers.append(_Worker(seed, worker.rest()))


def main() -> int:
    """Run the cases; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", type=int, help="repeat one case and leave its files")
    options = parser.parse_args()
    if options.only is not None:
        folder = Path(f"fuzz-{options.seed}-{options.only}")
        folder.mkdir(exist_ok=True)
        failure = run_case(options.seed, options.only, folder)
        _say(f"{folder}: {failure or 'ends well'}")
        return int(failure is not None)
    begun, counts = time.monotonic(), Counter[str]()
    for outcome in _failures(options.seed, range(options.cases), options.workers):
        counts["cases"] += 1
        if outcome is not None:
            counts[outcome.kind] += 1
            _say(f"FAILED case {outcome.number} ({outcome.target}): {outcome.kind}")
            _say(outcome.text)
            _say(f"  repeat: python -m fuzz --seed {options.seed} --only {outcome.number}")
        if counts["cases"] % 500 == 0:
            _say(f"{counts['cases']} of {options.cases} cases")
    num_failed = counts.total() - counts["cases"]
    _say(
        f"{counts['cases']} cases with seed {options.seed} in {time.monotonic() - begun:.0f} s: "
        f"{num_failed} failed {dict(counts)}"
    )
    return int(num_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
