"""What the first piece needs is loaded beside the pages, once a server has served one."""

import subprocess
import sys

from studio import ROOT

from ui import warm


def test_loading_brings_what_composing_imports():
    said = "import sys; from ui import warm; warm.load(0); print('torch' in sys.modules, *warm.NEEDED)"
    done = subprocess.run([sys.executable, "-c", said], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True", *warm.NEEDED], done.stderr


def test_nothing_is_loaded_where_no_server_runs(monkeypatch):
    monkeypatch.setattr(warm, "_begin", lambda: (_ for _ in ()).throw(AssertionError("it began")))
    warm.warm_up()
