"""Kill trainings, fill the disk, and see that nothing is lost: `python benchmarks/faults.py [PART…]`.

kills   Trainings of every family of models are killed (kill -9), at random moments and at random ones of their writes
        and steps. Each goes on to its end and leaves what an uninterrupted one leaves, to the bit: every epoch's
        figures, every weight of every model, the optimiser, every sample.
disk    Everything that is saved is saved anew while the disk is full at the first, the second … of its writes, and, for
        root, on a small disk on which so many pages are left. Afterwards the version before is there, or the new one,
        whole, and the error says in words what to do.

app     The studio gets kill -9 while files are uploaded, a training runs, a piece is composed (see faults_app.py).
users   Twenty people at once, two hundred actions each, all under the same names; nobody sees anything of another.
drops   A browser's connection to it is dropped while a training runs; each time the page shows the training again.

Each part prints a table; the program returns 1 where anything was lost or differed. `--kills 100` for each family takes
about a quarter of an hour on one idle core.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
import faulty  # noqa: E402  how tests make faults
import full_disk  # noqa: E402
from conftest import scale_song  # noqa: E402

from deepmusician import audition, calibration, estimate, people, runner, workspace  # noqa: E402
from deepmusician.options import TrainOptions  # noqa: E402
from deepmusician.store import DataSet, Entry  # noqa: E402

N_EPOCHS = 4
MUSIC = [("", DataSet("", tuple(Entry.of(f"{i}", scale_song(48 + i, 16)) for i in range(4))))]
SIZES = [*range(0, 1_000, 50), *range(1_000, 300_000, 4_000)]  # bytes a file may have


def main() -> int:
    """Run the parts asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}; without, all")
    parser.add_argument("--kills", type=int, default=100, help="kills of each family's trainings (default: 100)")
    parser.add_argument("--families", nargs="+", default=list(faulty.FAMILIES), choices=list(faulty.FAMILIES))
    parser.add_argument("--users", type=int, default=20, help="people at once (default: 20)")
    parser.add_argument("--actions", type=int, default=200, help="what each of them does (default: 200)")
    parser.add_argument("--app-kills", type=int, default=8, help="kills of the studio at each kind of work")
    parser.add_argument("--drops", type=int, default=100, help="dropped connections (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DEEPMUSICIAN_HOME"] = folder
        good = [PARTS[name](Path(folder), args) for name in args.parts]
        return 0 if all(good) else 1


# ---- kills


def kills(folder: Path, args: argparse.Namespace) -> bool:
    """Kill trainings of each family and compare what they leave with an uninterrupted one."""
    audition.SAMPLE_FRAMES, calibration.FRAMES, estimate.TRIAL_SECONDS = 16, 8, 0.05
    print("family         kills  runs  equal   seconds  where they hit")
    good = [_kill_family(name, folder, args) for name in args.families]
    return all(good)


def _kill_family(name: str, folder: Path, args: argparse.Namespace) -> bool:
    options = TrainOptions(path=str(folder), n_epochs=N_EPOCHS, seed=1, **{**faulty.SMALL, **faulty.FAMILIES[name]})
    killed = faulty.Killed(random.Random(f"{name} {args.seed}"), MUSIC)
    runner.train_run(faulty.make_run(folder / "runs" / f"{name}-warm", options), data=MUSIC)  # the forks import nothing
    with killed.watched():
        began = time.monotonic()
        whole = faulty.make_run(folder / "runs" / f"{name}-whole", options)
        killed.train(whole)
        moments, seconds = killed.moments(), time.monotonic() - began
        done = runs = equal = 0
        while done < args.kills:
            run = faulty.make_run(folder / "runs" / f"{name}-killed", options)
            done += killed.kill_to_the_end(run, seconds, moments, args.kills - done)
            odd = faulty.different(run, whole)
            runs, equal = runs + 1, equal + (not odd)
            if odd:
                print(f"{name}: run {runs} differs in {', '.join(odd)}", flush=True)
            shutil.rmtree(run.path)
    where = ", ".join(f"{what} {n}" for what, n in killed.where.most_common())
    print(f"{name:14} {done:5} {runs:5} {equal:6} {time.monotonic() - began:9.0f}  {where}", flush=True)
    return equal == runs


# ---- the disk full


def disk(folder: Path, args: argparse.Namespace) -> bool:
    """Save everything while the disk is full at every one of its writes."""
    audition.SAMPLE_FRAMES, calibration.FRAMES = 16, 8
    small = folder / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(small)]
    real = os.getuid() == 0 and subprocess.run(mount).returncode == 0
    os.environ["DEEPMUSICIAN_HOME"] = str(small / "home")
    try:
        return _fill(small, real)
    finally:
        os.environ["DEEPMUSICIAN_HOME"] = str(folder)
        if real:
            subprocess.run(["umount", small], check=True)


def _fill(small: Path, real: bool) -> bool:
    home = small / "home"
    run = faulty.make_run(home / "runs" / "trained", TrainOptions(path=str(small), n_epochs=1, **faulty.SMALL))
    runner.train_run(run, data=MUSIC)
    print("saved                     writes  failed   sizes  failed   disks  failed  lost")
    good = True
    for name, thing in full_disk.things(home, run).items():
        try:
            thing.save()
            counts = [
                _walk(thing, (full_disk.full_at(n) for n in itertools.count(1))),
                _walk(thing, (full_disk.files_up_to(n) for n in SIZES)),
                _walk(thing, (full_disk.pages_left(small, n) for n in itertools.chain(range(24), range(24, 4096, 8))))
                if real else (0, 0),
            ]  # fmt: skip
            lost = ""
        except Exception as error:
            counts, lost, good = [], f"LOST: {error}", False
        print(f"{name:24}", *(f"{tried:7} {failed:7}" for tried, failed in counts), lost or "none", flush=True)
    return good


def _walk(thing: full_disk.Thing, disks) -> tuple[int, int]:
    """How often a thing was saved on fuller and less full disks, until it found room, and how often that failed."""
    tried = 0
    for full in disks:
        tried += 1
        if not thing.survives(full):
            return tried, tried - 1
    return tried, tried


def users(folder: Path, args: argparse.Namespace) -> bool:
    """Let many be in one studio at once."""
    import users as together

    os.environ["DEEPMUSICIAN_HOME"] = str(folder / "class-home")
    os.environ[workspace.DOOR_VARIABLE] = people.CLASS
    began = time.monotonic()
    with together.classroom() as who:
        seen = together.simulate(who, args.users, args.actions)
    del os.environ[workspace.DOOR_VARIABLE]
    others = [found for found in together.of_others(seen) if found]
    print(
        f"{args.users} users, {args.actions} actions each, in {time.monotonic() - began:.0f} s: they saw "
        f"{sum(found.total() for found in seen):,} things of their own; {len(others)} saw something of another"
    )
    return not others


def in_browser(name: str):
    """A part of faults_app.py, which needs a browser."""

    def part(folder: Path, args: argparse.Namespace) -> bool:
        import faults_app

        return getattr(faults_app, name)(folder, args)

    return part


PARTS = {"kills": kills, "disk": disk, "users": users, "app": in_browser("app"), "drops": in_browser("connections")}

if __name__ == "__main__":
    sys.exit(main())
