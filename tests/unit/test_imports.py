"""The layers of design section 3: imports go inward only, and no two files import each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"aiki": ROOT / "aiki", "aiki_cli": ROOT / "cli" / "aiki_cli", "aikid": ROOT / "daemon" / "aikid"}

_VALUES = ("aiki.core", "aiki.wire", "aiki.payload")
_DECLARED = (*_VALUES, "aiki.inside", "aiki.definitions")
_CALENDAR = ("aiki.rules.calendar",)
"""When a schedule fires is said before there is one, too."""
_RECORDED = ("aiki.replay.reading", "aiki.replay.recording", "aiki.replay.files")
"""Who has a client can read what a replay needs."""

FLOORS = (
    # (the importing package, what of ours it may import); the longest matching prefix counts
    ("aiki.process", ("aiki.process",)),
    ("aiki.core", ("aiki.core",)),
    ("aiki.wire", ("aiki.core", "aiki.wire")),
    ("aiki.rules", ("aiki.core", "aiki.wire", "aiki.rules")),
    ("aiki.nats", ("aiki.core", "aiki.process.outages", "aiki.nats")),
    ("aiki.payload", _VALUES),
    ("aiki.inside", (*_VALUES, "aiki.inside")),
    ("aiki.definitions", (*_DECLARED, "aiki.process")),
    ("aiki.execution", (*_DECLARED, "aiki.process", "aiki.rules.histories", "aiki.execution")),
    ("aiki.transport", ("aiki.core", "aiki.wire", "aiki.process", "aiki.nats", "aiki.transport")),
    ("aiki.manifest", (*_DECLARED, *_CALENDAR, "aiki.process", "aiki.manifest")),
    (
        "aiki.client",
        (*_DECLARED, *_CALENDAR, "aiki.process", "aiki.transport", "aiki.client", *_RECORDED),
    ),
    ("aiki.replay.files", ("aiki.core", "aiki.wire", "aiki.rules", "aiki.replay.recording")),
    ("aiki.replay.reading", ("aiki.core", "aiki.wire", "aiki.client.wire", "aiki.replay.recording")),
    (
        "aiki.testing",
        (
            *(*_DECLARED, "aiki.process", "aiki.rules", "aiki.client", "aiki.execution"),
            *("aiki.transport.silence", "aiki.worker.slots", "aiki.testing"),
        ),
    ),
    ("aiki.worker", (*_DECLARED, "aiki.process", "aiki.transport", "aiki.client", "aiki.execution", "aiki.worker")),
    ("aiki", ("aiki",)),
    ("aikid.store", ("aiki.core", "aiki.wire", "aiki.rules", "aiki.process.outages", "aikid.store")),
    ("aikid.engine", ("aiki.core", "aiki.wire", "aiki.rules", "aikid.store", "aikid.engine")),
    (
        "aikid.tell",
        (
            *("aiki.core", "aiki.wire", "aiki.process.outages"),
            *("aikid.engine", "aikid.store", "aikid.bus", "aikid.jetstream", "aikid.tell"),
        ),
    ),
    (
        "aikid.loops",
        (
            *("aiki.core", "aiki.wire", "aiki.process.outages"),
            *("aikid.engine", "aikid.store", "aikid.bus", "aikid.jetstream", "aikid.tell", "aikid.loops"),
        ),
    ),
    ("aikid.bus", ("aiki.core", "aiki.wire", "aiki.nats", "aiki.process.outages", "aikid.bus", "aikid.jetstream")),
    ("aikid.jetstream", ("aiki.nats", "aikid.jetstream")),
    ("aikid", ("aiki.core", "aiki.wire", "aiki.rules", "aiki.process", "aikid")),
    ("aiki_cli.view", ("aiki", "aiki_cli.exits", "aiki_cli.view")),
    ("aiki_cli", ("aiki", "aiki_cli")),
)

INNER = ("aiki.core", "aiki.wire", "aiki.execution", "aiki.nats", "aiki.transport", "aiki.worker")
"""What the command line may not reach into: it lives on what any user can import."""
RULES_OF_ALL = (
    "aiki.core.addresses",
    "aiki.core.encoding",
    "aiki.core.near",
    "aiki.core.ownership",
    "aiki.core.variables",
)
"""How every program of ours behaves: no knowledge of how Aiki works."""

OWNERS = {
    # third party -> the only places of ours that may import it
    "nats": ("aiki.nats.nats_py",),
    "cronsim": ("aiki.rules.crons",),
    "nkeys": ("aiki.nats.keyring",),
    "platformdirs": ("aiki_cli",),
    "sqlalchemy": ("aikid.store",),
    "psycopg": ("aikid.store",),
    "alembic": ("aikid.store",),
    "yaml": ("aiki.manifest",),
    "fastjsonschema": (),  # it makes code of what a stranger registered; a test compares our own check with it
    "typer": ("aiki_cli",),
    "rich": ("aiki_cli.view",),
    "uvloop": ("aiki_cli", "aikid.main"),
    "pydantic": ("aiki.payload",),
}


def modules() -> Iterator[tuple[str, Path]]:
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((package, *(part for part in parts if part != "__init__"))), path


def imports(name: str, path: Path) -> Iterator[str]:
    """Yield what the module imports at run time; imports for type checkers alone do not count."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def walk(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    yield from walk(other)
            elif isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parts = package.split(".")
                    base = ".".join([*parts[: len(parts) - child.level + 1], *([base] if base else [])])
                yield base
                if base.partition(".")[0] in PACKAGES:
                    yield from (f"{base}.{alias.name}" for alias in child.names)
            else:
                yield from walk(child)

    yield from walk(ast.parse(path.read_text()))


def is_within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize(("name", "path"), [pytest.param(*module, id=module[0]) for module in modules()])
def test_imports_go_inward_only(name: str, path: Path) -> None:
    allowed = next(inward for floor, inward in FLOORS if is_within(name, (floor,)))
    for imported in imports(name, path):
        top = imported.partition(".")[0]
        if top in PACKAGES:
            # `from aiki import x` of the root itself stands for the names below it, which are yielded too.
            assert imported in PACKAGES or is_within(imported, allowed), f"{name} imports {imported}"
        elif top in OWNERS:
            assert is_within(name, OWNERS[top]), f"{name} imports {imported}, which only {OWNERS[top]} may"


@pytest.mark.parametrize(
    ("name", "path"), [pytest.param(*m, id=m[0]) for m in modules() if m[0].startswith("aiki_cli")]
)
def test_the_command_line_uses_only_the_public_sdk(name: str, path: Path) -> None:
    for imported in imports(name, path):
        assert not is_within(imported, INNER) or is_within(imported, RULES_OF_ALL), f"{name} imports {imported}"


@pytest.mark.parametrize(
    ("name", "path"), [pytest.param(*m, id=m[0]) for m in modules() if m[0].startswith("aiki_cli.commands")]
)
def test_no_command_knows_a_mode(name: str, path: Path) -> None:
    assert "aiki_cli.view.output.Mode" not in set(imports(name, path))


def graph() -> dict[str, set[str]]:
    """Return which of our files each of them imports, for types, late or early."""
    files = dict(modules())
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        nodes = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        named = (
            {alias.name for alias in node.names}
            if isinstance(node, ast.Import)
            else {known for alias in node.names if (known := file_of(f"{node.module}.{alias.name}", files))}
            for node in nodes
        )
        found[name] = {one for names in named for one in names if one in files and one != name}
    return found


def file_of(name: str, files: dict[str, Path]) -> str | None:
    """Return the file that `from module import name` reads: the name itself if it is one, else the module."""
    return name if name in files else name.rpartition(".")[0]


def test_no_two_files_import_each_other() -> None:
    files = graph()
    reach = {name: reachable(name, files) for name in files}
    circles = {
        frozenset(other for other in reach[name] if name in reach[other]) for name in files if name in reach[name]
    }
    assert not [sorted(circle) for circle in circles]


def reachable(name: str, files: dict[str, set[str]]) -> set[str]:
    """Return what `name` imports, and what that imports, and so on."""
    seen: set[str] = set()
    to_look = [name]
    while to_look:
        new = files[to_look.pop()] - seen
        seen |= new
        to_look += new
    return seen
