"""PostgreSQL by psycopg: `database.PostgresDatabase` implements the port."""
