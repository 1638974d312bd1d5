"""gwclient: streams strain into the store, and asks and tells it what operators need; knows the store by HTTP only."""
