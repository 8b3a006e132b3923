import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cli import main
from edge_agent.decode_command import decode_message, explanation, explanation_lines, lines, properties_of
from edge_agent.ingest.events import DeadLetter
from edge_agent.ingest.formats import FORMATS
from edge_agent.ingest.sparkplug_schema import Payload
from edge_agent.settings import IngestSettings

SPARKPLUG = "spBv1.0/farm/{}/n1"


class Command:
    """`edge-agent decode` in this process: standard output as objects, standard error as text, and the exit status."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capfd = capfd

    def __call__(self, *arguments: str, payload: bytes | None = b"") -> tuple[list[Any], str, int]:
        if payload is not None:
            (self.folder / "payload").write_bytes(payload)
            arguments = (*arguments, str(self.folder / "payload"))
        try:
            status = main(["decode", *arguments])
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = self._capfd.readouterr()
        return [json.loads(line) for line in out.splitlines()], err, status

    def stdout(self) -> str:
        """What has been printed since."""
        return self._capfd.readouterr().out


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """The command switches its process's logging off."""
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, capfd)


def test_readings_are_json_lines_with_every_field(command: Command) -> None:
    payload = b'{"id": 1, "time": "2024-05-01T10:00:00.123456789Z", "rh": 40, "total": 36893488147419103233, "on": false}'
    printed, err, status = command("--format", "json", "--topic", "farm/a", payload=payload)
    time = "2024-05-01T10:00:00.123456789Z"
    common = {"device": "farm/a", "time": time, "quality": [], "attributes": {}}
    assert printed == [
        {**common, "quantity": "relative_humidity", "value": 40, "unit": "%RH", "name": "rh"},
        {**common, "quantity": "total", "value": 36893488147419103233, "unit": None, "name": "total"},
        {**common, "quantity": "on", "value": False, "unit": None, "name": "on"},
    ]
    assert printed[2]["value"] is False
    assert list(printed[0]) == ["device", "quantity", "value", "unit", "time", "name", "quality", "attributes"]
    assert (err, status) == ("", 0)


def test_a_text_is_a_line_with_its_five_fields(command: Command) -> None:
    printed, _, status = command("--format", "text", "--topic", "t", payload=b"12.50")
    assert printed == [{"device": "t", "text": "12.50", "time": None, "name": "text", "quality": ["no_time"]}]
    assert status == 0


@pytest.mark.parametrize("name", ["text", "json"])
def test_no_text_breaks_the_line_that_it_stands_in(name: str) -> None:
    text = "a\nb\x0b\x0c\r\x1c\x1e\x85\u2028\u2029ü"
    payload = text.encode() if name == "text" else json.dumps({"x": text}).encode()
    (line,) = lines(decode_message(IngestSettings(topic="#", format=name), "t", payload))
    assert line.decode().splitlines() == [line.decode()]
    assert json.loads(line)["text" if name == "text" else "value"] == text
    assert "ü" in line.decode()


def test_the_help_names_every_format(command: Command) -> None:
    with pytest.raises(SystemExit):
        main(["decode", "--help"])
    words = command.stdout().replace(",", " ").split()
    assert [name for name in FORMATS if name not in words] == []


@pytest.mark.parametrize(
    ("name", "payload", "reason"),
    [
        ("json", b'{"a": NaN}', "not_json"),
        ("json", b"[" * 30_000, "too_deep"),
        ("json", b"1" * 300_000, "too_large"),
        ("text", b"\xff", "not_utf8"),
        ("sparkplug", b"\xff", None),
        ("auto", b"[" * 30_000 + b"]" * 30_000, "too_deep"),
        ("auto", b'{"a": 1', "not_json"),
    ],
)
def test_a_dead_letter_is_one_line_and_exit_3(command: Command, name: str, payload: bytes, reason: str | None) -> None:
    topic = SPARKPLUG.format("NDATA") if name == "sparkplug" else "t"
    (letter,), err, status = command("--format", name, "--topic", topic, payload=payload)
    assert (status, letter["dead_letter"], err) == (3, True, "")
    assert list(letter) == ["dead_letter", "reason", "detail"]
    assert letter["detail"]
    assert letter["reason"] == (reason or letter["reason"])


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("sparkplug", "spBv1.0/farm/NCMD/n1"),
        ("chirpstack", "application/a/device/b/event/ack"),
        ("zigbee2mqtt", "zigbee2mqtt/lamp/availability"),
        ("tasmota", "tele/plug/LWT"),
        ("auto", "tele/plug/LWT"),
        ("fiware", "/json/key/dev/cmdexe"),
    ],
)
def test_a_message_without_a_reading_prints_nothing_and_is_no_failure(command: Command, name: str, topic: str) -> None:
    assert command("--format", name, "--topic", topic, payload=b"{}") == ([], "", 0)


def sparkplug(seq: int, *metrics: dict[str, Any]) -> bytes:
    message: bytes = Payload(timestamp=1_700_000_000_000, seq=seq, metrics=metrics).SerializeToString()
    return message


def test_earlier_messages_are_taken_in_first(command: Command) -> None:
    topic, birth = SPARKPLUG.format("NDATA"), SPARKPLUG.format("NBIRTH")
    named = {"name": "temperature", "alias": 1, "datatype": 9, "float_value": 20.5}
    (command.folder / "birth").write_bytes(sparkplug(0, {"name": "bdSeq", "datatype": 8, "long_value": 0}, named))
    data = sparkplug(1, {"alias": 1, "float_value": 21.5})
    for name in ("sparkplug", "auto"):
        (letter,), _, status = command("--format", name, "--topic", topic, payload=data)
        assert (letter["dead_letter"], status) == (True, 3)
        prior = f"{birth}={command.folder / 'birth'}"
        (reading,), err, status = command("--format", name, "--topic", topic, "--prior", prior, payload=data)
        assert (reading["name"], reading["value"], err, status) == ("temperature", 21.5, "", 0)


def test_an_earlier_message_that_is_a_dead_letter_is_told_of_and_left_out(command: Command) -> None:
    (command.folder / "earlier").write_bytes(b"\xff")
    prior = f"t={command.folder / 'earlier'}"
    printed, err, status = command("--format", "json", "--topic", "t", "--prior", prior, payload=b'{"x": 1}')
    assert ([reading["value"] for reading in printed], status) == ([1], 0)
    assert "--prior t: not_" in err
    assert len(err.splitlines()) == 1


def test_content_type_and_user_properties_are_those_of_the_message(command: Command) -> None:
    arguments = ["--format", "auto", "--topic", "t", "--content-type", "application/cbor"]
    for pair in ("specversion=1.0", "id=a=b", "source=/s", "type=t"):
        arguments += ["--property", pair]
    (reading,), _, status = command(*arguments, payload=bytes.fromhex("a1617801"))
    assert (reading["device"], reading["value"], status) == ("/s", 1, 0)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--format", "jsn", "--topic", "t"], 2, "'json'"),
        (["--topic", "t"], 2, "--format NAME or --pipeline NAME"),
        (["--format", "json", "--config", "x.toml", "--topic", "t"], 2, "--pipeline"),
        (["--format", "json", "--topic", "t", "--naive-zone", "Mars/Olympus"], 2, "Mars/Olympus"),
        (["--format", "json", "--topic", "t", "--prior", "nothing"], 2, "nothing"),
        (["--format", "json", "--topic", "t", "--property", "=x"], 2, "'=x'"),
        (["--format", "json", "--topic", "t", "--prior", "t=/no/such/file"], 1, "/no/such/file: No such file"),
        (["--format", "json", "--topic", "t", "--prior", "t=/"], 1, "/: Is a directory"),
    ],
)
def test_wrong_arguments_are_named_on_one_line(command: Command, arguments: list[str], status: int, said: str) -> None:
    printed, err, code = command(*arguments, payload=b'{"x": 1}')
    assert (printed, code) == ([], status)
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_file_that_cannot_be_read_is_named(command: Command) -> None:
    printed, err, status = command("--format", "json", "--topic", "t", "/no/such/payload", payload=None)
    assert (printed, err, status) == ([], "edge-agent decode: /no/such/payload: No such file or directory\n", 1)


def test_an_endless_file_is_read_no_further_than_the_limit(command: Command) -> None:
    (letter,), _, status = command("--format", "text", "--topic", "t", "/dev/zero", payload=None)
    assert (letter["reason"], letter["detail"], status) == ("too_large", "more than 262144 bytes", 3)


def test_of_several_sources_the_one_that_covers_the_topic_says_how_to_decode(command: Command, tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        'device = "d"\n[mqtt]\n[[pipelines]]\nname = "p"\n[pipelines.source]\ntopic = "air/+"\ndevice_level = 1\n'
        '[[pipelines.sources]]\ntopic = "soil/+"\ndevice_level = 1\nvalues = { wet = "w" }\n'
        '[[pipelines]]\nname = "after"\nsource = { pipeline = "p" }\n'
    )
    out, _, status = command("--config", str(config), "--pipeline", "p", "--topic", "soil/a", payload=b'{"w": 1, "x": 2}')
    assert (status, [line["name"] for line in out]) == (0, ["wet"])
    _, err, status = command("--config", str(config), "--pipeline", "after", "--topic", "soil/a", payload=b"1")
    assert (status, "no source with a topic" in err) == (2, True)


def test_a_pipelines_source_says_how_to_decode(command: Command, tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        'device = "d"\n[mqtt]\n[[pipelines]]\nname = "frost"\n[pipelines.window]\nsize = 1\n'
        '[pipelines.source]\ntopic = "farm/+"\ndevice_level = 1\nvalues = { air = "temp.min" }\nunits = { air = "Cel" }\n'
    )
    arguments = ["--config", str(config), "--pipeline", "frost", "--topic", "farm/north"]
    (reading,), _, status = command(*arguments, payload=b'{"temp": {"min": -1.5, "max": 3}}')
    assert (reading["device"], reading["name"], reading["value"], reading["unit"], status) == ("north", "air", -1.5, "Cel", 0)
    (reading,), _, _ = command(*arguments, "--device-level", "0", payload=b'{"temp": {"min": -1.5}}')
    assert reading["device"] == "farm"
    _, err, status = command("--config", str(config), "--pipeline", "leak", "--topic", "t", payload=b"1")
    assert (status, err) == (2, "edge-agent decode: there is no pipeline 'leak'; there are: frost\n")


def test_explain_tells_on_standard_error_what_gave_which_reading_and_why_others_gave_none(command: Command) -> None:
    payload = b'{"temperature": 3, "humidity": 40, "lost": null, "time": "2024-05-01T10:00:00"}'
    arguments = ["--format", "json", "--topic", "t", "--naive-zone", "Europe/Rome", "--explain"]
    printed, err, status = command(*arguments, payload=payload)
    assert ([reading["time"] for reading in printed], status) == (["2024-05-01T10:00:00+02:00"] * 2, 0)
    assert err.splitlines() == [
        "PATH         QUANTITY           UNIT",
        "temperature  temperature        no unit",
        "humidity     relative_humidity  %RH",
        "lost                            no reading: null: no value",
        "time                            no reading: the id, time or device of the event",
    ]
    _, err, _ = command(*arguments, "-o", "json", payload=payload)
    assert [json.loads(line) for line in err.splitlines()] == [
        {"path": "temperature", "quantity": "temperature", "unit": None},
        {"path": "humidity", "quantity": "relative_humidity", "unit": "%RH"},
        {"path": "lost", "why": "null: no value"},
        {"path": "time", "why": "the id, time or device of the event"},
    ]


def test_explain_says_what_a_reason_means_and_what_would_be_asked_for(command: Command) -> None:
    _, err, status = command("--format", "json", "--topic", "t", "--explain", payload=b"{")
    assert "dead letter, not_json: The payload is not valid JSON." in err
    data = sparkplug(1, {"alias": 1, "float_value": 21.5})
    _, err, status = command("--format", "auto", "--topic", SPARKPLUG.format("NDATA"), "--explain", payload=data)
    assert status == 3
    assert "publish on spBv1.0/farm/NCMD/n1" in err.splitlines()[-2]
    assert "no reading" not in err.splitlines()[-2]


@pytest.mark.parametrize(
    ("topic", "payload", "said"),
    [
        ("spBv1.0/farm/NCMD/n1", b"", "no reading: a command"),
        ("spBv1.0/farm/NDEATH/n1", b"", "no reading: a death"),
        ("spBv1.0/farm/DDEATH/n1/d1", b"", "no reading: a death"),
        ("spBv1.0/STATE/host", b"{}", "no reading: the state of a host application"),
        ("farm/a", b"{}", "no reading: there is no value in it"),
        ("zigbee2mqtt/a", b'{"x": 1}', "read as `zigbee2mqtt`"),
        ("farm/a", b"{", "read as `json`"),
    ],
)
def test_explain_says_why_there_is_nothing_and_what_auto_has_found(
    command: Command, topic: str, payload: bytes, said: str
) -> None:
    _, err, _ = command("--format", "auto", "--topic", topic, "--explain", payload=payload)
    assert any(line.endswith(said) for line in err.splitlines()), err


def test_a_command_that_is_interrupted_says_nothing(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    class Terminal:
        @property
        def buffer(self) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert main(["decode", "--format", "json", "--topic", "t", "-"]) == 130
    assert capfd.readouterr() == ("", "")


def test_a_name_from_a_payload_cannot_reach_the_terminal() -> None:
    decoded = decode_message(IngestSettings(topic="t"), "t", b'{"\\u001b[2J": 1, "%s": 2}' % (b"x" * 500))
    text = "\n".join(explanation_lines(list(explanation(decoded, [])), "text"))
    assert "\x1b" not in text
    assert "\\x1b[2J" in text
    assert max(map(len, text.splitlines())) < 200


@pytest.mark.parametrize("topic", [b"caf\xe9/a", "café/a".encode()])
def test_an_argument_in_any_encoding_is_printed(tmp_path: Path, topic: bytes) -> None:
    payload = tmp_path / "payload"
    payload.write_bytes(b'{"x": 1}')
    arguments = [sys.executable, "-m", "edge_agent.cli", "decode", "--format", "json", "--topic", topic, payload]
    done = subprocess.run(arguments, capture_output=True, check=False, env={**os.environ, "PYTHONUTF8": "1"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["value"] == 1


@pytest.mark.parametrize(("redirected", "said"), [(">&-", "there is no standard output"), (">/dev/full", "No space left")])
def test_an_output_that_cannot_be_written_is_a_failure_on_one_line(redirected: str, said: str) -> None:
    command = f'printf 1 | "{sys.executable}" -m edge_agent.cli decode --format json --topic t - {redirected}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert done.returncode == 1
    assert [said in line for line in done.stderr.decode().splitlines()] == [True]


def test_a_reader_that_stops_early_is_no_failure() -> None:
    arguments = [sys.executable, "-m", "edge_agent.cli", "decode", "--format", "json", "--topic", "t", "-"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(b"[" + b"1," * 9_000 + b"1]")
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


@given(
    name=st.sampled_from(sorted(FORMATS)),
    topic=st.text(max_size=40) | st.just(SPARKPLUG.format("NDATA")),
    payload=st.binary(max_size=200),
    content_type=st.none() | st.sampled_from(["application/cbor", "application/msgpack", "text/plain", "a/senml+cbor"]),
    user=st.lists(st.tuples(st.sampled_from(["specversion", "id", "source", "type"]), st.text(max_size=5))),
)
def test_any_bytes_give_lines(name: str, topic: str, payload: bytes, content_type: str | None, user: Any) -> None:
    skipped: list[tuple[str, str]] = []
    decoded = decode_message(
        IngestSettings(topic="#", format=name),
        topic,
        payload,
        properties=properties_of(user, content_type),
        explain=lambda path, why: skipped.append((path, why)),
    )
    printed = [json.loads(line) for line in lines(decoded)]
    assert all(printed)
    assert isinstance(decoded, DeadLetter) == (len(printed) == 1 and "dead_letter" in printed[0])
    assert all(explanation_lines(list(explanation(decoded, skipped)), "text"))
