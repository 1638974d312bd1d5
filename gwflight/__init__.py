"""Strain over Arrow Flight, as Arrakis' clients ask for it: a process in front of a store, which it reads over HTTP."""
