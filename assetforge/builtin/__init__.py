"""What assetforge brings by itself, on the same hooks that everybody else uses. Never torch, and light to import."""
