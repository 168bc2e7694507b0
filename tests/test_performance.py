"""The programs that docs/performance.md and the README name are there, and tell how they are used."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXTS = [(ROOT / name).read_text() for name in ("docs/performance.md", "README.md")]
NAMED = sorted(set(re.findall(r"python (benchmarks/\w+\.py)", "".join(TEXTS))))


def test_programs_are_named():
    assert {"benchmarks/training.py", "benchmarks/threads.py", "benchmarks/composing.py"} <= set(NAMED)


@pytest.mark.parametrize("program", NAMED)
def test_a_program_is_there_and_its_first_lines_say_how_it_is_called(program):
    source = (ROOT / program).read_text()
    said = ast.get_docstring(ast.parse(source))
    assert f"python {program}" in said
    for flag in re.findall(r"--[a-z][a-z-]*", re.search(rf"python {program}(.*)", said).group(1)):
        assert f'"{flag}"' in source, f"{program} takes no {flag}"
