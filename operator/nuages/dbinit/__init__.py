"""What is made inside the database, in SQL, by a job that runs next to it: roles, database, grants, extensions."""
