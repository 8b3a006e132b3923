"""Alembic migrations, shipped with the package so that the service can upgrade its own database."""
