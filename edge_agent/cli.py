"""`edge-agent`: the daemon and its local commands.

Standard library alone, and each command imports what it needs when it is called: `edge-agent run` must stay small.

Exit status: 0 done; 1 failed; 2 wrong usage or configuration; 3 a dead letter (`decode`) or an input without
scores (`run-model`); 4 no agent listens on the control socket.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from edge_agent import __version__

DEFAULT_CONFIG: Final = "/etc/edge-agent/agent.toml"
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_DEAD_LETTER, EXIT_NO_AGENT = 0, 1, 2, 3, 4
EXIT_INTERRUPTED: Final = 130
"""As a shell says it of a program that Ctrl-C ended."""

_FORMAT: Final = (
    "the payload's format (docs/formats.md): auto, json, text, cloudevents, senml, chirpstack, ttn, zigbee2mqtt, tasmota, "
    "shelly, sparkplug, fiware, or one that a package adds"
)
_PRIOR: Final = "an earlier message of the stream, for formats that remember; oldest first"
_MODEL: Final = "a model that is active on this device, or the file of a bundle"
_EXAMPLES: Final = {
    "run": "edge-agent run --config /etc/edge-agent/agent.toml",
    "check": "edge-agent check --config agent.toml\n"
    "SMALLHOLD_AGENT__MQTT__HOST=broker.example edge-agent check --config agent.toml",
    "decode": "edge-agent decode --format json --topic farm/north/weather payload.json\n"
    "mosquitto_sub -C 1 -t farm/north/weather | "
    "edge-agent decode --format auto --topic farm/north/weather -\n"
    "edge-agent decode --format sparkplug --topic spBv1.0/farm/NDATA/n1 --prior spBv1.0/farm/NBIRTH/n1=birth.bin data.bin\n"
    "edge-agent decode --config agent.toml --pipeline frost --topic farm/north/weather --explain payload.json",
    "replay": "edge-agent replay --config agent.toml --pipeline frost events.jsonl",
    "record": "edge-agent record --duration 1h events.jsonl\nedge-agent record --topic 'farm/#' --count 100 -",
    "test": "edge-agent test /etc/edge-agent/tests\nedge-agent test --only frost --junit report.xml tests/",
    "deadletter": "edge-agent deadletter list --reason not_json\nedge-agent deadletter show 17\n"
    "edge-agent deadletter replay 17 20-25\nedge-agent deadletter drop --all",
    "run-model": "edge-agent run-model frost input.json\n"
    'echo \'{"text": "the pump is leaking"}\' | edge-agent run-model reports-1.0.0.tar -\n'
    "edge-agent run-model reports -o json texts.jsonl",
    "bench": "edge-agent bench frost\nedge-agent bench frost-2.0.0.tar --threads 2 --batch 16 --seconds 30 -o json",
    "tune": "edge-agent tune frost\nedge-agent tune frost --variant frost-2.0.0-int8.tar --seconds 120\n"
    "edge-agent tune frost-2.0.0.tar --dry-run -o json",
    "updates": "edge-agent updates log\nedge-agent updates hold frost --why 'the harvest is on'\n"
    "edge-agent updates release frost",
    "status": "edge-agent status\nedge-agent status -o json",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        command: int = options.call(options)
    except KeyboardInterrupt:  # the daemon stops in its own way; a command that waits for input ends here
        return EXIT_INTERRUPTED
    return command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-agent",
        description="Runs small models on this device's sensor and text events. One daemon, configured by one TOML file.",
        epilog="exit status: 0 done; 1 failed; 2 wrong usage or configuration; 3 dead letter, no scores; 4 no agent is running",
    )
    parser.add_argument("--version", action="version", version=f"edge-agent {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, call: Any, *, config: bool = True) -> argparse.ArgumentParser:
        examples = _EXAMPLES.get(name)
        command = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"examples:\n  {examples.replace(chr(10), chr(10) + '  ')}" if examples else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if config:
            command.add_argument(
                "--config",
                metavar="FILE",
                default=os.environ.get("EDGE_AGENT_CONFIG", DEFAULT_CONFIG),
                help="configuration (default: $EDGE_AGENT_CONFIG, or %(default)s)",
            )
        command.set_defaults(call=call)
        return command

    add("run", "run the daemon in the foreground, as systemd does", _run)
    check = add("check", "check a configuration without connecting anywhere", _check)
    _add_output(check)
    decode = add("decode", "print the readings in one payload as JSON lines", _decode, config=False)
    decode.add_argument("--format", type=_format, metavar="NAME", help=_FORMAT)
    decode.add_argument("--topic", required=True, help="the topic that it was published on")
    decode.add_argument("--prior", action="append", default=[], type=_pair, metavar="TOPIC=FILE", help=_PRIOR)
    decode.add_argument("--content-type", help="the MQTT 5 content type")
    decode.add_argument("--property", action="append", default=[], type=_pair, metavar="K=V", help="an MQTT 5 user property")
    decode.add_argument("--config", metavar="FILE", help="configuration, with --pipeline (default: as for the other commands)")
    decode.add_argument("--pipeline", metavar="NAME", help="decode as this pipeline's source does")
    decode.add_argument("--naive-zone", metavar="ZONE", help="the zone of times that carry none (default: UTC)")
    decode.add_argument("--device-level", type=int, metavar="N", help="topic level that is the sensor's id: 0 first, -1 last")
    decode.add_argument("--device-path", metavar="PATH", help="path of the sensor's id in the payload")
    decode.add_argument("--time-path", metavar="PATH", help="path of the event time in the payload (default: time)")
    decode.add_argument("--explain", action="store_true", help="tell on standard error what gave which reading, or why none")
    _add_output(decode)
    decode.add_argument("file", metavar="FILE", help="the payload, or - for standard input")
    replay = add("replay", "run recorded events through a pipeline on a virtual clock", _replay)
    replay.add_argument(
        "--pipeline", action="append", default=[], metavar="NAME", help="whose results are printed (default: every pipeline's)"
    )
    replay.add_argument(
        "--bundle", action="append", default=[], metavar="FILE", help="a model's bundle (default: what is active in state_dir)"
    )
    replay.add_argument("events", metavar="EVENTS.jsonl", help='lines of {"topic", "payload", "time"}, or - for standard input')
    record = add("record", "write live messages of the site broker into a recording", _record)
    record.add_argument(
        "--topic", action="append", default=[], metavar="FILTER", help="a topic filter (default: the sources of all pipelines)"
    )
    record.add_argument("--duration", type=_duration, metavar="TIME", help="stop after this long, such as 10min")
    record.add_argument("--count", type=int, metavar="N", help="stop after so many messages")
    record.add_argument("--append", action="store_true", help="go on with a recording that exists")
    record.add_argument("out", metavar="EVENTS.jsonl", help="the recording, or - for standard output")
    test = add("test", "run the pipeline test cases below a folder: events in, expected results out", _test)
    test.add_argument("--only", metavar="TEXT", help="cases whose file name holds this")
    test.add_argument("--update", action="store_true", help="write the files of expected results anew from what comes out")
    test.add_argument("--junit", metavar="FILE", help="write a JUnit report too")
    test.add_argument("folder", metavar="DIR", help="holds the cases, *.toml (docs/trying-pipelines.md)")
    _add_output(test)
    _add_model_commands(add)
    status = add("status", "show what the running agent does", _status)
    status.add_argument("--socket", metavar="PATH", help="the control socket (default: the configuration's)")
    _add_output(status)
    _add_deadletter(add("deadletter", "look at messages that could not be read, and take them in again", _deadletter))
    _add_updates(add("updates", "the log of each model's updates, and a hold that keeps them waiting", _updates))
    version = add("version", "print the version", _version, config=False)
    _add_output(version)
    return parser


def _add_model_commands(add: Any) -> None:
    run_model = add("run-model", "ask a model about inputs from a file, and print its scores", _run_model)
    run_model.add_argument("model", metavar="MODEL", help=_MODEL)
    run_model.add_argument(
        "input",
        metavar="INPUT.json",
        help='a JSON object, an array of them, or JSON lines: {"window": {INPUT: [...]}, "times": [...]} or {"text": ...}; '
        "- for standard input",
    )
    bench = add("bench", "measure a model on this device with its golden samples", _bench)
    bench.add_argument("model", metavar="MODEL", help=_MODEL)
    bench.add_argument("--threads", type=_positive, metavar="N", help="of the runtime (default: as the device would run it)")
    bench.add_argument("--batch", type=_positive, metavar="N", help="inputs asked at once (default: as above)")
    bench.add_argument("--spin", action="store_true", help="threads that wait by turning")
    bench.add_argument("--seconds", type=_positive, default=10, metavar="N", help="how long (default: 10)")
    tune = add("tune", "find out how this device runs a model best, and store it for the agent's next start", _tune)
    tune.add_argument("model", metavar="MODEL", help=_MODEL)
    tune.add_argument(
        "--variant", action="append", default=[], metavar="BUNDLE.tar", help="another bundle of the model to compare"
    )
    tune.add_argument("--seconds", type=_positive, default=60, metavar="N", help="for all trials together (default: 60)")
    tune.add_argument("--dry-run", action="store_true", help="measure and print, but store nothing")
    for command in (run_model, bench, tune):
        _add_output(command)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _add_deadletter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--socket", metavar="PATH", help="the control socket (default: the configuration's)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the newest letters, newest first")
    listing.add_argument("--limit", type=int, help="how many (default: 50, at most 1000)")
    listing.add_argument("--topic", help="of this topic only")
    listing.add_argument("--reason", help="with this reason code only")
    show = actions.add_parser("show", help="one letter with its payload")
    show.add_argument("number", type=int, metavar="NUMBER")
    show.add_argument("--raw", action="store_true", help="the payload's bytes and nothing else")
    for name, text in (("replay", "take letters in again, as if their messages had just come"), ("drop", "delete letters")):
        action = actions.add_parser(name, help=text)
        action.add_argument("numbers", nargs="*", metavar="NUMBER", help="such as 3 or 5-9")
        action.add_argument("--all", action="store_true", help="all letters that there are now")
    for action in actions.choices.values():
        _add_output(action)
        _add_where(action)


def _add_updates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--socket", metavar="PATH", help="the control socket (default: the configuration's)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("log", help="the newest moves of each model, oldest first")
    hold = actions.add_parser("hold", help="let no update of the model, or of any, go on; it outlives restarts")
    hold.add_argument("--why", metavar="TEXT", help="shown with each update that waits")
    release = actions.add_parser("release", help="end the model's hold, or every one")
    for action in (hold, release):
        action.add_argument("model", nargs="?", metavar="MODEL", help="default: all")
    for action in actions.choices.values():
        _add_output(action)
        _add_where(action)


def _add_where(action: argparse.ArgumentParser) -> None:
    """`--config` and `--socket` also behind the action; without a default there, so that what stands before it is kept."""
    action.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help="configuration, as before the action")
    action.add_argument("--socket", metavar="PATH", default=argparse.SUPPRESS, help="the control socket, as before the action")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="how to print (default: text)")


def load_settings(config: str) -> Any:
    """The checked settings, read in a child so that this process never imports pydantic. Exits with status 2 on problems."""
    import msgspec

    from edge_agent.settings import AgentSettings

    return msgspec.json.decode(_read_configuration("current", config), type=AgentSettings)


def _read_configuration(action: str, config: str) -> bytes:
    command = [sys.executable, "-m", "edge_agent.configuring.child", action, config]
    child = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if child.returncode:
        raise SystemExit(EXIT_USAGE)
    return child.stdout


def _run(options: argparse.Namespace) -> int:
    import msgspec

    from edge_agent.agent import run
    from edge_agent.configuring.answers import Started

    return run(msgspec.json.decode(_read_configuration("start", options.config), type=Started), Path(options.config))


def _check(options: argparse.Namespace) -> int:
    from edge_agent.configuration import ConfigurationError, load

    path = Path(options.config)
    try:
        settings = load(path)
    except ConfigurationError as error:
        if options.output == "json":
            print(json.dumps({"ok": False, "problems": list(error.problems)}))
        else:
            sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    if options.output == "json":
        print(json.dumps({"ok": True, "device": settings.device, "pipelines": [item.name for item in settings.pipelines]}))
    else:
        names = ", ".join(item.name for item in settings.pipelines) or "none"
        print(f"{path}: good (device {settings.device}, pipelines: {names})")
    return EXIT_OK


def _format(name: str) -> str:
    from edge_agent.ingest.formats import find_format

    try:
        find_format(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return name


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise argparse.ArgumentTypeError(f"{text!r}: two parts with '=' between them are needed")
    return key, value


def _decode(options: argparse.Namespace) -> int:
    import logging

    from edge_agent.decode_command import run

    logging.disable()  # a decoder's defect is told by the dead letter; standard error is for the explanation
    return run(options, lambda: load_settings(options.config or os.environ.get("EDGE_AGENT_CONFIG", DEFAULT_CONFIG)))


def _replay(options: argparse.Namespace) -> int:
    from edge_agent.replay_command import replay_file

    return replay_file(load_settings(options.config), options.pipeline, options.events, options.bundle)


def _duration(text: str) -> float:
    from edge_agent.units import parse_duration

    value = parse_duration(text)
    if not isinstance(value, int | float) or value <= 0:
        raise ValueError(text)
    return float(value)


def _record(options: argparse.Namespace) -> int:
    from edge_agent.record_command import record

    settings = load_settings(options.config)
    return record(settings, options.topic, options.out, duration=options.duration, count=options.count, append=options.append)


def _test(options: argparse.Namespace) -> int:
    from edge_agent.case_command import run_cases

    return run_cases(
        load_settings(options.config),
        options.folder,
        only=options.only,
        update=options.update,
        as_json=options.output == "json",
        junit=options.junit,
    )


def _run_model(options: argparse.Namespace) -> int:
    from edge_agent.run_model_command import run_model

    return run_model(options, lambda: load_settings(options.config))


def _bench(options: argparse.Namespace) -> int:
    from edge_agent.bench_command import run_bench

    return run_bench(options, lambda: load_settings(options.config))


def _tune(options: argparse.Namespace) -> int:
    from edge_agent.tune_command import run_tune

    return run_tune(options, lambda: load_settings(options.config))


def _status(options: argparse.Namespace) -> int:
    from edge_agent.commands.control import ControlError, describe_silence, request
    from edge_agent.commands.status_text import render

    path = Path(options.socket or load_settings(options.config).control_socket)
    try:
        status = request(path, "status")
    except ControlError as error:
        sys.stderr.write(f"edge-agent status: {error}\n")
        return EXIT_NO_AGENT
    except OSError as error:
        sys.stderr.write(f"edge-agent status: {describe_silence(path, error)}\n")
        return EXIT_NO_AGENT
    print(json.dumps(status, indent=2) if options.output == "json" else render(status))
    return EXIT_OK


def _deadletter(options: argparse.Namespace) -> int:
    from edge_agent.deadletter_command import run_deadletter

    return run_deadletter(options, Path(options.socket or load_settings(options.config).control_socket))


def _updates(options: argparse.Namespace) -> int:
    from edge_agent.updates_command import run_updates

    return run_updates(options, Path(options.socket or load_settings(options.config).control_socket))


def _version(options: argparse.Namespace) -> int:
    from fleet_contract.version import CONTRACT_HIGH, CONTRACT_LOW

    version = {"version": __version__, "contract": [CONTRACT_LOW, CONTRACT_HIGH], "python": sys.version.split()[0]}
    print(json.dumps(version) if options.output == "json" else f"edge-agent {__version__}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
