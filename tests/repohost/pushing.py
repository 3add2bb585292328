"""Real trust documents and real pushes to far ends that find nothing but what a bare repo host has."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bundler.bundle.layout import RELEASE_TXT, SIGNATURE, SUMS
from bundler.model.sums import format_sums
from bundler.model.tables import table_names
from bundler.model.trust import TRUST_NAMESPACE, TrustDocument, TrustedSigner
from bundler.model.trust_json import render
from bundler.repohost.intake import OutgoingBlob, admit, blobs, send_blobs, send_signed, send_trust
from bundler.repohost.wire import Role, Wire, WireOptions, open_wire
from bundler.signing import sshkeygen
from tests.bundles import DEBIAN, Keys, Sample, digest_of
from tests.repohost.handmade import GROUP, OWNER
from tests.repohost.killer import Killer, ShellTransport

ROOT_NAMES = ("root-1", "root-2", "root-3", "stranger")
Container = dict[str, bytes]


@dataclass(frozen=True)
class Roots:
    """Root keys by name, and the first document: two of three roots, one signer of alice and bob."""

    directory: Path
    first: TrustDocument

    def container(self, document: TrustDocument, *signers: str) -> Container:
        """Return a document's files, signed by these root keys."""
        files = dict(render(document))
        return self.signed(files, *signers)

    def signed(self, files: Mapping[str, bytes], *signers: str) -> Container:
        """Return files with a list of them, signed."""
        sums = format_sums({name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
        made = {**files, SUMS: sums}
        for name in signers or ("root-1", "root-2"):
            made[f"{SUMS}.{name}.sig"] = sshkeygen.sign(sums, self.directory / name, TRUST_NAMESPACE)
        return made

    def key(self, name: str) -> str:
        """Return a public key without its comment."""
        return " ".join((self.directory / f"{name}.pub").read_text().split()[:2])


def make_roots(keys: Keys, directory: Path) -> Roots:
    """Make root keys and the first document."""
    for name in ROOT_NAMES:
        sshkeygen.generate(directory / name, name)
    for name in ("alice", "alice-2", "bob"):
        shutil.copy(keys.directory / f"{name}.pub", directory)
    made = Roots(directory, TrustDocument(version=1, signers=()))
    signers = [TrustedSigner(name=name, role="root", keys=(made.key(name),)) for name in ROOT_NAMES[:3]]
    signers += [
        TrustedSigner(name="alice", role="bundle", keys=(made.key("alice"), made.key("alice-2"))),
        TrustedSigner(name="bob", role="bundle", keys=(made.key("bob"),)),
    ]
    return Roots(directory, replace(made.first, signers=tuple(signers), root_threshold=2))


@contextmanager
def wired(
    root: Path,
    *,
    env: Mapping[str, str] | None = None,
    role: Role = "both",
    inbox: Path | None = None,
    command: str = "",
) -> Iterator[Wire]:
    """Talk with a far end on this machine."""
    transport = ShellTransport(env)
    options = WireOptions(
        root=str(root), owner=OWNER, group=GROUP, role=role, inbox=str(inbox or ""), command=command
    )
    try:
        yield open_wire(transport, options)
    finally:
        transport.close()


def bare(directory: Path, shell: str = "sh") -> dict[str, str]:
    """Return an environment with coreutils, ssh-keygen and one shell, and nothing else."""
    Killer(directory)
    tools = directory / "tools"
    for name in ("sh", "tar"):
        (tools / name).unlink()
    (tools / "sh").symlink_to(shutil.which(shell) or shell)
    return {"PATH": str(tools)}


def signed_part(bundle: Path, targets: Iterable[str]) -> dict[str, list[bytes]]:
    """Return what a host of these targets gets of a bundle besides blobs."""
    names = {SUMS, RELEASE_TXT, *(name for target in targets for name in table_names(target))}
    names |= {path.name for path in bundle.iterdir() if SIGNATURE.fullmatch(path.name)}
    return {name: [(bundle / name).read_bytes()] for name in names}


def bundle_id(bundle: Path) -> str:
    """Return what a bundle is called."""
    said = dict(row.split(" ", 1) for row in (bundle / RELEASE_TXT).read_text().splitlines())
    return f"{said['name']}-{said['version']}-{said['sequence']}"


def wanted(bundle: Path, targets: Iterable[str]) -> list[str]:
    """Return the blobs that hosts of these targets need."""
    tables = [(bundle / f"blobs-{target}.sha256").read_text() for target in targets]
    return sorted({row[:64] for table in tables for row in table.splitlines()})


def push_blobs(wire: Wire, bundle: Path, sample: Sample, *targets: str) -> list[str]:
    """Send what is missing, from where it was cut; return what was sent."""
    there = blobs(wire)
    needed = [one for one in wanted(bundle, targets or (DEBIAN,)) if one not in there.complete]
    send_blobs(
        wire,
        bundle_id(bundle),
        [
            OutgoingBlob(digest=one, size=len(data), offset=offset, pieces=[data[offset:]])
            for one in needed
            for data in [sample.blobs[one]]
            for offset in [there.partial.get(one, 0)]
        ],
    )
    return needed


def push(wire: Wire, bundle: Path, sample: Sample, *targets: str) -> str:
    """Send all of a bundle and have it admitted; return its id."""
    send_signed(wire, bundle_id(bundle), signed_part(bundle, targets or (DEBIAN,)))
    push_blobs(wire, bundle, sample, *targets)
    admit(wire, bundle_id(bundle), targets or (DEBIAN,))
    return bundle_id(bundle)


def trust(wire: Wire, *containers: Container) -> None:
    """Hand over documents from the first on."""
    send_trust(wire, list(enumerate(containers, 1)))


def tree_of(root: Path, release: str) -> dict[str, str]:
    """Return the digest of every file of a release's tree, and where its links lead."""
    tree = root / ".bundles" / "releases" / release / "tree"
    found = {}
    for path in tree.rglob("*"):
        name = str(path.relative_to(tree))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = digest_of(path.read_bytes())
    return found


def expected(sample: Sample, *targets: str) -> dict[str, str]:
    """Return the same by what was signed."""
    chosen = set(targets or (DEBIAN,))
    files = {file.path: file.sha256 for file in sample.files if chosen & set(file.targets)}
    return files | {link.path: link.to for link in sample.links if chosen & set(link.targets)}


def leftovers(root: Path) -> list[str]:
    """Return what only an interrupted request leaves."""
    home = root / ".bundles"
    found = [*home.glob("*lock*"), *home.glob(".lock*"), *home.glob("*/.partial*"), *home.glob("releases/.*")]
    found += [*home.glob("blobs/.new"), *home.glob(".seen"), *home.glob("inbox/[!.]*"), *home.glob("inbox/.trust/*")]
    return [re.sub(r"^.*/\.bundles/", "", str(path)) for path in found]
