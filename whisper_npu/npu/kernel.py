"""What the planner chooses among: families of kernels, with a contract and a plan for each op they can do."""

from __future__ import annotations

from abc import ABC, abstractmethod

from whisper_npu.npu.contract import Contract
from whisper_npu.npu.plan import Plan
from whisper_npu.ops import Op


class Kernel(ABC):
    """A family of kernels that the planner may choose: for each op that it can do, a contract and a plan.

    Frozen and comparable.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What a user calls it, and what a report says."""

    @abstractmethod
    def contract(self, op: Op) -> Contract | None:
        """The kernel for this op; None where the family has none for it."""

    @abstractmethod
    def plan(self, op: Op) -> Plan:
        """The cheapest way to make an op that `contract` has a kernel for."""

    @property
    def group(self) -> str | None:
        """What a user calls all kernels of the family together, for the planner to choose from.

        None: nothing.
        """
        return None

    @property
    def makes_whole(self) -> bool:
        """Whether it makes ops whole that others lower."""
        return False

    def refuses(self, op: Op) -> str | None:
        """What keeps it from making an op of a kind that it makes otherwise, with the numbers."""
        return None

    @property
    def known(self) -> tuple[Contract, ...]:
        """Contracts that any op would take: what can be loaded before an op comes."""
        return ()

    def matches(self, op: Op) -> bool:
        return self.contract(op) is not None
