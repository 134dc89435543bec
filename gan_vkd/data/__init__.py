"""Images in memory: sources, subsets, batches, augmentation. Knows nothing of models."""
