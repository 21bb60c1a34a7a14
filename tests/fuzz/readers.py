"""The readers that every mutant is given to, and what they may say of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import ticketkit
from ticketkit import Checkpoint, InputError, UsageError
from ticketkit.archive import form_of, globals_of
from ticketkit.foreign import import_mask
from ticketkit.prunable import survey

# Masks larger than this are not unpacked or packed: a few bits may stand for a layer of any size.
_UNPACKED = 2**16

Reader = Callable[[Path], object]


def read_ticket(path: Path) -> None:
    """Read a ticket and use it; what is written again is the same ticket."""
    found = ticketkit.load_ticket(path)
    _use(found)
    if found.mask.size > _UNPACKED:
        return
    again = path.with_name("again.safetensors")
    again.write_bytes(found.encoded())
    try:
        assert ticketkit.load_ticket(again) == found, "the ticket changed when it was saved"
    finally:
        again.unlink()


def read_unverified(path: Path) -> None:
    """Read a ticket whose digests are not checked, and use it."""
    _use(ticketkit.load_ticket(path, verify=False))


def read_checkpoint(path: Path) -> None:
    """Open a checkpoint, and ask it everything; each question may be refused by itself."""
    checkpoint = ticketkit.open_checkpoint(path)
    assert checkpoint.description
    with _refusing():
        checkpoint.elsewhere()
    with _refusing():
        checkpoint.normalisation()
    with _refusing():
        survey(checkpoint.tensors())
    for name in checkpoint:
        _read_tensor(checkpoint, name)
    with _refusing():
        checkpoint.digest()
    for scheme in ("unstructured", "row"):
        with _refusing():
            ticketkit.draw(checkpoint, scheme=scheme, sparsity=0.5)


def read_masks(path: Path) -> None:
    """Read another tool's mask, with a sparsity and without; the ticket can be read again."""
    target = path.with_name("imported.safetensors")
    for sparsity in (None, 0.5):
        with _refusing():
            import_mask(path, target, sparsity=sparsity, force=True)
            _use(ticketkit.load_ticket(target))
            target.unlink()


# One line a reader. What it raises names the file, and is an InputError or a UsageError.
READERS: dict[str, Reader] = {
    "form": form_of,
    "globals": globals_of,
    "ticket": read_ticket,
    "unverified ticket": read_unverified,
    "checkpoint": read_checkpoint,
    "masks": read_masks,
}


def check_message(error: Exception, names: str = "") -> None:
    """A refusal is one printable line that names the file, and gives no dangerous advice."""
    text = str(error)
    assert isinstance(error, InputError | UsageError), f"not an error of input: {error!r}"
    assert text, "an empty message"
    assert text.isprintable(), f"a message that is not one printable line: {text!r}"
    assert names in text, f"a message that does not name the file: {text!r}"
    assert "weights_only" not in text, f"advice to run what is in the file: {text!r}"
    assert len(text) < 4000, f"a message of {len(text)} characters: {text[:200]!r}"


def _use(ticket: ticketkit.Ticket) -> None:
    ticket.reached()
    if ticket.mask.size <= _UNPACKED:
        ticket.encoded()
    ticket.mask.layer_sparsity()
    for name in ticket.mask:
        packed = ticket.mask.packed(name)
        if packed.size <= _UNPACKED:
            assert tuple(ticket.mask[name].shape) == packed.shape
            assert int(ticket.mask[name].sum()) == packed.kept, f"{name}: kept"


def _read_tensor(checkpoint: Checkpoint, name: str) -> None:
    shape, dtype = checkpoint.shapes[name], checkpoint.dtypes[name]
    with _refusing():
        assert tuple(checkpoint[name].shape) == shape, f"{name}: shape"
    with _refusing():
        raw = checkpoint.raw(name)
        if not dtype.startswith(("C", "F4", "F6")):  # of two numbers, or of less than a byte
            assert raw.shape == shape, f"{name}: {raw.shape}, not {shape}"
        raw.tobytes()  # which reads every byte


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except (InputError, UsageError) as error:
        check_message(error)
