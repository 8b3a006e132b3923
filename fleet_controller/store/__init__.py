"""The controller's database: tables, migrations and queries. Nothing outside this room writes SQL of its own."""
