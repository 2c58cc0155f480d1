"""How urgent a job is: higher goes first, equal ones in the order they were queued."""

__all__ = ["AUTOMATIC_PRIORITY", "PERSON_PRIORITY"]

PERSON_PRIORITY = 0
"""What a person asked for."""

AUTOMATIC_PRIORITY = -10
"""What a policy asked for; it waits for everything that people asked for."""
