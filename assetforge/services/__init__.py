"""The use cases, one module each, in the order of a film's data. All synchronous; all take an opened project first and return plain frozen values."""
