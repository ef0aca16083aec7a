"""The tree's key: where it comes from, and which files are refused."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from tractor_core.ipc.cookie import KeyFileError, cookie_path, derive_key, load_key


@pytest.fixture
def tmp_path() -> Path:
    """A place outside of the runtime directory, in which a file left over counts as a leak."""
    return Path(tempfile.mkdtemp(dir=os.environ["HOME"]))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


@pytest.fixture
def open_umask() -> Iterator[None]:
    previous = os.umask(0)
    yield
    os.umask(previous)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def private(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


# -- the cookie ----------------------------------------------------------------------------------


def test_the_first_call_makes_a_cookie_that_later_ones_find(environ: dict[str, str], tmp_path: Path) -> None:
    key, explicit = load_key(None, environ)
    assert (len(key), explicit) == (32, False)
    assert load_key(None, environ) == (key, False)
    path = tmp_path / ".config/tractor-core/cookie"
    assert cookie_path(environ) == path
    assert len(bytes.fromhex(path.read_text())) == 32
    assert [file.name for file in path.parent.iterdir()] == ["cookie"]


def test_only_the_user_can_read_it_whatever_the_umask(environ: dict[str, str], open_umask: None) -> None:
    load_key(None, environ)
    path = cookie_path(environ)
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700


def test_the_configuration_directory_can_be_moved(environ: dict[str, str], tmp_path: Path) -> None:
    moved = environ | {"XDG_CONFIG_HOME": str(tmp_path / "elsewhere")}
    assert cookie_path(moved) == tmp_path / "elsewhere/tractor-core/cookie"
    # A relative path there is to be ignored.
    assert cookie_path(environ | {"XDG_CONFIG_HOME": "relative"}) == cookie_path(environ)


def test_without_a_home_the_password_database_is_asked() -> None:
    assert cookie_path({}).is_absolute()


def test_two_users_have_different_keys(tmp_path: Path) -> None:
    assert load_key(None, {"HOME": str(tmp_path / "a")}) != load_key(None, {"HOME": str(tmp_path / "b")})


@pytest.mark.parametrize("links", [True, False])
def test_many_that_start_at_once_agree(
    environ: dict[str, str], links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "no links here")

        def rename_late(source: Path, target: Path, rename: Any = os.rename) -> None:
            time.sleep(0.02)  # the others look meanwhile, if they may
            rename(source, target)

        monkeypatch.setattr(os, "link", refuse)
        monkeypatch.setattr(os, "rename", rename_late)
    together = Barrier(8)

    def load(_: int) -> bytes:
        together.wait(10)
        return load_key(None, environ)[0]

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(load, range(8)))) == 1
    assert [file.name for file in cookie_path(environ).parent.iterdir()] == ["cookie"]


@pytest.mark.parametrize("bits", [0o040, 0o004, 0o020, 0o002, 0o010])
def test_a_cookie_that_others_can_use_is_refused_with_the_remedy(environ: dict[str, str], bits: int) -> None:
    load_key(None, environ)
    path = cookie_path(environ)
    path.chmod(0o600 | bits)
    with pytest.raises(KeyFileError) as caught:
        load_key(None, environ)
    assert str(path) in str(caught.value)
    assert f"{0o600 | bits:04o}" in str(caught.value)
    assert f"chmod 600 {path}" in str(caught.value)
    assert isinstance(caught.value, PermissionError)


def test_a_cookie_of_another_user_is_refused(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_key(None, environ)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(KeyFileError, match=f"belongs to user {mine}"):
        load_key(None, environ)


@pytest.mark.parametrize("content", [b"", b"\n", b"0" * 63, b"z" * 64, b"0" * 66, b"\xff" * 64])
def test_a_damaged_cookie_is_refused_and_left_alone(environ: dict[str, str], content: bytes) -> None:
    path = cookie_path(environ)
    path.parent.mkdir(parents=True)
    private(path, content)
    with pytest.raises(ValueError, match="64 hexadecimal digits") as caught:
        load_key(None, environ)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_a_fifo_in_its_place_does_not_hang(environ: dict[str, str]) -> None:
    path = cookie_path(environ)
    path.parent.mkdir(parents=True)
    os.mkfifo(path, 0o600)
    with pytest.raises(KeyFileError, match="not a regular file"):
        load_key(None, environ)


def test_where_none_can_be_made_the_ways_out_are_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    with pytest.raises(KeyFileError) as caught:
        load_key(None, {"HOME": str(blocked)})
    assert "auth_key=" in str(caught.value) and "TRACTOR_AUTH_KEY_FILE" in str(caught.value)


def test_a_write_that_fails_leaves_nothing(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match="No space left"):
        load_key(None, environ)
    assert list(cookie_path(environ).parent.iterdir()) == []


# -- a key that was given ------------------------------------------------------------------------


def test_a_given_key_wins_and_is_explicit(environ: dict[str, str], tmp_path: Path) -> None:
    named = environ | {"TRACTOR_AUTH_KEY_FILE": str(private(tmp_path / "key", b"f" * 16))}
    key, explicit = load_key("sixteen letters!", named)
    assert explicit
    assert (key, explicit) == load_key(b"sixteen letters!", {})
    assert len(key) == 32 and key != load_key(None, named)[0]
    assert not cookie_path(environ).exists()


def test_a_key_file_is_explicit_and_a_newline_in_it_does_not_count(tmp_path: Path) -> None:
    path = private(tmp_path / "key", b"f" * 16 + b"\n")
    assert load_key(None, {"TRACTOR_AUTH_KEY_FILE": str(path)}) == load_key("f" * 16, {})


def test_a_cookie_copied_to_another_host_is_the_same_key(environ: dict[str, str], tmp_path: Path) -> None:
    key, _ = load_key(None, environ)
    copy = private(tmp_path / "copy", cookie_path(environ).read_bytes())
    assert load_key(None, {"TRACTOR_AUTH_KEY_FILE": str(copy)}) == (key, True)


@pytest.mark.parametrize("given", ["", "fifteen letters", b"\0" * 15])
def test_a_short_key_is_refused(given: str | bytes) -> None:
    with pytest.raises(ValueError, match=f"auth_key has {len(given)} bytes, at least 16"):
        load_key(given, {})


def test_a_short_key_file_is_refused_by_name(tmp_path: Path) -> None:
    path = private(tmp_path / "key", b"short\n")
    with pytest.raises(ValueError, match=f"{path} has 5 bytes"):
        load_key(None, {"TRACTOR_AUTH_KEY_FILE": str(path)})


def test_what_is_no_key_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="not int"):
        load_key(5, {})  # type: ignore[arg-type]


def test_a_key_file_must_be_private_and_there(tmp_path: Path) -> None:
    path = private(tmp_path / "key", b"f" * 16)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_key(None, {"TRACTOR_AUTH_KEY_FILE": str(path)})
    with pytest.raises(FileNotFoundError, match="absent"):
        load_key(None, {"TRACTOR_AUTH_KEY_FILE": str(tmp_path / "absent")})
    with pytest.raises(ValueError, match="larger than"):
        load_key(None, {"TRACTOR_AUTH_KEY_FILE": str(private(tmp_path / "image", b"0" * 70_000))})


def test_deriving_hides_the_material_and_depends_on_all_of_it() -> None:
    material = b"f" * 16
    assert material not in derive_key(material, "x")
    assert derive_key(material, "x") != derive_key(material + b"f", "x")
