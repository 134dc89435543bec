"""Losses between a student and a teacher, one class each."""
