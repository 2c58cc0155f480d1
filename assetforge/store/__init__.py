"""The film's bytes: content-addressed blobs, derived pictures, their checks and their clean-up."""
