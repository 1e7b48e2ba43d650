"""Run all timings and write results.json and results.md beside this file.

    python experiments/bench/run.py [--scale 1.0] [--only SECTION] [--out FOLDER]

Every section runs in a process of its own. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from timing import Row, machine, markdown

from wsseg.utils.system import keep_freed_memory

HERE = Path(__file__).parent
FAILED = "failed: "
SECTIONS = {
    "backends": "Clustering back ends",
    "shares": "Refresh beside an epoch",
    "memory": "Memory of a refresh",
    "preparing": "Preparation",
    "loading": "Loader",
    "steps": "Training step",
    "predicting": "Prediction",
    "ranks": "Processes",
    "starting": "Start of a command",
}


def main() -> None:
    """Run the sections that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the work")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="a section; repeatable")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the results")
    parser.add_argument("--worker", choices=SECTIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        keep_freed_memory()
        found = importlib.import_module(options.worker).rows(options.scale)
        print(json.dumps([asdict(each) for each in found]))
        return
    facts = machine()
    timed = _earlier(options.out, options.scale) if options.only else {}
    for name in options.only or SECTIONS:
        timed[name] = Timed(facts, _section(name, options.scale))
        # After each, so that a run that is stopped keeps what it has timed.
        _write(timed, options.out, options.scale)
    asked = options.only or SECTIONS
    failed = [name for name in asked if timed[name].rows[0].note.startswith(FAILED)]
    if failed:
        sys.exit(f"{FAILED}{', '.join(failed)}")


@dataclass(frozen=True)
class Timed:
    """A section, and the machine that it was timed on."""

    machine: dict[str, str]
    rows: list[Row]


def _earlier(out: Path, scale: float) -> dict[str, Timed]:
    """Return what an earlier run of the same scale has left: one section can be timed anew."""
    path = out / "results.json"
    content = json.loads(path.read_text()) if path.is_file() else {}
    if content.get("scale") != scale:
        return {}
    return {
        name: Timed(each["machine"], [Row(**row) for row in each["rows"]])
        for name, each in content["sections"].items()
    }


def _section(name: str, scale: float) -> list[Row]:
    """Run a section; one that fails is a row that says so."""
    print(f"{SECTIONS[name]} ...", file=sys.stderr, flush=True)
    start = time.perf_counter()
    command = [sys.executable, __file__, "--worker", name, "--scale", str(scale)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(f"  {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(done.stderr, file=sys.stderr)
        return [Row(name, note=f"{FAILED}{reason}")]
    return [Row(**each) for each in json.loads(done.stdout.splitlines()[-1])]


def _write(timed: dict[str, Timed], out: Path, scale: float) -> None:
    """Write all sections; each names its machine, since they may have been timed on several."""
    out.mkdir(parents=True, exist_ok=True)
    timed = {name: timed[name] for name in SECTIONS if name in timed}  # in their order
    content = {"scale": scale, "sections": {name: asdict(each) for name, each in timed.items()}}
    (out / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    machines: list[dict[str, str]] = []
    for each in timed.values():
        if each.machine not in machines:
            machines.append(each.machine)
    parts = [f"# Timings\n\nScale {scale:g}. Written by `make bench`.\n"]
    for number, facts in enumerate(machines, start=1):
        about = "; ".join(f"{name} {value}" for name, value in facts.items())
        parts.append(f"Machine {number}: {about}.\n")
    for name, each in timed.items():
        title = f"{SECTIONS[name]} (machine {machines.index(each.machine) + 1})"
        parts.append(markdown(title, each.rows))
    (out / "results.md").write_text("\n".join(parts))
    print(out / "results.md")


if __name__ == "__main__":
    main()
