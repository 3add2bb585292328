"""What a second signer wants to know of a wheel, and what of it is new against the wheels before. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from bundler.model.bundle_diff import GroupedChange

#: ``pth``: code that runs whenever Python starts. ``native``: an ELF file. ``program``: bundle-install or verify.sh.
#: ``source``: a host, repository or constraint layer, or a package that comes from elsewhere than before.
FindingKind: TypeAlias = Literal[
    "pth", "native", "script", "entry-point", "source", "licence", "proof", "program", "unread"
]
KINDS: tuple[FindingKind, ...] = get_args(FindingKind)
#: ``known``: it was so before too, and is told again because it is an exception somebody must stand behind.
State: TypeAlias = Literal["new", "changed", "known"]

_DATA = re.compile(r"[^/]+\.data/(purelib|platlib|scripts|data|headers)/(.+)")
#: Lines of a .pth file that start so are run (site.addpackage).
_IMPORTS = ("import ", "import\t")
_START_UP = ("sitecustomize.py", "usercustomize.py")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to look at: ``subject`` (package, venv, host) has ``name`` (file, script), which is ``detail``.

    ``old`` is what it was; ``where`` the targets, empty where it is for all.
    """

    kind: FindingKind
    state: State
    subject: str
    name: str
    detail: str = ""
    old: str = ""
    version: str = ""
    where: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StartFile:
    """A file whose code Python runs at every start; ``code`` is the part that runs."""

    path: str
    sha256: str
    code: str


@dataclass(frozen=True, kw_only=True)
class WheelFacts:
    """What a wheel brings. ``scripts`` are (name, what starts); ``points`` (group, name, value) of other groups."""

    start: tuple[StartFile, ...] = ()
    native: tuple[str, ...] = ()
    scripts: tuple[tuple[str, str], ...] = ()
    points: tuple[tuple[str, str, str], ...] = ()
    licence: str = ""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a package came from: its kind (wheel, sdist, git, directory), a URI, a digest with its algorithm."""

    kind: str
    uri: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class ReviewedChange:
    """A change of a package with the licence and the sources of what it is now."""

    change: GroupedChange
    kind: str
    licence: str
    sources: tuple[Source, ...]

    def to_data(self) -> dict[str, Any]:
        """Return it as JSON values."""
        own = {"kind": self.kind, "licence": self.licence, "sources": [asdict(source) for source in self.sources]}
        return {**asdict(self.change), **own}


@dataclass(frozen=True, kw_only=True)
class Review:
    """All that ``bundle-build review`` shows; ``against`` is the older bundle, empty where there is none."""

    bundle: str
    digest: str
    tool: str
    against: str
    packages: tuple[ReviewedChange, ...]
    findings: tuple[Finding, ...]

    def of_kind(self, kind: FindingKind) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)

    def fails(self, kinds: Iterable[FindingKind]) -> bool:
        """Return whether anything of these kinds is new or changed."""
        wanted = set(kinds)
        return any(finding.kind in wanted and finding.state != "known" for finding in self.findings)

    def to_data(self) -> dict[str, Any]:
        """Return it as JSON values; documented in ``docs/reference/looking.md``."""
        return {
            "bundle": self.bundle,
            "sha256sums": self.digest,
            "tool": self.tool,
            "against": self.against,
            "packages": [package.to_data() for package in self.packages],
            "findings": [asdict(finding) for finding in self.findings],
            "counts": {kind: sum(finding.state != "known" for finding in self.of_kind(kind)) for kind in KINDS},
        }


def installed_path(path: str) -> str:
    """Return where a wheel's member goes, without the version that the name of its data directory has."""
    match = _DATA.fullmatch(path)
    if match is None:
        return path
    folder = {"scripts": "bin/", "headers": "include/"}.get(match[1], "")
    return folder + match[2]


def runs_at_start(path: str) -> bool:
    """Return whether Python looks for code in a file of this name at every start (the ``site`` module)."""
    return path.endswith(".pth") or posixpath.basename(path) in _START_UP


def start_code(path: str, text: str) -> str:
    """Return what of a start-up file runs: the import lines of a ``.pth`` as ``site`` sees them, else all of it."""
    if not path.endswith(".pth"):
        return "the whole file runs"
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    code = [f"runs: {line}" for line in lines if line.startswith(_IMPORTS)]
    shown = code + [f"adds path: {line}" for line in lines if not line.startswith(_IMPORTS)]
    return "; ".join(shown) or "does nothing"


def compare(new: WheelFacts, old: Sequence[WheelFacts], about: Finding) -> Iterator[Finding]:
    """Yield what ``new`` has that none of the wheels before it has; ``about`` gives package, version and targets."""
    yield from _start(new, old, about)
    before = {path for facts in old for path in facts.native}
    for path in new.native:
        if path not in before:
            yield replace(about, kind="native", name=path)
    yield from _named("script", dict(new.scripts), [dict(facts.scripts) for facts in old], about)
    points = {f"{group}: {name}": value for group, name, value in new.points}
    others = [{f"{group}: {name}": value for group, name, value in facts.points} for facts in old]
    yield from _named("entry-point", points, others, about)
    licences = sorted({facts.licence for facts in old})
    if licences and new.licence not in licences:
        yield replace(
            about, kind="licence", state="changed", name="licence", detail=new.licence, old=" or ".join(licences)
        )


def _start(new: WheelFacts, old: Sequence[WheelFacts], about: Finding) -> Iterator[Finding]:
    before = {file.path: file for facts in old for file in facts.start}
    # Only in the same directory: where a file lies decides whether it runs.
    contents = {(posixpath.dirname(file.path), file.sha256) for facts in old for file in facts.start}
    for file in new.start:
        if (posixpath.dirname(file.path), file.sha256) in contents:
            continue
        was = before.get(file.path)
        state: State = "changed" if was else "new"
        yield replace(about, kind="pth", state=state, name=file.path, detail=file.code, old=was.code if was else "")


def _named(
    kind: FindingKind, new: dict[str, str], old: Sequence[dict[str, str]], about: Finding
) -> Iterator[Finding]:
    """Yield names that are new, or that mean something else than in every wheel before."""
    for name, value in sorted(new.items()):
        values = sorted({names[name] for names in old if name in names})
        if value not in values:
            state: State = "changed" if values else "new"
            yield replace(about, kind=kind, state=state, name=name, detail=value, old=" or ".join(values))


def merge(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings that differ in their targets only as one, in the order of kind, subject and name."""
    found: dict[Finding, set[str]] = {}
    for finding in findings:
        found.setdefault(replace(finding, where=()), set()).update(finding.where)
    order = {kind: number for number, kind in enumerate(KINDS)}
    merged = [replace(finding, where=tuple(sorted(where))) for finding, where in found.items()]
    return tuple(sorted(merged, key=lambda one: (order[one.kind], one.subject, one.name, one.version, one.where)))
