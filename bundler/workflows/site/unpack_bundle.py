"""Where `unpack` takes venvs straight from a bundle: who signed it counts, and blobs are checked as they are read.

Where the site's trust judges, so does what it revoked and its floors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.bundle.driver import feed_contents, feed_trusted
from bundler.bundle.layout import NAMESPACE
from bundler.bundle.medium import open_medium
from bundler.bundle.reader import Bundle
from bundler.bundle.verification import Verification
from bundler.deploy.trust_store import TrustStore
from bundler.deploy.venv_archive import SUFFIX, Archive, bundle_archive
from bundler.deploy.venv_release import require_admitted
from bundler.errors import UsageError
from bundler.model.contents import Contents, VenvEntry
from bundler.signing.allowed_signers import MAX_SIZE, parse_allowed_signers
from bundler.signing.check import make_judge
from bundler.signing.trust import Policy

if TYPE_CHECKING:
    from bundler.workflows.site.unpack import VenvsRequest


@contextlib.contextmanager
def venvs_of(request: VenvsRequest) -> Iterator[tuple[Path, list[Archive]]]:
    """Yield where a bundle's venvs belong, and their archives; blobs are checked as they are read."""
    policy = _policy(request)
    verification = Verification()
    with open_medium(Path(request.source)) as medium:
        feed_trusted(verification, medium, policy, make_judge(policy))
        contents, _ = feed_contents(verification, medium)
        if request.allowed_signers is None:
            require_admitted(request.places, contents, verification.digest)
        bundle = Bundle(medium, contents, verification.digest)
        venvs = [_venv(contents, name, request.target) for name in request.venvs]
        places = {Path(venv.install_path).parent for venv in venvs}
        if request.into is None and len(places) > 1:
            raise UsageError("these venvs belong into several directories", hint="unpack them one by one")
        yield request.into or places.pop(), [bundle_archive(bundle, venv) for venv in venvs]


def _policy(request: VenvsRequest) -> Policy:
    if request.allowed_signers is None:
        return TrustStore(request.places).policy()
    with request.allowed_signers.open("rb") as file:
        signers = parse_allowed_signers(file.read(MAX_SIZE + 1), str(request.allowed_signers))
    return Policy(signers=signers, namespace=NAMESPACE, threshold=1)


def _venv(contents: Contents, name: str, target: str) -> VenvEntry:
    """Return the one venv called so; the name of its archive is as good."""
    targets = [one.name for one in contents.targets]
    if target not in (targets if len(targets) > 1 else ["", *targets]):
        raise UsageError(
            "for which target?" if not target else f"the bundle is not for {target}",
            hint=f"--target, one of: {', '.join(targets)}",
        )
    venvs = [venv for venv in contents.venvs if venv.target == (target or targets[0])]
    for venv in venvs:
        if name in (venv.name, Path(venv.archive).name.removesuffix(SUFFIX)):
            return venv
    raise UsageError(f"the bundle has no venv {name!r}", hint=f"there are: {', '.join(one.name for one in venvs)}")
