"""The rollback of a database: its migrations, the plan over them, and what a server is asked and answers."""
