"""Setting up: what is installed, when, and what a person reads where it cannot be."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
REQUIREMENTS = [
    Requirement(line) for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"
]


@pytest.fixture
def stubs(tmp_path):
    """Make a folder of small programs; `stubs(make="echo made")` returns a PATH that holds nothing else but basics."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "sh", "dirname", "env", "echo", "test", "touch", "sed", "grep"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)

    def add(**programs):
        for name, body in programs.items():
            program = folder / name.replace("_", "-")
            program.write_text(f"#!/bin/sh\n{body}\n")
            program.chmod(0o755)
        return str(folder)

    return add


def make(*arguments, **environment):
    """Run make on the project's Makefile; returns its exit code and what it said."""
    # an outer make's flags must not reach the one under test
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        [shutil.which("make"), "-C", ROOT, "--no-print-directory", *arguments],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


# What is installed


def test_torch_stays_below_the_release_that_drags_in_cuda():
    torch = next(r for r in REQUIREMENTS if r.name == "torch")
    assert "2.13.0" in torch.specifier
    assert "2.14.0" not in torch.specifier


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda r: r.name)
def test_every_requirement_has_a_lower_and_an_upper_bound(requirement):
    assert {s.operator for s in requirement.specifier} == {">=", "<"}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda r: r.name)
def test_what_is_installed_here_is_what_is_required(requirement):
    if requirement.marker is None or requirement.marker.evaluate():
        assert requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)


def test_the_package_depends_on_requirements_txt_alone():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "dependencies" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}


def test_every_folder_of_the_package_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {".".join(f.parent.relative_to(ROOT).parts) for f in (ROOT / "deepmusician").rglob("*.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == folders


def test_installing_gives_the_command():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="deepmusician")
    assert callable(script.load())


def test_packages_txt_names_a_library_and_a_soundfont_and_nothing_else():
    assert (ROOT / "packages.txt").read_text().split() == ["libfluidsynth3", "fluid-soundfont-gm"]


# make


def test_make_app_sets_up_and_opens_the_studio(tmp_path):
    code, said = make("-n", "app", f"VENV={tmp_path}/venv")
    assert code == 0
    assert said.index("-m venv") < said.index("--editable .") < said.index("streamlit run app.py")


def test_make_test_sets_up_and_runs_the_tests(tmp_path):
    code, said = make("-n", "test", f"VENV={tmp_path}/venv")
    assert code == 0
    assert said.index("--editable .") < said.index("--editable '.[test]'") < said.index("-m pytest")


def test_a_second_call_sets_nothing_up(tmp_path):
    for stamp in (".ready", ".test-ready"):
        (tmp_path / stamp).touch()
    for target, last in (
        ("app", "streamlit run app.py"),
        ("test", "-m pytest -n auto --dist loadfile --no-loadscope-reorder"),
    ):
        code, said = make("-n", target, f"VENV={tmp_path}")
        assert code == 0
        commands = [line for line in said.splitlines() if not line.startswith("echo ")]
        assert commands == [f"{tmp_path}/bin/" + {"app": last, "test": f"python {last}"}[target]]


def test_make_app_tells_the_address(tmp_path):
    (tmp_path / ".ready").touch()
    assert "http://127.0.0.1:8501" in make("-n", "app", f"VENV={tmp_path}")[1]


def test_changed_requirements_are_installed_again(tmp_path):
    (tmp_path / ".ready").touch()
    os.utime(tmp_path / ".ready", (0, 0))
    assert "--editable ." in make("-n", "setup", f"VENV={tmp_path}")[1]


def test_torch_comes_first_from_the_index_that_is_named(tmp_path):
    _, said = make("-n", "setup", f"VENV={tmp_path}/venv", "TORCH_INDEX=file:///wheels")
    assert said.index("--index-url file:///wheels") < said.index("--editable .")


def test_without_a_python_the_sentence_says_which_is_needed(tmp_path):
    code, said = make("setup", "PYTHON=", f"VENV={tmp_path}/venv")
    assert code != 0
    assert "needs Python 3.11 or newer; install it, or name it: make PYTHON=" in said


def test_a_python_too_old_is_passed_over(tmp_path, stubs):
    path = stubs(python3="exit 1", python3_12="exit 0")  # the version test fails, then holds
    Path(path, "python3-12").rename(Path(path, "python3.12"))
    _, said = make("-n", "setup", f"VENV={tmp_path}/venv", PATH=path)
    assert "python3.12 -m venv" in said


def test_where_no_environment_can_be_made_the_sentence_names_the_package(tmp_path, stubs):
    python = Path(stubs(python_without_venv="exit 1")) / "python-without-venv"
    code, said = make("setup", f"PYTHON={python}", f"VENV={tmp_path}/venv")
    assert code != 0
    assert "sudo apt install python3-venv" in said


# What CI runs


def ci_run(path):
    return subprocess.run(["bash", ROOT / ".ci" / "run"], env={"PATH": path}, capture_output=True, text=True)


def test_ci_runs_make_test_where_there_is_a_browser(stubs):
    done = ci_run(stubs(chromium="", apt_get="echo apt-get $*", id="echo 0", make="echo make $*"))
    assert done.stdout.split("\n") == ["make test", ""]


def test_ci_fetches_a_missing_browser_first(stubs):
    done = ci_run(stubs(apt_get="echo apt-get $* >&2", id="echo 0", make="echo make $* >&2"))
    update, install, tests = done.stderr.splitlines()
    assert update.startswith("apt-get update")
    assert re.fullmatch(r"apt-get install .*\bchromium", install)
    assert tests == "make test"


def test_ci_installs_nothing_for_a_plain_user(stubs):
    done = ci_run(stubs(apt_get="echo apt-get $*", id="echo 1000", make="echo make $*"))
    assert done.stdout == "make test\n"


def test_ci_fails_where_the_tests_fail(stubs):
    assert ci_run(stubs(chromium="", make="exit 3")).returncode == 3


# The studio


@pytest.mark.parametrize(
    "section, key, value",
    [
        ("server", "address", "127.0.0.1"),  # nobody else on the network can reach it
        ("server", "showEmailPrompt", False),  # a first start must not stop at a question in the terminal
        ("browser", "gatherUsageStats", False),  # no outside host is told anything
    ],
)
def test_the_studio_listens_here_only_and_tells_nobody(section, key, value):
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert config[section][key] == value


def test_no_figure_is_made_through_pyplots_global_state():
    for place in ("deepmusician", "ui", "pages"):
        for file in (ROOT / place).rglob("*.py"):
            assert not re.search(r"^\s*(import|from) .*pyplot|\bplt\.", file.read_text(), re.MULTILINE), file
