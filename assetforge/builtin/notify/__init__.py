"""Telling people what happened to a film: on the desktop, by a command, by a webhook.

``listener`` hears the events and puts them into the film's outbox, ``outbox`` keeps them, ``sender`` is the process that sends them through the
``channels``, as often as it takes. What the user wants is in ``settings``: never in a film, since opening somebody's film must neither run a command
nor talk to the network.
"""
