"""The storage library that every function shares; `docs/design.md` draws how its modules fit together."""
