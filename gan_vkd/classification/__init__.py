"""Training classifiers: for now the small ones that serve as teachers and as evaluator."""
