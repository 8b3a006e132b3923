"""Log lines: a fixed message plus fields."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from fleet_controller.logs import set_up_logging


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_away_from_a_terminal_each_record_is_one_json_object_with_its_fields() -> None:
    stream = io.StringIO()
    set_up_logging("info", None, stream)
    logging.getLogger("x").info("a wave starts", extra={"rollout": 3, "text": "سلام"})
    logging.getLogger("x").debug("not shown")
    line = json.loads(stream.getvalue())
    assert (line["level"], line["message"], line["rollout"], line["text"]) == ("info", "a wave starts", 3, "سلام")


def test_for_people_the_fields_stand_behind_the_message_and_a_traceback_below() -> None:
    stream = io.StringIO()
    set_up_logging("info", False, stream)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("x").exception("a look failed", extra={"rollout": 3})
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("error   a look failed rollout=3")
    assert rest[-1] == "ValueError: broken"
