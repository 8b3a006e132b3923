"""Published releases with their manifests: what the signed repository says, in a form that can be queried."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from fleet_controller.store.tables import releases


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """One release. `digest` is `sha256:` and the hash of its (first) bundle, `size` its bytes, `created` seconds since 1970."""

    model: str
    release: int
    version: str
    digest: str
    size: int
    floor: int
    manifest: dict[str, Any]
    created: float
    variants: list[dict[str, Any]]
    """Every target of the release: `variant` (none where it has only one), `digest`, `size` and the signed `facts`."""


def list_releases(connection: Connection, model: str | None = None) -> list[ReleaseRow]:
    """All releases, or those of one model, by model and number."""
    query = sa.select(releases).order_by(releases.c.model, releases.c.release)
    if model is not None:
        query = query.where(releases.c.model == model)
    return [ReleaseRow(**dict(row._mapping) | {"variants": row.variants or []}) for row in connection.execute(query)]


def add_release(connection: Connection, row: ReleaseRow) -> bool:
    """Add a release; False if it is there already."""
    key = (releases.c.model == row.model) & (releases.c.release == row.release)
    if connection.execute(sa.select(releases.c.model).where(key)).first() is not None:
        return False
    values = {name: getattr(row, name) for name in ReleaseRow.__slots__}
    connection.execute(sa.insert(releases).values(**values))
    return True
