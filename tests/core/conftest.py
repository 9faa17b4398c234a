"""What stands here tests the core: it also runs without compilation and with bounds checks."""

from pathlib import Path

import pytest
from numba.core import caching

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.core)


@pytest.fixture(autouse=True, scope="session")
def states_of_tests_stay_out_of_the_cache():
    """A cached kernel names its states' classes; nobody else could load one of a test's."""
    save = caching.Cache.save_overload

    def save_overload(self, signature, compiled):
        classes = [getattr(kind, "instance_class", None) for kind in signature]
        if all(found is None or found.__module__.startswith("potadlab.") for found in classes):
            save(self, signature, compiled)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caching.Cache, "save_overload", save_overload)
        yield
