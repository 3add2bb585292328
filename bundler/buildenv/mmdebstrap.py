"""Runs mmdebstrap: a root file system as a tar, from mirrors or on top of an earlier one."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from bundler.buildenv.recipe import Recipe
from bundler.errors import BuildEnvironmentError, CommandFailed, Problem
from bundler.process import Command, run, which

#: Seconds that a system may take: an emulated one on a slow mirror takes long.
_TIMEOUT = 3600
_OPTIONS = (
    # Device nodes: nobody may make them as an ordinary user, and bubblewrap brings its own.
    "--skip=output/dev",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
)
_UNKNOWN = re.compile(r"Unable to locate package (\S+)|Package '?([^' ]+)'? has no installation candidate")
_UNREACHABLE = re.compile(r"(?:Failed to fetch|Err:\d+) (\S+)|Could not (?:resolve|connect to) '?([^'\s]+)")
_OWN_END = ("mmdebstrap failed", "setup failed", "run_chroot failed", "apt-get ", "I: ", "W: ", "done")
_UNTRUSTED = re.compile(r"NO_PUBKEY|is not signed|signatures couldn't be verified|EXPKEYSIG")


def bootstrap(recipe: Recipe, into: Path, *, base: Path | None = None, what: str = "") -> None:
    """Write the root file system of ``recipe`` to a tar, on top of the one in the tar ``base``, if given.

    ``into`` may be an empty directory instead of a tar, for root, whose files it then belongs to.

    Raises:
        ToolMissing: mmdebstrap is not installed.
        BuildEnvironmentError: Packages do not exist (all are named), mirrors are out of reach, or anything else.
    """
    argv = [which("mmdebstrap"), *_OPTIONS, f"--architectures={recipe.architecture}"]
    argv += ["--format=directory" if into.is_dir() else "--format=tar"]
    argv += [f"--aptopt={option}" for option in recipe.options]
    argv += [f"--include={','.join(recipe.packages)}"]
    if base is None:
        argv += ["--variant=minbase"]
    else:
        argv += ["--variant=custom", f"--setup-hook=tar-in {shlex.quote(str(base))} /"]
    argv += [recipe.suite, str(into), *recipe.sources]
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    env |= {name: os.environ[name] for name in ("HOME", "TMPDIR", "http_proxy", "https_proxy") if name in os.environ}
    try:
        run(Command(argv=argv, env=env), timeout=_TIMEOUT)
    except CommandFailed as error:
        raise explained(error.output, recipe, what or recipe.suite) from error


def explained(output: str, recipe: Recipe, what: str) -> BuildEnvironmentError:
    """Return the error that says why mmdebstrap failed, by what it said."""
    unknown = sorted({one or other for one, other in _UNKNOWN.findall(output)})
    if unknown:
        return BuildEnvironmentError(
            f"{what}: {recipe.suite} has no such packages",
            hint="correct distro_packages in the manifest; names differ between releases (lists may be per system)",
            problems=[Problem(where=name, what=f"is no package of {recipe.suite}") for name in unknown],
        )
    unreachable = sorted({one or other for one, other in _UNREACHABLE.findall(output)})
    if _UNTRUSTED.search(output):
        return BuildEnvironmentError(
            f"{what}: the archive is not signed by a key that this host trusts: {_last(output)}",
            hint="name its keyring in systems.<system>.keyring of the manifest",
        )
    if unreachable:
        return BuildEnvironmentError(
            f"{what}: the mirror cannot be reached: {unreachable[0]}",
            hint="see apt's own configuration, or systems.<system>.mirrors of the manifest; then run again",
        )
    return BuildEnvironmentError(f"{what}: mmdebstrap failed: {_last(output)}", hint=_hint(output))


def _hint(output: str) -> str:
    if "unshare" in output or "newuidmap" in output or "user namespace" in output:
        return "an ordinary user needs uidmap, and a line in /etc/subuid and /etc/subgid; root needs neither"
    if "cannot be executed" in output or "Exec format error" in output or "arch-test" in output:
        return (
            "foreign programs cannot run here: sh scripts/prepare-host, or apt-get install arch-test qemu-user-static"
        )
    return "run it by hand to see more; a rerun begins anew"


def _last(output: str) -> str:
    lines: Sequence[str] = list(_said(output))
    return lines[-1] if lines else "it said nothing"


def _said(output: str) -> Iterator[str]:
    for line in output.splitlines():
        text = line.removeprefix("E: ").strip()
        # What it says of its own end hides the cause.
        if text and not text.startswith(_OWN_END):
            yield text
