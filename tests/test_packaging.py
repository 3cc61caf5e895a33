"""What the distribution promises as a whole: versions, exports, types, and what a wheel and a bare installation hold."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from email.parser import Parser
from typing import Any, Final

import pytest

import kubex_stream
from tests.packages import PACKAGES, ROOT, modules

#: They name a backend; the names in them are re-exports.
BACKEND_DOORS: Final = ("kubex_stream.client.aiohttp", "kubex_stream.client.httpx")
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


# Versions and exports -------------------------------------------------------------------------------------------------


def test_one_version() -> None:
    assert kubex_stream.__version__ == PROJECT["version"]
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == PROJECT["version"]


def test_the_package_exports_exactly_what_it_declares() -> None:
    assert isinstance(kubex_stream.__all__, tuple)
    tree = ast.parse((ROOT / "kubex_stream/__init__.py").read_text())
    bound = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    assert bound == set(kubex_stream.__all__)
    assert len(set(kubex_stream.__all__)) == len(kubex_stream.__all__)


@pytest.mark.parametrize("name", kubex_stream.__all__)
def test_every_export_is_there(name: str) -> None:
    assert getattr(kubex_stream, name) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="the embedded cluster is POSIX only")
@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_module_declares_its_names(package: str) -> None:
    for name, path in modules(package):
        if name in BACKEND_DOORS or (path.name.startswith("_") and path.name != "__init__.py"):
            continue
        module = importlib.import_module(name)
        declared = getattr(module, "__all__", () if path.name == "__init__.py" else None)
        assert isinstance(declared, tuple), f"{name} has no tuple __all__"
        assert [each for each in declared if not hasattr(module, each)] == [], f"{name} lacks what it declares"


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("kubex_stream.client.client", ("BaseClient", "create_client")),
        ("kubex_stream.client.options", ("ClientOptions", "resolve_ws_max_message_size")),
        ("kubex_stream.client.websocket", ("WebSocketConnection",)),
        ("kubex_stream.client.aiohttp", ("AioHttpClient", "AioHttpWebSocketConnection")),
        ("kubex_stream.client.httpx", ("HttpxClient", "HttpxWebSocketConnection")),
        ("kubex_stream.core.params", ("Timeout",)),
        ("kubex_stream.configuration", ("ClientConfiguration",)),
    ],
)
def test_reference_paths(module: str, names: tuple[str, ...]) -> None:
    found = importlib.import_module(module)
    for name in names:
        assert isinstance(getattr(found, name), type) or callable(getattr(found, name))


@pytest.mark.parametrize("package", PACKAGES)
def test_types_are_shipped(package: str) -> None:
    assert (PACKAGES[package] / "py.typed").is_file()


# Installations --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The wheel that this checkout makes."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (file,) = folder.iterdir()
    return zipfile.Path(file)


def test_a_wheel_holds_the_packages_and_nothing_else(wheel: zipfile.Path) -> None:
    information = f"kubex_stream-{PROJECT['version']}.dist-info"
    with zipfile.ZipFile(str(wheel.root.filename)) as archive:
        held = {name for name in archive.namelist() if not name.startswith(information)}
    expected = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == expected


def test_a_wheel_says_what_it_needs_and_offers(wheel: zipfile.Path) -> None:
    information = wheel / f"kubex_stream-{PROJECT['version']}.dist-info"
    metadata = Parser().parsestr((information / "METADATA").read_text())
    assert set(metadata.get_all("Provides-Extra") or ()) >= {"aiohttp", "httpx", "picows", "cli", "testing", "all"}
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    points = (information / "entry_points.txt").read_text()
    for line in (
        "kubex-stream = kubex_stream.cli:main",
        "aiohttp = kubex_stream_aiohttp:AioHttpClient",
        "httpx = kubex_stream_httpx:HttpxClient",
        "picows = kubex_stream_picows:PicowsClient",
        "kubex_stream = kubex_stream.testing.plugin",
    ):
        assert line in points


def test_every_requirement_has_a_lower_bound() -> None:
    lowest = [sys.executable, str(ROOT / ".github/lowest.py")]
    done = subprocess.run(lowest, capture_output=True, text=True, check=True, timeout=60)
    pinned = dict(line.split("==") for line in done.stdout.split())
    extras = [
        each
        for name, extra in PROJECT["optional-dependencies"].items()
        if name not in ("dev", "bench")
        for each in extra
    ]
    wanted = [each for each in (*PROJECT["dependencies"], *extras) if not each.startswith("kubex-stream[")]
    assert {f"{name}>={version}" for name, version in pinned.items()} == set(wanted)


#: Runs code in an installation in which the extras' libraries are missing.
BARE: Final = """
import sys

MISSING = {
    "aiohttp", "httpx", "httpx_ws", "httpcore", "wsproto", "picows", "aiofastnet",
    "h11", "trustme", "typer", "pytest", "uvloop", "trio", "cryptography",
}

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, Nothing())
"""


def bare(code: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` there."""
    source = BARE + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)


def test_a_bare_installation_works_and_names_what_to_install() -> None:
    done = bare("""
        import json
        from kubex_stream import BackendNotAvailable, ClientConfiguration, ClientOptions, backends, create_client
        configuration = ClientConfiguration(url="https://localhost")
        said = {info.name: info.problem for info in backends()}
        for name in (None, "aiohttp", "httpx", "picows"):
            try:
                create_client(configuration, options=ClientOptions(timeout=5), backend=name)
            except BackendNotAvailable as error:
                assert isinstance(error, ImportError)
                said[f"client {name}"] = str(error)
        try:
            from kubex_stream.testing import EmbeddedCluster
        except ImportError as error:
            said["testing"] = str(error)
        print(json.dumps(said))
    """)
    assert done.stderr == ""
    said = json.loads(done.stdout)
    hints = {
        "aiohttp": "kubex-stream[aiohttp]",
        "httpx": "kubex-stream[httpx]",
        "picows": "kubex-stream[picows]",
        "client None": "kubex-stream[aiohttp]",
        "client aiohttp": "kubex-stream[aiohttp]",
        "client httpx": "kubex-stream[httpx]",
        "client picows": "kubex-stream[picows]",
        "testing": "kubex-stream[testing]",
    }
    assert said.keys() == hints.keys()
    for key, hint in hints.items():
        assert f"pip install '{hint}'" in said[key]


def test_the_bare_command_says_what_to_install_in_one_line() -> None:
    done = bare("from kubex_stream.cli import main; sys.argv[1:] = ['exec', 'demo', '--', 'true']; sys.exit(main())")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "kubex-stream: the command needs one more package: pip install 'kubex-stream[cli]'\n"


@pytest.mark.parametrize(
    ("missing", "hint"), [({"h11"}, "kubex-stream[testing]"), ({"trustme"}, "kubex-stream[testing]")]
)
def test_the_command_without_the_testing_extra(missing: set[str], hint: str) -> None:
    source = (
        BARE
        + f"MISSING.intersection_update({missing!r}); from kubex_stream.cli import main; sys.exit(main(['cluster']))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"pip install '{hint}'" in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_importing_the_library_imports_no_extra() -> None:
    done = bare("import kubex_stream, kubex_stream.testing; print(sorted(MISSING & sys.modules.keys()))")
    assert (done.stdout, done.stderr) == ("[]\n", "")
