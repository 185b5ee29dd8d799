"""Real daemons under real faults. See README.md."""
