"""Parts of laws of whole training curves: schedules, contours, regions."""
