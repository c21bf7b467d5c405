"""``atmwatch masks``: synthetic masks and occlusions onto pictures and data sets."""
