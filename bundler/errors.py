"""Every error the product raises, with the exit code of its subsystem.

    BundlerError                     1
    ├── UsageError                   2   wrong options for a command
    ├── InterruptedByUser          130   Ctrl-C; a rerun goes on where it was
    ├── DocumentError           10..19   what people write
    │   ├── ManifestError           10
    │   ├── RequirementError        11
    │   ├── ConstraintError         12
    │   └── SiteError               13
    ├── ResolveError            20..29   locks
    │   ├── ResolutionFailed        20
    │   ├── LockOutdated            21
    │   ├── LockInvalid             22
    │   └── MetadataError           23
    ├── SourceError             30..39   fetching
    │   ├── FetchFailed             30
    │   ├── DigestMismatch          31
    │   ├── GitError                32
    │   └── IndexMismatch           33
    ├── BuildError              40..49   wheels
    │   ├── WheelBuildFailed        40
    │   ├── WheelRefused            41
    │   └── BuildEnvironmentError   42
    ├── VenvError               50..59   layers, venvs, proof
    │   ├── LayerCollision          50
    │   ├── LayerError              51
    │   ├── ProofFailed             52
    │   ├── UnpackFailed            53
    │   └── LibraryMissing          54
    ├── BundleError             60..69   the bundle format and the store
    │   ├── FormatError             60
    │   ├── IntegrityError          61
    │   ├── StoreError              62
    │   ├── SpaceError              63
    │   ├── FileMissing             64
    │   ├── FileUnlisted            65
    │   ├── FileIrregular           66
    │   ├── ContentsRefused         67
    │   └── TargetRefused           68
    ├── TrustError              70..79   signatures and policy
    │   ├── SignatureRefused        70
    │   ├── SigningFailed           71
    │   ├── PolicyRefused           72
    │   ├── VerifiersDisagree       73
    │   ├── TrustMissing            74
    │   ├── TrustRefused            75
    │   ├── SequenceRefused         76
    │   ├── EquivocationRefused     77
    │   └── BundleRevoked           78
    ├── DeployError             80..89   repo hosts, service hosts, and the way to them
    │   ├── HostUnreachable         80
    │   ├── HostKeyRefused          81
    │   ├── PlanRefused             82
    │   ├── HostRefused             83
    │   ├── TransferFailed          84
    │   ├── DriftFound              85
    │   ├── FleetStopped            86
    │   ├── PartlyApplied           87
    │   └── Busy                    88
    └── EnvironmentProblem      90..99   the host lacks something
        ├── ToolMissing             90
        ├── CommandFailed           91
        └── ListenFailed            92

Errors are data: a message that says what happened and where, a hint that says what to do. Only the CLI
turns them into text and an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong in an input: where it is, what is wrong, what to do."""

    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.hint})" if self.hint else text


class BundlerError(Exception):
    """Base of all expected failures."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems = tuple(problems)

    @property
    def rule(self) -> str:
        """Stable name of the refusal, for JSON output and tests."""
        return type(self).__name__


class UsageError(BundlerError):
    """Options that do not fit together."""

    exit_code = 2


class InterruptedByUser(BundlerError):
    """The user stopped the run; nothing is half done."""

    exit_code = 130


class DocumentError(BundlerError):
    """Something a person wrote is wrong; ``problems`` lists all of it."""

    exit_code = 19


class ManifestError(DocumentError):
    """The manifest, or a file that it includes, is wrong."""

    exit_code = 10


class RequirementError(DocumentError):
    """A requirement line is not PEP 508 nor a supported git form."""

    exit_code = 11


class ConstraintError(DocumentError):
    """A constraint layer is unreadable, not signed as asked, contradicts itself, or a lock does not obey it."""

    exit_code = 12


class SiteError(DocumentError):
    """``site.yaml`` is wrong."""

    exit_code = 13


class ResolveError(BundlerError):
    """Locking failed."""

    exit_code = 29


class ResolutionFailed(ResolveError):
    """No set of versions satisfies the requirements under the constraints."""

    exit_code = 20


class LockOutdated(ResolveError):
    """The lock is absent or does not fit its inputs and resolving was not allowed."""

    exit_code = 21


class LockInvalid(ResolveError):
    """A lock file cannot be read."""

    exit_code = 22


class MetadataError(ResolveError):
    """Core metadata of a package cannot be had or does not parse."""

    exit_code = 23


class SourceError(BundlerError):
    """Bytes could not be had."""

    exit_code = 39


class FetchFailed(SourceError):
    """A download failed for good."""

    exit_code = 30


class DigestMismatch(SourceError):
    """A download is not what the lock names."""

    exit_code = 31


class GitError(SourceError):
    """A git source cannot be had as asked."""

    exit_code = 32


class IndexMismatch(SourceError):
    """A package bound to one index would come from another."""

    exit_code = 33


class BuildError(BundlerError):
    """A wheel could not be made."""

    exit_code = 49


class WheelBuildFailed(BuildError):
    """A build backend failed; the log and tree are kept."""

    exit_code = 40


class WheelRefused(BuildError):
    """A wheel does not pass the checks."""

    exit_code = 41


class BuildEnvironmentError(BuildError):
    """The build environment cannot be made."""

    exit_code = 42


class VenvError(BundlerError):
    """A venv could not be put together."""

    exit_code = 59


class LayerCollision(VenvError):
    """Two layers of one venv own one path with different content."""

    exit_code = 50


class LayerError(VenvError):
    """A wheel cannot be made into a layer."""

    exit_code = 51


class ProofFailed(VenvError):
    """A venv does not work; no bundle is written."""

    exit_code = 52


class UnpackFailed(VenvError):
    """A venv archive could not be put onto a service host; the venv that was there is untouched."""

    exit_code = 53


class LibraryMissing(VenvError):
    """A compiled file needs a shared library that hosts with the named distro packages do not have."""

    exit_code = 54


class BundleError(BundlerError):
    """The bundle or the store is at fault."""

    exit_code = 69


class FormatError(BundleError):
    """A document of the bundle does not parse, or names something it may not."""

    exit_code = 60


class IntegrityError(BundleError):
    """Bytes are missing, too many, or not what was signed."""

    exit_code = 61


class StoreError(BundleError):
    """The store is damaged or cannot be written."""

    exit_code = 62


class SpaceError(BundleError):
    """There is not enough room."""

    exit_code = 63


class FileMissing(BundleError):
    """A file that SHA256SUMS lists is not in the bundle."""

    exit_code = 64


class FileUnlisted(BundleError):
    """The bundle holds a file that SHA256SUMS does not list."""

    exit_code = 65


class FileIrregular(BundleError):
    """A name in the bundle is no regular file: a link, a pipe, a device, a directory."""

    exit_code = 66


class ContentsRefused(BundleError):
    """``bundle.json`` parses, but what it says does not hold together."""

    exit_code = 67


class TargetRefused(BundleError):
    """The bundle is for other targets, or another site."""

    exit_code = 68


class TrustError(BundlerError):
    """Trust decisions that came out negative."""

    exit_code = 79


class SignatureRefused(TrustError):
    """Too few valid signatures of distinct trusted signers."""

    exit_code = 70


class SigningFailed(TrustError):
    """A signature could not be made."""

    exit_code = 71


class PolicyRefused(TrustError):
    """The policy forbids what was asked, for example signing an unproved bundle."""

    exit_code = 72


class VerifiersDisagree(TrustError):
    """ssh-keygen and our own verifier come to different verdicts on a signature."""

    exit_code = 73


class TrustMissing(TrustError):
    """The site has no trust yet."""

    exit_code = 74


class TrustRefused(TrustError):
    """A trust document is not signed by the quorums it needs, or does not follow the one before."""

    exit_code = 75


class SequenceRefused(TrustError):
    """The bundle is older than one this site has seen, or older than a floor allows."""

    exit_code = 76


class EquivocationRefused(TrustError):
    """Two bundles of one name, version and sequence have different content."""

    exit_code = 77


class BundleRevoked(TrustError):
    """The trust document, or this site, names the bundle as one that must not be installed."""

    exit_code = 78


class DeployError(BundlerError):
    """Hosts at the site."""

    exit_code = 89


class HostUnreachable(DeployError):
    """A host does not answer, or does not let us in."""

    exit_code = 80


class HostKeyRefused(DeployError):
    """A host shows another key than the pinned one, or none is pinned."""

    exit_code = 81


class PlanRefused(DeployError):
    """What was asked for cannot be done on every host; nothing was touched."""

    exit_code = 82


class HostRefused(DeployError):
    """The far end refused: what it received, put together or found is not what was signed."""

    exit_code = 83


class TransferFailed(DeployError):
    """The connection was cut, and retries did not help."""

    exit_code = 84


class DriftFound(DeployError):
    """What is on a host is not what was signed."""

    exit_code = 85


class FleetStopped(DeployError):
    """Too many hosts failed: nothing was activated, all serve what they served."""

    exit_code = 86


class PartlyApplied(DeployError):
    """Some hosts serve the release, as many as the gate allows do not."""

    exit_code = 87


class Busy(DeployError):
    """Another run holds the lock."""

    exit_code = 88


class EnvironmentProblem(BundlerError):
    """The host lacks something."""

    exit_code = 99


class ToolMissing(EnvironmentProblem):
    """A program is not installed; the hint names the command that installs it."""

    exit_code = 90


class CommandFailed(EnvironmentProblem):
    """A program ended with a non-zero status."""

    exit_code = 91

    def __init__(self, message: str, *, returncode: int, output: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.returncode = returncode
        self.output = output


class ListenFailed(EnvironmentProblem):
    """A server cannot have the address that it was to listen on."""

    exit_code = 92
