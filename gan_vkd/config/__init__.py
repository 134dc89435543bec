"""Recipes: every setting of a run, checked, layered (preset < file < --set < flag), explained."""
