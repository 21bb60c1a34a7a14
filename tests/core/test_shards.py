"""Checkpoints in shards: a folder of safetensors files, and an index that tells of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import ticketkit
from tests.samples import (
    check_message,
    file_size_limit,
    leftovers,
    little_memory,
    load,
    names,
    raw_safetensors,
    save,
    save_index,
    save_shards,
    state,
)
from ticketkit import CheckpointError, InputError, OutputError, UsageError
from ticketkit.applying import apply
from ticketkit.folders import reserve_folder
from ticketkit.pruning import prune
from ticketkit.request import Request
from ticketkit.verification import verify

INDEX = "model.safetensors.index.json"


def request(source: Path, folder: Path, **options: Any) -> Request:
    options.setdefault("output", folder / "pruned")
    return Request(source, ticket=folder / "t.safetensors", **{"sparsity": 0.5, **options})


def placed(folder: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((folder / INDEX).read_text())["weight_map"]
    return found


@pytest.mark.parametrize("given", ["", INDEX])
def test_the_tensors_are_those_of_all_shards(given: str, tmp_path: Path) -> None:
    folder = save_shards(state(), tmp_path)
    checkpoint = ticketkit.open_checkpoint(folder / given)
    assert set(checkpoint) == set(state())
    assert all(checkpoint[name].equal(tensor) for name, tensor in state().items())
    assert checkpoint.description == "sharded safetensors, 3 files"


def test_links_into_another_folder_are_followed(tmp_path: Path) -> None:
    # as in the cache of a hub, whose files are links to blobs
    folder = save_shards(state(), tmp_path)
    (tmp_path / "links").mkdir()
    for path in folder.iterdir():
        (tmp_path / "links" / path.name).symlink_to(path)
    for given in (tmp_path / "links", tmp_path / "links" / INDEX):
        assert ticketkit.open_checkpoint(given).digest() == whole(tmp_path).digest()


def whole(folder: Path) -> ticketkit.Checkpoint:
    return ticketkit.open_checkpoint(save(state(), folder, "safetensors"))


@pytest.mark.parametrize("scheme", ["unstructured", "channel"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_ticket_is_that_of_the_same_weights_in_one_file(
    count: int, scheme: str, tmp_path: Path
) -> None:
    folder = save_shards(state(), tmp_path, count)
    one = ticketkit.draw(whole(tmp_path), scheme=scheme, sparsity=0.7)
    many = ticketkit.draw(ticketkit.open_checkpoint(folder), scheme=scheme, sparsity=0.7)
    assert many.encoded() == one.encoded()


def test_what_is_written_has_the_shards_headers_and_index_of_what_was_read(
    tmp_path: Path,
) -> None:
    folder = save_shards(state(), tmp_path)
    (folder / "config.json").write_text("{}")
    document = prune(request(folder, tmp_path))
    mask = ticketkit.load_ticket(tmp_path / "t.safetensors").mask
    pruned = tmp_path / "pruned"
    assert names(pruned) == [name for name in names(folder) if name != "config.json"]
    assert "what else is in the folder was not copied: config.json" in document["notes"]
    assert (pruned / INDEX).read_bytes() == (folder / INDEX).read_bytes()
    for path in folder.glob("*.safetensors"):
        before, after = path.read_bytes(), (pruned / path.name).read_bytes()
        length = 8 + int.from_bytes(before[:8], "little")
        assert after[:length] == before[:length]
    for name, tensor in load(pruned).items():
        assert tensor.equal(state()[name] * mask[name] if name in mask else state()[name])
    assert verify(tmp_path / "t.safetensors", pruned)["ok"]
    assert leftovers(tmp_path) == []


def test_a_ticket_applies_to_its_weights_in_shards(tmp_path: Path) -> None:
    source = save(state(), tmp_path, "safetensors")
    prune(request(source, tmp_path, output=tmp_path / "one.safetensors"))
    folder = save_shards(state(), tmp_path, 2, "shards")
    apply(tmp_path / "t.safetensors", folder, tmp_path / "many")
    one, many = load(tmp_path / "one.safetensors"), load(tmp_path / "many")
    assert all(one[name].equal(many[name]) for name in one)


# --- fault row 9: what an index may not say


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        ticketkit.open_checkpoint(folder)
    check_message(caught.value)
    return str(caught.value).partition(": ")[2]


def test_a_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = save_shards(state(), tmp_path)
    (folder / "model-00002-of-00003.safetensors").unlink()
    assert refusal(folder) == "names the shard model-00002-of-00003.safetensors, which is not there"


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "/etc/model.safetensors",
        "sub/model.safetensors",
        "..\\model.safetensors",
        "C:model.safetensors",
        "model.pt",
        "..",
        "",
        "a\n.safetensors",
        3,
        None,
    ],
)
def test_a_path_that_leaves_the_folder_is_refused(name: object, tmp_path: Path) -> None:
    folder = save_shards(state(), tmp_path)
    save_index(folder, {**placed(folder), "fc.bias": name})
    message = refusal(folder)
    assert message.startswith(
        "expected names of .safetensors files in its own folder; found fc.bias"
    )


def test_a_key_in_two_shards_is_named(tmp_path: Path) -> None:
    folder = save_shards(state(), tmp_path)
    extra = folder / "model-00002-of-00003.safetensors"
    save_file({**load(extra), "stem.weight": torch.ones(2)}, extra)
    assert refusal(folder) == "held by two shards: stem.weight"


def test_an_index_that_names_what_no_shard_holds_is_refused(tmp_path: Path) -> None:
    folder = save_shards(state(), tmp_path)
    save_index(folder, {**placed(folder), "new": "model-00001-of-00003.safetensors"})
    expected = "named by the index and not held: new in model-00001-of-00003.safetensors"
    assert refusal(folder) == expected


def test_a_shard_that_holds_what_the_index_does_not_name_is_refused(tmp_path: Path) -> None:
    folder = save_shards(state(), tmp_path)
    save_index(folder, {key: name for key, name in placed(folder).items() if key != "bn.bias"})
    expected = "held and not named by the index: bn.bias in model-00003-of-00003.safetensors"
    assert refusal(folder) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "the index is no JSON: "),
        ("[]", "the index is no JSON object"),
        ("\xff", "the index is no JSON: "),
        ("{}", "malformed index: expected a 'weight_map' of names to files"),
        ('{"weight_map": {}}', "malformed index: expected a 'weight_map'"),
        ('{"weight_map": []}', "malformed index: expected a 'weight_map'"),
        ('{"weight_map": {"a": "b", "a": "c"}}', "the index has twice: a"),
        ('{"weight_map": ' + "[" * 100_000, "the index is no JSON: "),
        ('{"n": ' + "9" * 5000 + "}", "the index is no JSON: "),
    ],
)
def test_a_malformed_index_is_refused_in_one_line(text: str, reason: str, tmp_path: Path) -> None:
    folder = save_shards(state(), tmp_path)
    (folder / INDEX).write_bytes(text.encode("latin-1"))
    assert refusal(folder).startswith(reason)


def test_a_shard_in_a_bad_state_is_named(tmp_path: Path) -> None:
    # fault rows 2-5 and 9, in a shard
    folder = save_shards(state(), tmp_path)
    shard = folder / "model-00001-of-00003.safetensors"
    good = shard.read_bytes()
    for content, reason in {
        b"": "empty file, 0 bytes",
        good[:-1]: "truncated: expected",
        b"<!DOCTYPE html>": "an HTML page",
        raw_safetensors(
            {"__metadata__": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"0000"
        ): "a tensor named '__metadata__'",
    }.items():
        shard.write_bytes(content)
        with pytest.raises(InputError, match=reason) as caught:
            ticketkit.open_checkpoint(folder)
        assert str(caught.value).startswith(str(shard))


def test_a_file_of_torch_is_no_shard(tmp_path: Path) -> None:
    folder = save_shards(state(), tmp_path)
    torch.save({"a": torch.ones(2)}, folder / "model-00001-of-00003.safetensors")
    with pytest.raises(CheckpointError, match="expected a safetensors file, found the form zip"):
        ticketkit.open_checkpoint(folder)


# --- folders


def test_a_folder_without_one_index_says_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a folder; expected one .* in it, found none"):
        ticketkit.open_checkpoint(tmp_path)
    folder = save_shards(state(), tmp_path)
    (folder / "other.safetensors.index.json").write_bytes((folder / INDEX).read_bytes())
    with pytest.raises(CheckpointError, match=r"found model\S+, other\S+"):
        ticketkit.open_checkpoint(folder)
    assert ticketkit.open_checkpoint(folder / INDEX)


def test_an_index_of_pickled_shards_is_told(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not an index of safetensors files"):
        ticketkit.open_checkpoint(tmp_path / "pytorch_model.bin.index.json")


def test_the_output_is_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = save_shards(state(), tmp_path)
    for output in (folder, folder / "." / "", tmp_path / "sub" / ".." / "model"):
        with pytest.raises(UsageError, match="the output would replace its input"):
            prune(request(folder / INDEX, tmp_path, output=output, force=True))
    with pytest.raises(UsageError, match="is sharded and stays so: name a folder"):
        prune(request(folder, tmp_path, output=tmp_path / "x.safetensors"))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file, where a folder is to be written"):
        prune(request(folder, tmp_path, output=tmp_path / "file", force=True))


def test_a_folder_that_is_there_stays_unless_forced_and_keeps_its_other_files(
    tmp_path: Path,
) -> None:
    folder = save_shards(state(), tmp_path)
    (tmp_path / "pruned").mkdir()
    (tmp_path / "pruned" / "config.json").write_text("mine")
    with pytest.raises(UsageError, match="already there"):
        prune(request(folder, tmp_path))
    assert names(tmp_path / "pruned") == ["config.json"]
    prune(request(folder, tmp_path, force=True))
    prune(request(folder, tmp_path, force=True, sparsity=0.7))
    assert (tmp_path / "pruned" / "config.json").read_text() == "mine"
    assert verify(tmp_path / "t.safetensors", tmp_path / "pruned")["ok"]


def test_the_files_of_a_sharded_input_are_never_replaced(tmp_path: Path) -> None:
    folder = save_shards(state(), tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "link.safetensors").symlink_to(folder / "model-00001-of-00003.safetensors")
    for ticket in (folder / INDEX, folder / sorted(before)[0], tmp_path / "link.safetensors"):
        asked = Request(folder, None, ticket, 0.5, force=True)
        with pytest.raises(UsageError, match="the output would replace its input"):
            prune(asked)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_with_another_index_is_refused(tmp_path: Path) -> None:
    folder = save_shards(state(), tmp_path)
    (tmp_path / "pruned").mkdir()
    for name in ("other.safetensors.index.json", "model-00004-of-00004.safetensors"):
        (tmp_path / "pruned" / name).touch()
        with pytest.raises(UsageError, match=f"holds another checkpoint: {name}"):
            prune(request(folder, tmp_path, force=True))
        (tmp_path / "pruned" / name).unlink()


def test_what_a_criterion_writes_to_its_weights_is_in_no_digest_and_no_output(
    tmp_path: Path,
) -> None:
    class Careless(ticketkit.Criterion):
        """Writes through NumPy, which torch does not see."""

        name = "careless"

        def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
            array = weight.numpy()
            np.abs(array, out=array)
            return weight.clone()

    checkpoint = ticketkit.open_checkpoint(save_shards(state(), tmp_path))
    ticket = ticketkit.draw(checkpoint, scheme="row", sparsity=0.5, criterion=Careless())
    assert ticket.provenance.source == whole(tmp_path).digest()
    with reserve_folder(tmp_path / "pruned") as output:
        checkpoint.write(output, ticket.mask)
    written = load(tmp_path / "pruned")["stem.weight"]
    assert written.equal(state()["stem.weight"] * ticket.mask["stem.weight"])


# --- fault row 50 for shards


@pytest.mark.parametrize("limit", [1000, 40_000, 250_000])
def test_a_quota_leaves_nothing_or_what_was_there(limit: int, tmp_path: Path) -> None:
    weights = {f"{i}.weight": torch.randn(100, 100 * (i + 1)) for i in range(8)}
    folder = save_shards(weights, tmp_path)
    for _ in range(2):
        with file_size_limit(limit), pytest.raises(OutputError) as caught:
            prune(request(folder, tmp_path, force=True))
        check_message(caught.value)
        assert "bytes are needed" in str(caught.value)
        assert str(tmp_path / "pruned" / "model-0000") in str(caught.value)
        assert leftovers(tmp_path) == []
        if not (tmp_path / "pruned").exists():
            assert names(tmp_path) == ["model"]
            prune(request(folder, tmp_path, sparsity=0.9))
            kept = {p.name: p.read_bytes() for p in (tmp_path / "pruned").iterdir()}
    assert kept == {p.name: p.read_bytes() for p in (tmp_path / "pruned").iterdir()}


def test_a_shard_that_vanishes_after_it_was_opened_is_read_to_its_end(tmp_path: Path) -> None:
    folder = save_shards(state(), tmp_path)
    checkpoint = ticketkit.open_checkpoint(folder)
    for path in folder.iterdir():
        path.unlink()
    ticketkit.draw(checkpoint, scheme="row", sparsity=0.5)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    folder = save_shards(state(), tmp_path)
    with pytest.raises(OutputError, match="no such folder"):
        prune(request(folder, tmp_path, output=tmp_path / "nowhere" / "pruned"))


def test_a_checkpoint_is_written_without_being_held(tmp_path: Path) -> None:
    weights = {f"{i}.weight": torch.randn(2048, 2048) for i in range(4)}
    checkpoint = ticketkit.open_checkpoint(save_shards(weights, tmp_path, 2))
    assert checkpoint.size > 2**26
    mask = ticketkit.draw(checkpoint, scheme="unstructured", sparsity=0.5).mask
    with little_memory(2**23), reserve_folder(tmp_path / "pruned") as output:
        checkpoint.write(output, mask)
    assert load(tmp_path / "pruned")["1.weight"].equal(weights["1.weight"] * mask["1.weight"])
