"""Where things lie in the controller's state folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The layout below `path`. `keys/offline` belongs on a medium that is not connected; the service never opens it."""

    path: Path

    @property
    def repository(self) -> Path:
        """The TUF repository that devices download from."""
        return self.path / "repository"

    @property
    def uploads(self) -> Path:
        """Bundles on their way in; on the same file system as the repository."""
        return self.path / "uploads"

    @property
    def online_keys(self) -> Path:
        """Keys that the service signs snapshot and timestamp with."""
        return self.path / "keys" / "online"

    @property
    def offline_keys(self) -> Path:
        """Where `fleet init` leaves root, targets and release keys until the operator takes them away."""
        return self.path / "keys" / "offline"

    @property
    def online_passphrase(self) -> Path:
        """Opens the online keys, unless the settings name another file."""
        return self.online_keys / "passphrase"

    @property
    def broker_passwords(self) -> Path:
        """Mosquitto's password file, unless the settings name another one."""
        return self.path / "broker.passwords"
