"""The classifiers of the CRD benchmark at 32 pixels (Tian, Krishnan and Isola, ICLR 2020)."""
