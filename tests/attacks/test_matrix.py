"""The attack matrix: one real agent at a real broker, really signed metadata, and every row refused with its own reason.

`python -m pytest -s tests/attacks` prints the table.
"""

import shutil

from fleet_contract.messages import Desired, DesiredModel, encode
from fleet_contract.reasons import Reason
from fleet_contract.topics import Down, down
from fleet_contract.trust import MODELS_ROLE
from tests.attacks.attacked import PATIENCE, ROOT, STATE, Attacked
from tests.attacks.bundles import MODEL
from tests.attacks.rows import INCUMBENT, ROWS, SOUND, TABLE, Row, Scene
from tests.faults.programs import until
from tests.hostile_models.device import DEVICE


def play(attacked: Attacked, scene: Scene, row: Row) -> str:
    """One attack, from an honest world to an honest world; returns the reason that the device gave."""
    row.act(scene)
    attacked.run(row.release)
    update = attacked.update()
    assert update["state"] == "rejected", (row.name, update)
    assert attacked.answering() == INCUMBENT, row.name
    until(lambda: len(attacked.children()) == 1, lambda: f"{row.name}: {attacked.children()}", PATIENCE)
    scene.server.be_honest()
    scene.signing.sign_again()
    attacked.run(INCUMBENT)
    return f"{update['reason']}" if update["reason"] == row.reason else f"{update['reason']} ({update['detail']})"


def test_every_attack_is_refused_with_its_reason_and_the_incumbent_answers(attacked: Attacked) -> None:
    signing, farm = attacked.signing, attacked.farm
    assert signing.publish("1.0.0") == INCUMBENT
    attacked.program.start()
    until(attacked.status, attacked.program.log_tail, PATIENCE)
    attacked.run(INCUMBENT)
    assert attacked.answering() == INCUMBENT
    scene = Scene(signing, attacked.server, signing.copy())
    assert signing.publish("2.0.0") == SOUND
    attacked.run(99)
    assert attacked.update()["reason"] == Reason.RELEASE_UNKNOWN
    attacked.run(INCUMBENT)
    before = attacked.outside()

    got = {row.name: play(attacked, scene, row) for row in ROWS}
    width = max(map(len, got)) + 2
    print("\n" + "\n".join(f"{row.name:{width}}{got[row.name]:22}{row.stops}" for row in ROWS))
    assert got == {row.name: str(row.reason) for row in ROWS}

    # All that kept the device from the sound release was the attacker.
    attacked.run(SOUND)
    assert attacked.update()["state"] == "committed"
    assert attacked.answering() == SOUND
    check_desired(attacked)
    assert attacked.outside() == before
    assert farm.unanswered(MODEL) == set()


def check_desired(attacked: Attacked) -> None:
    """What whoever has the broker can say; the sound release answers."""
    status = attacked.status()
    older = encode(Desired(revision=1, models=(DesiredModel(model=MODEL, release=INCUMBENT),)))
    for payload in (older, b"[" * 50_000, b'{"revision": 1e400, "models": [null]}', b"\x00"):
        attacked.farm.say(down(DEVICE, Down.DESIRED), payload)
    assert attacked.answering() == SOUND
    again = attacked.status()
    assert (again["revision"], again["updates"]) == (status["revision"], status["updates"])

    attacked.signing.revoke_below(SOUND)
    # The device learns of it with any look at the metadata; that there is no such release is of no matter.
    attacked.run(99)
    attacked.run(INCUMBENT)
    assert (attacked.update()["state"], attacked.update()["reason"]) == ("rejected", Reason.RELEASE_BELOW_FLOOR)
    # The metadata from before it was raised, with newer signatures of the online keys, on a device that has lost its own copy.
    shutil.rmtree(attacked.folder / STATE / "updates" / "metadata")
    for part in attacked.signing.lead_to({MODELS_ROLE: 2}):
        attacked.server.instead.update(part)
    attacked.run(98)
    assert attacked.update()["reason"] == Reason.RELEASE_UNKNOWN
    attacked.run(INCUMBENT)
    assert (attacked.update()["state"], attacked.update()["reason"]) == ("rejected", Reason.RELEASE_BELOW_FLOOR)
    assert attacked.answering() == SOUND


def test_the_table_of_attacks_in_the_documents_is_this_one() -> None:
    told = (ROOT / "docs" / "security.md").read_text()
    rows = "".join(f"| {name} | {reason} | {stops} |\n" for name, reason, stops in TABLE)
    assert f"| attack | the device says | what stops it |\n|---|---|---|\n{rows}" in told
