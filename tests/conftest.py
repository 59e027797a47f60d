"""What holds for all tests. Property tests measure no time: machines differ, and coverage slows them down."""

from hypothesis import HealthCheck, settings

settings.register_profile("tidegate", deadline=None, print_blob=False, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tidegate")
