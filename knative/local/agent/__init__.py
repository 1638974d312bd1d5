"""What a cluster needs on its node besides Kubernetes: volumes for claims, and the enforcement of network policies."""
