"""Images bundled with scikit-learn: handwritten digits (autoenc) and photographs (the image classifiers)."""
