"""Settings of all tests."""

from hypothesis import settings

# The first call of a kernel compiles it; how long an example takes says nothing.
settings.register_profile("potadlab", deadline=None)
settings.load_profile("potadlab")
