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
from dataclasses import asdict
from pathlib import Path

from timing import Row, machine, markdown

from wsseg.allocation import keep_freed_memory

HERE = Path(__file__).parent
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
    results = _earlier(options.out, options.scale) if options.only else {}
    results |= {name: _section(name, options.scale) for name in options.only or SECTIONS}
    results = {name: results[name] for name in SECTIONS if name in results}
    _write(results, facts, options.out, options.scale)


def _earlier(out: Path, scale: float) -> dict[str, list[Row]]:
    """Return what an earlier run of the same scale has left: one section can be timed anew."""
    path = out / "results.json"
    content = json.loads(path.read_text()) if path.is_file() else {}
    if content.get("scale") != scale:
        return {}
    return {name: [Row(**each) for each in rows] for name, rows in content["results"].items()}


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
        return [Row(name, note=f"failed: {reason}")]
    return [Row(**each) for each in json.loads(done.stdout.splitlines()[-1])]


def _write(results: dict[str, list[Row]], facts: dict[str, str], out: Path, scale: float) -> None:
    out.mkdir(parents=True, exist_ok=True)
    plain = {name: [asdict(each) for each in found] for name, found in results.items()}
    content = {"machine": facts, "scale": scale, "results": plain}
    (out / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    about = "; ".join(f"{name} {value}" for name, value in facts.items())
    parts = [f"# Timings\n\n{about}; scale {scale:g}. Written by `make bench`.\n"]
    parts += [markdown(SECTIONS[name], found) for name, found in results.items()]
    (out / "results.md").write_text("\n".join(parts))
    print(out / "results.md")


if __name__ == "__main__":
    main()
