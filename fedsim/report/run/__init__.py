"""What was really run, for readers: training, verification, calibration."""
