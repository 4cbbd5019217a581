"""What every test shares: how hard hypothesis looks, and no network."""

import os

# Ahead of torch, or it has no effect: test workers run side by side, and tiny models gain nothing
# from threads that would spin against each other.
for _name, _value in (
    ("OMP_NUM_THREADS", "1"),
    ("OMP_WAIT_POLICY", "passive"),
    ("GOMP_SPINCOUNT", "0"),
):
    os.environ.setdefault(_name, _value)

# No test needs a network, and without one huggingface_hub would try again for most of a minute.
os.environ["HF_HUB_OFFLINE"] = "1"

from hypothesis import Phase, settings  # noqa: E402  (the environment first)

# No deadline anywhere: on a shared machine it would fail tests for somebody else's load.
settings.register_profile("dev", max_examples=50, deadline=None)
# The same examples in every run, so that a red pipeline is a changed program and not bad luck.
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=2000, deadline=None, phases=tuple(Phase))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
