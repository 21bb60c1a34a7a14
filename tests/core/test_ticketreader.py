"""Reading tickets near the entropy, and tickets that carry values; what is none is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samples import bit_flips, check_message, little_memory, metadata
from ticketkit import Layer, Mask, MismatchError, Ticket, TicketError, TicketkitError, load_ticket
from ticketkit.bits import BlockBits, PackedBits, pack
from ticketkit.files import sha256
from ticketkit.prunable import Counts
from ticketkit.rice import RiceRow
from ticketkit.ticket import Provenance
from ticketkit.ticketfile import digest_of

PROVENANCE = Provenance("s", "magnitude", "global", "omp", 0.9, 0)


def mask() -> Mask:
    """Sparse, dense and even layers; single bits and blocks, blocks of two sizes, transposed."""
    rng = np.random.default_rng(0)
    return Mask(
        {
            "dense": rng.random((40, 30)) < 0.95,
            "edges": BlockBits(Layer("e", (60, 61)), (2, 2), pack(rng.random(930) < 0.05)),
            "even": rng.random((31, 16)) < 0.5,
            "sparse": rng.random((40, 33)) < 0.06,
            "up": BlockBits(
                Layer.of("up", (32, 24, 3), 2), (1, 1, 3), pack(rng.random(768) < 0.06)
            ),
        }
    )


def ticket(*, values: bool = False) -> Ticket:
    found = mask()
    made = Ticket(found, PROVENANCE, Counts(found.size, 9000, 9999), {"sparse": ("tied",)})
    if not values:
        return made
    return made.with_values({n: torch.randn(s).bfloat16() for n, s in found.shapes.items()})


TICKET = ticket(values=True)
DATA = TICKET.encoded("rice")
BITS = ticket().encoded("rice")


def rewritten(
    path: Path,
    edit: Callable[[dict[str, Any]], object],
    tensors: Callable[[dict[str, Any]], object] = lambda _: None,
) -> Path:
    """The ticket's file edited, and signed as a writer would."""
    record, arrays = metadata(DATA), safetensors.numpy.load(DATA)
    tensors(arrays)
    for name, layer in record["layers"].items():
        layer["sha256"] = sha256(arrays[name].tobytes())
    edit(record)
    record["sha256"] = digest_of({k: v for k, v in record.items() if k != "sha256"})
    path.write_bytes(safetensors.numpy.save(arrays, {"ticketkit": json.dumps(record)}))
    return path


def refusal(path: Path, *, verify: bool = True) -> str:
    with pytest.raises(TicketError) as caught:
        load_ticket(path, verify)
    check_message(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


# --- what is written is read again


@pytest.mark.parametrize("values", [False, True])
def test_both_encodings_hold_the_same_ticket(values: bool, tmp_path: Path) -> None:
    made = ticket(values=values)
    read = []
    for encoding in ("packed", "rice"):
        path = tmp_path / f"{encoding}.safetensors"
        made.save(path, encoding)
        read.append(load_ticket(path))
        assert read[-1].encoded(encoding) == made.encoded(encoding) == path.read_bytes()
    packed, rice = read
    assert packed == rice == made
    assert hash(packed) == hash(rice) == hash(made)
    assert rice.encoded("packed") == packed.encoded("packed")
    assert len(made.encoded("rice")) < len(made.encoded("packed"))
    for name in made.mask:
        assert rice.mask.packed(name).kept == made.mask.packed(name).kept
        assert rice.mask[name].equal(made.mask[name])


def test_a_layer_that_does_not_gain_is_stored_packed() -> None:
    layers = metadata(DATA)["layers"]
    assert {name for name in layers if "rice" not in layers[name]} == {"even"}
    assert layers["dense"]["rice"]["coded"] == 0
    arrays = safetensors.numpy.load(DATA)
    for name, array in arrays.items():
        if name in layers:
            assert array.nbytes <= TICKET.mask.packed(name).bits.nbytes
    assert np.array_equal(arrays["even"], TICKET.mask.packed("even").bits)


def test_a_stranger_can_decode_a_layer_from_the_file() -> None:
    code = metadata(DATA)["layers"]["sparse"]["rice"]
    row = RiceRow(1320, **code, data=safetensors.numpy.load(DATA)["sparse"])
    assert np.array_equal(row.bits, TICKET.mask.packed("sparse").bits)


def test_the_head_is_that_of_the_safetensors_library() -> None:
    arrays = safetensors.numpy.load(DATA)
    text = json.loads(DATA[8 : 8 + int.from_bytes(DATA[:8], "little")])["__metadata__"]
    assert safetensors.numpy.save(arrays, text) == DATA


def test_bits_are_decoded_when_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(DATA)
    packed = load_ticket(tmp_path / "x.safetensors").mask.packed("sparse")
    assert isinstance(packed.row, RiceRow)
    assert packed.kept == TICKET.mask.packed("sparse").kept
    assert "bits" not in vars(packed.row)
    assert np.array_equal(packed.unpack(), TICKET.mask["sparse"].numpy())
    assert packed.bits is packed.bits


def test_names_of_values_never_meet_names_of_parameters(tmp_path: Path) -> None:
    names = ["values", "values.0", "values.1", "values_.0", "w" * 512]
    weights = {name: torch.randn(40) for name in names}
    found = Mask({name: np.arange(40) % 9 == 0 for name in names})
    made = Ticket(found, PROVENANCE, Counts(200, 200, 200)).with_values(weights)
    made.save(tmp_path / "x.safetensors")
    assert load_ticket(tmp_path / "x.safetensors") == made
    assert list(made.state_dict()) == sorted(names)


def test_the_order_of_values_leaves_no_trace() -> None:
    turned = Ticket(
        TICKET.mask,
        TICKET.provenance,
        TICKET.counts,
        TICKET.aliases,
        values=dict(reversed([*TICKET.values.items()])),
    )
    assert turned.encoded("rice") == DATA


def test_fields_of_a_newer_version_are_kept_whatever_the_encoding(tmp_path: Path) -> None:
    def extend(record: dict[str, Any]) -> None:
        record["future"] = [1]
        record["layers"]["sparse"]["saliency"] = 0.25

    found = load_ticket(rewritten(tmp_path / "x.safetensors", extend))
    expected = {"future": [1], "layers": {"sparse": {"saliency": 0.25}}}
    assert found.extra == expected
    for encoding in ("packed", "rice"):
        found.save(tmp_path / "y.safetensors", encoding)
        again = load_ticket(tmp_path / "y.safetensors")
        assert again.extra == expected
        assert again == found
    assert "rice" not in metadata(found.encoded())["layers"]["sparse"]


@pytest.mark.parametrize(
    ("command", "expected"), [("show", "encoding: rice (4 of 5 layers)"), ("verify", "agree")]
)
def test_it_is_read_without_torch(command: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(DATA)
    code = (
        "import sys; from ticketkit.cli import main; "
        f"status = main(['{command}', 'x.safetensors']); assert 'torch' not in sys.modules; "
        "sys.exit(status)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert expected in run.stdout


# --- fault row 10: altered


def test_every_flipped_bit_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    noticed = 0
    for flipped in bit_flips(BITS):
        path.write_bytes(flipped)
        try:
            found = load_ticket(path)
        except TicketkitError as error:
            check_message(error)
            noticed += 1
        else:
            assert found == ticket()
    assert noticed > 0.98 * len(BITS)


def test_flipped_bits_give_a_mask_or_an_error_of_ours_where_digests_do_not_count(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.safetensors"
    start = 8 + int.from_bytes(BITS[:8], "little")
    for flipped in list(bit_flips(BITS))[start:]:
        path.write_bytes(flipped)
        with little_memory():
            try:
                found = load_ticket(path, verify=False)
                assert found.mask.shapes == ticket().mask.shapes
                assert all(found.mask[name].shape for name in found.mask)
            except TicketError as error:
                check_message(error)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for length in [*range(1, 40), *range(40, len(DATA), 61), len(DATA) - 1]:
        path.write_bytes(DATA[:length])
        with pytest.raises(TicketkitError) as caught, little_memory():
            load_ticket(path, verify=False)
        check_message(caught.value)


def test_altered_values_are_told_and_read_on_request_alone(tmp_path: Path) -> None:
    def flip(arrays: dict[str, Any]) -> None:
        arrays["values.3"] = arrays["values.3"] ^ np.uint8(1)

    path = rewritten(tmp_path / "x.safetensors", lambda record: None, flip)
    assert refusal(path).startswith("sparse: its values: altered: expected sha256 ")
    assert load_ticket(path, verify=False).mask == TICKET.mask


# --- what cannot be


def code_of(name: str, **fields: object) -> Callable[[dict[str, Any]], None]:
    return lambda record: record["layers"][name]["rice"].update(fields)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (code_of("sparse", codes=3), "sparse: shape [40, 33]: no Rice code of 1,320 bits"),
        (code_of("sparse", codes=10**6), "found 1,000,000 codes of 1 in 1,320 bits"),
        (code_of("sparse", parameter=10**12), "expected a parameter from 0 to 11, found 1,000,0"),
        (code_of("sparse", parameter=0), "no Rice code of 1,320 bits"),
        (code_of("sparse", parameter=-1), "expected whole numbers of 0 or more, found [1, "),
        (code_of("sparse", coded=True), "expected whole numbers of 0 or more, found [True, "),
        (code_of("sparse", coded=2), "codes of 2 in 1,320 bits"),
        (code_of("sparse", coded=0), "weights kept by its record, "),
        (lambda r: r["layers"]["sparse"].update(rice=3), "expected an object, found 3"),
        (lambda r: r["layers"]["sparse"]["rice"].pop("codes"), "it has no 'codes'"),
        (lambda r: r["layers"]["sparse"].pop("rice"), "expected 165 bytes of bits, found"),
        (lambda r: r["layers"]["sparse"].update(shape=[20, 33]), "no Rice code of 660 bits"),
        (lambda r: r["layers"]["sparse"].update(shape=[2**30, 2**30]), "fewer than 2^43"),
        (lambda r: r["layers"]["edges"].update(kept=1), "edges: 1 weights kept by its record"),
        (
            lambda r: r["layers"]["up"].update(block=[1, 16, 3]),
            "up: shape [32, 24, 3]: no Rice code of 48 bits: a gap",
        ),
    ],
)
def test_codes_that_are_none_say_what_was_expected_and_found(
    edit: Callable[[dict[str, Any]], object], reason: str, tmp_path: Path
) -> None:
    path = rewritten(tmp_path / "x.safetensors", edit)
    with little_memory():
        assert reason in refusal(path)


def values_of(name: str, **fields: object) -> Callable[[dict[str, Any]], None]:
    return lambda record: record["layers"][name]["values"].update(fields)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (values_of("even", dtype="F32"), "even: expected F32 values in U8 [4, "),
        (values_of("even", dtype="F4"), "even: values of a dtype F4: not supported"),
        (values_of("even", dtype=3), "dtype: expected text, found 3"),
        (values_of("even", tensor="even"), "its metadata and its tensors differ in values.2"),
        (values_of("even", tensor="values.1"), "its metadata and its tensors differ in values.2"),
        (values_of("even", tensor=["x"]), "tensor: expected text, found ['x']"),
        (values_of("even", sha256=None), "sha256: expected text, found None"),
        (lambda r: r["layers"]["even"].update(values=[]), "expected an object, found []"),
        (lambda r: r["layers"]["even"].pop("values"), "its tensors differ in values.2"),
    ],
)
def test_values_that_do_not_fit_say_what_was_expected_and_found(
    edit: Callable[[dict[str, Any]], object], reason: str, tmp_path: Path
) -> None:
    assert reason in refusal(rewritten(tmp_path / "x.safetensors", edit))


def test_values_of_another_size_are_refused_even_where_digests_do_not_count(tmp_path: Path) -> None:
    def cut(arrays: dict[str, Any]) -> None:
        arrays["values.2"] = arrays["values.2"][:, 1:]

    path = rewritten(tmp_path / "x.safetensors", lambda record: None, cut)
    assert refusal(path, verify=False).startswith("even: expected BF16 values in U8 [2, ")


def test_values_of_some_layers_alone_are_refused(tmp_path: Path) -> None:
    path = rewritten(
        tmp_path / "x.safetensors",
        lambda record: record["layers"]["even"].pop("values"),
        lambda arrays: arrays.pop("values.2"),
    )
    assert refusal(path) == "values of some layers, but none of even"


def test_a_giant_of_few_codes_is_read_within_the_memory_of_its_bytes(tmp_path: Path) -> None:
    def giant(record: dict[str, Any]) -> None:
        for name in record["layers"]:
            record["layers"][name].pop("values")
        code = {"coded": 0, "codes": 1, "parameter": 40}
        record["layers"]["sparse"] |= {"shape": [2**20, 2**20], "rice": code, "kept": 2**40 - 1}
        record["layers"]["edges"] |= {
            "shape": [2**21, 2**20 + 1],
            "block": [2, 2],
            "rice": code,
            "kept": 2**21 * (2**20 + 1) - 4,
        }

    def small(arrays: dict[str, Any]) -> None:
        for name in [name for name in arrays if name.startswith("values")]:
            del arrays[name]
        arrays["sparse"] = arrays["edges"] = np.array([1, *[0] * 39, 1], np.uint8)

    path = rewritten(tmp_path / "x.safetensors", giant, small)
    with little_memory():
        found = load_ticket(path)
        assert found.mask.packed("sparse").kept == 2**40 - 1
        assert found.removed == found.mask.size - found.mask.kept
        assert found != TICKET
        assert found.mask != TICKET.mask
        for other in ({"sparse": (40, 33)}, {}):
            with pytest.raises(MismatchError):
                found.mask.check_fits(other)
        with pytest.raises(MismatchError):
            found.mask.apply_({name: torch.ones(3) for name in found.mask})


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_the_metadata_says_the_answer_is_one_of_ours(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def scramble(record: dict[str, Any]) -> None:
        inner: Any = record["layers"]
        for _ in range(data.draw(st.integers(1, 2))):
            options = [key for key, value in inner.items() if isinstance(value, dict) and value]
            if options:
                inner = inner[data.draw(st.sampled_from(options))]
        key = data.draw(st.sampled_from(sorted(inner)))
        inner[key] = data.draw(
            st.none()
            | st.booleans()
            | st.integers(-2, 2**70)
            | st.text(max_size=3)
            | st.lists(st.integers(-1, 2**40), max_size=4)
            | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
        )

    path = rewritten(tmp_path_factory.getbasetemp() / "scrambled.safetensors", scramble)
    with little_memory():
        try:
            found = load_ticket(path)
            assert found.mask.kept
            assert found.reached()
        except TicketkitError as error:
            check_message(error)


def test_bits_that_were_asked_for_are_those_of_packed_bits() -> None:
    bits = TICKET.mask.packed("sparse").bits
    row = RiceRow.encode(bits, 1320)
    assert np.array_equal(PackedBits((40, 33), row).bits, bits)
