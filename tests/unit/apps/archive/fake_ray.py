"""As much of Ray as a run needs, within this process: what happens to its actors is a test's to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    pass


class RayActorError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Ref:
    """A call that is made when somebody asks for its result."""

    n_made = 0

    def __init__(self, actor: Actor, method: str, arguments: tuple[Any, ...]) -> None:
        Ref.n_made += 1
        self.number = Ref.n_made
        self.actor, self.method, self.arguments = actor, method, arguments


class Actor:
    def __init__(self, cls: type, options: dict[str, Any], on_call: Callable[[str], None]) -> None:
        self.on_call = on_call
        self.instance: Any = cls()
        self.node = options["scheduling_strategy"][0]
        self.options = options
        self.is_dead = False

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: Any) -> Ref:
            self.on_call(name)
            return Ref(self, name, arguments)

        return SimpleNamespace(remote=remote)


class FakeRay:
    """nodes: ids, and their CPUs. on_get: is called with every call before it is made, and may raise."""

    def __init__(self, nodes: dict[str, int]) -> None:
        self.machines = nodes
        self.on_get: Callable[[Ref], None] = lambda ref: None
        self.on_wait: Callable[[], None] = lambda: None
        self.on_call: Callable[[str], None] = lambda method: None  # before it is sent
        self.actors: list[Actor] = []
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
        affinity = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, *, soft: (node, soft))
        self.util = SimpleNamespace(scheduling_strategies=affinity)

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": name, "Alive": True, "NodeManagerHostname": name, "Resources": {"CPU": cpus}}
            for name, cpus in self.machines.items()
        ]

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(gcs_address="127.0.0.1:1")

    def remote(self, cls: type) -> Any:
        def made(**options: Any) -> Any:
            def remote() -> Actor:
                self.actors.append(Actor(cls, options, lambda method: self.on_call(method)))
                return self.actors[-1]

            return SimpleNamespace(remote=remote)

        return SimpleNamespace(options=made)

    def wait(
        self, refs: Sequence[Ref], *, num_returns: int = 1, timeout: float
    ) -> tuple[list[Ref], list[Ref]]:
        if timeout:
            self.on_wait()
        oldest = min(refs, key=lambda ref: ref.number)
        return [oldest], [ref for ref in refs if ref is not oldest]

    def get(self, ref: Ref) -> Any:
        self.on_get(ref)
        if ref.actor.is_dead or ref.actor.node not in self.machines:
            raise RayActorError("The actor is dead because its node has died.")
        try:
            return getattr(ref.actor.instance, ref.method)(*ref.arguments)
        except Exception as error:
            raise RayTaskError(error) from error

    def kill(self, actor: Actor) -> None:
        actor.is_dead = True
