"""PGD and FGSM by ticketkit and by two other libraries: `python -m tests.core.peer_attacks PEER`.

It prints, for each attack, the largest difference of a pixel and the largest move of one. It runs
in an environment that has the peer.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import torch
from torch import nn

import ticketkit

STEPS = 7
EPS = {"linf": 8 / 255, "l2": 0.5, "fgsm": 8 / 255}


def by_torchattacks(norm: str, model: nn.Module, inputs: Any, targets: Any) -> torch.Tensor:
    """Kim 2020, arXiv 2010.01950."""
    import torchattacks

    if norm == "fgsm":
        single: torch.Tensor = torchattacks.FGSM(model, eps=EPS[norm])(inputs, targets)
        return single
    kind = torchattacks.PGD if norm == "linf" else torchattacks.PGDL2
    options = {"eps": EPS[norm], "alpha": EPS[norm] / 4, "steps": STEPS, "random_start": False}
    found: torch.Tensor = kind(model, **options)(inputs, targets)
    return found


def by_foolbox(norm: str, model: nn.Module, inputs: Any, targets: Any) -> torch.Tensor:
    """Rauber et al. 2020, Journal of Open Source Software 5 (53)."""
    import foolbox

    kind = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
    made = kind(abs_stepsize=EPS[norm] / 4, steps=STEPS, random_start=False)
    if norm == "fgsm":
        made = foolbox.attacks.LinfFastGradientAttack()
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    found: torch.Tensor = made.run(bounded, inputs, targets, epsilon=EPS[norm])
    return found


PEERS = {"torchattacks": by_torchattacks, "foolbox": by_foolbox}


def network() -> nn.Module:
    """A network of smooth layers, each time the same."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Tanh(), nn.Flatten(), nn.Linear(288, 5)]
    return nn.Sequential(*layers).eval()


def main(peer: str) -> None:
    """Print what the peer and ticketkit find, apart."""
    inputs, targets = torch.rand(16, 3, 8, 8), torch.randint(5, (16,))
    told = {}
    for norm, eps in EPS.items():
        theirs = PEERS[peer](norm, network(), inputs, targets)
        steps = (
            "norm=linf,steps=1" if norm == "fgsm" else f"norm={norm},steps={STEPS},step={eps / 4}"
        )
        threat = ticketkit.ThreatModel.parse(f"{steps},eps={eps},start=zero")
        ours = ticketkit.attack(network(), inputs, targets, threat)
        told[norm] = [(ours - theirs).abs().max().item(), (ours - inputs).abs().max().item()]
    print(json.dumps(told))


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # what the peers' own imports warn of
    main(sys.argv[1])
