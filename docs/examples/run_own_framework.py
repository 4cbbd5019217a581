"""Really run the framework of one's own on a tiny model and hold every step against its prediction.

Needs the extra ``runtime``; ends with exit code 3 where a count differs.
"""

from __future__ import annotations

import sys

from adapters_up_logits_down import adapters_up_logits_down
from rich.console import Console

from fedsim.report.verify import print_verification
from fedsim.runtime.federation import Federation, build_federation
from fedsim.study.verification_setup import VerificationRequest, VerificationSetup
from fedsim.study.verify import verify

_EXIT_DISAGREEMENT = 3


def main() -> int:
    """Run one round and compare."""
    setup = VerificationSetup.from_request(VerificationRequest())

    def build() -> Federation:
        return build_federation(
            adapters_up_logits_down,
            setup.training,
            setup.settings,
            setup.data,
            options=setup.options,
            weights="random",
        )

    outcome = verify(build, "adapters_up_logits_down", timed_rounds=0)
    print_verification(Console(), [outcome], setup.title)
    return 0 if outcome.agrees else _EXIT_DISAGREEMENT


if __name__ == "__main__":
    sys.exit(main())
