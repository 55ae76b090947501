"""Predicted against measured: servers that NVIDIA and SemiAnalysis measured, through the offline twin."""
