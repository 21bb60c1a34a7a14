"""The Rice code: what goes in comes out, near its entropy, and what is no code is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samples import check_message, little_memory
from ticketkit import InputError, gaps, rice
from ticketkit.bits import Bits, bits_between, pack
from ticketkit.rice import RiceRow
from ticketkit.tiling import Booleans

LAW = settings(deadline=None, max_examples=200)


def by_the_book(row: RiceRow) -> list[bool]:
    """The bits of a row, decoded bit by bit from the layout that the module documents."""

    def bit(at: int) -> int:
        return int(row.data[at // 8]) >> (at % 8) & 1

    plane = -(-row.codes // 8)
    at, position = 8 * row.parameter * plane, -1
    found = [not row.coded] * row.size
    for code in range(row.codes):
        quotient = 0
        while not bit(at):
            quotient, at = quotient + 1, at + 1
        at += 1
        remainder = sum(bit(8 * b * plane + code) << b for b in range(row.parameter))
        position += (quotient << row.parameter) + remainder + 1
        found[position] = bool(row.coded)
    assert len(row.data) == -(-at // 8)
    return found


def again(row: RiceRow, **changes: Any) -> RiceRow:
    fields = ("size", "coded", "codes", "parameter", "data")
    return RiceRow(**({name: getattr(row, name) for name in fields} | changes))


def check_round_trip(keep: Booleans) -> RiceRow:
    row = RiceRow.encode(pack(keep), keep.size)
    row.check()
    assert row.ones == keep.sum()
    assert np.array_equal(bits_between(row.bits, 0, keep.size), keep)
    assert np.array_equal(row.bits, pack(keep))
    assert np.array_equal(RiceRow.encode(pack(keep), keep.size).data, row.data)
    return row


@st.composite
def rows(draw: st.DrawFn) -> Booleans:
    """Rows of every density, at random or in clusters."""
    size = draw(st.integers(0, 700))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0, 0.003, 0.02, 0.1, 0.5, 0.9, 0.99, 1]))
    keep = rng.random(size) < density
    if draw(st.booleans()):
        keep &= np.arange(size) // 64 % 4 == draw(st.integers(0, 3))
    return keep


@LAW
@given(rows(), st.sampled_from([8, 64, gaps.STEP]))
def test_any_row_comes_back_and_is_decoded_alike_by_the_book(keep: Booleans, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gaps, "STEP", step)
        patch.setattr(rice, "STEP", step)
        row = check_round_trip(keep)
    assert by_the_book(row) == keep.tolist()


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 64, 1000])
@pytest.mark.parametrize("symbol", [False, True])
def test_rows_of_one_symbol_have_no_codes(size: int, symbol: bool) -> None:
    row = check_round_trip(np.full(size, symbol))
    assert (row.codes, row.data.nbytes) == (0, 0)


@pytest.mark.parametrize("at", [0, 6, 7, 8, 99_999])
@pytest.mark.parametrize("symbol", [False, True])
def test_one_bit_takes_a_few_bytes_wherever_it_is(at: int, symbol: bool) -> None:
    keep = np.full(100_000, not symbol)
    keep[at] = symbol
    assert check_round_trip(keep).data.nbytes < 24


def test_an_example_to_read() -> None:
    keep = np.zeros(24, np.bool_)
    keep[[2, 7, 21]] = True  # gaps 2, 4, 13: quotients 0, 1, 3 and remainders 2, 0, 1 for k = 2
    expected = [0b100, 0b001, 0b1000101]
    row = RiceRow(24, 1, 3, 2, np.array(expected, np.uint8))
    assert np.array_equal(bits_between(row.bits, 0, 24), keep)
    assert RiceRow.encode(pack(keep), 24).parameter in (2, 3)


@pytest.mark.parametrize("density", [0.3, 0.1, 0.05, 0.02, 0.01, 0.001, 0.97])
def test_it_is_near_the_entropy(density: float) -> None:
    keep = np.random.default_rng(0).random(2**21) < density
    row = check_round_trip(keep)
    share = keep.mean()
    entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) * keep.size / 8
    assert row.data.nbytes <= 1.045 * entropy


@LAW
@given(rows())
def test_no_other_parameter_would_be_shorter(keep: Booleans) -> None:
    row = RiceRow.encode(pack(keep), keep.size)
    if row.codes:
        positions = np.flatnonzero(keep == row.coded)
        found = np.diff(positions, prepend=-1) - 1
        costs = [row.codes * k + (found >> k).sum() for k in range(12)]
        assert costs[row.parameter] == min(costs)


def test_clusters_far_apart_are_measured_too() -> None:
    size = 2**23
    keep = np.zeros(size, np.bool_)
    keep[:: 2**17] = True  # one window sees nothing of what the others hold
    keep[: 2**12] = np.random.default_rng(0).random(2**12) < 0.5
    row = check_round_trip(keep)
    found = np.diff(np.flatnonzero(keep), prepend=-1) - 1
    best = min(row.codes * (k + 1) + (found >> k).sum() for k in range(24))
    assert 8 * row.data.nbytes <= 1.3 * best + 8 * 24


def test_little_memory_is_needed_beside_the_packed_bits() -> None:
    rng = np.random.default_rng(0)
    sparse, clustered = (pack(rng.random(2**24) < 0.1), np.zeros(2**21, np.uint8))
    clustered[:64] = 255
    clustered[-1] = 128
    for bits in (sparse, clustered):
        with little_memory(3 * bits.nbytes + 2**22):
            row = RiceRow.encode(bits, 2**24)
        with little_memory(bits.nbytes + 2**22):
            assert np.array_equal(again(row).bits, bits)


# --- what is no code


def refusal(row: RiceRow) -> str:
    messages = []
    for look in (row.check, lambda: row.bits):
        with pytest.raises(InputError) as caught:
            look()
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    return messages[0].removeprefix(f"no Rice code of {row.size:,} bits: ")


def sample() -> RiceRow:
    keep = np.random.default_rng(1).random(900) < 0.1
    row = RiceRow.encode(pack(keep), 900)
    assert row.codes % 8
    assert row.parameter
    return row


def edited(data: Bits, at: int, value: int) -> Bits:
    changed = data.copy()
    changed[at] = value
    return changed


def test_what_was_expected_and_found_is_told() -> None:
    row = sample()
    more = np.append(row.data, np.uint8(0))
    assert refusal(again(row, data=more)) == "bytes beyond the last code"
    assert refusal(again(row, data=np.append(row.data, np.uint8(3)))) == (
        f"more than the {row.codes} codes expected"
    )
    fewer = f"{row.codes - 1} codes where {row.codes} were expected"
    last = int(row.data[-1])
    without = last & ~(1 << last.bit_length() - 1)
    assert without, "the sample's last byte has two codes"
    assert refusal(again(row, data=edited(row.data, -1, without))) == fewer
    assert refusal(again(row, size=700)) == "gaps that end beyond the row"
    plane = (row.codes + 7) // 8
    beyond = edited(row.data, plane - 1, 255)
    assert refusal(again(row, data=beyond)) == "remainders beyond the last code"
    one = RiceRow(9, 1, 1, 0, np.array([0, 0, 1], np.uint8))
    assert refusal(one) == "a gap beyond the end of the row"
    assert refusal(RiceRow(9, 1, 0, 0, np.array([1], np.uint8))) == "bytes where none were expected"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"codes": 901}, "found 901 codes of 1 in 900 bits"),
        ({"codes": -1}, "found -1 codes of"),
        ({"size": 2**43}, "of which fewer than 2^43; found"),
        ({"size": -1}, "found"),
        ({"coded": 2}, "codes of 2"),
        ({"parameter": 11}, "expected a parameter from 0 to 10, found 11"),
        ({"parameter": -1}, "expected a parameter from 0 to 10, found -1"),
        ({"parameter": 10**9}, "found 1,000,000,000"),
        ({"codes": 800}, "expected 400 bytes or more for 800 codes with parameter 3, found"),
    ],
    ids=str,
)
def test_numbers_that_cannot_be_are_refused(changes: dict[str, int], reason: str) -> None:
    with pytest.raises(InputError, match=re.escape(reason)):
        again(sample(), **changes)


def test_a_row_that_claims_a_lot_takes_the_memory_of_its_bytes() -> None:
    data = np.array([1, *[0] * 39, 1], np.uint8)
    row = RiceRow(2**40, 0, 1, 40, data)
    with little_memory():
        row.check()
        assert row.ones == 2**40 - 1
        assert [each.tolist() for each in row.positions()] == [[1]]
    zeros = np.zeros(10**6, np.uint8)
    zeros[-1] = 128
    with little_memory(2**23):
        assert refusal(RiceRow(2**21, 1, 1, 0, zeros)).startswith("a gap beyond")


@LAW
@given(rows(), st.data())
def test_whatever_the_bytes_are_the_answer_is_a_row_or_an_error_of_ours(
    keep: Booleans, data: st.DataObject
) -> None:
    row = RiceRow.encode(pack(keep), keep.size)
    raw = bytearray(row.data.tobytes())
    for _ in range(data.draw(st.integers(1, 3))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.sampled_from([len(raw), max(0, len(raw) - 1), len(raw) // 2]))
    try:
        found = again(
            row,
            data=np.frombuffer(bytes(raw[:cut]), np.uint8),
            codes=row.codes + data.draw(st.integers(-1, 1)),
            parameter=row.parameter + data.draw(st.integers(-1, 1)),
        )
        found.check()
    except InputError as error:
        check_message(error)
    else:
        assert found.bits.nbytes == (keep.size + 7) // 8
        assert bits_between(found.bits, 0, keep.size).sum() == found.ones
        assert by_the_book(found) == bits_between(found.bits, 0, keep.size).tolist()
