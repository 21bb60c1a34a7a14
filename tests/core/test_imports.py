"""The rules of import: who may know whom, and what must not be loaded at the start."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import ticketkit
from ticketkit import hookspecs
from ticketkit.registry import MOMENTS

CORE = Path(ticketkit.__file__).parent
PLUGINS = Path(__import__("ticketkit_plugins").__file__ or "").parent
LAYERS = [
    "errors",
    "progress",
    "locks",
    "files",
    "folders",
    "layer",
    "tiling",
    "bits",
    "gaps",
    "rice",
    "zeroing",
    "mask",
    "holding",
    "estimates",
    "parts",
    "hookspecs",
    "registry",
    "options",
    "blame",
    "choices",
    "digests",
    "archive",
    "claims",
    "outputs",
    "tensorfile",
    "computed",
    "naming",
    "prunable",
    "masking",
    "fields",
    "pretrained",
    "checkpoint",
    "shards",
    "loading",
    "torchfile",
    "views",
    "subnets",
    "maskforms",
    "scoring",
    "tiled",
    "radix",
    "rescaled",
    "grids",
    "budgets",
    "sampling",
    "sweep",
    "selection",
    "surviving",
    "ticket",
    "ticketfile",
    "ticketreader",
    "roles",
    "restoring",
    "priors",
    "channels",
    "normalising",
    "sources",
    "modes",
    "describe",
    "showing",
    "verification",
    "overlapping",
    "request",
    "pruning",
    "applying",
    "foreign",
    "planning",
    "extras",
    "ranges",
    "pictures",
    "places",
    "caching",
    "datafiles",
    "imagefiles",
    "imagefolders",
    "downloads",
    "cifar",
    "glyphs",
    "stopping",
    "manifests",
    "eventlog",
    "runrecord",
    "stages",
    "runs",
    "trainstate",
    "statistics",
    "guards",
    "logistic",
    "threats",
    "balls",
    "resnets",
    "heads",
    "learned",
    "architectures",
    "networks",
    "saving",
    "transplanting",
    "opening",
    "distributed",
    "sharing",
    "replicating",
    "environment",
    "losses",
    "imagemaps",
    "datasets",
    "attacks",
    "saver",
    "optimizers",
    "schedules",
    "presets",
    "seeds",
    "stacking",
    "batching",
    "collecting",
    "inference",
    "evaluation",
    "batchnorm",
    "linear_probe",
    "augmenting",
    "feeding",
    "attacking",
    "measuring",
    "versions",
    "resultfile",
    "experiments",
    "outcomes",
    "mishaps",
    "loop",
    "training",
    "retraining",
    "rounds",
    "reach",
    "jobs",
    "drawing",
    "pretraining",
    "transferring",
    "subject",
    "evaluating",
    "sampled",
    "viewing",
    "drawrun",
    "downstream",
    "resultfolders",
    "figures",
    "origins",
    "records",
    "sides",
    "verdicts",
    "pairing",
    "sourceloss",
    "comparing",
    "costs",
    "severities",
    "noises",
    "blurs",
    "weather",
    "distortions",
    "corruptions",
    "frechet",
    "featured",
    "inception",
    "extractors",
    "advice",
    "domaingap",
    "certificates",
    "pacing",
    "certification",
]


def imported(path: Path, *, top_only: bool = False) -> set[str]:
    """Names of modules that a file imports; `top_only`: outside functions and TYPE_CHECKING."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(tree.body) if top_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def core_files() -> list[Path]:
    return sorted(CORE.rglob("*.py"))


def plugin_files() -> list[Path]:
    return sorted(PLUGINS.rglob("*.py"))


def test_the_core_never_imports_a_plugin() -> None:
    for path in core_files():
        assert not [n for n in imported(path) if n.startswith("ticketkit_plugins")], path


def test_a_plugin_imports_ticketkit_alone() -> None:
    for path in plugin_files():
        ours = {name for name in imported(path) if name.startswith("ticketkit")}
        assert ours <= {"ticketkit"}, path


def test_plugins_hooks_registry_and_parts_import_neither_torch_nor_numpy_at_their_top() -> None:
    light = [
        CORE / f"{name}.py" for name in ("__init__", "parts", "hookspecs", "registry", "errors")
    ]
    for path in [*light, *plugin_files(), *(CORE / "cli").glob("*.py")]:
        heavy = {name.partition(".")[0] for name in imported(path, top_only=True)}
        assert not heavy & {"torch", "numpy", "torchvision", "safetensors"}, path


def test_a_core_module_imports_at_its_top_only_from_those_before_it() -> None:
    assert sorted(LAYERS) == sorted(
        p.stem for p in CORE.glob("*.py") if not p.stem.startswith("__")
    )
    for path in CORE.glob("*.py"):
        if path.stem.startswith("__"):
            continue
        before = set(LAYERS[: LAYERS.index(path.stem)])
        names = {
            n.split(".")[1] for n in imported(path, top_only=True) if n.startswith("ticketkit.")
        }
        assert names & set(LAYERS) <= before, f"{path.stem} imports {names - before}"


def test_no_core_module_bears_the_name_of_a_public_function() -> None:
    modules = {path.stem for path in CORE.glob("*.py")}
    assert not modules & set(ticketkit.__all__)


def test_the_three_lists_of_public_names_agree() -> None:
    source = ast.parse((CORE / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in source.body if isinstance(node, ast.If))
    typed = {a.name for n in block.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert typed == set(ticketkit.__all__) == set(ticketkit._HOMES)
    assert all(getattr(ticketkit, name) is not None for name in ticketkit.__all__)


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'prune_everything'"):
        ticketkit.prune_everything  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "import ticketkit; ticketkit.BlockScheme; ticketkit.catalogue()",
        "import ticketkit.cli, click",
        "from ticketkit.cli import main; main(['plugins'])",
        "from ticketkit.cli import main; main(['parts', 'row'])",
        "from ticketkit.cli import main; main(['parts', 'nothing'])",
    ],
)
def test_it_runs_without_torch_and_numpy(code: str) -> None:
    check = "import sys; loaded = {'torch', 'numpy'} & set(sys.modules); assert not loaded, loaded"
    subprocess.run(
        [sys.executable, "-c", f"{code}\n{check}"], check=True, stdout=subprocess.DEVNULL
    )


@pytest.mark.parametrize("hook", [n for n in vars(hookspecs) if n.startswith("ticketkit_")])
def test_every_hook_documents_itself_with_a_whole_plugin_that_works(hook: str) -> None:
    text = getattr(hookspecs, hook).__doc__
    first = text.splitlines()[0]
    assert first.startswith("Hear " if hook in MOMENTS else "Yield ")
    assert first.endswith(".")
    lines = text.split("A whole plugin:\n", 1)[1].splitlines()
    code = [line[8:] for line in lines if line.startswith("        ") or not line.strip()]
    module: dict[str, object] = {}
    exec("\n".join(code), module)  # the example in the documentation
    if hook in MOMENTS:
        mask = ticketkit.Mask({"w": [True, False]})
        told = SimpleNamespace(number=1, ticket=SimpleNamespace(mask=mask))
        module[hook](finished=told)  # type: ignore[operator]
    else:
        assert list(module[hook]())  # type: ignore[operator]
