"""Fixtures that every folder of tests shares."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

# A shell ignores interrupts in what it starts in the background, and so would every child.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def _own_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the key of volunteers' pseudonyms that is made here out of the user's own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(scope="session")
def trees(root: Path) -> Path:
    """The trees known by name."""
    return root / "config" / "trees"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(
            f"no real data at {SHARED_DATA.parent.name}/{SHARED_DATA.name} beside the checkout"
        )
    return SHARED_DATA


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """In CI, a skip while the real data are present is a failure: it would hide a broken test."""
    skipped = call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception)
    if skipped and os.environ.get("CI") and SHARED_DATA.is_dir():
        pytest.fail(
            f"{item.nodeid} was skipped in CI though the real data are present: {call.excinfo}"
        )
