"""Databases: a file of SQLite's, or PostgreSQL by URL; one small dialect of SQL that both take."""
