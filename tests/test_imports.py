"""Imports run one way, without circles, at the top of a file; heavy packages have one home."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# The folders at the top are packages of one import name (pyproject.toml, package-dir).
PACKAGES = ("kinemacolor", "stream", "engine", "export")
# An inference runtime is imported by the one module named after it, and nowhere else.
RUNTIMES = {
    "openvino": {"engine/openvino_backend.py"},
    "onnxruntime": {"engine/onnxruntime_backend.py"},
    "tensorrt": {"engine/tensorrt/build.py"},
    "tensorrt_rtx": {"engine/tensorrt/build.py"},
    "pycuda": {"engine/cuda/device.py"},
}
# What a function may put off, because it is heavy or optional, or because the command has to
# answer Ctrl-C, --help and --version before all else is loaded.
PUT_OFF = {
    # a runtime, when it is chosen
    "engine/load.py": {
        "kinemacolor.engine.onnxruntime_backend",
        "kinemacolor.engine.openvino_backend",
    },
    "engine/cuda/device.py": {"pycuda.driver"},
    # an optional package
    "stream/sinks/virtualcam.py": {"pyvirtualcam"},
    "engine/fetching.py": {"huggingface_hub", "pooch", "requests"},
    "stream/measure/metrics.py": {"prometheus_client", "prometheus_client.core"},
    "stream/measure/stats.py": {"resource"},
    "stream/stills/reader.py": {"pillow_heif"},
    "stream/stills/whole.py": {"pillow_heif"},
}


def module_of(path: Path) -> str:
    """The import name of a file."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return (
        name
        if name.split(".")[0] in ("kinemacolor", "benchmarks", "tests")
        else (f"kinemacolor.{name}")
    )


@cache
def files(package: str) -> tuple[Path, ...]:
    return tuple(sorted((ROOT / package).rglob("*.py")))


@cache
def known() -> frozenset[str]:
    return frozenset(module_of(path) for package in PACKAGES for path in files(package))


def imported(path: Path, *, inside: bool | None = None) -> Iterator[str]:
    """Every module that a file imports.

    Args:
        inside: only those inside functions, or only those outside.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    put_off = {child for function in functions for child in ast.walk(function)}
    for node in ast.walk(tree):
        if inside is not None and (node in put_off) != inside:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known() else node.module


def breaches(package: str, *forbidden: str) -> list[tuple[str, str]]:
    return [
        (path.relative_to(ROOT).as_posix(), name)
        for path in files(package)
        for name in imported(path)
        if any(name == other or name.startswith(f"{other}.") for other in forbidden)
    ]


def test_engine_knows_neither_av_nor_torch_nor_the_packages_above_it() -> None:
    above = ("kinemacolor.stream", "kinemacolor.export")
    assert breaches("engine", "av", "torch", "typer", "rich", *above) == []


def test_stream_knows_neither_torch_nor_export() -> None:
    assert breaches("stream", "torch", "torchvision") == []
    # `kinemacolor train` and its kin: the command alone may call into export, inside a function.
    found = breaches("stream", "kinemacolor.export")
    assert {file for file, _ in found} == {"stream/command/main.py"}


def test_export_does_not_know_stream() -> None:
    assert breaches("export", "kinemacolor.stream") == []


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_imports_benchmarks_tests_or_samples(package: str) -> None:
    assert breaches(package, "benchmarks", "tests", "samples") == []


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("package", ["stream", "engine"])
def test_a_runtime_is_imported_only_in_the_module_named_after_it(
    package: str, runtime: str
) -> None:
    found = {file for file, _ in breaches(package, runtime)}
    assert found <= RUNTIMES[runtime]


def test_no_circles() -> None:
    """Of imports for type checkers as well: who needs a type needs its home."""
    arrows = {
        module_of(path): {name for name in imported(path) if name in known()}
        for package in PACKAGES
        for path in files(package)
    }
    while True:  # take away whatever leads nowhere: a circle is left
        ends = {module for module, to in arrows.items() if not to & arrows.keys()}
        if not ends:
            break
        for module in ends:
            del arrows[module]
    assert arrows == {}


def test_functions_import_only_what_is_put_off_for_a_reason() -> None:
    found: dict[str, set[str]] = {}
    for package in ("stream", "engine"):
        for path in files(package):
            file = path.relative_to(ROOT).as_posix()
            if file.startswith("stream/command/"):  # starts before what it commands is loaded
                continue
            names = set(imported(path, inside=True))
            if names:
                found[file] = names
    assert found == PUT_OFF


def test_only_the_command_prints_or_exits() -> None:
    guilty = []
    for package in ("stream", "engine"):
        for path in files(package):
            if path.parent == ROOT / "stream" / "command":
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    if node.func.id in ("print", "exit", "quit"):
                        guilty.append(f"{path.relative_to(ROOT)}:{node.lineno}")
                elif isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.exit":
                    guilty.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert guilty == []


@pytest.mark.parametrize("package", ["stream", "engine"])
def test_what_a_thing_can_do_stands_in_its_protocol(package: str) -> None:
    """Nothing of ours is asked by `getattr`; other libraries' objects may be."""
    ours = ("backend", "source", "sink", "self._now", "self._source", "network", "self._sink")
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in files(package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("getattr", "hasattr")
        and ast.unparse(node.args[0]).removeprefix("self.") in ours
    ]
    assert asked == []


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("kinemacolor", {"kinemacolor.stream", "kinemacolor.engine", "numpy", "av", "typer"}),
        ("kinemacolor.__main__", {"kinemacolor.stream", "kinemacolor.engine", "numpy", "typer"}),
        ("kinemacolor.stream.options", {"numpy", "cv2", "av", "onnx", "typer"}),
        ("kinemacolor.stream.command.main", {"openvino", "onnxruntime", "torch", "cv2", "av"}),
        ("kinemacolor.stream.run.run", {"openvino", "onnxruntime", "torch", "kinemacolor.export"}),
        ("kinemacolor.stream.command.doctor", {"openvino", "onnxruntime", "torch"}),
        ("kinemacolor.engine.load", {"openvino", "onnxruntime", "torch", "av"}),
    ],
)
def test_importing_a_module_leaves_the_heavy_ones_alone(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {unwanted!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["colorize", "--help"]])
def test_the_command_answers_at_once(words: list[str]) -> None:
    """Nothing that takes long to load is loaded to say what there is."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "kinemacolor", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "kinemacolor.stream.command.main" in loaded
    heavy = {"numpy", "cv2", "av", "onnx", "onnxruntime", "openvino", "torch", "PIL"}
    assert loaded & heavy == set()


def test_openvino_does_not_report_its_use_over_the_network() -> None:
    if find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    code = (
        "import sys, threading, kinemacolor.engine.openvino_backend as b; b.abilities();"
        "print([m for m, v in sys.modules.items() if v and m.startswith('openvino_telemetry')],"
        "threading.active_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[] 1"
