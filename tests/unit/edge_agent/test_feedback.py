from collections.abc import Callable

from edge_agent.feedback import NUMBER_KEY, FeedbackIntake
from edge_agent.journal.batch import Batch
from edge_agent.journal.errors import StoreError, StoreFull
from fleet_contract.feedback import MAX_TRUTHS, Feedback, Truth
from fleet_contract.reasons import Reason


class Disk:
    """Takes batches, and finishes them when it is told to."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self._waiting: list[Callable[[StoreError | None], None]] = []

    def submit(self, batch: Batch, done: Callable[[StoreError | None], None] | None = None, *, urgent: bool = True) -> None:
        self.batches.append(batch)
        assert done is not None
        self._waiting.append(done)

    def finish(self, error: StoreError | None = None) -> None:
        self._waiting.pop(0)(error)


def message(number: int, truths: int = 1) -> Feedback:
    return Feedback(number=number, truths=tuple(Truth(result_id=f"r{at}", label="frost") for at in range(truths)))


def test_the_number_is_reported_only_after_the_commit_that_holds_it_and_the_truths() -> None:
    disk, told = Disk(), []
    intake = FeedbackIntake(disk, {}, lambda: told.append(intake.number))
    intake.on_feedback(message(1))
    assert (told, intake.number) == ([], 0)
    assert [truth.result_id for truth in disk.batches[0].truths] == ["r0"]
    assert disk.batches[0].values == {NUMBER_KEY: b"1"}
    disk.finish()
    assert told == [1]


def test_a_message_that_was_taken_in_is_reported_again_and_not_stored_again() -> None:
    disk, told = Disk(), []
    intake = FeedbackIntake(disk, {NUMBER_KEY: b"7"}, lambda: told.append(intake.number))
    intake.on_feedback(message(7))
    assert (told, disk.batches, intake.counters["feedback_messages_repeated"]) == ([7], [], 1)


def test_what_the_store_refuses_is_not_reported_so_that_it_comes_again() -> None:
    disk, told = Disk(), []
    intake = FeedbackIntake(disk, {}, lambda: told.append(intake.number))
    intake.on_feedback(message(1))
    disk.finish(StoreFull("full", Reason.OUTBOX_FULL))
    assert (told, intake.number) == ([], 0)
    intake.on_feedback(message(1))
    disk.finish()
    assert told == [1]


def test_what_is_beyond_the_bound_of_a_message_is_counted_and_not_stored() -> None:
    disk = Disk()
    intake = FeedbackIntake(disk, {}, lambda: None)
    intake.on_feedback(message(1, MAX_TRUTHS + 3))
    assert len(disk.batches[0].truths) == MAX_TRUTHS
    assert intake.counters["feedback_beyond_bound"] == 3
