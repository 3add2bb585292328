"""The commands as an operator types them: exit codes, JSON, and a kill at any moment."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bundles import make_sample
from tests.deploy.scene import LINE, Scene

DEAD = {"name": "dead", "address": "127.0.0.1", "port": 9, "root": "/srv"}


def argv(scene: Scene, *words: str | Path) -> list[str]:
    places = ["--config-dir", str(scene.places.config), "--state-dir", str(scene.places.state)]
    run = "from bundler.cli.install import main; main()"
    return [sys.executable, "-c", run, *(str(word) for word in words), *places]


def install(scene: Scene, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv(scene, *words), capture_output=True, text=True, check=False)


def data(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_plan_and_apply_speak_json(scene: Scene) -> None:
    """A program reads what will be done, what was done, and that nothing is left to do."""
    bundle = scene.bundle(1)
    scene.site(scene.local("a"))

    planned = data(install(scene, "plan", bundle, "--json"))
    applied = data(install(scene, "apply", bundle, "--json"))
    again = data(install(scene, "apply", bundle, "--dry-run", "--json"))

    assert [(one["host"], one["doing"]) for one in planned["hosts"]] == [("a", "send, prove, activate")]
    assert planned["hosts"][0]["bytes_to_send"] == applied["hosts"][0]["sent"]
    assert [(one["host"], one["state"]) for one in applied["hosts"]] == [("a", "activated")]
    assert again["hosts"][0]["doing"] == "up to date"


@pytest.mark.slow
def test_people_read_tables(scene: Scene) -> None:
    """Plan, result, status, check, why, prune and rollback are shown to people."""
    scene.site(scene.local("a"), scene.local("b"))
    for sequence in (1, 2):
        assert install(scene, "apply", scene.bundle(sequence)).returncode == 0

    commands = (
        ("status",), ("check",), ("repair",), ("why", "pure"), ("why", "puree"), ("prune", "--dry-run"),
        ("rollback", "--host", "a"), ("status", "--host", "a", "--host", "b"),
    )  # fmt: skip
    shown = {words: install(scene, *words) for words in commands}

    assert {words: one.returncode for words, one in shown.items()} == dict.fromkeys(shown, 0), [
        one.stderr for one in shown.values()
    ]
    assert "as it was signed" in shown["check",].stdout
    assert f"{LINE}-1 is active" in shown["rollback", "--host", "a"].stdout
    assert "signed by alice" in shown["why", "pure"].stdout
    assert f"puree is in no release that this site applied ({LINE}-1, {LINE}-2). Did you mean pure?" in (
        shown["why", "puree"].stdout
    )
    assert "*" not in shown["status",].stdout
    # Of two hosts nobody can say which is right.
    last = shown["status", "--host", "a", "--host", "b"].stdout
    assert "1 of its peers serves 2" in last
    assert "1 of its peers serves 1" in last


@pytest.mark.slow
def test_exit_codes_tell_what_happened(scene: Scene) -> None:
    """86: stopped at the gate; 87: as many failed as it allows; 80: a host does not answer; 85: drift."""
    bundle = scene.bundle(1)
    scene.site(scene.local("a"), DEAD)

    plan, stopped = install(scene, "plan", bundle), install(scene, "apply", bundle)
    scene.site(scene.local("a"), DEAD, gates={"max_failed": 1})
    partly = install(scene, "apply", bundle)
    status = install(scene, "status")
    next((scene.root("a") / "os-releases").glob("*/*/wheels/pure*")).write_bytes(b"changed")
    check = install(scene, "check", "--host", "a")

    found = [one.returncode for one in (plan, stopped, partly, status, check)]
    assert found == [80, 86, 87, 80, 85]
    assert "dead" in stopped.stderr


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_old_or_new(scene: Scene) -> None:
    """Apply is killed again and again: hosts serve the old release or the new one, whole, and a rerun converges."""
    old, new = make_sample(1), make_sample(2)
    names = ("a", "b")
    scene.site(*(scene.local(name) for name in names))
    scene.apply(scene.bundle(1, old))
    bundle = scene.bundle(2, new)
    chance = random.Random(20260101)
    for _ in range(8):
        process = subprocess.Popen(
            argv(scene, "apply", bundle, "--quiet"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(timeout=chance.uniform(0.3, 4.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()

        assert all(scene.serves(name, old) or scene.serves(name, new) for name in names)

    done = install(scene, "apply", bundle)

    assert done.returncode == 0, done.stderr
    assert all(scene.serves(name, new) for name in names)
    assert install(scene, "check").returncode == 0
