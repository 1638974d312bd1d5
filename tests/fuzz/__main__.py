"""Coverage-guided fuzzing of the parsers with atheris: `python -m tests.fuzz [TARGET ...] --seconds 60`.

Each target runs in a process of its own, which libFuzzer ends with its figures, or with the input that broke it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path


def fuzz(name: str, seconds: int, corpus: str) -> None:
    """Fuzz one target; never returns."""
    import atheris

    with atheris.instrument_imports(include=["shared"]):
        from tests.fuzz.targets import SEEDS, TARGETS
    for number, seed in enumerate(SEEDS[name]):
        (Path(corpus) / f"seed{number}").write_bytes(seed)
    quiet = ["-print_final_stats=1", "-verbosity=0", "-close_fd_mask=1"]
    options = [f"-max_total_time={seconds}", "-max_len=4096", f"-artifact_prefix={Path.cwd()}/fuzz-{name}-"]
    atheris.Setup([sys.argv[0], *quiet, *options, corpus], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="by default all of them")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--corpus", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.corpus:  # before anything of ours is imported, or it would not be watched
        fuzz(given.targets[0], given.seconds, given.corpus)
    from tests.fuzz.targets import TARGETS

    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    failed = []
    for name in given.targets or TARGETS:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as corpus:
            command = [sys.executable, "-m", "tests.fuzz", name, f"--seconds={given.seconds}", f"--corpus={corpus}"]
            done = subprocess.run(command, capture_output=True, text=True)
        runs = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        found = "broken" if done.returncode else "nothing found"
        print(f"{name}: {runs[0] if runs else 'no'} inputs, {found}", flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stderr[-3000:], file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
