import dataclasses
import re
import tomllib
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent.configuration import ConfigurationError, load
from edge_agent.settings import AgentSettings, AlarmSettings
from fleet_contract.messages import Severity

CONFIGS = Path(__file__).parents[3] / "configs"
MINIMAL = """
device = "farm-1"
[mqtt]
host = "fleet.example"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def problems_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    return caught.value.problems


def uncomment(text: str) -> str:
    """The example with every commented-out key switched on."""
    return "\n".join(re.sub(r"^# (?=(\[{1,2}[a-z.]+\]{1,2}|[a-z0-9_]+ =))", "", line) for line in text.splitlines())


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("agent*.toml")) + sorted(CONFIGS.glob("pipelines/*.toml")), ids=str)
def test_every_example_loads(path: Path) -> None:
    assert load(path).device


def test_the_example_names_every_key_there_is() -> None:
    table = tomllib.loads(uncomment((CONFIGS / "agent.example.toml").read_text()))

    def missing(kind: Any, given: Any, where: str) -> list[str]:
        found = []
        hints = typing.get_type_hints(kind)
        for item in dataclasses.fields(kind):
            hint = hints[item.name]
            inner = next((part for part in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(part)), None)
            if item.name not in given:
                found.append(f"{where}{item.name}")
            elif inner is not None and where != "site.":
                value = given[item.name]
                if typing.get_origin(hint) is dict:
                    value = next(iter(value.values()))
                found += missing(inner, value[0] if isinstance(value, list) else value, f"{where}{item.name}.")
        return found

    found = missing(AgentSettings, table, "")
    alike = ("site.", "pipelines.sources.")  # [site] takes what [mqtt] takes, and each source what the first one does
    assert [key for key in found if not key.startswith(alike)] == []


def test_a_wrong_key_is_named_with_its_file_and_the_nearest_key(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + 'prt = 1\n[[pipelines]]\nname = "a"\n[pipelines.source]\ntopic = "a"\nfromat = "json"\n')
    assert problems_of(path) == (
        f"{path}: unknown key mqtt.prt; the nearest known key is 'port'",
        f"{path}: unknown key pipelines[0].source.fromat; the nearest known key is 'format'",
    )


@pytest.mark.parametrize("topic", ["#", "+/v1/#", "sh/v1/farm-1/up/health", "sh/#"])
def test_a_source_that_covers_the_contract_is_refused(tmp_path: Path, topic: str) -> None:
    path = write(tmp_path, MINIMAL + f'[[pipelines]]\nname = "a"\n[pipelines.source]\ntopic = "{topic}"\n')
    (problem,) = problems_of(path)
    assert problem.startswith(f"{path}: pipelines[0].source.topic: ")


SOURCE = '[[pipelines]]\nname = "a"\n[pipelines.source]\ntopic = "a"\n'
WINDOW = '[[pipelines]]\nname = "a"\n[pipelines.source]\ntopic = "a"\n[pipelines.window]\n'


def test_what_has_a_default_can_be_switched_off(tmp_path: Path) -> None:
    (off,) = load(write(tmp_path, MINIMAL + WINDOW + 'max_jump = "none"\nbacklog_after = "none"')).pipelines
    assert (off.window.max_jump, off.window.backlog_after, off.window.clock_skew) == (None, None, 300.0)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[health]\ninterval = "1 parsec"', "health.interval"),
        ("[health]\ninterval = 0", "health.interval"),
        ("[health]\ninterval = nan", "health.interval"),
        ("[store]\nmax_outbox_rows = 0", "store.max_outbox_rows"),
        ("[store]\ndrain_rate = -1", "store.drain_rate"),
        ("[store]\ndrain_rate = nan", "store.drain_rate"),
        ("[store]\nmax_durable_age = -5", "store.max_durable_age"),
        ("[site]\nport = 70000", "site.port"),
        ('[site]\npassword_file = "nowhere"', "site.password_file"),
        ('[updates]\nurl = "ftp://x"', "updates.url"),
        ('[updates]\nurl = "http://x"', "updates.token_file"),
        ("[updates]\nmin_battery = 101", "updates.min_battery"),
        ("[updates]\nmax_temperature = nan", "updates.max_temperature"),
        ("[updates]\nmax_attempts = 0", "updates.max_attempts"),
        ("[updates]\nmax_bundle_bytes = -1", "updates.max_bundle_bytes"),
        ("[updates]\nretry_min = 0", "updates.retry_min"),
        ("[updates]\nretry_min = nan", "updates.retry_min"),
        ("[updates]\nretry_max = 1", "updates.retry_max"),
        ("[updates]\nretry_max = inf", "updates.retry_max"),
        ("[updates]\nrefresh_interval = -1", "updates.refresh_interval"),
        ("[updates]\nfetch_timeout = nan", "updates.fetch_timeout"),
        ("[updates]\ntest_timeout = 0", "updates.test_timeout"),
        ("[updates]\nfetch_outside_window = true", "updates.fetch_outside_window"),
        ('[[updates.windows]]\ncron = "0 2 * *"\nduration = "1h"', "updates.windows[0].cron"),
        ('[[updates.windows]]\ncron = "0 2 * * *"\nduration = "1h"\nzone = "Rome"', "updates.windows[0].zone"),
        ('[[updates.windows]]\ncron = "0 2 * * *"\nduration = "8d"', "updates.windows[0].duration"),
        ('[[pipelines]]\nname = "A"\n[pipelines.source]\ntopic = "a"', "pipelines[0].name"),
        ('[[pipelines]]\nname = "a"\n[pipelines.source]\ntopic = "a/#/b"', "pipelines[0].source.topic"),
        ('[[pipelines]]\nname = "a"\n[pipelines.source]\ntopic = "a"\nqos = 3', "pipelines[0].source.qos"),
        ('[[pipelines]]\nname = "a"\n[pipelines.source]\ntopic = "a"\nmax_values = 70000', "pipelines[0].source.max_values"),
        ('[[pipelines]]\nname = "a"\n[pipelines.source]\ntopic = "a"\nnaive_zone = "Mars"', "pipelines[0].source.naive_zone"),
        (
            '[[pipelines]]\nname = "a"\n[pipelines.source]\ntopic = "a"\n[pipelines.window]\nsize = 1.5',
            "pipelines[0].window.size",
        ),
        (
            '[[pipelines]]\nname = "a"\n[pipelines.source]\ntopic = "a"\n[pipelines.window]\nsize = 2\nstep = 3',
            "pipelines[0].window.step",
        ),
        (
            '[[pipelines]]\nname = "a"\n[pipelines.source]\ntopic = "a"\n'
            '[pipelines.window]\nkind = "hopping"\nsize = "1d"\nstep = "1s"',
            "pipelines[0].window.step",
        ),
        ('[[pipelines]]\nname = "a"\n[pipelines.source]\ntopic = 5', "pipelines[0].source.topic"),
        ('[[pipelines]]\nname = "a"', "pipelines[0].source"),
        ('[[pipelines]]\nname = "a"\n[pipelines.source]\nqos = 1', "pipelines[0].source.topic"),
        (SOURCE + '[[pipelines.sources]]\ntopic = "sh/v1/#"', "pipelines[0].sources[0].topic"),
        (SOURCE + '[[pipelines.sources]]\ntopic = "a"', "pipelines[0].sources[0]"),
        (SOURCE + '[[pipelines.sources]]\ntopic = "b"\npipeline = "a"', "pipelines[0].sources[0].topic"),
        (SOURCE + '[[pipelines.sources]]\npipeline = "b"', "pipelines[0].sources[0].pipeline"),
        (SOURCE + '[[pipelines.sources]]\npipeline = "a"', "pipelines[0].source.pipeline"),
        (
            '[[pipelines]]\nname = "a"\nsource = { pipeline = "b" }\n[[pipelines]]\nname = "b"\nsource = { pipeline = "a" }',
            "pipelines[1].source.pipeline",
        ),
        (SOURCE + '[pipelines.join]\nmethod = "resample"', "pipelines[0].join.every"),
        (SOURCE + "[pipelines.join]\nevery = 5", "pipelines[0].join.every"),
        (SOURCE + "[pipelines.join]\nmax_age = nan", "pipelines[0].join.max_age"),
        (SOURCE + "[pipelines.window]\nsize = 5\ndelay = nan", "pipelines[0].window.delay"),
        (SOURCE + '[pipelines.join]\nmethod = "resample"\nevery = 5\nmax_age = 5', "pipelines[0].join.max_age"),
        (
            SOURCE + '[pipelines.window]\nkind = "tumbling"\nsize = "1d"\n[pipelines.join]\nmethod = "resample"\nevery = 1',
            "pipelines[0].join.every",
        ),
        (WINDOW + 'kind = "time"', "pipelines[0].window.kind"),
        (WINDOW + 'kind = "hopping"', "pipelines[0].window.step"),
        (WINDOW + 'kind = "tumbling"\nsize = 5\nstep = 5', "pipelines[0].window.step"),
        (WINDOW + 'kind = "session"', "pipelines[0].window.gap"),
        (WINDOW + 'kind = "sliding"\ngap = 5', "pipelines[0].window.gap"),
        (WINDOW + 'kind = "session"\ngap = 5\nmax_length = 0', "pipelines[0].window.max_length"),
        (WINDOW + "lateness = 5", "pipelines[0].window.lateness"),
        (WINDOW + "max_jump = 0", "pipelines[0].window.max_jump"),
        (WINDOW + 'kind = "tumbling"\ndelay = -1', "pipelines[0].window.delay"),
        (
            '[[pipelines]]\nname = "a"\n[pipelines.source]\ntopic = "a"\n[pipelines.decision]\nthreshold = 1',
            "pipelines[0].decision.threshold",
        ),
    ],
)
def test_a_wrong_value_is_named_with_file_and_key(tmp_path: Path, text: str, key: str) -> None:
    path = write(tmp_path, MINIMAL + text)
    assert any(problem.startswith(f"{path}: {key}: ") for problem in problems_of(path))


PIPELINE = MINIMAL + '[[pipelines]]\nname = "a"\nmodel = "m"\n[pipelines.source]\ntopic = "a"\n[pipelines.decision]\n'


def test_an_alarm_is_switched_on_by_true_or_described_by_a_table(tmp_path: Path) -> None:
    (on,) = load(write(tmp_path, PIPELINE + "alarm = true")).pipelines
    assert on.decision.alarm == AlarmSettings()
    (off,) = load(write(tmp_path, PIPELINE + "alarm = false")).pipelines
    assert off.decision.alarm is None
    (table,) = load(write(tmp_path, PIPELINE + 'alarm = { severity = "critical", update_interval = "1h" }')).pipelines
    assert table.decision.alarm == AlarmSettings(severity=Severity.CRITICAL, update_interval=3600.0)


def test_a_wrong_key_of_an_alarm_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    path = write(tmp_path, PIPELINE + 'alarm = { sverity = "critical" }')
    assert problems_of(path) == (
        f"{path}: unknown key pipelines[0].decision.alarm.sverity; the nearest known key is 'severity'",
    )


def test_a_missing_device_is_named(tmp_path: Path) -> None:
    assert problems_of(write(tmp_path, "")) == (f"{tmp_path}/agent.toml: device: is missing",)


def test_text_that_is_not_toml_is_named_with_its_place(tmp_path: Path) -> None:
    (problem,) = problems_of(write(tmp_path, "device = \nlog_level = 5"))
    assert "not valid TOML" in problem
    assert "line 1" in problem


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "none.toml") == (f"{tmp_path}/none.toml: cannot be read: No such file or directory",)


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALLHOLD_AGENT__MQTT__HOST", "other.example")
    monkeypatch.setenv("SMALLHOLD_AGENT__HEALTH__INTERVAL", "3min")
    settings = load(write(tmp_path, MINIMAL))
    assert (settings.mqtt.host, settings.health.interval) == ("other.example", 180.0)


def test_a_wrong_environment_variable_is_named_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALLHOLD_AGENT__MQTT__HOSTS", "x")
    assert problems_of(write(tmp_path, MINIMAL)) == (
        "environment variable SMALLHOLD_AGENT__MQTT__HOSTS: unknown key mqtt.hosts; the nearest known key is 'host'",
    )


def test_the_site_broker_inherits_everything_but_credentials(tmp_path: Path) -> None:
    for name in ("fleet", "site"):
        (tmp_path / name).write_text("secret")
    settings = load(
        write(
            tmp_path,
            f'{MINIMAL}keepalive = "9s"\npassword_file = "{tmp_path}/fleet"\n[site]\nhost = "site.example"\n',
        )
    )
    assert (settings.mqtt.username, settings.mqtt.keepalive) == ("farm-1", 9.0)
    assert (settings.site.host, settings.site.keepalive) == ("site.example", 9.0)
    assert (settings.site.username, settings.site.password_file) == (None, None)


def test_users_default_to_the_device(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("secret")
    settings = load(write(tmp_path, f'{MINIMAL}[site]\npassword_file = "{tmp_path}/p"\n'))
    assert settings.site.username == "farm-1-site"


def test_settings_survive_the_way_from_the_child_to_the_daemon() -> None:
    settings = load(CONFIGS / "agent.example.toml")
    assert msgspec.json.decode(msgspec.json.encode(settings), type=AgentSettings) == settings


def test_a_models_own_settings_are_checked_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "[inference.models.frost]\nthreads = 2\nmax_delay = '5ms'\nrequire = ['cuda']\n")
    frost = load(path).inference.models["frost"]
    assert (frost.threads, frost.max_delay, frost.require) == (2, 0.005, ("cuda",))
    path = write(tmp_path, MINIMAL + "[inference.models.frost]\nthread = 2\n")
    assert problems_of(path) == (f"{path}: unknown key inference.models.frost.thread; the nearest known key is 'threads'",)
    path = write(tmp_path, MINIMAL + "[inference.models.frost]\nthreads = 0\n[inference]\ndeadline = 0\n")
    assert problems_of(path) == (
        f"{path}: inference.deadline: must be above 0",
        f"{path}: inference.models.frost.threads: 0 is not 1 or more",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("policy = 'drop_oldest'", "max_windows: is needed for policy drop_oldest"),
        ("policy = 'sample'\nmax_windows = 0", "max_windows: 0 is not 1 or more"),
        ("policy = 'sample'\nmax_windows = 9\none_in = 1", "one_in: 1 is not 2 or more"),
        (
            "max_windows = 9",
            "max_windows: policy hold keeps what the journal holds; policies drop_oldest and sample have a bound",
        ),
        ("policy = 'drop_oldest'\nmax_windows = 9", None),
    ],
)
def test_a_queue_s_policy_and_bound_go_together(tmp_path: Path, text: str, problem: str | None) -> None:
    pipeline = '[[pipelines]]\nname = "p"\nmodel = "m"\n[pipelines.source]\ntopic = "s"\n[pipelines.queue]\n'
    path = write(tmp_path, f"{MINIMAL}{pipeline}{text}\n")
    if problem is None:
        assert load(path).pipelines[0].queue.max_windows == 9
    else:
        assert problems_of(path) == (f"{path}: pipelines[0].queue.{problem}",)
    path = write(tmp_path, f"{MINIMAL}{pipeline}policy = 'sample'\nmax_windows = 9\n".replace('model = "m"\n', ""))
    assert problems_of(path) == (f"{path}: pipelines[0].queue.policy: a pipeline without a model has no windows that wait",)


def test_batches_need_a_thread(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "[inference]\nmax_threads = 0\n")
    assert problems_of(path) == (f"{path}: inference.max_threads: 0 is not 1 or more",)


def test_a_provider_or_delegate_that_nobody_knows_is_a_problem_that_names_the_nearest(tmp_path: Path) -> None:
    own = "[inference.models.frost]\nrequire = ['cudaa', 'cpu']\ndelegates = ['edge-tpu', '/no/such.so']\n"
    path = write(tmp_path, MINIMAL + own)
    key = f"{path}: inference.models.frost"
    require, delegate, missing = problems_of(path)
    assert require.startswith(f"{key}.require: 'cudaa' is no execution provider; the nearest is 'cuda', known are cpu, ")
    assert delegate == (
        f"{key}.delegates: 'edge-tpu' is no delegate nor an absolute path; the nearest is 'edgetpu', known are edgetpu, gpu"
    )
    assert missing == f"{key}.delegates: there is no file /no/such.so"


def test_the_engine_cache_is_an_absolute_path(tmp_path: Path) -> None:
    assert load(write(tmp_path, MINIMAL + "[inference]\nengine_cache = '/var/cache/x'\n")).inference.engine_cache
    path = write(tmp_path, MINIMAL + "[inference]\nengine_cache = 'x'\n")
    assert problems_of(path) == (f"{path}: inference.engine_cache: 'x' is not an absolute path",)


def test_a_board_s_bounds_are_degrees_and_sizes_or_none(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "[inference]\nslow_above = 'none'\npause_above = 95\nmemory_budget = '300MiB'\n")
    inference = load(path).inference
    assert (inference.slow_above, inference.pause_above, inference.memory_budget) == (None, 95.0, 300 * 1024**2)
    path = write(tmp_path, MINIMAL + "[inference]\nslow_above = 82\nmemory_budget = 0\nmemory_floor = -1\n")
    assert problems_of(path) == (
        f"{path}: inference.memory_budget: must be above 0",
        f"{path}: inference.memory_floor: must be 0 or more",
        f"{path}: inference.slow_above: 82 is not below pause_above, 82",
    )


def test_limits_of_drift_are_read_and_impossible_ones_named(tmp_path: Path) -> None:
    drift = load(write(tmp_path, MINIMAL + "[inference.drift]\npsi = 0.5\ninputs = 50\n")).inference.drift
    assert (drift.psi, drift.inputs, drift.missing) == (0.5, 50, 0.1)
    path = write(tmp_path, MINIMAL + "[inference.drift]\npsi = -1\nremembered = 0\n")
    assert problems_of(path) == (
        f"{path}: inference.drift.psi: must be 0 or more",
        f"{path}: inference.drift.remembered: must be 1 or more",
    )
