"""The injector of tests/faults on venvs: ``python killing.py SCENARIO FAULT DIRECTORY STEP``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bundler.workflows.site.unpack import BackRequest, put_back
from tests.faults import injector
from tests.faults.scenarios import Scenario
from tests.unpack.conftest import SHARED, Host, archive_of, layer, tree


class Unpack(Scenario):
    """A second version of a venv comes beside the first, with a layer of its own."""

    def prepare(self, root: Path) -> None:
        host = Host(root)
        host.put("nova-1", SHARED, layer({"n.py": "1"}))
        host.archive("nova-2", archive_of(SHARED, layer({"n.py": "2"})))

    def act(self, root: Path) -> None:
        Host(root).unpack("nova-2", keep=0)

    def state(self, root: Path) -> Any:
        return tree((root / "venvs" / "nova").resolve())

    def leftovers(self, root: Path) -> list[str]:
        old = [str(path) for path in root.rglob("nova-1") if path.is_dir()]
        return [*super().leftovers(root), *old]


class Back(Unpack):
    """The second version goes back to the first, which is not the oldest."""

    def prepare(self, root: Path) -> None:
        for number in range(3):
            Host(root).put(f"nova-{number}", SHARED, layer({"n.py": f"{number}"}))

    def act(self, root: Path) -> None:
        put_back(BackRequest(venvs=("nova",), into=root / "venvs"))

    def leftovers(self, root: Path) -> list[str]:
        return Scenario.leftovers(self, root)


def main() -> None:
    vars(injector)["SCENARIOS"] = {"unpack": Unpack, "back": Back}
    injector._CHANGES.add("os.link")
    injector.main()


if __name__ == "__main__":
    main()
