"""What makes features of pictures: the Inception of the FID, or a network of the user's own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ticketkit.archive import form_of
from ticketkit.errors import InputError, UnknownPart, UsageError, near, printable
from ticketkit.extras import import_extra
from ticketkit.files import check_input
from ticketkit.inception import PUBLISHED, WEIGHTS, hub_folder, network_of_inception
from ticketkit.options import configured, written

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Extractor:
    """A network whose outputs are features, and what to tell of it."""

    network: nn.Module
    """Takes pictures in [0, 1], (batch, channels, height, width); returns (batch, d)."""
    about: str
    resize: str
    """What becomes of the size of pictures."""
    sha256: str
    """Of the weights: of the file's bytes for the Inception, as it is published; of the tensors
    for a network, as in a ticket's provenance."""

    @property
    def published(self) -> bool:
        """Whether these are the weights of which FIDs are told."""
        return self.sha256 == PUBLISHED


@dataclass(frozen=True)
class Inception:
    """The Inception of the FID: 2,048 features, those of its last pooling, as TensorFlow has it.

    `path` is the file of its weights; none for where torch-fidelity keeps what it downloads.
    """

    name: ClassVar[str] = "inception"
    channels: ClassVar[int | None] = 3
    path: str | None = None

    @property
    def place(self) -> Path:
        """Where the weights are looked for."""
        return Path(self.path).expanduser() if self.path else hub_folder() / WEIGHTS

    def check(self) -> None:
        """Refuse weights that are not there, or no weights, before torch is imported."""
        try:
            check_input(self.place)
            form_of(self.place)
        except InputError as error:
            raise InputError(
                f"{error}; --extractor inception:path=FILE names the weights of the FID's "
                f"Inception, which torch-fidelity publishes as {WEIGHTS}"
            ) from None
        import_extra("torch_fidelity", "fid")

    def opened(self, channels: int) -> Extractor:
        """The network, its weights loaded; a `MismatchError` where they are others."""
        from ticketkit.checkpoint import open_checkpoint

        network = network_of_inception(open_checkpoint(self.place))
        return Extractor(
            network,
            about="the FID's Inception, its last pooling (pool3)",
            resize="to 299 x 299, bilinear as TensorFlow 1 has it",
            sha256=_sha256_of(self.place),
        )


@dataclass(frozen=True)
class Network:
    """The features that a network, of the checkpoint `path`, gives to its task head.

    `arch` is the network's spec, for a file that does not tell it. Pictures are resized to `size` x
    `size`, bilinear; none leaves them as they are.
    """

    name: ClassVar[str] = "network"
    channels: ClassVar[int | None] = None
    """As many as the pictures have, as far as the network takes them."""
    path: str = ""
    arch: str | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if not self.path:
            raise UsageError("extractor network: path=FILE names a checkpoint, found none")
        if self.size is not None and self.size < 1:
            raise UsageError(f"extractor network: size is a number of pixels, found {self.size}")

    @property
    def place(self) -> Path:
        """Where the checkpoint is."""
        return Path(self.path).expanduser()

    def check(self) -> None:
        """Refuse a file that is not there, or no checkpoint, before torch is imported."""
        form_of(self.place)

    def opened(self, channels: int) -> Extractor:
        """The network for pictures of so many channels, without its head."""
        from torch import nn

        from ticketkit.checkpoint import open_checkpoint
        from ticketkit.heads import head_of
        from ticketkit.opening import network_for

        checkpoint = open_checkpoint(self.place)
        if self.arch is None and checkpoint.pretraining is None:
            raise UsageError(
                f"{printable(self.path)} does not tell what network it is of: give it as "
                "network:path=FILE,arch=ARCH, such as arch=resnet50"
            )
        found = network_for(checkpoint, self.arch, 2, channels, skip_head=True)
        head = head_of(found.model)
        found.model.set_submodule(head, nn.Identity())
        if self.size:
            found.model.register_forward_pre_hook(_resizing(self.size), prepend=True)
        return Extractor(
            found.model,
            about=f"{found.arch}, what its head {head} is given",
            resize=f"to {self.size} x {self.size}, bilinear" if self.size else "none",
            sha256=checkpoint.digest(),
        )


Chosen = Inception | Network
_KINDS = {kind.name: kind for kind in (Inception, Network)}


def extractor_of(spec: str) -> Chosen:
    """What `inception:path=FILE` or `network:path=FILE` means; a `UsageError` for anything else."""
    name, _, options = spec.partition(":")
    if name not in _KINDS:
        raise UnknownPart(
            f"unknown extractor {printable(name)!r}; choose from {', '.join(_KINDS)}"
            f"{near(name, _KINDS)}"
        )
    made: Chosen = configured(_KINDS[name], options, spec)
    return made


def spec_of_extractor(extractor: Chosen) -> str:
    """The spec with every option written out."""
    return f"{extractor.name}:{written(extractor)}"


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _resizing(size: int) -> Any:
    """A hook that resizes a network's pictures."""
    from torch.nn.functional import interpolate

    def resize(network: nn.Module, arguments: tuple[Any, ...]) -> torch.Tensor:
        return interpolate(arguments[0], (size, size), mode="bilinear", antialias=True)

    return resize
