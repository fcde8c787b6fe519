"""The four tensors of a sample, each made directly from the original."""
