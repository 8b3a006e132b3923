"""The HTTP client: where the service is, with which token, and what each refusal means for the exit code.

Command-line options come first, then SMALLHOLD_URL and SMALLHOLD_TOKEN_FILE, then the configuration file
(`$XDG_CONFIG_HOME/smallhold/fleet.toml` with the keys `url`, `token_file` and `ca_file`).
"""

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fleet_controller.cli.exits import Exit, fail

if TYPE_CHECKING:
    import httpx

DEFAULT_URL: Final = "http://127.0.0.1:8470"
KEYS: Final = ("url", "token_file", "ca_file")
_EXITS: Final = {401: Exit.NOT_AUTHORISED, 403: Exit.NOT_AUTHORISED, 404: Exit.NOT_FOUND}
_BLOCK: Final = 1 << 20


@dataclass(slots=True)
class Choice:
    """What the options before the command said."""

    url: str | None = None
    token_file: Path | None = None
    config: Path | None = None


chosen = Choice()
"""Filled by the application's callback before a command runs."""


def config_path() -> Path:
    """The configuration file of this user."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "smallhold" / "fleet.toml"


def _read_config() -> dict[str, str]:
    named = chosen.config
    path = named or config_path()
    if named is None and not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        fail(Exit.USAGE, f"{path}: {error.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        fail(Exit.USAGE, f"{path}: {error}")
    for key, value in table.items():
        if key not in KEYS or not isinstance(value, str):
            fail(Exit.USAGE, f"{path}: {key}: known keys are {', '.join(KEYS)}, each a text")
    return {key: str(path.parent / value) if key.endswith("_file") else value for key, value in table.items()}


class Service:
    """A connection to the service. Every method ends the command with the right exit code if it cannot be done."""

    def __init__(self, timeout: float = 30.0) -> None:
        import httpx

        config = _read_config()
        self.url = (chosen.url or os.environ.get("SMALLHOLD_URL") or config.get("url") or DEFAULT_URL).rstrip("/")
        token_file = chosen.token_file or os.environ.get("SMALLHOLD_TOKEN_FILE") or config.get("token_file")
        if not token_file:
            fail(
                Exit.NOT_AUTHORISED,
                f"no token: name its file with --token-file or SMALLHOLD_TOKEN_FILE, or as token_file in {config_path()}",
            )
        try:
            token = Path(token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            fail(Exit.NOT_AUTHORISED, f"token file {token_file}: {getattr(error, 'strerror', None) or 'not a token'}")
        if not token:
            fail(Exit.NOT_AUTHORISED, f"token file {token_file} is empty")
        if not self.url.startswith(("http://", "https://")):
            fail(Exit.USAGE, f"{self.url!r} is not a URL: it starts with http:// or https://")
        verify: Any = True
        if ca_file := config.get("ca_file"):
            import ssl

            verify = ssl.create_default_context(cafile=ca_file)
        headers = {"Authorization": f"Bearer {token}"}
        try:
            self._client = httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=timeout, verify=verify)
        except (httpx.InvalidURL, ValueError) as error:
            fail(Exit.USAGE, f"{self.url}: {error}")

    def get(self, path: str, **parameters: Any) -> Any:
        """GET, and the decoded answer."""
        return self._call("GET", path, params=parameters)

    def post(self, path: str, body: Any = None) -> Any:
        """POST a JSON body."""
        return self._call("POST", path, json=body)

    def patch(self, path: str, body: Any) -> Any:
        """PATCH a JSON body."""
        return self._call("PATCH", path, json=body)

    def delete(self, path: str, **parameters: Any) -> Any:
        """DELETE."""
        return self._call("DELETE", path, params=parameters)

    def upload(self, path: str, file: Path) -> Any:
        """PUT a file's bytes, in blocks."""
        headers = {"Content-Length": str(file.stat().st_size), "Content-Type": "application/octet-stream"}
        return self._call("PUT", path, content=_blocks(file), headers=headers)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        import httpx

        try:
            response = self._client.request(method, path, **arguments)
        except httpx.InvalidURL as error:
            fail(Exit.USAGE, f"{self.url}: {error}")
        except httpx.HTTPError as error:
            fail(Exit.UNREACHABLE, f"the service at {self.url} does not answer: {error}")
        if response.is_success:
            try:
                return response.json()
            except ValueError:
                fail(Exit.UNREACHABLE, f"{self.url} is not a Smallhold service")
        return self._refused(response)

    def _refused(self, response: "httpx.Response") -> Any:
        try:
            answer = response.json()
            text = f"{answer['detail']} ({answer['code']})"
        except (ValueError, KeyError, TypeError):
            text = f"{self.url} answers {response.status_code}; is it a Smallhold service?"
        fail(_EXITS.get(response.status_code, Exit.FAILED), text)


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while block := source.read(_BLOCK):
            yield block
