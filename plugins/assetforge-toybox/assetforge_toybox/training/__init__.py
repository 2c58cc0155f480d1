"""How the toybox's models are trained: pictures, autoencoder, base model, probe and measuring reader."""
