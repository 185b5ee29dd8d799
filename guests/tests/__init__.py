"""Tests of the rig that need no guest: `make guests` begins with them."""
