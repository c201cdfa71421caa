"""What engines do about memory: they have no more room, or take back what they were given."""

import pytest

pytest_plugins = ["engine_fixtures"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.engines,
    pytest.mark.asyncio(loop_scope="session"),
]
