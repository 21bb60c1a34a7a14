"""ticketkit and plugins of a stranger, built and installed as users have them. No network."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import ticketkit
from tests.core.environments import Environment, run

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[2]
EXAMPLES = [CHECKOUT / "examples" / name for name in ("ticketkit-stripe", "ticketkit-margin")]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A checkpoint of two convolutions."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3))
    torch.save(network.state_dict(), tmp_path / "small.pt")
    return tmp_path / "small.pt"


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Copies of the examples: building and testing them leaves the checkout alone."""
    folder = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "dist", "*.egg-info")
    return [Path(shutil.copytree(each, folder / each.name, ignore=ignored)) for each in EXAMPLES]


@pytest.fixture(scope="module")
def beside(copied: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the examples, which sees this one's ticketkit as it is installed here."""
    environment = Environment(tmp_path_factory.mktemp("beside"), editable=True)
    environment.install(*copied)
    return environment


def test_the_examples_are_modules_in_an_environment_beside_ticketkit(beside: Environment) -> None:
    for module in ("ticketkit_stripe", "ticketkit_margin"):
        assert beside.file_of(module) == beside.purelib / f"{module}.py"
    assert not list(beside.purelib.glob("tests*"))


def test_the_examples_are_listed(beside: Environment) -> None:
    plugins = json.loads(beside.run("-m", "ticketkit", "plugins", "--json"))["plugins"]
    for name, part in (("stripe", "scheme stripe"), ("margin", "evaluator margin")):
        found = next(plugin for plugin in plugins if plugin["name"] == name)
        assert found["distribution"] == f"ticketkit-{name}"
        assert found["version"] == "0.1.0"
        assert found["state"] == "loaded"
        assert found["parts"] == [part]
    assert {plugin["state"] for plugin in plugins} == {"loaded"}


def test_the_option_of_the_example_is_printed(beside: Environment) -> None:
    text = beside.run("-m", "ticketkit", "parts", "stripe")
    assert "scheme stripe (ticketkit-stripe 0.1.0)" in text
    assert "width   a whole number  2" in text


def test_the_example_prunes(beside: Environment, small: Path) -> None:
    arguments = ["prune", small.name, "--scheme", "stripe:width=4", "--sparsity", "0.5"]
    beside.run("-m", "ticketkit", *arguments, cwd=small.parent)
    ticket = ticketkit.load_ticket(small.parent / "small.ticket.safetensors")
    assert ticket.provenance.scheme == "stripe:width=4"
    assert ticket.provenance.versions["ticketkit-stripe"] == "0.1.0"
    pruned = torch.load(small.parent / "small.pruned.pt", weights_only=True)
    for name, keep in ticket.mask.items():
        alive = keep.reshape(-1, 4, *keep.shape[1:]).flatten(1)
        assert torch.equal(alive.all(1), alive.any(1))
        assert torch.equal(pruned[name] != 0, keep)


def test_the_tests_of_the_examples_pass(beside: Environment, copied: list[Path]) -> None:
    tests = [each / "tests" for each in copied]
    text = beside.run("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert "failed" not in text
    assert " passed" in text


def test_the_snippets_of_the_examples_run(beside: Environment) -> None:
    texts = [(each / "README.md").read_text(encoding="utf-8") for each in EXAMPLES]
    snippets = [re.findall(r"```python\n(.*?)```", text, re.DOTALL) for text in texts]
    assert [len(each) for each in snippets] == [1, 1]
    mask, margin = beside.run("-c", "\n".join(s for (s,) in snippets)).splitlines()
    assert mask.startswith("Mask(2 parameters, 5,040 weights, sparsity 0.5")
    assert re.fullmatch(r"-?0\.\d\d on 50 pictures, -?0\.\d\d to -?0\.\d\d", margin)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution of the checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder), cwd=CHECKOUT)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module", params=["checkout", "sdist"])
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from the checkout, and one built from its source distribution."""
    folder = tmp_path_factory.mktemp("wheel")
    source = CHECKOUT if request.param == "checkout" else request.getfixturevalue("sdist")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run(sys.executable, "-m", "pip", "wheel", *options, "-w", str(folder), str(source))
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def plain(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with ticketkit installed from a wheel, from which no checkout is seen."""
    environment = Environment(tmp_path_factory.mktemp("plain"), editable=False)
    environment.install(wheel)
    return environment


def test_a_wheel_holds_the_two_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        points = archive.read(f"ticketkit-{ticketkit.__version__}.dist-info/entry_points.txt")
    top = {name.partition("/")[0] for name in names}
    info = f"ticketkit-{ticketkit.__version__}.dist-info"
    assert top == {"ticketkit", "ticketkit_plugins", info}
    assert {"ticketkit/py.typed", "ticketkit/testing/__init__.py"} <= names
    assert f"{info}/licenses/LICENSE" in names
    assert b"row = ticketkit_plugins.schemes.row" in points


def test_a_wheel_holds_every_module_and_table_of_the_checkout(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.endswith((".py", ".toml"))}
    ours = [path for top in ("ticketkit", "plugins") for path in CHECKOUT.glob(f"{top}/**/*")]
    files = [path for path in ours if path.suffix in (".py", ".toml")]  # code, and tables
    expected = {path.relative_to(CHECKOUT).as_posix() for path in files}
    assert names == {name.removeprefix("plugins/") for name in expected}


def test_an_sdist_holds_what_a_wheel_is_built_from(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = [name.split("/", 1)[1] for name in archive.getnames()]
    top = {name.partition("/")[0] for name in names} - {".gitignore"}
    files = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO"}
    assert top == {"ticketkit", "plugins", *files}


def test_an_installed_wheel_stands_alone(plain: Environment, small: Path) -> None:
    path = plain.run("-c", r"import sys; print('\n'.join(sys.path))").splitlines()
    assert not {str(CHECKOUT), str(CHECKOUT / "plugins")} & set(path)
    for module in ("ticketkit", "ticketkit_plugins"):
        assert plain.file_of(module) == plain.purelib / module / "__init__.py"
    assert plain.run("-m", "ticketkit", "--version").strip() == f"ticketkit {ticketkit.__version__}"
    rows = plain.run("-m", "ticketkit", "plugins").splitlines()[1:]
    assert len(rows) >= 9
    assert all("loaded" in row for row in rows)
    script = plain.python.with_name("ticketkit")
    arguments = ["prune", small.name, "--scheme", "channel", "--sparsity", "0.5"]
    run(str(script), *arguments, cwd=small.parent)
    ticket = ticketkit.load_ticket(small.parent / "small.ticket.safetensors")
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3))
    network.load_state_dict(torch.load(small, weights_only=True))
    assert ticket.mask == ticketkit.draw(network, scheme="channel", sparsity=0.5).mask
