"""What every test shares: how hard hypothesis looks."""

import os

from hypothesis import Phase, settings

# No deadline anywhere: on a shared machine it would fail tests for somebody else's load.
settings.register_profile("dev", max_examples=50, deadline=None)
# The same examples in every run, so that a red pipeline is a changed program and not bad luck.
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=2000, deadline=None, phases=tuple(Phase))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
