"""The presets, YAML files like any recipe."""
