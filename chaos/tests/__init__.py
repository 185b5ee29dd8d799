"""Tests of the laboratory itself: python3 -m unittest discover -s chaos/tests -t ."""
