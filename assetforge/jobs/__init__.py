"""The queue: bundles, leases, the supervisor, the child process. Services write job rows; this package runs them."""
