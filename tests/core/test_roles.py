"""Networks whose weights are not there to be ranked: lazy, compiled, sharded or computed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ticketkit


def refusal(network: nn.Module) -> str:
    with pytest.raises(ticketkit.InputError) as caught:
        ticketkit.draw(network, scheme="unstructured", sparsity=0.5)
    return str(caught.value)


@pytest.mark.parametrize("lazy", [nn.LazyLinear, nn.LazyConv2d, nn.LazyConvTranspose1d])
def test_a_lazy_layer_asks_for_an_example_input(lazy: Any) -> None:  # fault row 34
    layer = lazy(3) if lazy is nn.LazyLinear else lazy(3, 2)
    told = refusal(nn.Sequential(nn.Linear(2, 2), layer))
    assert told == (
        "1.weight: a lazy layer without a shape; run model(example_input) once first, which a draw "
        "does not do: it leaves the network alone"
    )


def test_a_lazy_network_that_ran_once_is_like_any_other() -> None:
    network = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.LazyConv2d(3, 1))
    network(torch.ones(1, 2, 5, 5))
    ticket = ticketkit.draw(network, scheme="unstructured", sparsity=0.5)
    assert list(ticket.mask) == ["0.weight", "2.weight"]


@pytest.mark.filterwarnings("ignore:.torch.jit.*:FutureWarning")
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("traced", [False, True])
def test_a_script_module_is_refused_by_name(traced: bool, nested: bool) -> None:  # fault row 37
    layer = nn.Sequential(nn.Linear(3, 3))
    jit: Any = torch.jit
    script = jit.trace(layer, torch.ones(1, 3)) if traced else jit.script(layer)
    network = nn.ModuleDict({"inner": script}) if nested else script
    told = refusal(network)
    where = "inner" if nested else "the network"
    kind = "TopLevelTracedModule" if traced else "RecursiveScriptModule"
    assert told.startswith(f"{where}: a {kind}, whose layers cannot be told apart; draw from the P")


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    address = f"file://{tmp_path}/group"
    torch.distributed.init_process_group("gloo", address, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("alone")
def test_distributed_tensors_are_refused_with_how_to_gather_them() -> None:  # fault row 33
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    network: Any = nn.Sequential(nn.Linear(4, 4))
    mesh = init_device_mesh("cpu", (1,))
    sharded = distribute_tensor(network[0].weight.detach(), mesh, [Shard(0)])
    network[0].weight = nn.Parameter(sharded)
    told = refusal(network)
    assert told.startswith("0: sharded weights; gather them first with torch.distributed.checkpoin")


@pytest.mark.usefixtures("alone")
def test_a_fully_sharded_network_is_refused() -> None:  # fault row 33
    from torch.distributed.fsdp import fully_shard

    network = nn.Sequential(nn.Linear(4, 4))
    fully_shard(network)
    assert "sharded weights" in refusal(network)


@pytest.mark.usefixtures("alone")
def test_networks_in_distributed_wrappers_are_seen_through() -> None:  # fault row 37
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4))
    expected = ticketkit.draw(network, scheme="unstructured", sparsity=0.5)
    wrapped = nn.parallel.DistributedDataParallel(network)
    compiled: Any = torch.compile(nn.DataParallel(network), backend="eager")
    for each in (wrapped, nn.DataParallel(network), compiled):
        assert ticketkit.draw(each, scheme="unstructured", sparsity=0.5) == expected
