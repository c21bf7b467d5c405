"""From pixels to templates: detection, alignment, quality gate and the eye-region model."""
