"""Trained heads and extractors, opened again."""
