"""Repo hosts with releases as ``admit`` leaves them, made by hand: one key for all of them, no transfer, quick."""

from __future__ import annotations

import atexit
import functools
import grp
import hashlib
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bundler.bundle.layout import NAMESPACE
from bundler.repohost.wire import Wire, WireOptions, open_wire
from bundler.signing import sshkeygen
from tests.repohost.killer import ShellTransport

TARGET = "debian-12-x86_64"
OWNER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@functools.cache
def signing_key() -> Path:
    """Return the key that signs every such release of this session."""
    directory = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    sshkeygen.generate(directory / "alice", "alice")
    return directory / "alice"


@functools.cache
def signature(listed: bytes) -> bytes:
    return sshkeygen.sign(listed, signing_key(), NAMESPACE)


def allowed_signers() -> str:
    kind, key = signing_key().with_suffix(".pub").read_text().split()[:2]
    return f'alice namespaces="{NAMESPACE}" {kind} {key}\n'


@dataclass(frozen=True)
class Made:
    """A release: what its files hold, by path, and where its links lead."""

    id: str
    files: Mapping[str, bytes]
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        return self.id.rpartition("-")[0]

    def blobs_of(self, path: str) -> list[bytes]:
        """Archives are made of two blobs, everything else of one."""
        data = self.files[path]
        return [data[:2], data[2:]] if path.endswith(".tar.zst") else [data]


@dataclass(frozen=True)
class Host:
    """A root on this machine."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / ".bundles"

    def blob(self, data: bytes) -> Path:
        digest = digest_of(data)
        return self.home / "blobs" / digest[:2] / digest

    def put_blob(self, data: bytes) -> Path:
        path = self.blob(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(data)
            path.chmod(0o644)
        return path

    def tree(self, bundle_id: str) -> Path:
        return self.home / "releases" / bundle_id / "tree"

    def add(self, made: Made) -> Made:
        name, version, sequence = made.id.rsplit("-", 2)
        signed = self.home / "releases" / made.id / "signed"
        signed.mkdir(parents=True)
        tree = self.tree(made.id)
        rows: dict[str, str] = {}
        blobs = set()
        for path in made.files:
            parts = made.blobs_of(path)
            blobs |= {digest_of(part) for part in parts}
            rows[path] = f"file\t{path}\t0644\troot\t{' '.join(digest_of(part) for part in parts)}\n"
            stored = [self.put_blob(part) for part in parts]
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            if len(stored) == 1:
                os.link(stored[0], tree / path)
            else:
                (tree / path).write_bytes(made.files[path])
        for path, to in made.links.items():
            rows[path] = f"link\t{path}\t0777\troot\t{to}\n"
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).symlink_to(to)
        sums = "".join(f"{digest_of(made.files[path])}  {path}\n" for path in sorted(made.files))
        (signed / f"assemble-{TARGET}.tsv").write_text("".join(row for _, row in sorted(rows.items())))
        (signed / f"files-{TARGET}.sha256").write_text(sums)
        (signed / f"blobs-{TARGET}.sha256").write_text("".join(f"{one}  blobs/{one}\n" for one in sorted(blobs)))
        (signed / "release.txt").write_text(
            f"name {name}\nversion {version}\nsequence {sequence}\nfloor 0\ncreated 1700000000\ntarget {TARGET}\n"
        )
        listed = "".join(f"{digest_of(path.read_bytes())}  {path.name}\n" for path in sorted(signed.iterdir()))
        (signed / "SHA256SUMS").write_text(listed)
        (signed / "SHA256SUMS.alice.sig").write_bytes(signature(listed.encode()))
        self._finish(made, signed.parent)
        return made

    def _finish(self, made: Made, release: Path) -> None:
        """Write what ``admit`` writes beside."""
        digest, sequence = self.list_digest(made.id), made.id.rpartition("-")[2]
        facts = f"digest {digest}\nsequence {sequence}\nepoch 0\nadmitted 1700000000\ntarget {TARGET}\nsize 1\n"
        (release / "facts").write_text(facts)
        if not (self.home / "trust").exists():
            self.trust("")

    def trust(self, policy: str) -> None:
        directory = self.home / "trust" / "0001"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "policy.txt").write_text(f"{policy}threshold bundle 1\nthreshold root 1\nversion 1\n")
        (directory / "allowed_signers.bundle").write_text(allowed_signers())
        (directory / "revoked_keys").touch()

    def list_digest(self, bundle_id: str) -> str:
        return digest_of((self.home / "releases" / bundle_id / "signed" / "SHA256SUMS").read_bytes())

    @contextmanager
    def wire(self, env: Mapping[str, str] | None = None) -> Iterator[Wire]:
        transport = ShellTransport(env)
        try:
            wire = open_wire(transport, WireOptions(root=str(self.root), owner=OWNER, group=GROUP))
            yield wire
            wire.close()
        finally:
            transport.close()

    def lines(self) -> dict[str, tuple[str, str]]:
        """Return line → (active, previous) of the view that is served."""
        file = self.home / "active" / "lines"
        if not file.exists():
            return {}
        rows = (row.split(" ") for row in file.read_text().splitlines())
        return {line: (active, previous) for line, active, previous in rows}

    def served(self) -> dict[str, bytes]:
        """Return every served file by path, through the served names."""
        found: dict[str, bytes] = {}
        for top in sorted(self.root.iterdir()):
            if top.name.startswith("."):
                continue
            for folder, _, names in os.walk(top):
                for name in names:
                    path = Path(folder) / name
                    found[str(path.relative_to(self.root))] = path.read_bytes()
        return found

    def leftovers(self) -> list[str]:
        """Return names that only an interrupted run leaves."""
        odd = [
            self.home / ".switch",
            *self.home.glob("*lock*"),
            *self.home.glob(".lock*"),
            *self.home.glob("*/.mended"),
        ]
        for folder in ("views", "releases"):
            odd += list((self.home / folder).glob(".*"))
            odd += list((self.home / folder).glob("*/.new"))
        return [str(path) for path in odd if path.exists() or path.is_symlink()]


def overlaid(active: Made, previous: Made | None = None) -> dict[str, bytes]:
    """Return what a line of these two serves."""
    return {**(previous.files if previous else {}), **active.files}
