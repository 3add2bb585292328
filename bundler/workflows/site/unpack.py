"""Put venvs onto the host that this runs on: from a bundle, a repo host's URL, or a directory of archives."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bundler.deploy.facts import Fact, write_fact
from bundler.deploy.places import Places
from bundler.deploy.unpack import BESIDE, Unpacked, UnpackRequest, unpack, using
from bundler.deploy.venv_archive import SUFFIX, Archive, file_archive
from bundler.deploy.venv_switch import GoBack, go_back
from bundler.errors import UsageError
from bundler.events import Emit, Warned, ignore
from bundler.files import make_directory
from bundler.model.sums import OWN

#: Where OpenStack-Ansible has its venvs.
VENVS = Path("/openstack/venvs")
_SUM = re.compile(rb"([0-9a-f]{64})  ?[^\n]*\n?")
_MAX_SUM = 4096


@dataclass(frozen=True, kw_only=True)
class VenvsRequest:
    """Which venvs come from where; what vouches for them.

    ``venvs``: names of archives without their suffix, of a bundle also names of venvs. ``source``: a bundle, or a
    URL or directory of archives. ``sha256``: of the archives, in the order of ``venvs``; a bundle has signatures
    instead, which ``allowed_signers`` or the site's trust in ``places`` judges.
    """

    venvs: tuple[str, ...]
    source: str
    places: Places
    target: str = ""
    sha256: tuple[str, ...] = ()
    allowed_signers: Path | None = None
    into: Path | None = None
    link: str = ""
    keep: int = 2
    copy: bool = False
    facts: tuple[Fact, ...] = ()


def put_venvs(request: VenvsRequest, emit: Emit = ignore) -> tuple[Unpacked, ...]:
    """Unpack venvs beside the old ones, switch to them, and write their facts.

    Raises:
        UsageError: Options that do not fit together, or a venv that the source does not have.
        TrustError, BundleError, UnpackFailed: The bundle, an archive or this host does not do.
        TransferFailed: The repo host does not give it.
    """
    _check(request)
    with ExitStack() as stack:
        if _is_bundle(request.source):
            from bundler.workflows.site.unpack_bundle import venvs_of  # noqa: PLC0415  # most hosts have archives

            into, archives = stack.enter_context(venvs_of(request))
        else:
            into = request.into or VENVS
            archives = stack.enter_context(_from_archives(request, into, emit))
        done = unpack(
            UnpackRequest(into=into, link=request.link, keep=request.keep, copy=request.copy), archives, emit
        )
    return _with_facts(done, request.facts)


@dataclass(frozen=True, kw_only=True)
class BackRequest:
    """Links that go back to what they pointed to before; one of them may go ``to`` a venv of its choice.

    ``refused``: SHA-256 of archives whose venvs are not to be used again.
    """

    venvs: tuple[str, ...]
    into: Path | None = None
    to: str = ""
    refused: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()


def put_back(request: BackRequest, emit: Emit = ignore) -> tuple[Unpacked, ...]:
    """Switch links back; one that was gone back with already stays as it is.

    Raises:
        UsageError: Several venvs cannot go to one.
        UnpackFailed: There is nothing to go back to.
        BundleRevoked: It is refused.
        Busy: Another run unpacks into the same directory.
    """
    if request.to and len(request.venvs) > 1:
        raise UsageError("--to names a venv of one link", hint="go back with the links one by one")
    into = request.into or VENVS
    with using(into):
        done = tuple(_back(into, name, request, emit) for name in request.venvs)
    return _with_facts(done, request.facts)


def _with_facts(done: Iterable[Unpacked], facts: Iterable[Fact]) -> tuple[Unpacked, ...]:
    """Write facts, and say with each venv which files changed."""
    changed = tuple(dict.fromkeys([str(fact.file) for fact in facts if write_fact(fact)]))
    return tuple(replace(one, facts=changed) for one in done)


def _back(into: Path, name: str, request: BackRequest, emit: Emit) -> Unpacked:
    wanted = GoBack(link=name, to=request.to, refused=frozenset(request.refused))
    path, changed = go_back(into, wanted)
    if not changed and not request.to:
        emit(
            Warned(
                message=f"{name}: {path.name} was gone back to before, and stays",
                hint="to go further back, name the venv with --to",
            )
        )
    return Unpacked(venv=name, path=path, link=into / name, changed=changed)


def _check(request: VenvsRequest) -> None:
    if request.link and len(request.venvs) > 1:
        raise UsageError("--link names the link of one venv", hint="leave it out: links are called like the venvs")
    if request.sha256 and len(request.sha256) != len(request.venvs):
        raise UsageError(
            f"{len(request.sha256)} digests for {len(request.venvs)} venvs", hint="--sha256 once for each"
        )
    if request.sha256 and _is_bundle(request.source):
        raise UsageError("a bundle is vouched for by its signatures", hint="leave out --sha256")


def _is_bundle(source: str) -> bool:
    return not _is_url(source) and (Path(source).is_file() or (Path(source) / OWN).is_file())


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


@contextlib.contextmanager
def _from_archives(request: VenvsRequest, into: Path, emit: Emit) -> Iterator[list[Archive]]:
    """Yield the archives of a URL or a directory, their digests compared with what was given."""
    if request.target:
        raise UsageError("--target is for bundles", hint="give the directory of the target's archives")
    cached: list[Path] = []
    with ExitStack() as stack:
        digests = request.sha256 or tuple(_beside(request.source, name, emit) for name in request.venvs)
        paths = []
        for name, digest in zip(request.venvs, digests, strict=True):
            if _is_url(request.source):
                paths.append(_fetched(f"{request.source.rstrip('/')}/{name}{SUFFIX}", into, digest))
                cached.append(paths[-1])
            else:
                paths.append(Path(request.source) / f"{name}{SUFFIX}")
        opened = []
        for path in paths:
            if not path.is_file():
                raise UsageError(f"there is no {path}", hint="--from is the directory that holds it, or a bundle")
            opened.append(stack.enter_context(path.open("rb")))
        try:
            with ThreadPoolExecutor() as pool:
                archives = list(pool.map(file_archive, request.venvs, opened, digests))
            yield archives
        finally:
            # Checked or damaged: neither is worth keeping. Only what is incomplete is gone on with.
            for path in cached:
                path.unlink(missing_ok=True)


def _fetched(url: str, into: Path, digest: str) -> Path:
    from bundler.deploy.download import download  # noqa: PLC0415  # an HTTP client takes long to start

    path = into / BESIDE / f"download-{digest}"
    make_directory(path.parent)
    download(url, path)
    return path


def _beside(source: str, name: str, emit: Emit) -> str:
    """Return the digest that lies beside an archive: good against damage, not against whoever changed both."""
    emit(
        Warned(
            message=f"{name}: nothing but the source itself vouches for this archive",
            hint="give --sha256, or let the deployment host do it: bundle-install venv",
        )
    )
    file = f"{name}{SUFFIX}.sha256"
    if _is_url(source):
        from bundler.deploy.download import fetch_text  # noqa: PLC0415  # as below

        data = fetch_text(f"{source.rstrip('/')}/{file}", _MAX_SUM)
    else:
        try:
            with (Path(source) / file).open("rb") as beside:
                data = beside.read(_MAX_SUM)
        except OSError as error:
            raise UsageError(f"cannot read {file} in {source}: {error.strerror}", hint="give --sha256") from error
    match = _SUM.fullmatch(data)
    if match is None:
        raise UsageError(f"{file} holds no SHA-256", hint="give --sha256")
    return match[1].decode()
