"""What the injector disturbs: each way in which we write, on small made-up content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from bundler import files
from bundler.bundle.writer import write_bundle
from bundler.deploy.audit import AuditLog
from bundler.deploy.audit_check import check_log
from bundler.deploy.places import Places
from bundler.deploy.trust_store import TrustStore, read_container
from bundler.events import ignore
from bundler.model.lock import Artifact, Lock, LockedPackage, VenvLock
from bundler.model.target import known_target
from bundler.signing import sshkeygen
from bundler.store.cas import Store, key_of
from bundler.workflows.lock_files import find_lock, save_lock
from bundler.workflows.sign import SignRequest, sign
from bundler.workflows.trust import Change, Named, add_trust, look, new_trust, sign_trust
from tests.bundle.conftest import make_sample

_DATA = b"new content " * 5000


def _tree(top: Path) -> dict[str, bytes]:
    """Return the files at and below ``top`` by path, without what is marked as unfinished."""
    found = {path.relative_to(top).as_posix(): path for path in top.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if files.PARTIAL not in name}


class Scenario:
    """How to make the old state below a directory, what to do to it, and how to read it."""

    #: States that may be seen after a disturbance besides the old and the new one.
    between: tuple[Any, ...] = ()

    def prepare(self, root: Path) -> None:
        """Make the old state."""

    def arrive(self, root: Path) -> None:
        """Make the copy of the old state in ``root`` its own: where it has paths of itself."""

    def act(self, root: Path) -> None:
        """Turn the old state into the new one."""
        raise NotImplementedError

    def state(self, root: Path) -> Any:
        """Return what a reader sees."""
        raise NotImplementedError

    def leftovers(self, root: Path) -> list[str]:
        """Return what should not lie there any more."""
        return [str(path) for path in root.rglob("*") if path.name.startswith((files.PARTIAL, files.ASIDE, "work-"))]


class Put(Scenario):
    """A new blob comes into the store."""

    def act(self, root: Path) -> None:
        Store(root / "store").put(_DATA[start : start + 7000] for start in range(0, len(_DATA), 7000))

    def state(self, root: Path) -> Any:
        return {path.name: path.read_bytes() for path in (root / "store" / "blobs").glob("*/*")}


class Heal(Put):
    """A blob takes the place of one that was damaged."""

    between = ({},)

    def prepare(self, root: Path) -> None:
        store = Store(root / "store")
        path = store.path(store.put(_DATA).digest)
        path.chmod(0o644)
        path.write_bytes(bytes(len(_DATA)))


class Remember(Scenario):
    """A reference is given a new value."""

    def prepare(self, root: Path) -> None:
        Store(root / "store").remember("wheel", key_of("x"), {"digest": "old"})

    def act(self, root: Path) -> None:
        store = Store(root / "store")
        store.remember("wheel", key_of("x"), {"digest": "new" * 1000})
        files.sweep(root / "store" / "refs" / "wheel" / key_of("x")[:2])

    def state(self, root: Path) -> Any:
        return Store(root / "store").recall("wheel", key_of("x"))


class Bundle(Scenario):
    """A bundle takes the place of an older one."""

    def prepare(self, root: Path) -> None:
        (root / "installer").write_bytes(b"#!/usr/bin/env python3\n")
        self._write(root, 1)

    def act(self, root: Path) -> None:
        self._write(root, 2)

    def _write(self, root: Path, seed: int) -> None:
        sample = make_sample(seed)
        write_bundle(sample.plan(root / "installer"), sample.open, root / "dist" / "bundle", ignore)

    def state(self, root: Path) -> Any:
        files.recover_directory(root / "dist" / "bundle")
        assert (root / "dist" / "bundle").is_dir()
        return _tree(root / "dist" / "bundle")


class SaveLock(Scenario):
    """A lock takes the place of another one."""

    def prepare(self, root: Path) -> None:
        self._save(root, "1.0")

    def act(self, root: Path) -> None:
        self._save(root, "1.1")

    def _save(self, root: Path, version: str) -> None:
        target = known_target("debian-12-x86_64")
        name = f"six-{version}-py3-none-any.whl"
        origin = Artifact(name=name, url=f"https://index.example/{name}", sha256="ab" * 32, size=9)
        package = LockedPackage(name="six", version=version, kind="wheel", origin=origin)
        lock = Lock(
            name="demo",
            version="1",
            sequence=1,
            created=1,
            inputs="cd" * 32,
            resolver="uv",
            targets=(target.name,),
            venvs=(VenvLock(venv="one", target=target.name, packages=(package,)),),
            builds=(),
            layers=(),
            shadowed=(),
            effective={"all": f"six=={version}\n"},
        )
        save_lock(lock, {target.name: target}, root / "demo.lock")

    def state(self, root: Path) -> Any:
        assert find_lock(root / "demo.lock") is not None
        return _tree(root / "demo.lock")


class Sign(Scenario):
    """A signature is added to a bundle."""

    def prepare(self, root: Path) -> None:
        (root / "installer").write_bytes(b"#!/usr/bin/env python3\n")
        sshkeygen.generate(root / "key", "alice")
        sample = make_sample()
        write_bundle(sample.plan(root / "installer"), sample.open, root / "bundle", ignore)

    def act(self, root: Path) -> None:
        sign(SignRequest(bundle=root / "bundle", key=root / "key", signer="alice"))

    def state(self, root: Path) -> Any:
        return _tree(root / "bundle")


class TrustWalk(Scenario):
    """A site walks two trust documents forward: the first is kept before the second is looked at."""

    between = ((1, 2),)

    def prepare(self, root: Path) -> None:
        keys = {name: root / name for name in ("carol", "alice")}
        for name, key in keys.items():
            sshkeygen.generate(key, name)
        first = Change(
            roots=(Named(name="carol", key=keys["carol"]),), signers=(Named(name="alice", key=keys["alice"]),)
        )
        new_trust(root / "trust", first)
        sign_trust(root / "trust", keys["carol"], "carol", terminal=False)
        digest = look(root / "trust").digest
        store = TrustStore(self._places(root))
        store.init(read_container(root / "trust" / "trust-0001"), digest)
        for floor in (1, 2):
            add_trust(root / "trust", Change(floors={"demo": floor}))
            sign_trust(root / "trust", keys["carol"], "carol", terminal=False)

    def act(self, root: Path) -> None:
        TrustStore(self._places(root)).update(root / "trust")

    def state(self, root: Path) -> Any:
        store = TrustStore(self._places(root))
        assert not check_log(AuditLog(self._places(root).log)).problems
        store.current()
        return tuple(version for version, _ in store.containers())

    @staticmethod
    def _places(root: Path) -> Places:
        return Places(config=root / "etc", state=root / "var")


def _two_renames(kind: type[Scenario]) -> Callable[[], Scenario]:
    """Return the scenario on a system that cannot exchange two names."""

    def make() -> Scenario:
        mock.patch.object(files, "_exchange", return_value=False).start()
        return kind()

    return make


SCENARIOS: Mapping[str, Callable[[], Scenario]] = {
    "put": Put,
    "heal": Heal,
    "remember": Remember,
    "bundle": Bundle,
    "bundle-two-renames": _two_renames(Bundle),
    "lock": SaveLock,
    "lock-two-renames": _two_renames(SaveLock),
    "sign": Sign,
    "trust-walk": TrustWalk,
}
