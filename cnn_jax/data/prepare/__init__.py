"""Published archives to data sets in TFDS's format, without TensorFlow."""
