"""V_kD: frozen teachers, target normalisation, projections and the loss. Knows nothing of GANs."""
