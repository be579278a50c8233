"""Members of archives and whole files as rows: what people bring, and what must not harm."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from ftcore.data.sources import _archives
from ftcore.errors import DataRejectedError

Rows = Callable[..., list[dict[str, Any]]]


def as_parquet() -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"text": ["p"], "label": ["x"]}), sink)
    return sink.getvalue()


MEMBERS = {
    "in/a.csv": b"text,label\na,x\n",
    "in/deeper/b.jsonl.gz": gzip.compress(b'{"text": "b", "label": "y"}\n{"text": ["no"], "label": "z"}'),
    "in/c.parquet": as_parquet(),
    "in/README.md": b"text,label\nnot a row\n",
    "__MACOSX/in/._a.csv": b"\x00\x05",
    "in/.hidden.csv": b"text,label\nhidden,x\n",
}


def pack(path: Path, members: dict[str, bytes]) -> None:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return
    with tarfile.open(path, f"w:{path.suffix[1:].replace('tgz', 'gz').replace('tar', '')}") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("in/link.csv")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)


@pytest.mark.parametrize("name", ["d.zip", "d.tar", "d.tar.gz", "d.tgz", "d.tar.bz2", "d.tar.xz"])
def test_members_are_read_as_files(tmp_path: Path, rows: Rows, name: str) -> None:
    pack(tmp_path / name, MEMBERS)
    got = rows(kind="files", path=name)
    assert [(row["text"][:3], row["source"]) for row in got] == [
        ("a", "files:d/in/a"),
        ("b", "files:d/in/deeper/b"),
        ("\ufffd [", "files:d/in/deeper/b"),
        ("p", "files:d/in/c"),
    ]
    assert got[2]["origin"].endswith(f"{name}: in/deeper/b.jsonl.gz, line 2")
    assert [row["text"] for row in rows(kind="files", path=name, members="in/*.csv")] == ["a"]
    assert list(tmp_path.iterdir()) == [tmp_path / name], "nothing is unpacked to the disk"
    with pytest.raises(DataRejectedError, match=r"none of its \d members matches 'out/\*'"):
        rows(kind="files", path=name, members="out/*")


@pytest.mark.parametrize("name", ["../a.csv", "/etc/a.csv", "in/../../a.csv", "..\\a.csv"])
@pytest.mark.parametrize("archive", ["d.zip", "d.tar.gz"])
def test_a_name_that_leads_out_of_the_archive_is_refused(tmp_path: Path, rows: Rows, name: str, archive: str) -> None:
    pack(tmp_path / archive, {name: b"text,label\na,x\n"})
    with pytest.raises(DataRejectedError, match="leads out of the archive"):
        rows(kind="files", path=archive)


@pytest.mark.parametrize("archive", ["d.zip", "d.tar.gz"])
def test_a_bomb_is_not_unpacked(tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch, archive: str) -> None:
    monkeypatch.setattr(_archives, "SMALL_BYTES", 100_000)
    pack(tmp_path / archive, {"a.csv": b"text,label\n" + b"a,x\n" * 2_000_000})
    assert (tmp_path / archive).stat().st_size < 20_000
    with pytest.raises(DataRejectedError, match="unpacks to more than 300 times its size"):
        rows(kind="files", path=archive)


def test_what_is_no_archive_says_so(tmp_path: Path, rows: Rows) -> None:
    for name in ("d.zip", "d.tar.gz"):
        (tmp_path / name).write_bytes(b"no archive")
        with pytest.raises(DataRejectedError, match="is no archive that can be read"):
            rows(kind="files", path=name)


def test_one_file_a_text_with_its_folder_as_the_label(tmp_path: Path, rows: Rows) -> None:
    texts = {"pos/1_10.txt": "fine\nindeed\n", "neg/2_1.txt": "poor", "neg/3_1.txt": "", "pos/notes": "no ending"}
    for name, text in texts.items():
        (tmp_path / "reviews" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "reviews" / name).write_text(text)
    got = rows(kind="files", path="reviews/*/*.txt", format="document", label="folder", id="path")
    assert [(row["text"], row["label"], row["source"], row["source_id"]) for row in got] == [
        ("poor", "neg", "files:reviews", "reviews/neg/2_1.txt"),
        ("fine\nindeed\n", "pos", "files:reviews", "reviews/pos/1_10.txt"),
    ]
    pack(tmp_path / "reviews.zip", {name: text.encode() for name, text in texts.items()})
    packed = rows(kind="files", path="reviews.zip", format="document", members="*.txt", label="{{ folder }}", id="file")
    assert sorted((row["text"], row["label"], row["source_id"]) for row in packed) == [
        ("fine\nindeed\n", "pos", "1_10.txt"),
        ("poor", "neg", "2_1.txt"),
    ]
    assert {row["label"] for row in rows(kind="files", path="reviews/*/*.txt", format="document")} == {None}


def test_every_file_tells_where_it_lies_unless_it_has_such_columns(tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.csv").write_text("text,file\nx,own\n")
    (tmp_path / "good" / "b.jsonl").write_text('{"text": "y"}\n{"text": "z", "file": null}\n')
    parquet.write_table(pa.table({"text": ["p"]}), tmp_path / "good" / "c.parquet")
    got = rows(kind="files", path="*/*", label="folder", group="{{ path }}", id="file")
    assert [(row["text"], row["label"], row["source_id"]) for row in got] == [
        ("x", "good", "own"),
        ("y", "good", "b.jsonl"),
        ("z", "good", None),
        ("p", "good", "c.parquet"),
    ]
    assert got[0]["group"].endswith("good/a.csv")


def test_a_document_that_is_too_long_costs_one_row(tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftcore.data.sources._formats.LONGEST_ROW", 100)
    for name, length in (("a", 100), ("b", 101)):
        (tmp_path / f"{name}.txt").write_text("x" * length)
    got = rows(kind="files", path="*.txt", format="document")
    assert [row["text"][:10] for row in got] == ["x" * 10, "\ufffd [longer "]


def test_shards_of_archives_and_documents_give_what_the_whole_gives(
    tmp_path: Path, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTCORE_SHARD_BYTES", "300")
    for number in range(4):
        pack(tmp_path / f"d{number}.zip", {f"{number}.csv": f"text,label\n{number},x\n".encode()})
    here = context({"kind": "files", "path": "d*.zip"})
    source = here.recipe.sources[0]
    groups = source.shards(here)
    assert len(groups) > 1
    parts = [row for _, pieces in groups for t in source.read_shard(here, pieces) for row in t.to_pylist()]
    assert parts == [row for table in source.read(here) for row in table.to_pylist()]


CUTS = {
    "within a header": (1024 + 200, "breaks off within the header"),
    "behind a member": (1024, r"breaks off behind a\.csv, without the blocks of zeros that end an archive"),
    "behind the last member": (2048, r"breaks off behind b\.csv, without the blocks of zeros that end an archive"),
    "within a member": (512 + 5, "unexpected end of data"),
    "within the last member": (1024 + 512 + 5, "unexpected end of data"),
    "at its beginning": (0, "is no archive that can be read"),
}


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_tar_that_is_cut_anywhere_is_an_error(tmp_path: Path, name: str, cut: str) -> None:
    with tarfile.open(tmp_path / "whole.tar", "w") as archive:
        for member in ("a.csv", "b.csv"):
            info = tarfile.TarInfo(member)
            info.size = 10
            archive.addfile(info, io.BytesIO(b"text\nrow 1"))
    length, why = CUTS[cut]
    packers: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    pack_as = packers.get(name.rsplit(".", 1)[1], bytes)
    whole = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / name).write_bytes(pack_as(whole[:length]))
    with pytest.raises(DataRejectedError, match=why):
        list(_archives.members(tmp_path / name, None, any_format=False))
    (tmp_path / name).write_bytes(pack_as(whole))
    assert [member for member, _ in _archives.members(tmp_path / name, None, any_format=False)] == ["a.csv", "b.csv"]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.zip"])
def test_a_packed_archive_that_is_cut_is_an_error(tmp_path: Path, name: str, share: float) -> None:
    noise = random.Random(0).randbytes(20_000).hex().encode()
    pack(tmp_path / name, {f"{n}.csv": b"text,label\n" + noise[n * 4000 :] for n in range(5)})
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataRejectedError, match=r"is no archive that can be read|cannot be read|breaks off"):
        list(_archives.members(tmp_path / name, None, any_format=False))


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_two_tars_in_one_file_are_an_error(tmp_path: Path, name: str) -> None:
    for part in ("one", "two"):
        pack(tmp_path / f"{part}.{name}", {f"{part}.csv": b"text,label\na,x\n"})
    (tmp_path / name).write_bytes(b"".join((tmp_path / f"{part}.{name}").read_bytes() for part in ("one", "two")))
    with pytest.raises(DataRejectedError, match="more stands behind its end"):
        list(_archives.members(tmp_path / name, None, any_format=False))


def test_two_members_of_one_name_are_an_error(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for data in (b"text,label\na,x\n", b"text,label\nb,y\n"):
            info = tarfile.TarInfo("a.csv")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with pytest.raises(DataRejectedError, match=r"more than one member 'a\.csv'"):
        list(_archives.members(tmp_path / "a.tar", None, any_format=False))
