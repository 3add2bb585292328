"""What a site has seen only ever rises, and is never silently forgotten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from bundler.deploy.audit import AuditLog
from bundler.deploy.places import Places
from bundler.deploy.state import SeenBundle, SiteState, hold, read_state, record_bundle
from bundler.errors import Busy, EquivocationRefused, IntegrityError

ONE, TWO = "1" * 64, "2" * 64


def record(places: Places, **changed: Any) -> SiteState:
    facts = {"line": "a-1", "epoch": 0, "sequence": 100, "digest": ONE, "floor": 50, "created": 1000}
    return record_bundle(places, **{**facts, **changed})


def test_a_new_site_has_seen_nothing(places: Places) -> None:
    """Neither a state nor a log is there yet."""
    assert read_state(places) == SiteState()


def test_what_was_recorded_is_read_again(places: Places) -> None:
    """All facts of a bundle survive, and the file is for root alone."""
    state = record(places)

    assert read_state(places) == state
    assert state.seen == {"a-1": SeenBundle(epoch=0, sequence=100, digest=ONE)}
    assert (state.floors, state.created, state.digests) == ({"a-1": 50}, 1000, {"a-1/0/100": ONE})
    assert places.seen.stat().st_mode & 0o777 == 0o600


def test_lower_values_change_nothing_but_the_list_of_digests(places: Places) -> None:
    """An older bundle lowers neither sequence, nor floor, nor the time floor."""
    record(places)

    state = record(places, sequence=90, digest=TWO, floor=10, created=5)

    assert (state.seen["a-1"].sequence, state.floors["a-1"], state.created) == (100, 50, 1000)
    assert state.digests["a-1/0/90"] == TWO


def test_a_higher_epoch_outweighs_any_sequence(places: Places) -> None:
    """An epoch resets the sequence, upwards."""
    record(places)

    state = record(places, epoch=1, sequence=1, digest=TWO)

    assert state.seen["a-1"] == SeenBundle(epoch=1, sequence=1, digest=TWO)


def test_lines_are_counted_by_themselves(places: Places) -> None:
    """Another version of a release has its own sequence and floor."""
    record(places)

    state = record(places, line="a-2", sequence=7, floor=0, digest=TWO)

    assert (state.seen["a-1"].sequence, state.seen["a-2"].sequence) == (100, 7)


def test_a_second_content_of_one_sequence_is_refused(places: Places) -> None:
    """The first one stays."""
    record(places)

    with pytest.raises(EquivocationRefused, match="accepted before"):
        record(places, digest=TWO)

    assert read_state(places).digests == {"a-1/0/100": ONE}


def test_the_same_bundle_again_writes_nothing(places: Places) -> None:
    """Neither the state nor the log grows."""
    record(places)
    before = (places.seen.stat().st_mtime_ns, places.log.stat().st_size)

    record(places)

    assert (places.seen.stat().st_mtime_ns, places.log.stat().st_size) == before


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"{}", b"\xff", b'{"format": 1}', b'{"format": 1, "format": 1}', b"0" * 100],
)
def test_a_garbled_state_is_an_error(places: Places, data: bytes) -> None:
    """Nothing is reset; the message names the file."""
    record(places)
    places.seen.write_bytes(data)

    with pytest.raises(IntegrityError, match=r"state\.json"):
        read_state(places)

    assert places.seen.read_bytes() == data


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 2),
        ("more", 1),
        ("created", -1),
        ("floors", {"../x": 1}),
        ("digests", {"a-1/0/100": "1"}),
        ("digests", {"a-1/0/100": TWO}),
        ("seen", {"a-1": {"epoch": 0, "sequence": 101, "digest": ONE}}),
    ],
)
def test_a_state_that_makes_no_sense_is_an_error(places: Places, key: str, value: object) -> None:
    """Every field is checked, and what belongs together has to agree."""
    record(places)
    document = json.loads(places.seen.read_bytes())
    places.seen.write_text(json.dumps({**document, key: value}))

    with pytest.raises(IntegrityError):
        read_state(places)


def test_a_lost_state_is_an_alarm(places: Places) -> None:
    """The log knows that a bundle was recorded: the site does not begin anew by itself."""
    record(places)
    places.seen.unlink()

    with pytest.raises(IntegrityError, match=r"is gone, but audit\.jsonl line 1 recorded a bundle"):
        record(places, sequence=1)


def test_an_older_state_is_an_alarm(places: Places) -> None:
    """A backup that was put back does not make the site forget."""
    record(places)
    older = places.seen.read_bytes()
    record(places, sequence=200, digest=TWO)
    places.seen.write_bytes(older)

    with pytest.raises(IntegrityError, match=r"is older than audit\.jsonl line 2"):
        read_state(places)


def test_a_lowered_floor_is_an_alarm(places: Places) -> None:
    """An edit of the floor alone is found too."""
    record(places)
    places.seen.write_text(places.seen.read_text().replace('"a-1": 50', '"a-1": 5'))

    with pytest.raises(IntegrityError):
        read_state(places)


def test_other_records_of_the_log_ask_for_no_state(places: Places) -> None:
    """A run that was killed before the state was written goes on."""
    AuditLog(places.log).append("verified", {"bundle": "a-1-100"})

    assert read_state(places) == SiteState()


def test_a_second_run_is_told_who_is_at_work(places: Places) -> None:
    """The lock names its process and when that began, and goes with it."""
    code = "import sys; from pathlib import Path; from bundler.deploy.places import Places\n"
    code += "from bundler.deploy.state import hold\nwith hold(Places(state=Path(sys.argv[1]))): print(); input()\n"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(places.state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()

        with pytest.raises(Busy, match=f"process {other.pid} since 20"), hold(places):
            pass

        other.kill()
    with hold(places):
        assert places.lock.read_text().startswith(f"process {os.getpid()} since ")


def test_recording_works_while_the_site_is_held(places: Places) -> None:
    """The run that holds the site is the one that records."""
    with hold(places):
        state = record(places)

    assert read_state(places) == state
