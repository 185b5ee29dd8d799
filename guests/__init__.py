"""The rig of real Debian systems. See README.md."""
