"""The local executor holds the executor contract."""

from assetforge.api.protocols import Executor
from assetforge.builtin.local_executor import LocalExecutor, LocalParams
from assetforge.testing.executor_contract import ExecutorContract


class TestLocalExecutor(ExecutorContract):
    def executor(self) -> Executor:
        return LocalExecutor(LocalParams(slots=2))

    def test_slots_share_the_cores(self) -> None:
        offers = LocalExecutor(LocalParams(slots=3)).probe()
        assert [offer.slot for offer in offers] == ["cpu:0", "cpu:1", "cpu:2"] or offers[0].slot.startswith("cuda")
