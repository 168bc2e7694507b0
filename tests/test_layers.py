"""The house of docs/DESIGN.md: which room may import which, and what may not load at once."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "deepmusician"
DESIGN = ROOT / "docs" / "DESIGN.md"
ANYONE_MAY_IMPORT = {"errors", "plurals"}
SLOW = (
    "torch",
    "accelerate",
    "music21",
    "verovio",
    "matplotlib",
    "pretty_midi",
    "symusic",
    "streamlit",
    "soundfile",
    "pygame",
    "numba",
    "distributed",
    "pooch",
)


def names_in(cell):
    return re.findall(r"`(\w+)`", cell)


def read_table():
    """{room: (its modules, the rooms it may import)} from the table headed `room | holds | may import`.

    A room is called after the first module in its cell. "any" stands for every other room.
    """
    lines = DESIGN.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if re.match(r"\|\s*room\s*\|.*\|\s*may import\s*\|", line))
    rows = [[cell.strip() for cell in lines[i].strip("|").split("|")] for i in range(start + 2, len(lines))]
    rows = rows[: next((i for i, row in enumerate(rows) if len(row) < 3), len(rows))]
    rooms = {names_in(row[0])[0]: names_in(row[0]) for row in rows}
    return {
        names_in(row[0])[0]: (names_in(row[0]), set(rooms) if row[2] == "any" else set(names_in(row[2])))
        for row in rows
    }


TABLE = read_table()
ROOM_OF = {module: room for room, (modules, _) in TABLE.items() for module in modules}
FILES = {
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(PACKAGE.rglob("*.py"))
    if file != PACKAGE / "__init__.py"
}


def imported(source):
    """Every dotted name that a file imports, at whatever depth it does so."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write imports in full, from deepmusician"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(name):
    """The module of ours that an imported name lies in, such as "models.heads"; None if it is not ours."""
    parts = name.split(".")
    if parts[0] != "deepmusician":
        return None
    candidates = (".".join(parts[1:end]) for end in range(len(parts), 1, -1))
    return next((module for module in candidates if module in FILES), None)


IMPORTS = {
    module: {m for name in imported(file.read_text()) if (m := module_of(name)) and m != module}
    for module, file in FILES.items()
}


def room_of(module):
    """A package such as `models` is one room; so are the modules that share a cell of the table."""
    top = module.split(".")[0]
    return ROOM_OF.get(top, top)


def test_every_module_stands_in_the_table():
    assert {module.split(".")[0] for module in FILES} - set(ROOM_OF) == set()


def test_every_row_of_the_table_stands_for_modules():
    assert set(ROOM_OF) - {module.split(".")[0] for module in FILES} == set()


def test_the_table_names_only_rooms_it_lists():
    assert {room for _, allowed in TABLE.values() for room in allowed} - set(TABLE) == set()


@pytest.mark.parametrize("module", FILES)
def test_a_room_imports_only_what_the_table_allows(module):
    room = room_of(module)
    allowed = TABLE[room][1] | ANYONE_MAY_IMPORT | {room}
    assert {room_of(name) for name in IMPORTS[module]} - allowed == set()


def test_the_table_allows_nothing_that_no_room_uses():
    used = {(room_of(module), room_of(name)) for module in FILES for name in IMPORTS[module]}
    allowed = {(room, other) for room, (_, rooms) in TABLE.items() if rooms != set(TABLE) for other in rooms}
    assert sorted(allowed - used) == []


def test_no_modules_import_one_another_in_a_circle():
    order = list(TopologicalSorter(IMPORTS).static_order())  # a circle raises CycleError and names it
    assert set(order) == set(FILES)


def test_rooms_stand_above_one_another():
    rooms = {room: set() for room in TABLE}
    for module in FILES:
        rooms[room_of(module)] |= {room_of(name) for name in IMPORTS[module]} - {room_of(module)}
    assert set(TopologicalSorter(rooms).static_order()) == set(TABLE)


@pytest.mark.parametrize("module", FILES)
def test_the_package_knows_nothing_of_the_app(module):
    tops = {name.split(".")[0] for name in imported(FILES[module].read_text())}
    assert tops & {"streamlit", "app", "ui", "pages"} == set()


def slow_modules_after(statement):
    """Which slow packages a fresh interpreter holds after `statement`."""
    code = f"import sys; {statement}; print(*[m for m in {SLOW!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def rooms_that_load_torch():
    """The rooms that DESIGN.md excuses from loading fast."""
    sentence = re.search(r"Only (.*?) load torch", DESIGN.read_text(), re.S)
    return set(names_in(sentence.group(1)))


def test_the_command_line_loads_nothing_slow():
    assert slow_modules_after("import deepmusician.cli") == []


def test_only_the_rooms_that_say_so_load_anything_slow():
    excused = rooms_that_load_torch()
    kernels = {"mark_kernel", "midi_kernel", "order_kernel", "sketch_kernel", "survey_kernel"}  # of many files
    itself = {"__main__", *kernels}
    quick = [module for module in FILES if room_of(module) not in excused and module not in itself]
    assert slow_modules_after("; ".join(f"import deepmusician.{module}" for module in quick)) == []


TELL = """
import sys
class Asked(BaseException): pass
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name == "torch": raise Asked
sys.meta_path.insert(0, Guard())
for module in sys.argv[1:]:
    for name in [name for name in sys.modules if name.startswith("deepmusician")]: del sys.modules[name]
    try: __import__(f"deepmusician.{module}")
    except Asked: print(module)
"""  # importing torch for every one of them would take the time of ten tests


def test_the_rooms_excused_do_load_torch():
    rooms = {room: [m for m in FILES if room_of(m) == room] for room in rooms_that_load_torch()}
    command = [sys.executable, "-c", TELL, *[m for modules in rooms.values() for m in modules]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert {room_of(module) for module in done.stdout.split()} == set(rooms)
