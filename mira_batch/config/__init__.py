"""What a user can set: pydantic models, one file per job, and their loading from YAML or JSON."""
