"""The same terminal program in a browser: a small web server that gives every tab a program of its own, and nobody anything without the token."""
