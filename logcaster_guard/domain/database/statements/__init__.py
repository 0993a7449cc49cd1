"""What SQL does, told by PostgreSQL's own parser: an allow-list of statements, and what each may destroy or lock.

Importing anything here loads that parser, so whoever may do without imports it where it is used.
"""
