"""Small made-up venv archives with real frames, and the plain unpacking that they are compared with."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from bundler.archive.compress import compress_frame
from bundler.archive.tar import END, TarEntry, file_of, segment, segment_size, with_directories
from bundler.deploy.unpack import Unpacked, UnpackRequest, unpack
from bundler.deploy.venv_archive import file_archive
from tests.release.conftest import built, shared

__all__ = ["built", "shared"]

SITE = "lib/py/site-packages"
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHON = str(Path(sys.executable).resolve())


def frame(entries: Sequence[TarEntry]) -> bytes:
    members = with_directories(entries)
    return b"".join(compress_frame(segment(members), segment_size(members)))


def layer(files: Mapping[str, str]) -> bytes:
    return frame([file_of(f"{SITE}/{path}", text.encode()) for path, text in files.items()])


def link(path: str, target: str) -> TarEntry:
    return TarEntry(path=path, kind="link", target=target)


def own_frame(name: str = "nova", version: str = MINOR, more: Sequence[TarEntry] = ()) -> bytes:
    config = f"home = /usr/bin\nversion = {version}.0\nprompt = {name}\n"
    return frame(
        [
            file_of("pyvenv.cfg", config.encode()),
            file_of("bin/activate", b"# activate\n"),
            link("bin/python", PYTHON),
            link(f"lib/python{version}", "py"),
            *more,
        ]
    )


END_FRAME = b"".join(compress_frame((END,), len(END)))
SHARED = layer({"shared/__init__.py": "x = 1\n", "shared/deep/data.txt": "data" * 999})


def archive_of(*layers: bytes, own: bytes = b"") -> bytes:
    return b"".join([*layers, own or own_frame(), END_FRAME])


def tree(root: Path) -> dict[str, object]:
    """Return every path with what is there: link text, or kind, mode without write bits, and content."""
    return {
        path.relative_to(root).as_posix(): (
            str(path.readlink())
            if path.is_symlink()
            else (path.is_dir(), path.stat().st_mode & 0o555, b"" if path.is_dir() else path.read_bytes())
        )
        for path in root.rglob("*")
        if path.name != ".bundle-venv.json"
    }


@dataclass(frozen=True)
class Host:
    """A service host: its directory of venvs, and one of archives."""

    root: Path

    @property
    def venvs(self) -> Path:
        return self.root / "venvs"

    @property
    def archives(self) -> Path:
        return self.root / "archives"

    def archive(self, name: str, data: bytes) -> str:
        self.archives.mkdir(exist_ok=True, parents=True)
        (self.archives / f"{name}.tar.zst").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        (self.archives / f"{name}.tar.zst.sha256").write_text(f"{digest}  {name}.tar.zst\n")
        return digest

    def unpack(
        self, *names: str, keep: int = 2, copy: bool = False, link: str = "", workers: int = 1
    ) -> tuple[Unpacked, ...]:
        opened = [(self.archives / f"{name}.tar.zst").open("rb") for name in names]
        try:
            archives = [
                file_archive(name, file, (self.archives / f"{name}.tar.zst.sha256").read_text()[:64])
                for name, file in zip(names, opened, strict=True)
            ]
            request = UnpackRequest(into=self.venvs, keep=keep, copy=copy, link=link, workers=workers)
            return unpack(request, archives)
        finally:
            for file in opened:
                file.close()

    def put(self, name: str, *layers: bytes, own: bytes = b"", **options: object) -> Unpacked:
        self.archive(name, archive_of(*layers, own=own))
        (done,) = self.unpack(name, **options)  # type: ignore[arg-type]
        return done

    def plain(self, name: str) -> Path:
        """Unpack with stock tar."""
        place = self.root / "plain" / name
        place.mkdir(parents=True)
        subprocess.run(["tar", "--zstd", "-xf", str(self.archives / f"{name}.tar.zst"), "-C", str(place)], check=True)
        return place


@contextlib.contextmanager
def serving(root: Path) -> Iterator[str]:
    """Serve files over HTTP; yield the URL."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)
