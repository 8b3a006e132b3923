from datetime import UTC, datetime, timedelta

from fleet_controller.cli.health import find_warnings

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def _health(**expires_in: float) -> dict[str, object]:
    expiries = {role: (NOW + timedelta(days=days)).isoformat() for role, days in expires_in.items()}
    return {"broker_connected": True, "metadata_expires": expiries, "devices": []}


def test_fresh_metadata_and_a_connected_broker_give_no_warning() -> None:
    assert find_warnings(_health(root=900, models=300, config=15, snapshot=15, timestamp=6), NOW) == []


def test_offline_roles_are_warned_of_a_month_ahead_and_online_ones_when_the_schedule_was_missed() -> None:
    warnings = find_warnings(_health(models=29, timestamp=2, snapshot=4), NOW)
    assert [next(role for role in ("models", "timestamp", "snapshot") if role in each) for each in warnings] == [
        "models",
        "timestamp",
    ]


def test_a_lost_broker_is_said_first() -> None:
    warnings = find_warnings(_health(root=1) | {"broker_connected": False}, NOW)
    assert "broker" in warnings[0]
    assert len(warnings) == 2


def test_a_model_that_its_board_has_paused_is_warned_of_with_the_reason() -> None:
    models = [
        {"model": "frost", "mode": "pause", "mode_detail": "83.0 °C, pause_above is 82 °C"},
        {"model": "leak", "mode": "run", "mode_detail": None},
        {"model": "old"},
    ]
    devices = [{"device": "barn-1", "health": {"models": models}}, {"device": "barn-2", "health": None}]
    assert find_warnings(_health(root=900) | {"devices": devices}, NOW) == [
        "barn-1: frost is paused: 83.0 °C, pause_above is 82 °C"
    ]


def test_a_model_that_has_drifted_is_warned_of_with_what_has() -> None:
    far = {"name": "input.flow", "psi": 1.2, "ks": 0.5, "drifted": True}
    near = {"name": "input.flow", "psi": 0.1, "ks": 0.1}
    models = [{"model": name, "drift": {"inputs": 600, "worst": [item]}} for name, item in (("leak", far), ("frost", near))]
    devices = [{"device": "barn-1", "health": {"models": models}}]
    assert find_warnings(_health(root=900) | {"devices": devices}, NOW) == [
        "barn-1: leak drifted: input.flow (PSI 1.20, KS 0.50); of 600 inputs"
    ]
