"""Capture: sessions that other tools write are read into Port42 as they are written."""
