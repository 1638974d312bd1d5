"""gwclient: the command line that streams strain into a store and operates it. It reaches the store by HTTP only."""
