"""From a recipe to a trained run: load, say what is about to happen, train."""
