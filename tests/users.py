"""Several people at once in one studio, each doing what people do, under the same names as all others.

Used by test_people.py and, for longer, by benchmarks/faults.py.
"""

import random
import threading
from collections import Counter
from contextlib import contextmanager

from conftest import scale_song

from deepmusician import history, keeping, people, workspace
from deepmusician.errors import LibraryError, RunError
from deepmusician.options import TrainOptions
from deepmusician.runs import Status, list_runs, new_run
from deepmusician.shelf import delete_data_set, list_data_sets, list_deleted, load_data_set, save_data_set
from deepmusician.store import DataSet, Entry

SONG = scale_song(60, 4)


@contextmanager
def classroom():
    """A studio in which each thread is one person, by the `id` of what this gives; DEEPMUSICIAN_DOOR opens it."""
    who = threading.local()

    def ask():
        if getattr(who, "id", None) is None:
            raise LibraryError("nobody has signed in here")
        return workspace.person_folder(who.id)

    workspace.set_whose(ask)
    try:
        yield who
    finally:
        workspace.set_whose(None)


def act(user, rng, seen):
    """One of the things people do, all under the same names; what is seen is counted as this user's or not."""
    name = rng.choice(("tunes", "songs", "run"))
    mine = DataSet(name, (Entry.of(f"of {user}", SONG),))
    match rng.randrange(9):
        case 0:
            save_data_set(mine, name)
        case 1:
            for found in list_data_sets():
                seen.update(load_data_set(found).names)
        case 2:
            if found := list_data_sets():
                delete_data_set(rng.choice(found))
        case 3:
            seen.update(f"of {user}" for _ in list_deleted())
        case 4:
            try:
                run = new_run(TrainOptions(path=f"library:{name}"), name)
                run.write_status(Status("finished"))
                keeping.annotate(run, f"of {user}")
            except RunError:
                pass
        case 5:
            seen.update(run.about().note for run in list_runs())
        case 6:
            if found := list_runs():
                keeping.delete(rng.choice(found))
        case 7:
            history.add(history.Request("bach-chorales", options={"seed": 1}), SONG, f"of {user}", "0" * 16)
        case 8:
            seen.update(piece.title for piece in history.history())


def simulate(who, users, actions):
    """Let so many threads be somebody each and do so many things; what each saw, and how often."""
    seen = [Counter() for _ in range(users)]
    errors = []

    def live(user):
        who.id = people.known_by("class", str(user), "").id
        rng = random.Random(user)
        try:
            for _ in range(actions):
                act(user, rng, seen[user])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=live, args=(user,)) for user in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return seen


def of_others(seen):
    """What each saw that was not their own: nothing, if all is well."""
    return [{name for name in found if name != f"of {user}"} for user, found in enumerate(seen)]
