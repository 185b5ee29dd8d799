"""Image, network, guests: everything that knows nothing of the product but how it is installed."""
