"""The Keras zoo: what is drawn, the first models, the further ones."""
