"""A real run masks nothing, so it refuses rounds that say so ahead of any work."""

from __future__ import annotations

from typing import cast

import pytest

from fedsim.errors import ProtocolError
from fedsim.protocol import FRAMEWORKS
from fedsim.protocol.privacy import with_privacy
from fedsim.runtime.channel import Channel
from fedsim.runtime.executor import Executor
from fedsim.runtime.server import Server
from fedsim.spec.privacy import PrivacySpec
from hidden_round import PLAN


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize(
    "privacy",
    [
        PrivacySpec(secure_aggregation="secagg"),
        PrivacySpec(secure_aggregation="secagg+"),
        PrivacySpec(differential_privacy="central"),
        PrivacySpec(differential_privacy="local"),
    ],
)
def test_a_round_that_hides_is_not_run(name: str, privacy: PrivacySpec) -> None:
    """Neither its set-up nor a round; there is no server here that could have been asked."""
    protocol = with_privacy(FRAMEWORKS[name], privacy, 4)(PLAN)
    executor = Executor(cast(Server, None), {}, cast(Channel, None))

    for run in (executor.run_setup, lambda p: executor.run_round(1, p)):
        with pytest.raises(ProtocolError, match="a real run does not do"):
            run({"ann": protocol})
    assert not executor.ledger.rows
