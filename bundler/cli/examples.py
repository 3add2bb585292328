"""Examples that end the help of each command."""

from __future__ import annotations

from collections.abc import Mapping

_EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "adopt": (
        "bundle-build adopt requirements.txt -o release.yaml",
        "bundle-build adopt wheelhouse --name tools --version 1.2",
    ),
    "cat": (
        "bundle-build cat dist/tools-1.0-1795123456 os-releases/1.0/debian-12-x86_64/locks/pylock.web.toml",
        "bundle-build cat stick/tools.tar os-releases/1.0/debian-12-x86_64/venvs/web-1.tar.zst > web.tar.zst",
    ),
    "completion": (
        "bundle-build completion bash > ~/.local/share/bash-completion/completions/bundle-build",
        "bundle-build completion zsh > ~/.zfunc/_bundle-build",
        "bundle-build completion fish > ~/.config/fish/completions/bundle-build.fish",
    ),
    "config": (
        "bundle-build config",
        "bundle-build config --changed",
        "BUNDLE_BUILD_OUT=/srv/bundles bundle-build config build",
    ),
    "constraints check": (
        "bundle-build constraints check release.yaml",
        "bundle-build constraints check release.yaml --venv nova --from before.lock",
    ),
    "constraints publish": (
        "bundle-build constraints publish dist/tools-1.0-1795123456 --key id_ed25519 --signer alice -o tested.txt",
    ),
    "constraints show": (
        "bundle-build constraints show release.yaml > effective.txt",
        "bundle-build constraints show release.yaml --group nova --lost",
    ),
    "diff": (
        "bundle-build diff dist/tools-1.0-1790000000 dist/tools-1.1-1795123456",
        "bundle-build diff OLD NEW --exit-code --quiet",
    ),
    "extract": (
        "bundle-build extract BUNDLE os-releases/1.0/debian-12-x86_64/wheels --out wheelhouse",
        "bundle-build extract BUNDLE '**/pylock.*.toml'",
    ),
    "inspect": (
        "bundle-build inspect dist/tools-1.0-1795123456",
        "bundle-build inspect stick/tools.tar --venv web --json",
    ),
    "lock": (
        "bundle-build lock release.yaml",
        "bundle-build lock release.yaml --upgrade-package requests --diff old/release.lock",
        "bundle-build lock release.yaml --locked",
    ),
    "manifest check": ("bundle-build manifest check release.yaml",),
    "manifest from-openstack": (
        "bundle-build manifest from-openstack --deliverables gazpacho --upper-constraints upper.txt -o release.yaml",
        "bundle-build manifest from-openstack --source-git inventory/group_vars --tag 33.0.1 -o exact.yaml",
    ),
    "manifest explain": (
        "bundle-build manifest explain release.yaml",
        "bundle-build manifest explain release.yaml --target debian-12-x86_64 --json",
    ),
    "manifest sample": ("bundle-build manifest sample > release.yaml",),
    "manifest schema": ("bundle-build manifest schema > manifest.schema.json",),
    "page": (
        "bundle-build page dist/tools-1.1-1795123456 --previous dist/tools-1.0-1790000000",
        "bundle-build page stick/tools.tar --allowed-signers allowed_signers --threshold 2 --out tools.html",
    ),
    "review": ("bundle-build review dist/tools-1.1-1795123456 --against dist/tools-1.0-1790000000",),
    "sign": (
        "bundle-build sign dist/tools-1.0-1795123456 --key ~/.ssh/id_ed25519 --signer alice",
        "bundle-build sign dist/tools-1.0-1795123456 --key ~/.ssh/id_ed25519_sk.pub --signer bob",
    ),
    "store check": ("bundle-build store check",),
    "store prune": (
        "bundle-build store prune --older-than 60 --dry-run",
        "bundle-build store prune --older-than 0",
    ),
    "store size": ("bundle-build store size --json",),
    "verify": (
        "bundle-build verify dist/tools-1.0-1795123456 --allowed-signers allowed_signers",
        "bundle-build verify stick/tools.tar --allowed-signers allowed_signers --threshold 2 --deep",
    ),
}


def examples(path: tuple[str, ...], program: str) -> str | None:
    """Return the epilog of the command of ``program`` with these words, or None."""
    lines = _EXAMPLES.get(" ".join(path))
    if lines is None:
        return None
    return epilog(*(line.replace("bundle-build", program) for line in lines))


def epilog(*lines: str) -> str:
    """Return the end of a help text that shows ``lines`` as examples."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines), ""))
