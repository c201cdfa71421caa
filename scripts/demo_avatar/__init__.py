"""The drawing of the demo avatar: geometry, motion, paint, film."""
