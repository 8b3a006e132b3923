"""The controller's database: tables, migrations, transactions, and the queries that more than one room needs."""
