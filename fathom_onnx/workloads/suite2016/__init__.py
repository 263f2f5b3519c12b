"""The eight workloads of the paper (Adolf et al., IISWC 2016), one module each."""
