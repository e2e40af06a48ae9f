"""Teaching an editor: flow matching on pairs, and the arithmetic of DiffusionNFT."""
