"""File formats for strain: GWF from its specification, HDF5 by h5py in a process of its own."""
