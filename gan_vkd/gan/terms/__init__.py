"""Terms beside the adversarial loss, one file each."""
