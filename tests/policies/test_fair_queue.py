"""The queue against a naive list that is sorted anew for every question."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentic_synth.policies.queue import FairQueue


class Queues(RuleBasedStateMachine):
    """Turns are counted: a flow's turn ends when it is served, and a flow that comes back waits behind the others."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue()
        self.model: list[tuple[int, str, int]] = []
        self.turns: dict[tuple[int, str], int] = {}
        self.count = 0

    def next_of_model(self) -> tuple[int, str, int]:
        priority = min(entry[0] for entry in self.model)
        flows = {entry[1] for entry in self.model if entry[0] == priority}
        flow = min(flows, key=lambda name: self.turns[priority, name])
        return next(entry for entry in self.model if entry[:2] == (priority, flow))

    @rule(priority=st.integers(-1, 2), flow=st.sampled_from("abc"))
    def push(self, priority: int, flow: str) -> None:
        self.count += 1
        self.queue.push(self.count, priority, flow)
        if not any(entry[:2] == (priority, flow) for entry in self.model):
            self.turns[priority, flow] = self.count * 1_000
        self.model.append((priority, flow, self.count))

    @precondition(lambda self: self.model)
    @rule()
    def pop(self) -> None:
        expected = self.next_of_model()
        assert self.queue.peek() == expected[2]
        assert self.queue.pop() == expected[2]
        self.model.remove(expected)
        self.count += 1
        self.turns[expected[:2]] = self.count * 1_000

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(self.model))
        self.queue.discard(gone[2])
        self.queue.discard(gone[2])
        self.model.remove(gone)

    @invariant()
    def as_many(self) -> None:
        assert len(self.queue) == len(self.model)
        assert all(entry[2] in self.queue for entry in self.model)


TestQueues = Queues.TestCase
TestQueues.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_thousand_of_one_flow_do_not_shut_out_three_of_another() -> None:
    queue: FairQueue[int] = FairQueue()
    for waiter in range(1_000):
        queue.push(waiter, 0, "many")
    for waiter in range(1_000, 1_003):
        queue.push(waiter, 0, "few")
    assert {1_000, 1_001, 1_002} <= {queue.pop() for _ in range(6)}
