"""`bundle-build constraints`: what the layers say together, what is tested, and whether all of it fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bundler.cli.context import Output
from bundler.errors import ConstraintError, MetadataError, ResolutionFailed
from bundler.model.lock import Shadowed
from bundler.signing.development import config_directory, find_development_key
from bundler.store.cas import Store, default_root
from bundler.workflows.check_constraints import CheckReport, CheckRequest, check_constraints
from bundler.workflows.constraints import ConstraintGroup, show_constraints
from bundler.workflows.publish_constraints import PublishRequest, publish_constraints
from bundler.workflows.verify import VerifyRequest

_PATH = click.Path(dir_okay=False, path_type=Path)
_LOCK = click.Path(exists=True, file_okay=False, path_type=Path)
_BUNDLE = click.Path(exists=True, path_type=Path)


@click.group("constraints")
def command() -> None:
    """Show, check and publish constraints."""


@command.command("show")
@click.argument("manifest", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--group", "only", default="", metavar="NAME", help="Only this group, or the one of this venv.")
@click.option("--lost", is_flag=True, help="Only the constraints that lost to a higher layer.")
@click.pass_obj
def show(output: Output, manifest: Path, only: str, lost: bool) -> None:
    """Print the effective constraints file of MANIFEST, and who lost, as comments.

    Each line says from which layer, file and line it comes. Venvs with the same layers share one file.
    """
    groups = show_constraints(manifest, Store(output.store_path or default_root()), output.emit, only=only)

    def render() -> None:
        for group in groups:
            output.out("\n".join(_lines(group, lost=lost)))

    output.show([_plain(group, lost=lost) for group in groups], render)


@command.command("publish")
@click.argument("bundle", type=_BUNDLE)
@click.option("--key", required=True, type=_PATH, help="Private key, or the .pub file of a key that an agent holds.")
@click.option("--signer", required=True, help="Your name as readers of the file know it: 1 to 32 of a-z, 0-9 and -.")
@click.option("-o", "--out", "output_", required=True, type=_PATH, metavar="FILE",
              help="The constraints file; its signature is FILE.sig.")  # fmt: skip
@click.option("--allowed-signers", type=_PATH, help="Who may have signed the bundle (default: the development key).")
@click.option("-n", "--threshold", type=click.IntRange(min=1), default=1, show_default=True,
              help="How many different signers must have signed the bundle.")  # fmt: skip
@click.option("--venv", "venvs", multiple=True, metavar="NAME", help="Only this venv; may be repeated.")
@click.option("--target", "targets", multiple=True, metavar="NAME", help="Only this target; may be repeated.")
@click.option("--allow-unproved", is_flag=True, help="Publish also what was not proved; the file says so.")
@click.option("--force", is_flag=True, help="Replace the file of --out.")
@click.pass_obj
def publish(output: Output, /, bundle: Path, **options: Any) -> None:
    """Verify BUNDLE and write the tested versions of its venvs as a signed constraints file.

    Another manifest takes it as a layer: `constraints: [{name: tested, file: FILE, signers: allowed_signers}]`.
    """
    found = find_development_key(config_directory())
    trusted = options.pop("allowed_signers") or (found.allowed_signers if found else None)
    if trusted is None:
        raise click.UsageError("give --allowed-signers: a bundle cannot vouch for itself")
    policy = VerifyRequest(bundle=bundle, allowed_signers=trusted, threshold=options.pop("threshold"))
    request = PublishRequest(verify=policy, output=options.pop("output_"), **options)
    report = publish_constraints(request, output.emit)

    def render() -> None:
        venvs = "1 venv" if len(report.venvs) == 1 else f"{len(report.venvs)} venvs"
        output.out(f"{report.path}: {report.packages} packages of {venvs} of {report.bundle}")
        output.out(f"{report.signature}: its signature; readers trust it with the line")
        output.out(f"  {report.allowed_signers_line}")

    output.show({**asdict(report), "path": str(report.path), "signature": str(report.signature)}, render)


@command.command("check")
@click.argument("path", metavar="MANIFEST|LOCK", type=click.Path(exists=True, path_type=Path))
@click.option("--lock-dir", type=click.Path(file_okay=False, path_type=Path), help="Where the lock of MANIFEST is.")
@click.option("--venv", default="", metavar="NAME", help="The venv that is upgraded in place; with --from.")
@click.option("--from", "old", type=_LOCK, metavar="LOCK", help="Its lock before the upgrade.")
@click.option("--apart", is_flag=True, help="Venvs need not fit into one environment: report what does not, no more.")
@click.pass_obj
def check(output: Output, /, path: Path, *, apart: bool, **options: Any) -> None:
    """Check constraint layers, the lock, and whether all that is locked fits together.

    MANIFEST: its layers, and its lock if there is one. LOCK: the directory of a lock. Every locked version is held
    against the layers, every requirement of every package against what is locked: venv by venv, the whole release as
    one environment, and with --venv and --from a venv after an upgrade in place. What packages require is what
    locking learned; nothing is fetched.
    """
    store = Store(output.store_path or default_root())
    report = check_constraints(CheckRequest(path=path, store=store, **options), output.emit)
    output.show(asdict(report), lambda: _render(output, report))
    _judge(report, apart=apart)


def _render(output: Output, report: CheckReport) -> None:
    output.out("\n".join(_report(report.shadowed)).replace("# ", ""))
    for one in report.violations:
        said = f"{one.package} {one.version} is locked, but {one.place} says {one.constraint}"
        output.out(f"Against its constraints: {one.venv} on {one.target}: {said}")
    parts = (
        ("In one venv", report.alone),
        ("If the release were one environment", report.together),
        ("After the upgrade", report.upgrade),
    )
    for title, findings in parts:
        for finding in findings:
            output.out(f"{title}, {', '.join(finding.targets)}: {finding.said}")
    for name in report.unknown:
        output.out(f"Not known here: what {name} requires")
    if not report.lock:
        output.out("There is no lock: only the layers were checked.")
        return
    wrong = len(report.violations) + sum(len(findings) for _, findings in parts)
    told = {0: "all of it fits", 1: "1 thing does not fit"}.get(wrong, f"{wrong} things do not fit")
    output.out(f"{report.lock}: {report.packages} locked packages, {told}")


def _judge(report: CheckReport, *, apart: bool) -> None:
    """Leave with the exit code of the gravest finding."""
    if report.violations:
        raise ConstraintError("the lock holds versions that the layers do not allow", hint="bundle-build lock")
    broken = (*report.alone, *report.upgrade, *(() if apart else report.together))
    if broken:
        raise ResolutionFailed(
            f"what is locked does not fit together: {broken[0].said}",
            hint="constrain one of the pair in a layer; --apart where venvs never share an environment",
        )
    if report.unknown:
        raise MetadataError(
            f"what {len(report.unknown)} packages require is not known here",
            hint="use the store that the lock was made with, or lock again with --upgrade",
        )


def _lines(group: ConstraintGroup, *, lost: bool) -> Iterator[str]:
    yield f"# Group {group.name}: {', '.join(group.venvs)}"
    if not lost:
        yield group.effective.text.rstrip("\n")
    yield from _report(group.effective.shadowed)


def _report(shadowed: Sequence[Shadowed]) -> Iterator[str]:
    if not shadowed:
        yield "# No constraint lost to a higher layer."
    for one in shadowed:
        yield f"# Lost: {one.loser} ({one.loser_where}) to {one.winner} ({one.winner_where})"


def _plain(group: ConstraintGroup, *, lost: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "group": group.name,
        "venvs": list(group.venvs),
        "lost": [asdict(one) for one in group.effective.shadowed],
    }
    if not lost:
        found["layers"] = [asdict(record) for record in group.records]
        found["constraints"] = [
            {"name": entry.name, "requirement": entry.requirement, "layer": entry.layer, "where": entry.where}
            for entry in group.effective.entries
        ]
    return found
