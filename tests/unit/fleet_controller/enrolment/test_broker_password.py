import shutil
import subprocess

import pytest

from fleet_controller.enrolment.broker_password import new_password, password_line, password_matches, user_of, with_user


def test_a_line_matches_its_own_password_and_no_other() -> None:
    line = password_line("barn", "secret")
    assert line.startswith("barn:$7$101$")
    assert password_matches(line, "secret")
    assert not password_matches(line, "Secret")


def test_a_line_that_mosquitto_wrote_is_understood(tmp_path) -> None:
    tool = shutil.which("mosquitto_passwd")
    assert tool, "the tests need Mosquitto"
    file = tmp_path / "passwords"
    subprocess.run([tool, "-b", "-c", str(file), "barn", "tool-secret"], check=True, capture_output=True)
    line = file.read_text().strip()
    assert password_matches(line, "tool-secret")
    salt_and_hash = line.partition(":")[2].split("$")
    ours = password_line("barn", "x").partition(":")[2].split("$")
    assert [len(part) for part in ours] == [len(part) for part in salt_and_hash]


@pytest.mark.parametrize("user", ["", "a:b", "a\nb", "a\0b"])
def test_a_user_that_would_break_the_file_is_refused(user: str) -> None:
    with pytest.raises(ValueError, match="broker user"):
        password_line(user, "secret")


def test_a_line_of_another_format_never_matches() -> None:
    for line in ("barn:plain", "barn:$6$salt$hash", "barn:$7$x$AAAA$AAAA", "barn:$7$101$?$AAAA", ""):
        assert not password_matches(line, "plain")


def test_replacing_and_removing_a_user_leaves_the_others_alone() -> None:
    content = "# by hand\ncontroller:hash\nbarn:old\nbarn2:hash\n"
    assert with_user(content, "barn", "barn:new") == "# by hand\ncontroller:hash\nbarn2:hash\nbarn:new\n"
    assert with_user(content, "barn", None) == "# by hand\ncontroller:hash\nbarn2:hash\n"
    assert user_of("# barn:x") == ""


def test_passwords_differ_and_have_the_promised_length() -> None:
    assert len({new_password() for _ in range(100)}) == 100
    assert len(new_password()) == 32
