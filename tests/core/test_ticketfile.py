"""The ticket's file: the same bytes for the same ticket, and what is not one is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ticketkit
from tests.samples import bit_flips, check_message, little_memory, metadata, save, state
from ticketkit import Layer, Mask, Ticket, TicketError, TicketkitError, UsageError, load_ticket
from ticketkit.bits import BlockBits, pack
from ticketkit.files import sha256
from ticketkit.prunable import Counts
from ticketkit.ticket import Provenance
from ticketkit.ticketfile import digest_of

PROVENANCE = Provenance(
    *("stripe:width=2", "magnitude", "global", "omp", 0.5, 3, ("a*",), (), True, "f" * 64),
    versions={"a": "1"},
    normalisation={"mean": (0.5, 0.25), "std": (1.0, 2.0)},
)


def ticket() -> Ticket:
    """A ticket with single bits, blocks, a transposed layer, and a tied name."""
    rng = np.random.default_rng(0)
    fc = rng.random((5, 7)) < 0.5
    fc[-1, -1] = True
    row = Layer.of("row.weight", (4, 6, 3))
    up = Layer.of("up.weight", (4, 3, 2), transposed=2)
    mask = Mask(
        {
            "fc.weight": fc,
            "row.weight": BlockBits(row, (1, 1, 3), pack(rng.random(24) < 0.5)),
            "up.weight": BlockBits(up, (1, 2, 2), pack(rng.random(6) < 0.5)),
        }
    )
    counts = Counts(mask.size, 200, 300)
    return Ticket(mask, PROVENANCE, counts, {"fc.weight": ("tied.weight", "größe 模")})


def rewritten(
    path: Path,
    edit: Callable[[dict[str, Any]], object],
    tensors: Callable[[dict[str, Any]], object] = lambda _: None,
    *,
    sign: bool = True,
) -> Path:
    """The ticket's file with its metadata edited, and signed as a writer would."""
    data = ticket().encoded()
    record, arrays = metadata(data), safetensors.numpy.load(data)
    edit(record)
    tensors(arrays)
    if sign and "sha256" in record:
        record["sha256"] = digest_of({k: v for k, v in record.items() if k != "sha256"})
    path.write_bytes(safetensors.numpy.save(arrays, {"ticketkit": json.dumps(record)}))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(TicketError) as caught:
        load_ticket(path)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


# --- round trip


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    made = ticket()
    made.save(path)
    found = load_ticket(path)
    assert found == made
    assert found.encoded() == path.read_bytes()
    for name in made.mask:
        assert type(found.mask.packed(name)) is type(made.mask.packed(name))


def test_the_safetensors_library_reads_it_and_finds_one_bit_a_block(tmp_path: Path) -> None:
    ticket().save(tmp_path / "x.safetensors")
    found = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    assert {name: array.shape for name, array in found.items()} == {
        "fc.weight": (5,),
        "row.weight": (3,),
        "up.weight": (1,),
    }
    assert (np.unpackbits(found["fc.weight"], bitorder="little", count=35).reshape(5, 7)
            == ticket().mask["fc.weight"].numpy()).all()  # fmt: skip


def test_all_metadata_is_one_key_of_sorted_json() -> None:
    data = ticket().encoded()
    length = int.from_bytes(data[:8], "little")
    whole = json.loads(data[8 : 8 + length])["__metadata__"]
    assert list(whole) == ["ticketkit"]
    record = json.loads(whole["ticketkit"])
    assert whole["ticketkit"] == json.dumps(
        record, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert record["format"] == 1
    assert record["made_by"] == ticketkit.__version__
    assert record["sparsity"] == ticket().mask.sparsity
    assert record["layers"]["fc.weight"]["aliases"] == ["tied.weight", "größe 模"]


def test_the_order_in_which_a_ticket_was_made_leaves_no_trace() -> None:
    made = ticket()
    turned = replace(
        made,
        mask=Mask({name: made.mask.packed(name) for name in reversed(list(made.mask))}),
        provenance=replace(PROVENANCE, versions=dict(reversed([*PROVENANCE.versions.items()]))),
    )
    assert turned.encoded() == made.encoded()


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_mask_survives(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    names = data.draw(st.lists(st.text("abc.é模", min_size=1, max_size=5), max_size=4, unique=True))
    shapes = [data.draw(st.lists(st.integers(0, 5), max_size=4)) for _ in names]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    mask = Mask({n: rng.random(shape) < 0.5 for n, shape in zip(names, shapes, strict=True)})
    made = Ticket(mask, PROVENANCE, Counts(mask.size, 0, 0))
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    made.save(path)
    assert load_ticket(path) == made


def test_a_parameter_under_the_name_of_the_metadata_is_refused() -> None:
    made = Ticket(Mask({"__metadata__": [True]}), PROVENANCE, Counts(1, 1, 1))
    with pytest.raises(UsageError, match="'__metadata__' cannot be stored"):
        made.encoded()


# --- fault row 10: altered


def test_every_flipped_bit_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    made = ticket()
    noticed = 0
    for flipped in bit_flips(made.encoded()):
        path.write_bytes(flipped)
        try:
            found = load_ticket(path)
        except TicketkitError as error:
            check_message(error)
            noticed += 1
        else:
            assert found == made  # a flip that changed nothing, as in the padding
    assert noticed > 0.98 * len(made.encoded())


def test_an_altered_tensor_is_named_and_read_on_request_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    data = bytearray(ticket().encoded())
    data[-1] ^= 1
    path.write_bytes(data)
    message = refusal(path)
    assert message.startswith("up.weight: altered: expected sha256 ")
    assert message.endswith("(--no-verify goes on)")
    found = load_ticket(path, verify=False)
    assert found.mask["fc.weight"].equal(ticket().mask["fc.weight"])
    assert not found.mask["up.weight"].equal(ticket().mask["up.weight"])


def test_altered_metadata_is_told_and_read_on_request_alone(tmp_path: Path) -> None:
    def reseed(record: dict[str, Any]) -> None:
        record["provenance"]["seed"] = 4

    path = rewritten(tmp_path / "x.safetensors", reseed, sign=False)
    assert refusal(path).startswith("its metadata was altered: expected sha256 ")
    assert load_ticket(path, verify=False).provenance.seed == 4


def test_a_count_that_does_not_hold_is_told(tmp_path: Path) -> None:
    def miscount(record: dict[str, Any]) -> None:
        record["layers"]["fc.weight"]["kept"] = 1

    kept = ticket().mask.packed("fc.weight").kept
    path = rewritten(tmp_path / "x.safetensors", miscount)
    assert refusal(path) == f"fc.weight: 1 weights kept by its record, {kept} by its bits"


# --- fault row 11: made by others


@pytest.mark.parametrize("field", ["format", "encoding"])
def test_a_newer_ticket_says_what_it_needs(field: str, tmp_path: Path) -> None:
    newer: dict[str, Any] = {"format": 2, "encoding": "arithmetic"}

    def renew(record: dict[str, Any]) -> None:
        record |= {"made_by": "7.1.0", "needs": "6.0.0", field: newer[field]}
        record["layers"] = "something else"

    path = rewritten(tmp_path / "x.safetensors", renew)
    assert refusal(path) == (
        f"made by ticketkit 7.1.0, needs >= 6.0.0; this is {ticketkit.__version__}"
    )


def test_fields_of_a_newer_version_are_kept_on_rewrite(tmp_path: Path) -> None:
    def extend(record: dict[str, Any]) -> None:
        record |= {"future": {"list": [1, {"x": None}]}, "made_by": "0.9.0"}
        record["provenance"]["schedule"] = "cosine"
        record["counts"]["buffers"] = 12
        record["layers"]["fc.weight"]["saliency"] = 0.25

    path = rewritten(tmp_path / "x.safetensors", extend)
    found = load_ticket(path)
    assert found.mask == ticket().mask
    assert found.made_by == "0.9.0"
    assert found.extra == {
        "future": {"list": [1, {"x": None}]},
        "provenance": {"schedule": "cosine"},
        "counts": {"buffers": 12},
        "layers": {"fc.weight": {"saliency": 0.25}},
    }
    found.save(tmp_path / "y.safetensors")
    assert metadata((tmp_path / "y.safetensors").read_bytes()) == metadata(path.read_bytes())
    assert load_ticket(tmp_path / "y.safetensors") == found


# --- what is no ticket


@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_a_checkpoint_is_no_ticket(form: str, tmp_path: Path) -> None:
    expected = {
        "safetensors": "a safetensors file, but not a ticket: no 'ticketkit' metadata",
        "zip": "a file of torch.save, not a ticket",
        "legacy": "a file of torch.save, not a ticket",
    }
    assert refusal(save(state(), tmp_path, form)) == expected[form]


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{", '{"a": NaN}', "[" * 100_000, '"x"'])
def test_metadata_that_is_no_object_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors.numpy.save({}, {"ticketkit": text}))
    assert refusal(path).startswith("malformed ticket metadata: ")


def set_to(*keys: str, value: object) -> Callable[[dict[str, Any]], None]:
    def edit(record: dict[str, Any]) -> None:
        for key in keys[:-1]:
            record = record[key]
        if value is ...:
            del record[keys[-1]]
        else:
            record[keys[-1]] = value

    return edit


FIELDS = [
    ("made_by",),
    ("needs",),
    ("sha256",),
    ("layers",),
    ("layers", "fc.weight"),
    ("layers", "fc.weight", "shape"),
    ("layers", "fc.weight", "kept"),
    ("layers", "fc.weight", "sha256"),
    ("provenance",),
    *(("provenance", name) for name in vars(PROVENANCE)),
    ("counts",),
    ("counts", "prunable"),
    ("counts", "weights"),
    ("counts", "parameters"),
]


@pytest.mark.parametrize("field", FIELDS, ids=".".join)
def test_every_field_is_there_and_of_its_kind(field: tuple[str, ...], tmp_path: Path) -> None:
    values: list[object] = [..., [[]], {"x": 3}, 3.5, -1, True, "x\x1b[31m\n"]
    for value in values:
        right = {
            ("made_by",): str,
            ("needs",): str,
            ("provenance", "versions"): dict,
        }.get(field, type(None))
        if isinstance(value, right) or (field[-1] in TEXTS and isinstance(value, str)):
            continue
        if field[-1] in ("seed", "allow_empty_layers") and isinstance(value, int):
            continue
        if field[-1] in ("normalisation", *LATER) and value is ...:
            continue  # most files have none
        edit = set_to(*field, value=value)
        path = rewritten(tmp_path / "x.safetensors", edit, sign=field != ("sha256",))
        message = refusal(path)
        assert "\x1b" not in message
        assert len(message) < 400


# Fields that older tickets have not.
LATER = ("task", "fit", "robustifier", "arch", "head")
TEXTS = {"scheme", "criterion", "allocation", "strategy", "source", *LATER}


@pytest.mark.parametrize(
    ("keys", "value", "reason"),
    [
        (("provenance", "sparsity"), 1.5, "sparsity: expected a number from 0 to 1, found 1.5"),
        (("provenance", "sparsity"), 10**400, "sparsity: expected a number from 0 to 1"),
        (("provenance", "seed"), "x", "seed: expected a whole number, found 'x'"),
        (("provenance", "seed"), ..., "it has no 'seed'"),
        (("provenance", "source"), 3, "source: expected text or null, found 3"),
        (("provenance", "normalisation"), {"mean": ["x"]}, "mean: expected a list of numbers"),
        (("provenance", "include"), [3], "include: expected a list of text, found [3]"),
        (("provenance", "versions"), {"torch": 2}, "torch: expected text, found 2"),
        (("counts", "weights"), -1, "expected whole numbers of 0 or more, found [35"),
    ],
)
def test_what_was_expected_and_found_is_told(
    keys: tuple[str, ...], value: object, reason: str, tmp_path: Path
) -> None:
    edit = set_to(*keys, value=value)
    if value == 10**400:  # which JSON can hold
        edit = set_to(*keys, value=int("9" * 400))
    found = refusal(rewritten(tmp_path / "x.safetensors", edit))
    assert found.startswith(f"malformed ticket metadata: {reason}") or "counts" in keys


@pytest.mark.parametrize(
    ("name", "layer", "reason"),
    [
        ("fc.weight", {"shape": [5, 8, 2]}, "shape [5, 8, 2]: expected 10 bytes of bits, found 5"),
        ("fc.weight", {"shape": [3, 11]}, "bits are set beyond the last weight"),
        ("fc.weight", {"shape": [2**40, 2**40]}, "larger than any layer"),
        ("fc.weight", {"shape": [2**31, 2**30]}, "bytes of bits, found 5"),
        ("fc.weight", {"shape": [5, -7]}, "expected whole numbers of 0 or more, found [5, -7]"),
        ("fc.weight", {"shape": [5, 7.0]}, "expected whole numbers"),
        ("fc.weight", {"shape": [5, True]}, "expected whole numbers"),
        ("fc.weight", {"shape": "57"}, "expected whole numbers"),
        ("row.weight", {"block": [1, 1]}, "a block of [1, 1] in a layer of [4, 6, 3]"),
        ("row.weight", {"block": [1, 1, 4]}, "a block of [1, 1, 4] in a layer of [4, 6, 3]"),
        ("row.weight", {"block": [1, 1, 0]}, "expected whole numbers of 1 or more"),
        ("row.weight", {"block": [1, 1, 1]}, "expected 9 bytes of bits, found 3"),
        ("row.weight", {"block": None}, "expected whole numbers"),
        ("up.weight", {"transposed": 3}, "3 groups do not divide it"),
        ("up.weight", {"transposed": 0}, "expected whole numbers of 1 or more, found [0]"),
        ("up.weight", {"transposed": "2"}, "expected whole numbers of 1 or more"),
        ("fc.weight", {"aliases": "x"}, "aliases: expected a list"),
        ("fc.weight", {"aliases": ["row.weight"]}, "names that others have too"),
        ("fc.weight", {"aliases": ["x", "x"]}, "names that others have too"),
    ],
)
def test_layers_that_cannot_be_are_refused_before_anything_of_their_size_is_allocated(
    name: str, layer: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    path = rewritten(tmp_path / "x.safetensors", lambda r: r["layers"][name].update(layer))
    with little_memory():
        assert reason in refusal(path)


def test_a_giant_of_few_blocks_is_read_without_its_size_being_allocated(tmp_path: Path) -> None:
    def giant(record: dict[str, Any]) -> None:
        side = 2**30
        record["layers"]["row.weight"] |= {
            "shape": [side, side],
            "block": [side, side],
            "kept": side**2,
            "sha256": sha256(b"\1"),
        }

    path = rewritten(
        tmp_path / "x.safetensors",
        giant,
        lambda arrays: arrays.update({"row.weight": np.array([1], np.uint8)}),
    )
    with little_memory():
        found = load_ticket(path)
        assert found.mask.packed("row.weight").kept == 2**60
        with pytest.raises(ticketkit.MismatchError):
            found.mask.check_fits({"row.weight": (4, 6, 3)})


def test_tensors_of_another_kind_are_refused(tmp_path: Path) -> None:
    # fault row 13
    def floats(arrays: dict[str, Any]) -> None:
        arrays["fc.weight"] = np.zeros(5, np.float32)

    def square(arrays: dict[str, Any]) -> None:
        arrays["fc.weight"] = np.zeros((5, 1), np.uint8)

    path = tmp_path / "x.safetensors"
    nothing: Callable[[dict[str, Any]], None] = lambda record: None  # noqa: E731
    assert "expected a row of U8, found F32 [5]" in refusal(rewritten(path, nothing, floats))
    assert "expected a row of U8, found U8 [5, 1]" in refusal(rewritten(path, nothing, square))


def test_tensors_and_records_that_do_not_match_are_named(tmp_path: Path) -> None:
    path = rewritten(
        tmp_path / "x.safetensors",
        lambda record: record["layers"].update({"new.weight": record["layers"].pop("fc.weight")}),
    )
    assert refusal(path) == "its metadata and its tensors differ in fc.weight, new.weight"


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_the_metadata_says_the_answer_is_one_of_ours(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def scramble(record: dict[str, Any]) -> None:
        inner: Any = record
        for _ in range(data.draw(st.integers(0, 2))):
            options = [key for key, value in inner.items() if isinstance(value, dict) and value]
            if options:
                inner = inner[data.draw(st.sampled_from(options))]
        key = data.draw(st.sampled_from(sorted(inner)))
        inner[key] = data.draw(
            st.none()
            | st.booleans()
            | st.integers(-2, 2**70)
            | st.floats(allow_nan=False)
            | st.text(max_size=3)
            | st.lists(st.integers(-1, 2**40), max_size=4)
            | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
        )

    path = rewritten(tmp_path_factory.getbasetemp() / "scrambled.safetensors", scramble)
    try:
        found = load_ticket(path)
        found.encoded()
        found.reached()
    except TicketkitError as error:
        check_message(error)


def test_a_mask_of_the_file_can_be_used_while_the_file_is_gone(tmp_path: Path) -> None:
    # fault row 50
    path = tmp_path / "x.safetensors"
    ticket().save(path)
    found = load_ticket(path)
    path.unlink()
    assert torch.equal(found.mask["fc.weight"], ticket().mask["fc.weight"])


def test_a_number_that_could_not_be_written_again_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    ticket().save(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(rb"\"seed\":3", rb"\"x\":9e999,\"seed\":3"))
    raw = path.read_bytes()
    length = int.from_bytes(data[:8], "little") + len(raw) - len(data)
    path.write_bytes(length.to_bytes(8, "little") + raw[8:])
    with pytest.raises(TicketError, match="9e999 is too large a number"):
        load_ticket(path, verify=False)
