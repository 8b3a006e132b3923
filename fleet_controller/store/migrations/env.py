"""Alembic's entry: runs the steps on the connection that `database.py` hands over."""

from alembic import context

from fleet_controller.store.tables import metadata

# SQLite cannot alter most of a table in place: batch mode copies it.
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
