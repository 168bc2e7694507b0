"""What the first piece needs is loaded beside the pages, once a server has served one."""

import subprocess
import sys

from studio import ROOT

from ui import warm


def test_loading_brings_what_composing_imports():
    said = """
import gc, sys
from ui import warm
warm.load(0)
needed = ("torch", "deepmusician.models.stream_kernel", *warm.NEEDED)
print(all(name in sys.modules for name in needed), gc.get_freeze_count(), len(gc.get_objects()))
"""
    done = subprocess.run([sys.executable, "-c", said], cwd=ROOT, capture_output=True, text=True, timeout=120)
    loaded, kept, searched = done.stdout.split()
    assert loaded == "True", done.stderr
    assert int(kept) > 100 * int(searched)  # the search for garbage after each page leaves out what was loaded


def test_nothing_is_loaded_where_no_server_runs(monkeypatch):
    monkeypatch.setattr(warm, "_begin", lambda: (_ for _ in ()).throw(AssertionError("it began")))
    warm.warm_up()
