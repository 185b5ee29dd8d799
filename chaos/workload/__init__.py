"""What runs on the laboratory's cluster, and who looks whether it was right."""
