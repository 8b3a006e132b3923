from edge_agent.inference.turns import HELD, PATIENCE, Turns


class Board:
    """Some threads, a clock, and the order in which models were called."""

    def __init__(self, threads: int) -> None:
        self.now = 0.0
        self.turns = Turns(threads, lambda: self.now)
        self.called: list[str] = []

    def ask(self, name: str, priority: int = 0, threads: int = 1) -> bool:
        return self.turns.ask(name, priority, threads, lambda: self.called.append(name))

    def end(self, name: str) -> None:
        self.turns.end(name)
        self.turns.give()


def test_batches_run_beside_each_other_while_there_are_threads() -> None:
    board = Board(3)
    assert [board.ask("a", threads=2), board.ask("b"), board.ask("c")] == [True, True, False]
    assert board.turns.waited == 1
    board.end("b")
    assert board.called == ["c"]


def test_a_higher_priority_goes_first_when_threads_come_free() -> None:
    board = Board(1)
    assert board.ask("running")
    assert not board.ask("low", 1)
    assert not board.ask("high", 2)
    board.end("running")
    assert board.called == ["high"]
    board.end("high")
    assert board.called == ["high", "low"]


def test_who_ends_may_ask_again_before_the_threads_are_given_on() -> None:
    board = Board(1)
    assert board.ask("high", 2)
    assert not board.ask("low", 1)
    board.turns.end("high")
    assert board.ask("high", 2)
    board.turns.give()
    assert board.called == []


def test_equals_take_turns() -> None:
    board = Board(1)
    assert board.ask("a")
    assert not board.ask("b")
    board.turns.end("a")
    board.now += 0.01
    assert not board.ask("a")
    assert board.called == ["b"]


def test_one_that_has_waited_long_goes_before_a_higher_priority() -> None:
    board = Board(1)
    assert board.ask("high", 100)
    assert not board.ask("low", 0)
    for _ in range(9):
        board.now += PATIENCE / 10
        board.turns.end("high")
        assert board.ask("high", 100)
    board.now += PATIENCE / 9
    board.turns.end("high")
    assert not board.ask("high", 100)
    assert board.called == ["low"]
    board.end("low")
    assert board.called == ["low", "high"]


def test_one_with_many_threads_is_not_passed_by_those_with_few() -> None:
    board = Board(2)
    assert board.ask("a")
    assert not board.ask("wide", threads=2)
    assert not board.ask("b")
    board.end("a")
    assert board.called == ["wide"]


def test_more_threads_than_there_are_run_alone() -> None:
    board = Board(2)
    assert board.ask("wide", threads=8)
    assert not board.ask("a")
    board.end("wide")
    assert board.called == ["a"]


def test_who_waits_no_more_is_forgotten() -> None:
    board = Board(1)
    assert board.ask("a")
    assert not board.ask("b")
    board.end("b")
    board.end("a")
    assert board.called == []
    assert board.ask("c")


def test_asking_twice_is_waiting_once() -> None:
    board = Board(1)
    assert board.ask("a")
    assert not board.ask("b")
    assert not board.ask("b")
    board.end("a")
    board.end("b")
    assert board.called == ["b"]
    assert board.ask("c")


def test_a_batch_that_takes_long_shares_its_threads_with_those_that_wait() -> None:
    board = Board(2)
    assert board.ask("endless", threads=2)
    assert not board.ask("a")
    assert not board.ask("b")
    assert not board.ask("c")
    board.now += HELD * 0.9
    board.turns.give()
    assert board.called == []
    board.now += HELD * 0.2
    board.turns.give()
    assert board.called == ["a", "b"]
    board.end("a")
    assert board.called == ["a", "b", "c"]


def test_threads_that_were_shared_come_back_once() -> None:
    board = Board(1)
    assert board.ask("endless")
    board.now += HELD
    assert board.ask("a")
    board.end("endless")
    assert not board.ask("b")
    board.end("a")
    assert board.called == ["b"]
    assert not board.ask("d")
