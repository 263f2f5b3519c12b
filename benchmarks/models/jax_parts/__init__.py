"""JAX models as their users write them: pure functions of pytrees, in two modules."""
