"""Hashes that tie a step to what it read."""

from __future__ import annotations

import subprocess
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftcore.store import records

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_equal_values_give_equal_text(value: dict[str, object]) -> None:
    assert records.canonical(value) == records.canonical(dict(reversed(value.items())))


def test_a_fingerprint_depends_on_all_three_and_on_nothing_else() -> None:
    parts = ({"name": "a"}, {"train": "always"}, {"ingest": "f0"})
    first = records.fingerprint(*parts)
    assert first == records.fingerprint(*parts)
    changed = [({"name": "b"}, *parts[1:]), (parts[0], {}, parts[2]), (*parts[:2], {"ingest": "f1"})]
    # What stands in one part must not pass for another.
    changed.append((parts[0], parts[2], parts[1]))
    assert len({first, *(records.fingerprint(*other) for other in changed)}) == 5


def test_the_hash_is_sha256_of_utf8() -> None:
    assert records.sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert records.sha256("é") == records.sha256(b"\xc3\xa9")


def test_now_is_utc_to_the_millisecond() -> None:
    moment = records.now()
    assert moment.tzinfo is UTC
    assert moment.microsecond % 1000 == 0


def test_versions_name_what_is_installed() -> None:
    assert {"ftcore", "mlflow"} <= set(records.versions()) <= set(records.PACKAGES)


def test_the_commit_says_where_files_had_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(tmp_path), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert records.git_commit(str(tmp_path)) == ""
    git("init")
    (tmp_path / "file").write_text("one")
    git("add", ".")
    git("commit", "-m", "first")
    commit = git("rev-parse", "HEAD")
    records.git_commit.cache_clear()
    (tmp_path / "not-tracked").touch()
    assert records.git_commit(str(tmp_path)) == commit
    records.git_commit.cache_clear()
    (tmp_path / "file").write_text("two")
    assert records.git_commit(str(tmp_path)) == f"{commit}+dirty"
    records.git_commit.cache_clear()


def test_no_git_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    records.git_commit.cache_clear()
    assert records.git_commit(str(tmp_path)) == ""
    records.git_commit.cache_clear()
