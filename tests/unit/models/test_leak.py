"""The split of `leak`."""

from models.leak import HELD_OUT, recorded


def test_training_and_held_out_windows_share_no_hour() -> None:
    trained, _ = recorded(held_out=False)
    held_out, abnormal = recorded(held_out=True)
    assert (
        max(question.times[-1] for question in trained)
        < HELD_OUT.timestamp()
        <= min(question.times[0] for question in held_out)
    )
    assert int(abnormal.sum()) == 16
