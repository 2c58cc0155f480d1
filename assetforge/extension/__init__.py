"""The plugin machinery: find plugins, load them in isolation, keep what they registered.

Fronts and services use :func:`assetforge.extension.registry.get_registry` and nothing else.
"""
