"""A module imports only from lower floors, and the two towers of floors 1 to 3 never meet."""

import ast
from pathlib import Path

import dljax

ROOT = Path(dljax.__file__).parent
FLOORS = {
    **dict.fromkeys(
        ("types", "errors", "keys", "trees", "startup", "progress", "linalg"), (0, "both")
    ),
    **dict.fromkeys(("optimizers", "losses", "splits", "models", "modules"), (1, "learning")),
    **dict.fromkeys(("functions", "schedules", "augment", "scaling"), (1, "learning")),
    **dict.fromkeys(("costs", "machine", "lanes", "hosts", "lifelines"), (0, "both")),
    **dict.fromkeys(("placement", "shapes", "programs"), (1, "populations")),
    **dict.fromkeys(("widths", "populations"), (1, "populations")),
    **dict.fromkeys(("tasks", "datasets", "batches", "curvature", "kronecker"), (2, "learning")),
    **dict.fromkeys(("slots", "spectrum"), (2, "learning")),
    **dict.fromkeys(("training", "stopping", "problems", "range_test"), (3, "learning")),
    **dict.fromkeys(("predict", "learners"), (3, "learning")),
    **dict.fromkeys(("boosting", "linear", "stacking"), (3, "learning")),
    **dict.fromkeys(("diagnose", "features"), (3, "learning")),
    "diagnose_pictures": (4, "both"),
    "resampling": (4, "both"),
    **dict.fromkeys(
        ("axes", "plans", "named", "folders", "studies", "halving"), (3, "populations")
    ),
    **dict.fromkeys(("timings", "throughput"), (3, "populations")),
    "sums": (0, "both"),
    "deepobs": (2, "learning"),
    "fast_gradient": (2, "learning"),
    "trajectory": (3, "learning"),
    "store": (2, "populations"),
    **dict.fromkeys(("addresses", "options"), (0, "both")),
    "comparison": (4, "both"),
    "contract": (4, "both"),
    **dict.fromkeys(("predict_pictures", "regression_tables"), (4, "both")),
    "replaying": (3, "populations"),
    "archive": (4, "both"),
    "folder_commands": (4, "both"),
    "analyze_command": (4, "both"),
    "audit_command": (4, "both"),
    "bench_command": (4, "both"),
    **dict.fromkeys(("compare_command", "compare_options"), (4, "both")),
    "cli": (5, "both"),
}


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        if path != ROOT / "__init__.py":
            yield path, path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """Names of the dljax modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dljax":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [name.name for name in node.names]
        if isinstance(node, ast.Import):
            yield from (n.name.split(".")[1] for n in node.names if n.name.startswith("dljax."))


def test_every_module_has_a_floor():
    assert {name for _, name in modules()} == set(FLOORS)


def test_imports_go_down_the_floors_and_never_across_the_towers():
    for path, name in modules():
        floor, tower = FLOORS[name]
        for imported in set(imports(path)) - {name}:
            below, other = FLOORS[imported]
            assert below <= floor, f"{path.name} on floor {floor} imports {imported} of {below}"
            assert "both" in (tower, other) or tower == other, f"{path.name} imports {imported}"


def test_no_module_has_the_name_of_a_public_function():
    functions = {name for name in dljax.__all__ if callable(getattr(dljax, name))}
    assert not functions & set(FLOORS)


def test_the_public_names_are_there():
    assert all(hasattr(dljax, name) for name in dljax.__all__)
    assert sorted(dljax.__all__) == list(dljax.__all__)
