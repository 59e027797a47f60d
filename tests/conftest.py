"""What holds for all tests. Property tests measure no time: machines differ, and coverage slows them down. Assertions
of some helpers say as much as those of tests."""

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.integration.lives", "tests.integration.talker")
settings.register_profile("tidegate", deadline=None, print_blob=False, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tidegate")
