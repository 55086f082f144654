"""What the APIs promise really runs: processes, databases, instances, jobs."""
